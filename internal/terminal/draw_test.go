// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/internal/town"
	"sotto/xmpp"
)

// TestSafe: nothing of others reaches the terminal but text.
func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"plain\nlines":                     "plain\nlines",
		"\x1b]0;title\x07":                 "␛]0;title␇",
		"\x1b]52;c;ZXZpbA==\x1b\\":         "␛]52;c;ZXZpbA==␛\\",
		"\u009b31mred \u0090q\u009c":       "\ufffd31mred \ufffdq\ufffd",
		"one\rtwo\bthree\x7f":              "one␍two␈three␡",
		"a\r\nb\u2028c":                    "a\nb\nc",
		"\xff\xc0\x9b31m":                  "\ufffd\ufffd\ufffd31m",
		"\u202egnp.exe\u202c \u2067x":      "gnp.exe x",
		"a\tb":                             "a    b",
		"e\u0301 👩‍👩‍👧 日本 \u05d0":          "e\u0301 👩‍👩‍👧 日本 \u05d0",
		"z" + strings.Repeat("\u0300", 50): "z" + strings.Repeat("\u0300", maxMarks),
	} {
		if got := safeText(in); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
	if got := safeLine(" a\x1b[2J\n b "); got != "a␛[2J b" {
		t.Errorf("%q", got)
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("\x1b[2J\u009b\u202e\xff\r\n\t")
	f.Fuzz(func(t *testing.T, s string) {
		p := pen{method: ansi.GraphemeWidth}
		for _, x := range p.wrap(safeText(s), 20) {
			if p.width(x) > 20 {
				t.Errorf("%q is %d wide", x, p.width(x))
			}
			for _, r := range x {
				if r < 0x20 || r >= 0x7f && r < 0xa0 || turns(r) {
					t.Errorf("%q has a %U", x, r)
				}
			}
		}
	})
}

// TestWrap: between words where it can be, and never wider than it may be.
func TestWrap(t *testing.T) {
	p := pen{method: ansi.GraphemeWidth}
	for in, want := range map[string]string{
		"one two three":           "one two|three",
		"one two  three":          "one two|three",
		"unbreakable":             "unbreaka|ble",
		"a unbreakable":           "a|unbreaka|ble",
		"日本語の長い文":                 "日本語の|長い文",
		"a日本語の長":                  "a日本語|の長",
		"e\u0301e\u0301 34567890": "e\u0301e\u0301|34567890",
		"  in\n\n  dent":          "  in||  dent",
		"12345678 ":               "12345678",
		"12345678   90":           "12345678|90",
		"👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧": "👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧|👩‍👩‍👧",
		"": "",
	} {
		if got := strings.Join(p.wrap(in, 8), "|"); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
}

// alone is somebody without a server, who has written to bob.
func alone(t testing.TB, w, h int, bodies ...string) *seat {
	t.Helper()
	p := &seat{t: t, s: New(Options{}), msgs: make(chan tea.Msg, 64), done: make(chan struct{}), unplug: func() {}}
	var err error
	p.c, err = client.Open(client.Options{Account: alice, Store: vault.NewMemory(), OnEvent: p.s.Event})
	must(t, err)
	for _, x := range bodies {
		_, err := p.c.Send(bob, x)
		must(t, err)
	}
	p.m, err = newModel(p.c, p.s.inbox, "bob@localhost")
	must(t, err)
	p.do(tea.WindowSizeMsg{Width: w, Height: h})
	t.Cleanup(func() { close(p.s.inbox.shut); close(p.done) })
	return p
}

// comes is a message that the client has got, as the screen hears of it.
func (p *seat) comes(m client.Message) {
	m.Chat, m.Seq = p.m.open, uint64(len(p.m.talk.msgs)+1)
	if m.At.IsZero() {
		m.At = time.Now()
	}
	p.do(happened{{Kind: client.Incoming, Chat: m.Chat, At: m.At, Message: &m}})
}

// TestEvil: control sequences in messages, names, reasons and notices stay text.
func TestEvil(t *testing.T) {
	const evil = "\x1b[2J\x1b]0;owned\x07\u009b31m\u202e\x1b]52;c;eA==\x07"
	p := alone(t, 80, 24, "hello")
	p.comes(client.Message{Body: evil, Trust: "not encrypted"})
	p.comes(client.Message{Out: true, Body: evil, State: client.Failed, Why: evil})
	p.do(happened{{Kind: client.Offline, Why: evil}, {Kind: client.Unreadable, Chat: p.m.open, Why: evil},
		{Kind: client.Asked, Chat: "a\u202eb@\u009b.example"}})
	p.types(evil)
	p.do(tea.PasteMsg{Content: evil})
	p.m.talk.peer = safeLine(evil)
	if n := strings.Count(p.view(), "owned"); n < 5 { // view itself looks for what must not be there
		t.Errorf("%d\n%s", n, p.view())
	}
	if strings.Contains(looks.ReplaceAllString(p.raw(), ""), "\x1b") {
		t.Errorf("%q", p.raw())
	}
}

// TestMarks: what a person must know about a message stands with it.
func TestMarks(t *testing.T) {
	p := alone(t, 80, 24)
	for trust, want := range map[string]string{
		"not encrypted": "⚠ not encrypted", "undecided": "⚠ from a device that was not compared", "distrusted": "⚠ from a device that you do not trust",
	} {
		p.comes(client.Message{Body: "text", Trust: trust})
		if !strings.Contains(p.view(), want) {
			t.Error(want)
		}
	}
	before := strings.Count(p.view(), "⚠")
	p.comes(client.Message{Body: "first", Trust: "first-use"})
	p.comes(client.Message{Body: "sure", Trust: "verified"})
	if strings.Count(p.view(), "⚠") != before {
		t.Error(p.view())
	}
	p.do(happened{{Kind: client.NewDevice, Chat: p.m.open, Device: 77}, {Kind: client.Unreadable, Chat: p.m.open, Why: "no session"}})
	p.shows("another device, 77")
	p.shows("could not be read (no session)")
	p.do(tea.BlurMsg{})
	p.comes(client.Message{Body: "while away"})
	p.comes(client.Message{Body: "and more"})
	p.until("the line before what is new", func(v string) bool {
		return strings.Count(v, "─ new ─") == 1 && strings.Index(v, "─ new ─") < strings.Index(v, "while away")
	})
	p.says("an answer")
	p.hides("─ new ─")
	p.m.pen.grey = true
	p.comes(client.Message{Out: true, Body: "seen", State: client.Read})
	if !strings.Contains(p.raw(), readNo.Styled("✓✓")) {
		t.Errorf("%q", p.raw())
	}
	p.do(tea.ColorProfileMsg{Profile: colorprofile.TrueColor})
	if !strings.Contains(p.raw(), readYes.Styled("✓✓")) {
		t.Errorf("%q", p.raw())
	}
}

// TestDays: each day has its line, once, also where pages meet.
func TestDays(t *testing.T) {
	p := alone(t, 80, 50)
	day := time.Now().AddDate(0, 0, -3)
	for i := range 8 {
		p.comes(client.Message{Body: fmt.Sprint("day ", i/2), At: day.AddDate(0, 0, i/2)})
	}
	for _, w := range []string{"today", "yesterday", day.Format("Monday, 2 January"), day.AddDate(0, 0, 1).Format("Monday, 2 January")} {
		if n := strings.Count(p.view(), "─ "+w); n != 1 {
			t.Errorf("%s: %d\n%s", w, n, p.view())
		}
	}
}

// TestSizes: every size is drawn within itself, wide letters and all; the view holds it to that.
func TestSizes(t *testing.T) {
	var bodies []string
	for i := range 40 {
		bodies = append(bodies, fmt.Sprint(i, " 日本語の長い文章です。", strings.Repeat("word ", i), "👩‍👩‍👧👍🏽 e\u0301\u0302 ", strings.Repeat("unbroken", i)))
	}
	p := alone(t, 80, 24, bodies...)
	for _, method := range []ansi.Method{ansi.WcWidth, ansi.GraphemeWidth} {
		p.m.pen.method = method
		for _, size := range [][2]int{{80, 24}, {50, 20}, {120, 40}, {59, 10}, {60, 9}, {30, 5}, {10, 3}, {1, 1}, {200, 60}} {
			p.do(tea.WindowSizeMsg{Width: size[0], Height: size[1]})
			p.view()
			p.press("pgup", "pgup", "pgdown")
			p.view()
			p.types("x\u3042")
			p.press("ctrl+j")
			p.view()
			p.press("ctrl+u", "backspace", "end")
			p.do(tea.KeyPressMsg{Code: tea.KeyEnd, Mod: tea.ModCtrl})
			if v := p.view(); size[0] >= 50 && size[1] >= 9 && !strings.Contains(v, "unbroken") {
				t.Errorf("%v:\n%s", size, v)
			}
			p.m.panel = &panel{title: "help", lines: helpLines}
			p.view()
			p.press("esc")
		}
	}
}

// TestNarrow: one pane at a time, and the list can be used.
func TestNarrow(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a := open(o, t, "alice", vault.NewMemory(), 50, 20, "bob@localhost").plug()
	a.says("hello")
	must(t, a.m.enter("carol@localhost"))
	a.types("dear carol")
	if strings.Contains(a.view(), "│") || !strings.Contains(a.view(), "> dear carol") {
		t.Error(a.view())
	}
	a.press("esc")
	a.until("the list", func(v string) bool { return has("bob")(v) && has("carol")(v) && !strings.Contains(v, "> ") })
	a.press("down", "enter")
	a.until("bob", has("you", "hello"))
	a.shows("Write to bob")
	a.do(tea.WindowSizeMsg{Width: 100, Height: 30})
	a.until("both", func(v string) bool { return strings.Contains(v, "│") && has("carol")(v) && has("you", "hello")(v) })
	a.do(tea.WindowSizeMsg{Width: 50, Height: 20})
	a.press("esc", "esc")
	a.until("the end", func(string) bool { return a.left })
}

// TestUnseenNarrow: what comes while the list covers the talk is not seen.
func TestUnseenNarrow(t *testing.T) {
	o := town.New(t, "alice", "bob")
	b := open(o, t, "bob", vault.NewMemory(), 50, 20, "alice@localhost").plug()
	b.press("esc")
	a := sit(o, t, "alice", "bob@localhost")
	a.says("are you there?")
	b.until("one unread", has("alice", " 1"))
	a.until("delivered", has("✓✓ you"))
	b.press("enter")
	b.until("the message", has("are you there?"))
	a.until("read", func(string) bool { return strings.Contains(a.raw(), readYes.Styled("✓✓")) })
}

// TestPages: a long talk is read back to its first message and forth again, a page at a time.
func TestPages(t *testing.T) {
	var bodies []string
	for i := range 1000 {
		bodies = append(bodies, fmt.Sprintf("message %d.", i+1))
	}
	p := alone(t, 80, 24, bodies...)
	if len(p.m.talk.msgs) != page {
		t.Error(len(p.m.talk.msgs))
	}
	p.shows("message 1000.")
	seen := map[string]bool{}
	note := func() {
		for x := range strings.Lines(p.view()) {
			if i := strings.Index(x, "message "); i > 0 {
				seen[strings.TrimSpace(x[i:])] = true
			}
		}
	}
	for range 60 {
		note()
		p.press("pgup")
	}
	if len(seen) != 1000 || !strings.Contains(p.view(), "message 1.") || !strings.Contains(p.view(), "today") {
		t.Errorf("%d\n%s", len(seen), p.view())
	}
	top := p.view()
	p.press("pgup")
	if p.view() != top {
		t.Error("scrolled beyond the beginning")
	}
	p.comes(client.Message{Body: "news"})
	if p.view() != top {
		t.Errorf("the view moved:\n%s", p.view())
	}
	for range 60 {
		p.press("pgdown")
	}
	p.shows("news")
	if !p.m.talk.follow {
		t.Error("not at the end")
	}
	p.comes(client.Message{Body: "more news"})
	p.shows("more news")
}

// TestLead: more unread messages than fit are shown from the first one, and are
// seen as far as they were shown.
func TestLead(t *testing.T) {
	o := town.New(t, "alice", "bob")
	b := sit(o, t, "bob", "carol@localhost")
	a := sit(o, t, "alice", "bob@localhost")
	for i := range 50 {
		a.says(fmt.Sprintf("message %d.", i+1))
	}
	b.until("50 unread", has("alice", " 50"))
	b.until("all events", func(string) bool { return len(b.s.inbox.more) == 0 })
	b.press("tab")
	b.shows("─ new ─")
	b.until("the first", func(v string) bool { return strings.Contains(v, " message 1.") && !strings.Contains(v, "message 50.") })
	shown := strings.Count(b.view(), " message ")
	if x := line(b.view(), "○ alice"); !strings.Contains(x, fmt.Sprint(" ", 50-shown)) {
		t.Errorf("%d shown:\n%s", shown, b.view())
	}
	for range 4 {
		b.press("pgdown")
	}
	b.shows("message 50.")
	if x := line(b.view(), "○ alice"); strings.ContainsAny(x, "0123456789") {
		t.Error(x)
	}
}

// TestList: the open talk is in view, however long the list is.
func TestList(t *testing.T) {
	p := alone(t, 80, 24, "hello")
	for i := range 30 {
		_, err := p.c.Send(xmpp.MustJID(fmt.Sprintf("friend%02d@localhost", i)), "hi")
		must(t, err)
	}
	p.do(happened{})
	if len(p.m.rows) != 31 {
		t.Fatal(len(p.m.rows))
	}
	for range 33 {
		p.press("tab")
		name := strings.TrimSuffix(p.m.open, "@localhost")
		if !strings.Contains(p.raw(), chosen.Styled(p.m.pen.fit(name, p.m.listWide()-4))) {
			t.Fatalf("%s is not chosen:\n%s", name, p.view())
		}
	}
	p.press("shift+tab", "ctrl+p", "up")
	p.view()
}

// TestTypingEnds: a typing notice is not believed for ever.
func TestTypingEnds(t *testing.T) {
	p := alone(t, 80, 24, "hello")
	p.do(happened{{Kind: client.Typing, Chat: p.m.open, At: time.Now().Add(-typingFor + time.Minute)}})
	p.shows("typing…")
	p.do(happened{{Kind: client.Typing, Chat: p.m.open, At: time.Now().Add(-typingFor)}})
	p.hides("typing…")
}

// TestElsewhere: a narrow screen says that others have written, and nobody passes for "you".
func TestElsewhere(t *testing.T) {
	o := town.New(t, "alice", "bob", "you")
	b := open(o, t, "bob", vault.NewMemory(), 50, 20, "alice@localhost").plug()
	y := sit(o, t, "you", "bob@localhost")
	y.says("one")
	y.says("two")
	b.shows("2 unread in other talks")
	b.press("tab")
	b.until("who wrote", has("you@loc…", "two"))
}
