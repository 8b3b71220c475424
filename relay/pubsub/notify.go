// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// announce tells of a change inside a node.
func (b *broker) announce(w *wish, c *config, change *xmpp.Element) {
	b.tell(w, c, xmpp.El(xmpp.NSPubsubEvent, "items", "node", w.node).Add(change))
}

// tell sends an event to who wants it and may have it: contacts by their
// capabilities (XEP-0163 §4), and those who subscribed (XEP-0060 §7.1.2).
func (b *broker) tell(w *wish, c *config, what *xmpp.Element) {
	var subs []sub
	err := b.s.Store().View(w.owner, func(rec *offline.Records) error {
		subs = subsOf(rec, w.node)
		return nil
	})
	if err != nil {
		b.s.Log().Error("subscribers", "err", err)
	}
	b.tellThese(w, c, what, subs)
}

func (b *broker) tellThese(w *wish, c *config, what *xmpp.Element, subs []sub) {
	if c.Mute {
		return
	}
	event := xmpp.El(xmpp.NSPubsubEvent, "event").Add(what)
	told := map[*relay.Session]bool{}
	if w.pep {
		for _, who := range append(b.s.Watchers(w.owner), w.jid) {
			if !b.mayHear(w, c, who, false) {
				continue
			}
			for _, x := range b.s.Clients(who) {
				if b.wanted(x, w.node) && !told[x] {
					told[x] = true
					b.hand(w, x, x.JID(), event)
				}
			}
		}
	}
	now := b.s.Now()
	for i := range subs {
		s := &subs[i]
		if s.Off || s.over(now) || s.Pending && what.Name.Local != "delete" || !b.mayHear(w, c, s.jid, !s.Pending) {
			continue
		}
		if c.Mail != "" && !w.pep {
			if !c.OnlyHere || len(b.present(s.jid, s.Show)) > 0 {
				b.send(w, c.Mail, s.jid, event)
			}
			continue
		}
		for _, x := range b.present(s.jid, s.Show) {
			if !told[x] {
				told[x] = true
				b.hand(w, x, s.jid, event)
			}
		}
	}
}

// mayHear holds a listener against the access model of now, and against what
// he, or the account, refuses to have to do with.
func (b *broker) mayHear(w *wish, c *config, who xmpp.JID, in bool) bool {
	if w.pep && b.s.Blocks(w.owner, who) || b.s.Local(who) && b.s.Blocks(who.Local, w.jid) {
		return false
	}
	return b.allowed(w.place, c, who, func() bool { return in }) == nil
}

// present are the sessions of an address that take headlines (RFC 6121
// §8.5.2.1.1) and, if show names some, are present that way.
func (b *broker) present(to xmpp.JID, show []string) (all []*relay.Session) {
	if b.s.Elsewhere(to) { // its server knows which clients are there
		return []*relay.Session{b.s.Find(to)}
	}
	if !b.s.Local(to) {
		return nil
	}
	for _, x := range b.s.Sessions(to.Local) {
		pres := x.Presence()
		here := pres != nil && x.Priority() >= 0
		if !to.IsBare() {
			here = x.JID() == to
		}
		if here && len(show) > 0 {
			is := pres.Child(xmpp.NSClient, "show").Text()
			if is == "" {
				is = "online"
			}
			here = pres != nil && slices.Contains(show, is)
		}
		if here {
			all = append(all, x)
		}
	}
	return all
}

func (b *broker) message(w *wish, typ string, to xmpp.JID, what *xmpp.Element) *xmpp.Element {
	m := xmpp.El(xmpp.NSClient, "message", "type", typ, "from", w.jid.String(), "to", to.String(), "id", relay.NewID())
	return m.Add(what.Clone())
}

// hand gives a session a headline. What other people do never ends it: one
// that reads too slowly misses something.
func (b *broker) hand(w *wish, x *relay.Session, to xmpp.JID, what *xmpp.Element) {
	m := b.message(w, "headline", to, what)
	if x.User() == w.from.Local && b.s.Local(w.from) {
		x.Push(m)
	} else if !x.Offer(m) {
		b.s.Log().Debug("a slow client misses an event", "dev", x.Device())
	}
}

// send says something to one address: as a headline, or with another type as
// mail that waits (XEP-0060 §12.7).
func (b *broker) send(w *wish, typ string, to xmpp.JID, what *xmpp.Element) {
	if typ == "" || typ == "headline" || w.errand == nil {
		for _, x := range b.present(to, nil) {
			b.hand(w, x, to, what)
		}
		return
	}
	if !b.s.Local(to) && !b.s.Elsewhere(to) {
		return
	}
	if err := w.errand.Deliver(b.message(w, typ, to, what), to); err != nil {
		b.s.Log().Debug("event not delivered", "err", err)
	}
}

// lastTo sends somebody the newest item, as old as it is (§6.1.7).
func (b *broker) lastTo(w *wish, c *config, to xmpp.JID) {
	if c.Last == "never" || c.Mute {
		return
	}
	var newest *item
	err := b.s.Store().View(w.owner, func(rec *offline.Records) error {
		if l := c.unexpired(itemsOf(rec, w.node), b.s.Now()); len(l) > 0 {
			newest = &l[len(l)-1]
		}
		return nil
	})
	if err != nil || newest == nil {
		return
	}
	what := xmpp.El(xmpp.NSPubsubEvent, "event").Add(
		xmpp.El(xmpp.NSPubsubEvent, "items", "node", w.node).Add(newest.element(xmpp.NSPubsubEvent, c)))
	sessions := b.present(to, nil)
	if w.from.Bare() == to.Bare() { // who asks is there, whether he says so or not
		if x := b.s.Find(w.from); x != nil && !slices.Contains(sessions, x) {
			sessions = append(sessions, x)
		}
	}
	for _, x := range sessions {
		m := b.message(w, "headline", to, what)
		if newest.At > 0 {
			m.Add(xmpp.El(xmpp.NSDelay, "delay", "stamp", time.Unix(newest.At, 0).UTC().Format("2006-01-02T15:04:05Z")))
		}
		x.Offer(m)
	}
}
