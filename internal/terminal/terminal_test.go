// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"strings"
	"testing"

	tea "charm.land/bubbletea/v2"

	"sotto/crypto/vault"
	"sotto/internal/town"
)

func has(words ...string) func(string) bool {
	return func(v string) bool { return line(v, words...) != "" }
}

// TestTicks: a message is typed; its ticks go as far as the message, and no further.
func TestTicks(t *testing.T) {
	o := town.New(t, "alice", "bob")
	bobs := vault.NewMemory()
	open(o, t, "bob", bobs, 80, 24, "").plug().unplug()
	a := open(o, t, "alice", vault.NewMemory(), 80, 24, "bob@localhost")
	a.says("hello bob")
	a.until("queued", has("○ you", "hello bob"))
	a.plug()
	a.until("sent", has(" ✓ you", "hello bob"))
	b := open(o, t, "bob", bobs, 80, 24, "")
	b.do(tea.BlurMsg{}) // he looks at another window
	b.plug()
	b.until("the message", has("alice", "hello bob"))
	a.until("delivered", has("✓✓ you", "hello bob"))
	if strings.Contains(a.raw(), readYes.Styled("✓✓")) || !strings.Contains(a.raw(), faint.Styled("✓✓")) {
		t.Errorf("%q", a.raw())
	}
	b.do(tea.FocusMsg{})
	a.until("read", func(string) bool { return strings.Contains(a.raw(), readYes.Styled("✓✓")) })
	b.says("hello alice")
	a.until("the answer", has("bob", "hello alice"))
	b.until("read", func(string) bool { return strings.Contains(b.raw(), readYes.Styled("✓✓")) })
}

// TestFailed: what cannot be sent says why, beneath the message.
func TestFailed(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a := sit(o, t, "alice", "bob@localhost")
	a.says("can you read this?")
	a.until("failure", has("✗ you", "can you read this?"))
	a.until("the reason", has("not sent: bob@localhost has no device"))
}

// TestUnread: unread messages are counted until their talk is on the screen, with its newest message.
func TestUnread(t *testing.T) {
	o := town.New(t, "alice", "bob", "carol")
	b := sit(o, t, "bob", "carol@localhost")
	a := sit(o, t, "alice", "bob@localhost")
	for _, x := range []string{"one", "two", "three"} {
		a.says(x)
	}
	b.until("three unread", has("alice", " 3"))
	a.until("delivered", has("✓✓ you", "three"))
	b.press("tab")
	b.until("the talk", has("alice", "three"))
	b.shows("─ new ─")
	if x := line(b.view(), "○ alice"); strings.Contains(x, "3") {
		t.Error(x)
	}
	read := func(string) bool { return strings.Count(a.raw(), readYes.Styled("✓✓")) == 3 }
	a.until("three read", read)

	for range 30 { // more than a screen
		b.says("an answer")
	}
	b.until("the end", has("✓✓ you", "an answer"))
	b.press("pgup")
	b.shows("↓ more below")
	a.says("four")
	b.until("one unread", has("alice", " 1"))
	a.until("delivered", has("✓✓ you", "four"))
	b.press("end")
	b.until("four", has("alice", "four"))
	a.until("four read", func(string) bool { return line(a.raw(), readYes.Styled("✓✓"), "four") != "" })
	b.hides(" 1")
}

// TestDraft: what is typed survives the server, a change of talk and the end of the program.
func TestDraft(t *testing.T) {
	o := town.New(t, "alice", "bob")
	store := vault.NewMemory()
	b := sit(o, t, "bob", "alice@localhost")
	a := open(o, t, "alice", store, 80, 24, "bob@localhost").plug()
	a.types("half a sent")
	o.Close()
	a.shows("reconnecting since")
	a.types("ence")
	a.press("alt+enter")
	a.types("and more")
	a.until("both lines", func(v string) bool { return has("> half a sentence")(v) && has("  and more")(v) })
	o.Open()
	a.shows("● online")
	a.shows("> half a sentence")
	must(t, a.m.enter("carol@localhost"))
	a.hides("half a sentence\n")
	a.until("the draft in the list", has("draft: half a sente"))
	a.until("the draft on the disk", func(string) bool { return len(a.c.Chats()) == 1 && a.c.Chats()[0].Draft == "half a sentence\nand more" })
	a.unplug()

	a = open(o, t, "alice", store, 80, 24, "").plug()
	a.shows("> half a sentence")
	a.press("enter")
	b.until("the message", has("half a sentence"))
	b.shows("and more")
	a.shows("> Write to bob")
	a.until("no draft on the disk", func(string) bool { return a.c.Chats()[0].Draft == "" })
}

// TestContacts: asking, accepting, here, typing, gone.
func TestContacts(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := sit(o, t, "alice", ""), sit(o, t, "bob", "")
	a.shows("Nobody is here yet")
	befriend(a, b, "bob", "alice")
	a.says("/add bob Robert")
	a.shows("● Robert")
	b.types("I am typ")
	a.shows("typing…")
	b.press("ctrl+u")
	a.hides("typing…")
	b.types("again")
	a.shows("typing…")
	b.press("enter")
	a.until("the message", has("Robert", "again"))
	a.hides("typing…")
	b.unplug()
	a.shows("last seen just now")
}

// TestVerify: the same number on both screens; yes marks it, here only.
func TestVerify(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := sit(o, t, "alice", "bob@localhost"), sit(o, t, "bob", "alice@localhost")
	a.says("/verify")
	a.shows("Are they the same?")
	b.says("/verify")
	b.shows("Are they the same?")
	digits := func(p *seat) (n string) {
		for _, x := range p.m.panel.lines[:6] {
			n += strings.ReplaceAll(x, " ", "")
		}
		return n
	}
	if len(digits(a)) != 60 || digits(a) != digits(b) || !strings.Contains(a.view(), a.m.panel.number[:5]) {
		t.Error(digits(a), digits(b))
	}
	a.types("y")
	a.shows("✔ verified")
	b.types("n")
	b.shows("not verified")
	b.shows("not compared")
	a.says("/devices")
	a.until("bob's device", has("verified, since"))
	a.shows("this device")
	a.press("esc")
	a.shows("> Write to bob")
	a.press("esc")
	a.until("the end", func(string) bool { return a.left })
}

// TestDevices: a new device of the other, and of ourselves, is told.
func TestDevices(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := sit(o, t, "alice", ""), sit(o, t, "bob", "")
	befriend(a, b, "bob", "alice")
	a.says("hello")
	b.until("the message", has("alice", "hello"))
	sit(o, t, "bob", "")
	a.shows("bob has another device")
	b.shows("Your account has another device")
}
