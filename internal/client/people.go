// SPDX-License-Identifier: Apache-2.0

package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"sotto/crypto/vault"
	"sotto/xmpp"
)

// Contact is somebody in the roster, or who asks to be.
type Contact struct {
	JID    string    `json:"jid"`
	Name   string    `json:"name,omitempty"`
	Sub    string    `json:"subscription"` // none, to, from, both (RFC 6121 §2.1.2.5)
	Ask    bool      `json:"ask,omitempty"`
	Wants  bool      `json:"wants,omitempty"` // asks to see our presence
	Online bool      `json:"online"`
	Show   string    `json:"show,omitempty"`
	Seen   time.Time `json:"seen,omitzero"` // when last online, as far as we may know

	here map[string]string // resource to show
}

// Contacts are all of them, by address.
func (c *Client) Contacts() []Contact {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Contact
	for _, p := range c.people {
		all = append(all, *p)
	}
	slices.SortFunc(all, func(x, y Contact) int { return cmp.Compare(x.JID, y.JID) })
	return all
}

// Chats are all talks, the latest first.
func (c *Client) Chats() []Chat { return c.book.list() }

// Waiting is how many stanzas of ours the server does not have yet.
func (c *Client) Waiting() int {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	return c.book.waiting
}

// History are the newest n messages of a chat, oldest first.
func (c *Client) History(chat string, n int) ([]Message, error) { return c.book.last(chat, n) }

// Older are the newest n messages of a chat before number seq, oldest first.
func (c *Client) Older(chat string, seq uint64, n int) ([]Message, error) {
	if seq <= 1 {
		return nil, nil
	}
	return c.book.upto(chat, seq-1, n)
}

// Draft keeps what was typed in a chat and not sent.
func (c *Client) Draft(chat, text string) error { return c.book.draft(chat, text) }

// Unsent is how many messages of ours the server does not have yet.
func (c *Client) Unsent() (int, error) { return c.book.unsent() }

// Seen marks a chat's messages as read and tells their sender.
func (c *Client) Seen(chat string) error { return c.seen(chat, math.MaxUint64, true) }

// SeenUpTo is Seen for the messages up to number seq.
func (c *Client) SeenUpTo(chat string, seq uint64) error { return c.seen(chat, seq, true) }

func (c *Client) seen(chat string, upTo uint64, tell bool) error {
	b := c.book
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := b.chats[chat]
	if ch == nil || ch.Unread == 0 {
		return nil
	}
	all, err := b.last(chat, ch.Unread+100)
	if err != nil {
		return err
	}
	var changes []vault.Change
	newest, unread := "", 0
	for _, m := range all {
		if m.Out || m.Seen {
			continue
		}
		if m.Seq > upTo {
			unread++
			continue
		}
		m.Seen, newest = true, m.ID
		changes = append(changes, vault.Change{Kind: kindLog + chat, Seq: m.Seq, Value: marshal(m)})
	}
	now := *ch
	now.Unread = unread
	changes = append(changes, vault.Change{Kind: kindChat, Name: chat, Value: marshal(now)})
	if tell && newest != "" {
		changes = append(changes, b.post(parcel{Chat: chat, Stanza: notice(chat, xmpp.NSMarkers, "displayed", newest)}))
	}
	if err := b.store.Commit(changes...); err != nil {
		return err
	}
	*ch = now
	c.nudge()
	return nil
}

func (c *Client) loadPeople() error {
	return c.opt.Store.Each(kindPeople, func(name string, v []byte) error {
		p := &Contact{}
		err := json.Unmarshal(v, p)
		p.Online, p.Show = false, ""
		c.people[name] = p
		return err
	})
}

// enter gets the roster, makes our keys known and says that we are here.
func (c *Client) enter(ctx context.Context, s *session) error {
	c.nobodyHere()
	el, err := s.ask(ctx, "get", "", xmpp.El(xmpp.NSRoster, "query"))
	if err != nil {
		return fmt.Errorf("roster: %w", err)
	}
	if err := c.roster(el.Child(xmpp.NSRoster, "query"), true); err != nil {
		return err
	}
	if err := c.announce(ctx, s); err != nil {
		return fmt.Errorf("publish keys: %w", err)
	}
	c.mu.Lock()
	c.entered = true
	if !c.quiet {
		s.send(hello())
	}
	c.mu.Unlock()
	c.emit(Event{Kind: Ready})
	return nil
}

func hello() *xmpp.Element { return xmpp.El(xmpp.NSClient, "presence").Add(capsElement()) }

// Appear makes a quiet device present: it is seen, and gets its mail.
func (c *Client) Appear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.quiet && c.entered {
		c.session.send(hello())
	}
	c.quiet = false
	c.nudge()
}

func (c *Client) present() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.quiet
}

// nobodyHere forgets who was here: a new session is told of each who is, and
// of nobody who is not (RFC 6121 §4.3.2).
func (c *Client) nobodyHere() {
	c.mu.Lock()
	var left []string
	for jid, p := range c.people {
		if p.Online {
			p.Online, p.Show, p.here = false, "", nil
			left = append(left, jid)
		}
	}
	c.mu.Unlock()
	for _, jid := range left {
		c.emit(Event{Kind: Presence, Chat: jid})
	}
}

// person changes what we know of somebody, and keeps it.
func (c *Client) person(jid string, change func(*Contact)) {
	c.mu.Lock()
	p := c.people[jid]
	known := p != nil
	if !known {
		p = &Contact{JID: jid, Sub: "none"}
		c.people[jid] = p
	}
	before := marshal(p)
	change(p)
	v, now := marshal(p), *p
	now.here = nil
	c.mu.Unlock()
	if bytes.Equal(v, before) && known {
		c.emit(Event{Kind: Presence, Chat: jid, Contact: &now})
		return
	}
	if err := c.opt.Store.Commit(vault.Change{Kind: kindPeople, Name: jid, Value: v}); err != nil {
		c.opt.Log.Error("keep contact", "err", err)
	}
	c.emit(Event{Kind: Presence, Chat: jid, Contact: &now})
}

// roster takes the roster, or a push of one item (RFC 6121 §2.1.6).
func (c *Client) roster(q *xmpp.Element, whole bool) error {
	there := map[string]bool{}
	for _, it := range q.Children() {
		jid := bare(it.Get("jid"), "")
		if jid == "" || !it.Is(xmpp.NSRoster, "item") {
			continue
		}
		there[jid] = true
		if it.Get("subscription") == "remove" {
			c.forget(jid)
			continue
		}
		c.person(jid, func(p *Contact) {
			p.Name, p.Sub, p.Ask = it.Get("name"), cmp.Or(it.Get("subscription"), "none"), it.Get("ask") == "subscribe"
			p.Wants = p.Wants && p.Sub != "both" && p.Sub != "from"
		})
	}
	if !whole {
		return nil
	}
	for _, p := range c.Contacts() {
		if !there[p.JID] && !p.Wants {
			c.forget(p.JID)
		}
	}
	return nil
}

func (c *Client) forget(jid string) {
	c.mu.Lock()
	delete(c.people, jid)
	c.mu.Unlock()
	if err := c.opt.Store.Commit(vault.Change{Kind: kindPeople, Name: jid}); err != nil {
		c.opt.Log.Error("forget contact", "err", err)
	}
	c.emit(Event{Kind: Presence, Chat: jid})
}

// presence follows who is here (RFC 6121 §4) and who asks (§3.1.3).
func (c *Client) presence(s *session, el *xmpp.Element) {
	from, err := xmpp.ParseJID(el.Get("from"))
	if err != nil || from.Bare().String() == c.self {
		return
	}
	jid := from.Bare().String()
	switch el.Get("type") {
	case "subscribe":
		c.mu.Lock()
		p := c.people[jid]
		both := p != nil && (p.Ask || p.Sub == "to" || p.Sub == "both")
		c.mu.Unlock()
		if both {
			s.send(xmpp.El(xmpp.NSClient, "presence", "to", jid, "type", "subscribed")) // we asked first
			return
		}
		c.person(jid, func(p *Contact) { p.Wants = true })
		c.emit(Event{Kind: Asked, Chat: jid})
	case "":
		c.person(jid, func(p *Contact) {
			if p.here == nil {
				p.here = map[string]string{}
			}
			p.here[from.Resource] = el.Child(xmpp.NSClient, "show").Text()
			p.Online, p.Show, p.Seen = true, p.here[from.Resource], time.Now()
		})
	case "unavailable":
		c.person(jid, func(p *Contact) {
			if p.Online {
				p.Seen = time.Now()
			}
			delete(p.here, from.Resource)
			if from.Resource == "" {
				clear(p.here)
			}
			p.Online = len(p.here) > 0
		})
	}
}

// Add asks somebody for their presence and lets them see ours.
func (c *Client) Add(ctx context.Context, jid, name string) error {
	return c.AddInvited(ctx, jid, name, "")
}

// AddInvited is Add with the token of an invitation, which is its own approval
// (XEP-0379 §3.4).
func (c *Client) AddInvited(ctx context.Context, jid, name, token string) error {
	s, err := c.up()
	if err != nil {
		return err
	}
	item := xmpp.El(xmpp.NSRoster, "item", "jid", jid)
	if name != "" {
		item.Set("name", name)
	}
	if _, err := s.ask(ctx, "set", "", xmpp.El(xmpp.NSRoster, "query").Add(item)); err != nil {
		return err
	}
	s.send(xmpp.El(xmpp.NSClient, "presence", "to", jid, "type", "subscribed")) // also ahead of time (RFC 6121 §3.4)
	ask := xmpp.El(xmpp.NSClient, "presence", "to", jid, "type", "subscribe")
	if token != "" {
		ask.Add(xmpp.El(xmpp.NSPars, "preauth", "token", token))
	}
	s.send(ask)
	return c.barrier(ctx, s)
}

// Remove takes somebody off the roster, both stop seeing each other; or says
// no to who asks (RFC 6121 §3.1.4).
func (c *Client) Remove(ctx context.Context, jid string) error {
	s, err := c.up()
	if err != nil {
		return err
	}
	c.mu.Lock()
	p := c.people[jid]
	stranger := p != nil && p.Wants && p.Sub == "none" && !p.Ask
	c.mu.Unlock()
	if stranger {
		s.send(xmpp.El(xmpp.NSClient, "presence", "to", jid, "type", "unsubscribed"))
		c.forget(jid)
		return c.barrier(ctx, s)
	}
	_, err = s.ask(ctx, "set", "", xmpp.El(xmpp.NSRoster, "query").Add(xmpp.El(xmpp.NSRoster, "item", "jid", jid, "subscription", "remove")))
	return err
}

func (c *Client) up() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.online {
		return nil, errGone
	}
	return c.session, nil
}

// barrier returns when the server has dealt with all that we sent before it.
func (c *Client) barrier(ctx context.Context, s *session) error {
	_, err := s.ask(ctx, "get", c.opt.Account.Domain, xmpp.El(xmpp.NSPing, "ping"))
	var e *xmpp.StanzaError
	if errors.As(err, &e) {
		return nil // an answer is an answer
	}
	return err
}
