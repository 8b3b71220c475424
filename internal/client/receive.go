// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"math"
	"slices"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
	"sotto/xmpp"
)

// letter is a message on its way in, out of its wrappers.
type letter struct {
	el   *xmpp.Element
	from string // bare address of who wrote it
	chat string // bare address of the talk
	out  bool   // another device of ours wrote it
	id   string
	at   time.Time
}

// message deals with one message; when it returns nil, nothing of it can be lost.
func (c *Client) message(el *xmpp.Element) error {
	l, ok := c.unwrap(el)
	if !ok {
		return nil
	}
	if el.Get("type") == "error" {
		return c.bounced(l, xmpp.StanzaErrorOf(el))
	}
	if ev := l.el.Child(xmpp.NSPubsubEvent, "event"); ev != nil {
		c.event(l.from, ev)
		return nil
	}
	for _, w := range omemo.Wires {
		enc := l.el.Child(namespaceOf(w), "encrypted")
		if enc == nil {
			continue
		}
		m, err := encryptedOf(w, enc, c.keys.Self())
		if err == nil && len(m.Keys) == 0 && w == omemo.Two && l.el.Child(xmpp.NSOmemoAxolotl, "encrypted") != nil {
			continue // ours is in the other one
		}
		if err != nil {
			c.opt.Log.Debug("malformed encryption", "id", l.id, "err", err)
			return nil
		}
		return c.sealedLetter(l, m)
	}
	return c.openLetter(l)
}

// unwrap takes a copy out of its wrapper (XEP-0280 §6); only our own account
// may send us copies.
func (c *Client) unwrap(el *xmpp.Element) (*letter, bool) {
	from := bare(el.Get("from"), c.self)
	l := &letter{el: el, from: from, chat: from}
	for _, word := range []string{"sent", "received"} {
		wrap := el.Child(xmpp.NSCarbons, word)
		if wrap == nil {
			continue
		}
		fw := wrap.Child(xmpp.NSForward, "forwarded")
		inner := fw.Child(xmpp.NSClient, "message")
		if from != c.self || inner == nil {
			return nil, false
		}
		l.el, l.from = inner, bare(inner.Get("from"), c.self)
		l.out = l.from == c.self
		l.chat = l.from
		if l.out {
			l.chat = bare(inner.Get("to"), c.self)
		}
		l.at = stamp(fw)
	}
	if l.at.IsZero() {
		l.at = stamp(el)
	}
	if l.at.IsZero() {
		l.at = time.Now()
	}
	l.id = l.el.Child(xmpp.NSSID, "origin-id").Get("id")
	if l.id == "" {
		l.id = l.el.Get("id")
	}
	return l, true
}

func bare(jid, other string) string {
	j, err := xmpp.ParseJID(jid)
	if err != nil {
		return other // a stanza of the server's own is from our account (RFC 6120 §8.1.2.1)
	}
	return j.Bare().String()
}

func stamp(el *xmpp.Element) time.Time {
	t, _ := time.Parse(time.RFC3339, el.Child(xmpp.NSDelay, "delay").Get("stamp"))
	return t.Local()
}

func (c *Client) bounced(l *letter, e *xmpp.StanzaError) error {
	why := "the server could not deliver it"
	if e != nil {
		why = string(e.Cond)
		if e.Text != "" {
			why = e.Text
		}
	}
	return c.advance(l.chat, l.id, Failed, why)
}

// sealedLetter opens an encrypted message. All that follows from it - the
// history, the receipt, chores - is durable in the commit that moves the ratchet.
func (c *Client) sealedLetter(l *letter, sealed *omemo.Message) error {
	b := c.book
	b.mu.Lock()
	if l.id != "" && sealed.Payload != nil {
		if m, err := b.find(l.out, l.chat, l.id); err != nil || m != nil {
			b.mu.Unlock()
			return err // a twin
		}
	}
	var kept *Message
	var bad error
	o, err := c.keys.Decrypt(l.from, sealed, func(o *omemo.Opened) (changes []vault.Change) {
		kept, changes, bad = c.opened(l, sealed.Wire, o)
		return changes
	})
	if err == nil && kept != nil {
		b.added(kept)
	}
	b.mu.Unlock()
	if err != nil {
		return c.unreadable(l, sealed, err)
	}
	if bad != nil {
		c.opt.Log.Warn("message refused", "id", l.id, "err", bad)
	}
	c.unlisted(o.From)
	if o.Answer || o.Keys || kept != nil || l.el.Child(nsRetry, "retry") != nil {
		c.nudge()
	}
	c.arrived(kept)
	return nil
}

// opened turns what came out into changes. Callers hold the book.
func (c *Client) opened(l *letter, w omemo.Wire, o *omemo.Opened) (kept *Message, changes []vault.Change, err error) {
	if o.Keys {
		changes = append(changes, vault.Change{Kind: kindMeta, Name: "published"})
	}
	if o.Answer {
		changes = append(changes, c.todo(o.From, repair{Wire: w}))
	}
	changes = append(changes, c.again(l, o)...)
	if o.Content == nil {
		return nil, changes, nil
	}
	body, has, err := bodyOf(w, o.Content, l.from)
	if err != nil || !has {
		return nil, changes, err
	}
	kept = &Message{ID: l.id, Chat: l.chat, Out: l.out, Body: body, At: l.at, Device: o.From.Device, Trust: o.Trust.String()}
	return kept, append(changes, c.keep(l, kept)...), nil
}

// keep gives the changes that put a message into the history and, when its
// sender wants to know, a receipt into the outbox (XEP-0184 §5).
func (c *Client) keep(l *letter, m *Message) []vault.Change {
	m.State = Received
	if m.Out {
		m.State = Sent
	}
	changes := c.book.add(m)
	if !l.out && l.id != "" && l.el.Child(xmpp.NSReceipts, "request") != nil {
		changes = append(changes, c.book.post(parcel{Chat: l.chat, Stanza: notice(l.chat, xmpp.NSReceipts, "received", l.el.Get("id"))}))
	}
	return changes
}

// arrived tells who listens.
func (c *Client) arrived(m *Message) {
	if m == nil {
		return
	}
	kind := Incoming
	if m.Out {
		kind = Outgoing
	}
	c.emit(Event{Kind: kind, Chat: m.Chat, Message: m})
}

// openLetter deals with what is not encrypted: ticks, typing and, from servers
// that allow it, readable text.
func (c *Client) openLetter(l *letter) error {
	if r := l.el.Child(xmpp.NSReceipts, "received"); r != nil && !l.out {
		return c.advance(l.chat, r.Get("id"), Delivered, "")
	}
	if r := l.el.Child(xmpp.NSMarkers, "displayed"); r != nil {
		if l.out {
			return c.seen(l.chat, math.MaxUint64, false)
		}
		return c.readUpTo(l.chat, r.Get("id"))
	}
	c.typing(l)
	body := l.el.Child(xmpp.NSClient, "body")
	if body == nil || l.el.Get("type") == "groupchat" {
		return nil
	}
	b := c.book
	b.mu.Lock()
	if l.id != "" {
		if m, err := b.find(l.out, l.chat, l.id); err != nil || m != nil {
			b.mu.Unlock()
			return err
		}
	}
	m := &Message{ID: l.id, Chat: l.chat, Out: l.out, Body: body.Text(), At: l.at, Trust: "not encrypted"}
	err := b.store.Commit(c.keep(l, m)...)
	if err == nil {
		b.added(m)
	}
	b.mu.Unlock()
	if err == nil {
		c.arrived(m)
		c.nudge()
	}
	return err
}

// readUpTo moves a message and those before it to read, oldest first (XEP-0333 §4.2).
func (c *Client) readUpTo(chat, id string) error {
	var ids []string
	m, err := c.book.look(true, chat, id)
	for err == nil && m != nil && (!m.Out || m.State != Read) {
		if m.Out && m.State != Failed {
			ids = append(ids, m.ID)
		}
		if m.Seq == 1 {
			break
		}
		m, err = c.book.lookAt(chat, m.Seq-1)
	}
	for _, id := range slices.Backward(ids) {
		if err == nil {
			err = c.advance(chat, id, Read, "")
		}
	}
	return err
}

// unreadable notes a message that does not open, and has it asked for again.
func (c *Client) unreadable(l *letter, sealed *omemo.Message, err error) error {
	ours := false
	for _, e := range []error{omemo.ErrNotForUs, omemo.ErrNoSession, omemo.ErrPreKey, omemo.ErrPayload, omemo.ErrIdentity,
		ratchet.ErrMAC, ratchet.ErrTooFar, ratchet.ErrFraming, ratchet.ErrReplay} {
		ours = ours || errors.Is(err, e)
	}
	switch {
	case !ours:
		return err // the disk: this message must come again
	case errors.Is(err, ratchet.ErrReplay), sealed.Payload == nil && errors.Is(err, omemo.ErrNotForUs):
		return nil
	case errors.Is(err, omemo.ErrIdentity):
		c.emit(Event{Kind: Unreadable, Chat: l.chat, Device: sealed.Sender, Why: err.Error()})
		return nil // a person must decide
	}
	r := repair{Wire: sealed.Wire, Fresh: !errors.Is(err, omemo.ErrNotForUs)}
	if l.id != "" && sealed.Payload != nil && !l.out {
		r.IDs = []string{l.id}
	}
	at := omemo.Address{User: l.from, Device: sealed.Sender}
	if at.User != c.self || r.Fresh {
		c.book.mu.Lock()
		err := c.opt.Store.Commit(c.todo(at, r))
		c.book.mu.Unlock()
		if err != nil {
			return err
		}
		c.nudge()
	}
	if sealed.Payload != nil {
		c.emit(Event{Kind: Unreadable, Chat: l.chat, Device: sealed.Sender, Why: err.Error()})
	}
	return nil
}
