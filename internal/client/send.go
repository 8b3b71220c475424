// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	"sotto/xmpp"
)

// Send keeps a message and sends it as soon as it can. When it returns, the
// message is on our disk, queued.
func (c *Client) Send(to xmpp.JID, body string) (*Message, error) {
	return c.SendOnce(to, rand.Text(), body)
}

// SendOnce is Send with the caller's id: with the same id it sends once and
// gives the message as it is.
func (c *Client) SendOnce(to xmpp.JID, id, body string) (*Message, error) {
	if body == "" {
		return nil, errors.New("the message is empty")
	}
	body = strings.Map(carried, body)
	m := &Message{ID: id, Chat: to.Bare().String(), Out: true, Body: body, At: time.Now().Truncate(time.Millisecond), Device: c.Device()}
	b := c.book
	b.mu.Lock()
	if old, err := b.find(true, m.Chat, id); err != nil || old != nil {
		b.mu.Unlock()
		return old, err
	}
	err := b.store.Commit(append(b.add(m), b.post(parcel{ID: m.ID, Chat: m.Chat}))...)
	if err == nil {
		b.added(m)
	}
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	delete(c.said, m.Chat) // the message ends it
	c.mu.Unlock()
	c.emit(Event{Kind: Outgoing, Chat: m.Chat, Message: m})
	c.nudge()
	return m, nil
}

// carried replaces what no XML can carry (XML 1.0 §2.2), and so no message.
func carried(r rune) rune {
	if r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r < 0xfffe || r > 0xffff {
		return r
	}
	return '\ufffd'
}

// ship writes what the outbox holds, in order; what is not sealed is sealed now.
func (c *Client) ship(ctx context.Context, s *session) error {
	due, err := c.book.due()
	if err != nil {
		return err
	}
	for _, p := range due {
		if p.Stanza == nil {
			if err := c.seal(ctx, s, &p); err != nil {
				return err
			}
			if p.Stanza == nil {
				continue // it failed, and says why
			}
		}
		el, err := xmpp.Parse(p.Stanza, xmpp.NSClient)
		if err != nil {
			return err
		}
		c.book.fly(p.seq)
		s.sendParcel(el, &p)
	}
	return c.unmanaged(ctx, s, due)
}

// unmanaged proves by a ping that a server without stream management has what
// was sent before it (RFC 6120 §10.1: in order).
func (c *Client) unmanaged(ctx context.Context, s *session, due []parcel) error {
	if s.managed || len(due) == 0 {
		return nil
	}
	if _, err := s.ask(ctx, "get", c.opt.Account.Domain, xmpp.El(xmpp.NSPing, "ping")); errors.Is(err, errGone) {
		return err
	}
	return c.took(due)
}

// settle moves what the server has acked to sent.
func (c *Client) settle(s *session) error { return c.took(s.done()) }

func (c *Client) took(all []parcel) error {
	for _, p := range all {
		if p.Stanza == nil {
			continue
		}
		if err := c.leave(&p, Sent, ""); err != nil {
			return err
		}
	}
	return nil
}

// leave takes an entry out of the outbox; its message, if it is one, has come so far.
func (c *Client) leave(p *parcel, to State, why string) (err error) {
	var m *Message
	if p.ID == "" || p.Only != 0 {
		err = c.opt.Store.Commit(drop(p.seq))
	} else {
		m, err = c.book.advance(p.Chat, p.ID, to, why, drop(p.seq))
	}
	if err != nil {
		return err
	}
	c.book.dropped(p.seq)
	c.changed(m)
	return nil
}

// advance moves a message of ours and tells who listens.
func (c *Client) advance(chat, id string, to State, why string) error {
	m, err := c.book.advance(chat, id, to, why)
	if err == nil {
		c.changed(m)
	}
	return err
}

func (c *Client) changed(m *Message) {
	if m != nil {
		c.emit(Event{Kind: Changed, Chat: m.Chat, Message: m, Why: m.Why})
	}
}

// targets are the devices of one message by wire, each with a session.
type targets struct {
	to   [2][]omemo.Address
	left []string // devices left out, and why
}

// aim finds the devices that a message is for, all of the receiver's and our
// other ones, each on one wire. When one of them needs the old wire, all that
// can take it.
func (c *Client) aim(ctx context.Context, s *session, p *parcel) (*targets, error) {
	all, err := c.wanted(ctx, s, p)
	if err != nil {
		return nil, err
	}
	order := omemo.Wires
	if slices.ContainsFunc(all, func(x wanted) bool { return x.classic }) {
		slices.Reverse(order[:])
	}
	t := &targets{}
	for _, x := range all {
		var why error
		for _, w := range order {
			if !x.on[w] {
				continue
			}
			if why = c.meet(ctx, s, w, x.at); why == nil {
				t.to[w] = append(t.to[w], x.at)
				break
			}
			if errors.Is(why, errGone) {
				return nil, why
			}
		}
		if why != nil {
			t.left = append(t.left, fmt.Sprintf("device %d of %s: %v", x.at.Device, x.at.User, why))
		}
	}
	return t, nil
}

// A wanted device is one that a message is for.
type wanted struct {
	at      omemo.Address
	on      [2]bool // lists
	classic bool
}

func (c *Client) wanted(ctx context.Context, s *session, p *parcel) (all []wanted, err error) {
	for _, user := range slices.Compact([]string{p.Chat, c.self}) {
		l, err := c.devicesOf(ctx, s, user)
		if err != nil {
			return nil, err
		}
		for _, w := range omemo.Wires {
			for _, d := range l.Of[w] {
				x := wanted{omemo.Address{User: user, Device: d}, [2]bool{l.has(0, d), l.has(1, d)}, l.classic(d)}
				if x.at == c.keys.Self() || p.Only != 0 && (d != p.Only || user != p.Chat) || slices.Contains(all, x) {
					continue
				}
				all = append(all, x)
			}
		}
	}
	return all, nil
}

// meet makes sure that there is a session with a device.
func (c *Client) meet(ctx context.Context, s *session, w omemo.Wire, at omemo.Address) error {
	has, err := c.keys.HasSession(w, at)
	if err != nil || has {
		return err
	}
	return c.begin(ctx, s, w, at)
}

// seal encrypts a message of the outbox; the sealed stanza becomes durable
// before it is written, so that the same bytes are sent again if need be.
func (c *Client) seal(ctx context.Context, s *session, p *parcel) error {
	m, err := c.book.look(true, p.Chat, p.ID)
	if err != nil {
		return err
	}
	if m == nil {
		return c.leave(p, Failed, "")
	}
	t, err := c.aim(ctx, s, p)
	if err != nil {
		return err
	}
	content := [2][]byte{omemo.Old: []byte(m.Body), omemo.Two: envelope(c.self, m.Body, m.At)}
	var sealed []*xmpp.Element
	reached := 0
	for _, w := range omemo.Wires {
		if len(t.to[w]) == 0 {
			continue
		}
		done, left, err := c.keys.Encrypt(w, t.to[w], content[w], nil)
		if err != nil {
			return err
		}
		for _, l := range left {
			t.left = append(t.left, fmt.Sprintf("device %d of %s: %v", l.To.Device, l.To.User, l.Why))
		}
		reached += countOf(t.to[w], left, p.Chat)
		if len(done.Keys) > 0 {
			sealed = append(sealed, encryptedElement(done))
		}
	}
	if reached == 0 {
		return c.unsealed(p, t)
	}
	p.Stanza = p.stanza(m, sealed)
	changes := []vault.Change{{Kind: kindOutbox, Seq: p.seq, Value: marshal(p)}}
	if why := strings.Join(t.left, "; "); why != "" && p.Only == 0 {
		m.Why = "left out: " + why
		changes = append(changes, vault.Change{Kind: kindLog + m.Chat, Seq: m.Seq, Value: marshal(m)})
	}
	return c.opt.Store.Commit(changes...)
}

// countOf is how many of the receiver's devices a message was sealed for.
func countOf(to []omemo.Address, left []omemo.Left, user string) (n int) {
	for _, at := range to {
		if at.User == user && !slices.ContainsFunc(left, func(l omemo.Left) bool { return l.To == at }) {
			n++
		}
	}
	return n
}

// unsealed ends a message that nobody could read.
func (c *Client) unsealed(p *parcel, t *targets) error {
	why := p.Chat + " has no device that reads encrypted messages"
	if len(t.left) > 0 {
		why = strings.Join(t.left, "; ")
	}
	return c.leave(p, Failed, why)
}

// stanza is a message as it goes out: sealed content, what asks for ticks, and
// a text for clients that cannot read it (XEP-0384 §5.4).
func (p *parcel) stanza(m *Message, sealed []*xmpp.Element) []byte {
	ns := sealed[len(sealed)-1].Name.Space
	return xmpp.El(xmpp.NSClient, "message", "type", "chat", "to", m.Chat, "id", m.ID).Add(sealed...).Add(
		xmpp.El(xmpp.NSEME, "encryption", "namespace", ns, "name", "OMEMO"),
		xmpp.El(xmpp.NSChatStates, "active"), // what was typed has come (XEP-0085 §5.1)
		xmpp.El(xmpp.NSHints, "store"),
		xmpp.El(xmpp.NSReceipts, "request"),
		xmpp.El(xmpp.NSMarkers, "markable"),
		xmpp.El(xmpp.NSSID, "origin-id", "id", m.ID),
		xmpp.El(xmpp.NSClient, "body").WithText(hiddenText)).Bytes()
}

// notice is a receipt or a marker about somebody's message.
func notice(to, space, name, id string) []byte {
	return xmpp.El(xmpp.NSClient, "message", "type", "chat", "to", to, "id", rand.Text()).Add(
		xmpp.El(space, name, "id", id), xmpp.El(xmpp.NSHints, "store")).Bytes()
}
