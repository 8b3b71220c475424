// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"sotto/crypto/vault"
	"sotto/internal/client"
)

// glass is the other side of a terminal: what was written to it.
type glass struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (g *glass) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case g.more <- struct{}{}:
	default:
	}
	return g.b.Write(b)
}

func (g *glass) shows(t *testing.T, text string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for {
		g.mu.Lock()
		all := g.b.String()
		g.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-g.more:
		case <-late:
			t.Fatalf("no %q in %q", text, all)
		}
	}
}

var coloured = regexp.MustCompile("\x1b\\[([0-9]+;)*[34][0-7](;[0-9]+)*m")

// TestRun: real bytes in, real bytes out; the screen is given back and drafts are kept.
func TestRun(t *testing.T) {
	for _, colours := range []bool{true, false} {
		keys, typed := io.Pipe()
		out := &glass{more: make(chan struct{}, 1)}
		env := []string{"TERM=xterm-256color", "TTY_FORCE=1", "CLICOLOR_FORCE=1"}
		if !colours {
			env = []string{"TERM=xterm-256color", "TTY_FORCE=1", "NO_COLOR=1"}
		}
		s := New(Options{In: keys, Out: out, Env: env})
		store := vault.NewMemory()
		c, err := client.Open(client.Options{Account: alice, Store: store, OnEvent: s.Event})
		must(t, err)
		ended := make(chan error, 1)
		go func() { ended <- s.Run(context.Background(), c, "bob@localhost") }()
		out.shows(t, "bob")
		fmt.Fprint(typed, "hello bob\r")
		out.shows(t, "hello bob")
		fmt.Fprint(typed, "one\ntwo") // Ctrl-J
		fmt.Fprint(typed, "\x03")
		select {
		case err := <-ended:
			must(t, err)
		case <-time.After(20 * time.Second):
			t.Fatal("Ctrl-C does not end it")
		}
		if chats := c.Chats(); len(chats) != 1 || chats[0].Last != 1 || chats[0].Draft != "one\ntwo" {
			t.Errorf("%+v", chats)
		}
		out.shows(t, "\x1b[?1049l") // back from the alternate screen
		if got := coloured.MatchString(out.b.String()); got != colours {
			t.Errorf("colours: %v, not %v: %q", got, colours, out.b.String())
		}
		for _, no := range []string{"\x1b]0;", "\x1b]2;", "\x1b]52"} {
			if strings.Contains(out.b.String(), no) {
				t.Errorf("the title or the clipboard was touched: %q", no)
			}
		}
	}
}

// TestRunContext: the end of the context is the end of the screen.
func TestRunContext(t *testing.T) {
	keys, _ := io.Pipe()
	out := &glass{more: make(chan struct{}, 1)}
	s := New(Options{In: keys, Out: out, Env: []string{"TERM=xterm"}})
	c, err := client.Open(client.Options{Account: alice, Store: vault.NewMemory(), OnEvent: s.Event})
	must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, c, "") }()
	out.shows(t, "Nobody is here yet")
	stop()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(20 * time.Second):
		t.Fatal("it goes on")
	}
}

// long is a talk of 10,000 messages.
func long(b *testing.B) *seat {
	bodies := make([]string, 10000)
	for i := range bodies {
		bodies[i] = fmt.Sprint(i, strings.Repeat(" some words and 日本語 👍", 1+i%9))
	}
	return alone(b, 120, 40, bodies...)
}

// BenchmarkType is one key and the screen after it, in a talk of 10,000 messages.
func BenchmarkType(b *testing.B) {
	p := long(b)
	b.ReportAllocs()
	for b.Loop() {
		p.m.Update(tea.KeyPressMsg{Code: 'x', Text: "x"})
		p.m.View()
		if p.m.input.Length() > 200 {
			p.m.input.Reset()
		}
	}
}

// BenchmarkIncoming is one message that comes and the screen after it.
func BenchmarkIncoming(b *testing.B) {
	p := long(b)
	seq := p.m.talk.shown()
	b.ReportAllocs()
	for b.Loop() {
		seq++
		m := client.Message{Chat: p.m.open, Seq: seq, Body: "a message of some words", At: time.Now()}
		p.m.Update(happened{{Kind: client.Incoming, Chat: m.Chat, At: m.At, Message: &m}})
		p.m.View()
	}
}

// BenchmarkScroll is one page up, with what it reads, through all 10,000 messages and back.
func BenchmarkScroll(b *testing.B) {
	p := long(b)
	b.ReportAllocs()
	up := true
	for b.Loop() {
		if up {
			p.m.Update(keys["pgup"])
			up = !p.m.talk.whole || p.m.talk.anchor > 100
		} else {
			p.m.Update(keys["pgdown"])
			up = p.m.talk.follow
		}
		p.m.View()
	}
}

// BenchmarkResize lays the whole view out anew.
func BenchmarkResize(b *testing.B) {
	p := long(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		p.m.Update(tea.WindowSizeMsg{Width: 100 + i%2, Height: 40})
		p.m.View()
	}
}

// BenchmarkOpen opens the talk.
func BenchmarkOpen(b *testing.B) {
	p := long(b)
	b.ReportAllocs()
	for b.Loop() {
		p.m.open = ""
		must(b, p.m.enter("bob@localhost"))
		p.m.View()
	}
}
