// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/internal/town"
	"sotto/xmpp"
)

var alice, bob = xmpp.MustJID("alice@localhost"), xmpp.MustJID("bob@localhost")

// seat is a person before a screen: the model is run by the test itself, so
// that a view is looked at only between two steps.
type seat struct {
	t      testing.TB
	c      *client.Client
	s      *Screen
	m      *model
	msgs   chan tea.Msg
	done   chan struct{}
	left   bool
	unplug func()
}

// open makes a device and its screen; nothing is connected.
func open(o *town.Town, t testing.TB, user string, store vault.Store, w, h int, with string) *seat {
	t.Helper()
	p := &seat{t: t, s: New(Options{}), msgs: make(chan tea.Msg, 64), done: make(chan struct{}), unplug: func() {}}
	var err error
	p.c, err = client.Open(client.Options{
		Account: xmpp.MustJID(user + "@localhost"), Password: "secret-" + user, Addr: o.Addr, TLS: &tls.Config{RootCAs: o.Roots},
		AgentID: fmt.Sprintf("%s-%p", user, store), Device: "test", Store: store, OnEvent: p.s.Event,
		Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	must(t, err)
	p.m, err = newModel(p.c, p.s.inbox, with)
	must(t, err)
	p.exec(p.m.Init())
	p.do(tea.WindowSizeMsg{Width: w, Height: h})
	t.Cleanup(func() { p.unplug(); close(p.s.inbox.shut); close(p.done) })
	return p
}

// plug connects.
func (p *seat) plug() *seat {
	p.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.c.Run(ctx) }()
	p.unplug = func() {
		stop()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
		p.unplug = func() {}
	}
	p.until("online", func(string) bool { return p.m.ready })
	return p
}

func sit(o *town.Town, t testing.TB, user, with string) *seat {
	t.Helper()
	return open(o, t, user, vault.NewMemory(), 80, 24, with).plug()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do is one step of the screen's loop.
func (p *seat) do(msg tea.Msg) {
	switch msg := msg.(type) {
	case nil:
	case tea.BatchMsg:
		for _, c := range msg {
			p.exec(c)
		}
	case tea.QuitMsg:
		p.left = true
	default:
		_, cmd := p.m.Update(msg)
		p.exec(cmd)
	}
}

func (p *seat) exec(cmd tea.Cmd) {
	if cmd == nil {
		return
	}
	go func() {
		msg := cmd()
		select {
		case p.msgs <- msg:
		case <-p.done:
		}
	}()
}

// until goes on until the screen shows what is asked for.
func (p *seat) until(what string, is func(view string) bool) {
	p.t.Helper()
	late := time.After(20 * time.Second)
	for {
		view := p.view()
		if is(view) {
			return
		}
		select {
		case msg := <-p.msgs:
			p.do(msg)
		case <-late:
			p.t.Fatalf("%s waits for %s in vain:\n%s", p.c.Self(), what, view)
		}
	}
}

// shows waits for a text on the screen.
func (p *seat) shows(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("%q", text), func(v string) bool { return strings.Contains(v, text) })
}

// hides waits until a text is gone.
func (p *seat) hides(text string) {
	p.t.Helper()
	p.until(fmt.Sprintf("no %q", text), func(v string) bool { return !strings.Contains(v, text) })
}

var looks = regexp.MustCompile("\x1b\\[[0-9;]*m")

// view is the screen as plain text. It holds all views to the size of the screen.
func (p *seat) view() string {
	p.t.Helper()
	raw := p.m.View().Content
	text := looks.ReplaceAllString(raw, "")
	for _, r := range text {
		if r < 0x20 && r != '\n' || r >= 0x7f && r < 0xa0 || turns(r) {
			p.t.Fatalf("the screen has a %U:\n%q", r, raw)
		}
	}
	lines := strings.Split(text, "\n")
	if len(lines) > p.m.h {
		p.t.Fatalf("%d lines on %d:\n%s", len(lines), p.m.h, text)
	}
	for _, x := range lines {
		if n := p.m.pen.width(x); n > p.m.w {
			p.t.Fatalf("%d columns on %d: %q", n, p.m.w, x)
		}
	}
	return text
}

// raw is the screen with its colours.
func (p *seat) raw() string { return p.m.View().Content }

var keys = map[string]tea.KeyPressMsg{
	"enter": {Code: tea.KeyEnter}, "esc": {Code: tea.KeyEscape}, "tab": {Code: tea.KeyTab}, "shift+tab": {Code: tea.KeyTab, Mod: tea.ModShift},
	"up": {Code: tea.KeyUp}, "down": {Code: tea.KeyDown}, "pgup": {Code: tea.KeyPgUp}, "pgdown": {Code: tea.KeyPgDown},
	"end": {Code: tea.KeyEnd}, "backspace": {Code: tea.KeyBackspace}, "alt+enter": {Code: tea.KeyEnter, Mod: tea.ModAlt},
}

// press hits keys by their names.
func (p *seat) press(names ...string) {
	p.t.Helper()
	for _, n := range names {
		k, ok := keys[n]
		if c, is := strings.CutPrefix(n, "ctrl+"); is {
			k, ok = tea.KeyPressMsg{Code: rune(c[0]), Mod: tea.ModCtrl}, true
		}
		if !ok || k.String() != n {
			p.t.Fatalf("no key %s: %s", n, k)
		}
		p.do(k)
	}
}

// types hits the keys of a text.
func (p *seat) types(text string) {
	for _, r := range text {
		p.do(tea.KeyPressMsg{Code: r, Text: string(r)})
	}
}

// says types a text and sends it.
func (p *seat) says(text string) {
	p.types(text)
	p.press("enter")
}

// befriend makes two people contacts, by the keys that people use.
func befriend(a, b *seat, bob, alice string) {
	a.t.Helper()
	a.says("/add " + bob)
	a.shows("has not answered yet")
	b.until("the question", func(v string) bool {
		return strings.Contains(v, alice) && strings.Contains(v, "asks to be your contact")
	})
	for !b.m.asks() {
		b.press("tab")
	}
	b.press("ctrl+y")
	for _, p := range []*seat{a, b} {
		p.until("online", func(v string) bool { return strings.Contains(v, " · online") })
	}
}

// line is the first line of a view that has all words.
func line(view string, words ...string) string {
	for x := range strings.Lines(view) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(x, w)
		}
		if all {
			return strings.TrimSpace(ansi.Strip(x))
		}
	}
	return ""
}
