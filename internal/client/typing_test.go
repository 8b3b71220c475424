// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"testing"

	"sotto/crypto/vault"
	"sotto/xmpp"
)

// friends are two people who see each other.
func friends(t *testing.T, o *town) (a, b *person) {
	a, b = o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	o.must(a.Add(context.Background(), "bob@localhost", ""))
	b.wait("question", func(e Event) bool { return e.Kind == Asked })
	o.must(b.Add(context.Background(), "alice@localhost", ""))
	for _, p := range []*person{a, b} {
		other := map[*person]string{a: "bob@localhost", b: "alice@localhost"}[p]
		p.wait("the other", func(Event) bool { return is(p, other, func(c Contact) bool { return c.Online && c.Sub == "both" }) })
	}
	return a, b
}

// typed are the typing notices that came before a message that is sent now.
func typed(from, to *person, user, mark string) (words []string) {
	from.sends(user, mark)
	to.reads(mark)
	to.mu.Lock()
	defer to.mu.Unlock()
	for _, e := range to.events {
		if e.Kind == Typing {
			words = append(words, e.Why)
		}
	}
	to.events = nil
	return words
}

// TestTyping: notices reach contacts who are there, seldom; nobody else, never later.
func TestTyping(t *testing.T) {
	o := newTown(t, "alice", "bob", "carol")
	a, b := friends(t, o)
	for range 9 {
		b.Type("alice@localhost", true)
	}
	b.Type("alice@localhost", false)
	b.Type("alice@localhost", false)
	b.TypedNothing("alice@localhost")
	if got := typed(b, a, "alice", "one"); len(got) != 2 || got[0] != "" || got[1] != "paused" {
		t.Errorf("composing and paused, once each: %q", got)
	}
	carol := o.person("carol", vault.NewMemory()).come()
	carol.Type("alice@localhost", true)
	if got := typed(carol, a, "alice", "from a stranger"); len(got) != 0 {
		t.Errorf("a stranger's typing was told: %q", got)
	}
	store := a.store
	a.leave()
	b.Type("alice@localhost", true)
	a = o.person("alice", store).come()
	if got := typed(b, a, "alice", "two"); len(got) != 0 {
		t.Errorf("a notice was kept: %q", got)
	}
}

// TestResendNoTyping: what was on the wire when it broke goes out again, but for typing notices.
func TestResendNoTyping(t *testing.T) {
	s := newSession()
	note := xmpp.El(xmpp.NSClient, "message", "to", "b@localhost").Add(xmpp.El(xmpp.NSChatStates, "composing"), xmpp.El(xmpp.NSHints, "no-store"))
	real := xmpp.El(xmpp.NSClient, "message", "to", "b@localhost").Add(xmpp.El(xmpp.NSClient, "body").WithText("x"))
	s.unacked = []*xmpp.Element{note, real}
	s.ledger.Sent(0)
	s.ledger.Sent(0)
	s.waiting = []*xmpp.Element{note, real}
	if err := s.again(0); err != nil || len(s.waiting) != 2 || s.waiting[0] != real || s.waiting[1] != real {
		t.Error(s.waiting, err)
	}
}

// TestRefuse: who is refused no longer asks, not even after the next login.
func TestRefuse(t *testing.T) {
	o := newTown(t, "alice", "bob")
	store := vault.NewMemory()
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", store).come()
	o.must(a.Add(context.Background(), "bob@localhost", ""))
	b.wait("question", func(e Event) bool { return e.Kind == Asked })
	o.must(b.Remove(context.Background(), "alice@localhost"))
	a.wait("refusal", func(Event) bool { return is(a, "bob@localhost", func(c Contact) bool { return !c.Ask }) })
	b.leave()
	b = o.person("bob", store).come()
	if all := b.Contacts(); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

// TestNobodyHere: who left while we were away is not shown as here.
func TestNobodyHere(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := friends(t, o)
	a.mu.Lock()
	a.events = nil
	a.mu.Unlock()
	a.leave()
	b.leave()
	ctx, stop := context.WithCancel(context.Background())
	a.stop = stop
	go func() { a.ended <- a.Run(ctx) }() // the same program, a new session
	a.wait("ready", func(e Event) bool { return e.Kind == Ready })
	if !is(a, "bob@localhost", func(c Contact) bool { return !c.Online && !c.Seen.IsZero() }) {
		t.Errorf("%+v", a.Contacts())
	}
}

// TestVerify: only what was compared is verified.
func TestVerify(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	a.sends("bob", "hello")
	b.reads("hello")
	o.must(b.Meet(context.Background(), "alice@localhost"))
	n, err := b.SafetyNumber("alice@localhost")
	o.must(err)
	second := o.person("alice", vault.NewMemory()).come()
	second.sends("bob", "from my other device")
	b.reads("from my other device")
	o.must(b.Meet(context.Background(), "alice@localhost"))
	if err := b.Verify("alice@localhost", n); err != ErrNumber {
		t.Error("the old number was taken", err)
	}
	n, err = b.SafetyNumber("alice@localhost")
	o.must(err)
	o.must(b.Verify("alice@localhost", n))
	all, err := b.Devices("alice@localhost")
	if err != nil || len(all) != 2 || all[0].Trust.String() != "verified" || all[1].Trust.String() != "verified" {
		t.Errorf("%+v %v", all, err)
	}
}

// TestOlder: pages of a talk, from the end to its beginning.
func TestOlder(t *testing.T) {
	o := newTown(t, "alice")
	a := o.person("alice", vault.NewMemory())
	for _, body := range []string{"1", "2", "3", "4", "5"} {
		a.sends("bob", body)
	}
	for _, c := range []struct {
		before uint64
		want   string
	}{{6, "45"}, {4, "23"}, {2, "1"}, {1, ""}, {0, ""}} {
		all, err := a.Older("bob@localhost", c.before, 2)
		o.must(err)
		got := ""
		for _, m := range all {
			got += m.Body
		}
		if got != c.want {
			t.Error(c, got)
		}
	}
}
