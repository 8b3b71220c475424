// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"testing"

	"sotto/crypto/vault"
	"sotto/xmpp"
)

// TestQuiet: a quiet device sends and is not seen; its mail waits until it appears.
func TestQuiet(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a := o.person("alice", vault.NewMemory())
	a.quiet = true
	a.come()
	b := o.person("bob", vault.NewMemory()).come()
	o.must(a.Add(context.Background(), "bob@localhost", ""))
	o.must(b.Add(context.Background(), "alice@localhost", ""))
	m := a.sends("bob", "in passing")
	b.reads("in passing")
	a.ticks(m, Sent)
	b.sends("alice", "are you there?")
	o.must(a.drain(context.Background(), a.session)) // all that would come has come
	if all, err := a.History("bob@localhost", 9); err != nil || len(all) != 1 || all[0].State != Sent {
		t.Error(all, err)
	}
	if is(b, "alice@localhost", func(c Contact) bool { return c.Online }) {
		t.Error("alice is seen")
	}
	a.Appear()
	a.reads("are you there?")
	a.ticks(m, Delivered)
	b.wait("alice here", func(Event) bool {
		return is(b, "alice@localhost", func(c Contact) bool { return c.Online })
	})
}

// TestRefresh: it returns when the mail that waited is here, however much.
func TestRefresh(t *testing.T) {
	o := newTown(t, "alice", "bob")
	bobs := vault.NewMemory()
	o.person("bob", bobs).come().leave()
	a := o.person("alice", vault.NewMemory()).come()
	var last *Message
	for range 300 { // more than the server sends at once
		last = a.sends("bob", "waits")
	}
	a.ticks(last, Sent)
	b := o.person("bob", bobs).come()
	o.must(b.Refresh(context.Background()))
	if all, err := b.History("alice@localhost", 999); err != nil || len(all) != 300 {
		t.Error(len(all), err)
	}
}

// TestSendOnce: the same id is the same message.
func TestSendOnce(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	for range 3 {
		if m, err := a.SendOnce(xmpp.MustJID("bob@localhost"), "the-id", "once"); err != nil || m.ID != "the-id" {
			t.Fatal(m, err)
		}
	}
	a.sends("bob", "end")
	b.reads("end")
	if all, err := b.History("alice@localhost", 9); err != nil || len(all) != 2 {
		t.Error(all, err)
	}
}

// TestSeenUpTo: what is behind it stays unread, and its sender is not told.
func TestSeenUpTo(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	one, two := a.sends("bob", "one"), a.sends("bob", "two")
	first := b.reads("one")
	b.reads("two")
	o.must(b.SeenUpTo("alice@localhost", first.Seq))
	a.ticks(one, Read)
	a.ticks(two, Delivered)
	if c := b.Chats(); len(c) != 1 || c[0].Unread != 1 {
		t.Error(c)
	}
	if m, err := a.book.look(true, "bob@localhost", two.ID); err != nil || m.State != Delivered {
		t.Error(m, err)
	}
	o.must(b.Seen("alice@localhost"))
	a.ticks(two, Read)
}
