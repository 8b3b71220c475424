// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"encoding/json"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// presence takes what a session sends (RFC 6121 §3, §4).
func (r *roster) presence(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	switch st.Type {
	case "", "unavailable":
		if st.HasTo { // also to oneself: nobody else sees it (§4.6.1)
			return r.directed(x, st, el)
		}
		return r.broadcast(x, el)
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		if !st.HasTo || st.To.Local == "" {
			return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		return r.subscribe(x, st, el)
	case "error": // §8.5.3.1
		if y := r.s.Find(st.To); st.HasTo && y != nil && !r.s.Blocks(st.To.Local, x.JID()) {
			y.Push(el.Clone().Set("from", x.JID().String()))
		}
		return nil
	case "probe":
		return nil // §4.3: probes are the server's business
	}
	return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // §4.7.1
}

// subscribe handles the owner's side: the stanza is delivered, then the owner's
// clients are shown the change (RFC 6121 §3.1.2, §3.1.5); but who loses the
// right to see us sees us go before he hears of it (§3.2.2).
func (r *roster) subscribe(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	to := st.To.Bare()
	if to == x.JID().Bare() {
		return nil
	}
	saw := false
	e, push, err := r.edit(x.User(), to.String(), func(i *item) effect {
		saw = i.From
		return i.outbound(st.Type)
	})
	if err != nil {
		return err
	}
	if st.Type == "unsubscribed" && saw {
		r.sendAll(x.User(), to, "unavailable")
	}
	if e.pass {
		r.deliver(el.Clone().Set("from", x.JID().Bare().String()).Set("to", to.String()))
	}
	push()
	if st.Type == "subscribed" && e.pass {
		r.sendAll(x.User(), to, "")
	}
	return nil
}

// deliver takes a subscription stanza to the contact's side (§3.1.3): first the
// stanza, then the change (§3.1.6, §3.2.3, §3.3.3).
func (r *roster) deliver(el *xmpp.Element) {
	from, err1 := xmpp.ParseJID(el.Get("from"))
	to, err2 := xmpp.ParseJID(el.Get("to"))
	if err2 == nil && r.s.Elsewhere(to) {
		r.leaves(el)
		return
	}
	if err1 != nil || err2 != nil || !r.s.Local(to) || r.s.Blocks(to.Local, from) {
		return
	}
	if _, err := r.s.Store().Account(to.Local); err != nil {
		return // §3.1.3: nobody learns that there is no such account
	}
	if el.Get("type") == "subscribe" && el.Child(nsMoved, "moved") != nil && r.moved(to.Bare(), from.Bare(), el) {
		return
	}
	r.arrives(from, to, el)
}

// arrives is deliver for an account here that may be reached.
func (r *roster) arrives(from, to xmpp.JID, el *xmpp.Element) {
	typ, token := el.Get("type"), el.Child(xmpp.NSPars, "preauth").Get("token")
	invited := typ == "subscribe" && token != "" && r.s.Invited(to.Local, token)
	e, push, err := r.edit(to.Local, from.String(), func(i *item) effect {
		if invited { // XEP-0379 §3.5
			i.Approved, i.Listed = true, true
		}
		return i.inbound(typ, asked(el))
	})
	if err != nil {
		r.trouble(err)
		return
	}
	if e.pass {
		for _, y := range r.s.Sessions(to.Local) {
			if typ == "subscribe" && y.Available() || typ != "subscribe" && y.Interested() {
				y.Push(el)
			}
		}
	}
	if e.pass && typ == "subscribe" {
		r.s.Nudge(to.Local)
	}
	push()
	switch e.reply {
	case "subscribed":
		r.deliver(subscription(to, from, "subscribed"))
		r.sendAll(to.Local, from, "")
	case "unavailable":
		r.sendAll(to.Local, from, "unavailable")
	}
	if invited {
		r.askBack(to, from)
	}
}

// askBack asks to see who came by an invitation; he has approved it mostly.
func (r *roster) askBack(owner, guest xmpp.JID) {
	_, push, err := r.edit(owner.Local, guest.String(), func(i *item) effect { return i.outbound("subscribe") })
	if err != nil {
		r.trouble(err)
		return
	}
	push()
	r.deliver(subscription(owner, guest, "subscribe"))
}

// befriend makes two people contacts of each other, as if both had asked and
// approved.
func (r *roster) befriend(a, b string) {
	for range 2 {
		owner, other := xmpp.JID{Local: a, Domain: r.s.Domain()}, xmpp.JID{Local: b, Domain: r.s.Domain()}
		_, push, err := r.edit(owner.Local, other.String(), func(i *item) effect {
			i.To, i.From, i.Ask, i.In, i.Approved, i.Listed = true, true, false, "", false, true
			return effect{push: true}
		})
		r.trouble(err)
		push()
		a, b = b, a
	}
	r.sendAll(a, xmpp.JID{Local: b, Domain: r.s.Domain()}, "")
	r.sendAll(b, xmpp.JID{Local: a, Domain: r.s.Domain()}, "")
}

func subscription(from, to xmpp.JID, typ string) *xmpp.Element {
	return xmpp.El(xmpp.NSClient, "presence", "type", typ, "from", from.String(), "to", to.String())
}

// sendAll sends the presence of all of a user's resources to one contact.
func (r *roster) sendAll(user string, to xmpp.JID, typ string) {
	for _, x := range r.s.Sessions(user) {
		p := x.Presence()
		if p == nil {
			continue
		}
		if typ != "" {
			p = xmpp.El(xmpp.NSClient, "presence", "type", typ, "from", x.JID().String())
		}
		r.toUser(to, p)
	}
}

// toUser gives a presence to all available resources of a contact.
func (r *roster) toUser(to xmpp.JID, p *xmpp.Element) {
	from, err := xmpp.ParseJID(p.Get("from"))
	if err == nil && r.s.Elsewhere(to) && !r.s.Blocks(from.Local, to) {
		r.leaves(p.Clone().Set("to", to.Bare().String()))
		return
	}
	if err != nil || !r.s.Local(to) || r.s.Blocks(to.Local, from) || r.s.Blocks(from.Local, to) {
		return
	}
	for _, y := range r.s.Sessions(to.Local) {
		if y.Available() {
			y.Push(p.With("to", to.Bare().String()))
		}
	}
}

// broadcast is §4.2.2 and §4.4.2: to contacts that may see it, and to the own
// other resources.
func (r *roster) broadcast(x *relay.Session, el *xmpp.Element) error {
	all, _, err := r.items(x.User())
	if err != nil {
		return err
	}
	p := el.Clone().Set("from", x.JID().String())
	if p.Get("type") == "unavailable" {
		r.tellDirected(x, p)
		if !x.Available() { // nobody else has seen it
			return nil
		}
	}
	for i := range all {
		if jid, err := xmpp.ParseJID(all[i].JID); err == nil && all[i].From {
			r.toUser(jid, p)
		}
	}
	x.Together(func() { r.own(x, p, all) })
	return nil
}

// own is what the user's own resources hear, and a newcomer.
func (r *roster) own(x *relay.Session, p *xmpp.Element, all []item) {
	initial := x.Initial()
	for _, y := range r.s.Sessions(x.User()) {
		if !y.Available() {
			continue
		}
		y.Push(p.With("to", y.JID().String()))
		if other := y.Presence(); initial && y != x && other != nil {
			x.Push(other.With("to", x.JID().String()))
		}
	}
	if initial {
		r.first(x, all)
	}
}

// first gives a newcomer what it missed: the presence of its contacts (§4.3.2)
// and the requests that are not answered (§3.1.3).
func (r *roster) first(x *relay.Session, all []item) {
	for i := range all {
		jid, err := xmpp.ParseJID(all[i].JID)
		if err != nil {
			continue
		}
		if all[i].In != "" {
			if el, err := xmpp.Parse([]byte(all[i].In), xmpp.NSClient); err == nil {
				x.Push(el)
			}
		}
		if all[i].To && r.s.Elsewhere(jid) {
			r.probe(x, jid)
			continue
		}
		if !all[i].To || !r.s.Local(jid) || r.s.Blocks(x.User(), jid) || r.s.Blocks(jid.Local, x.JID()) {
			continue
		}
		for _, y := range r.s.Sessions(jid.Local) {
			if p := y.Presence(); p != nil && y.User() != x.User() {
				x.Push(p.With("to", x.JID().String()))
			}
		}
	}
}

// revive tells a client that resumed after a crash how its contacts are: what
// was said meanwhile may be lost. One who is not there is unavailable as a
// whole (§4.3.2).
func (r *roster) revive(x *relay.Session) {
	all, _, err := r.items(x.User())
	if err != nil || x.Presence() == nil {
		return
	}
	for _, y := range r.s.Sessions(x.User()) {
		if p := y.Presence(); p != nil && y != x {
			x.Push(p.With("to", x.JID().String()))
		}
	}
	for i := range all {
		jid, err := xmpp.ParseJID(all[i].JID)
		if err == nil && all[i].To && r.s.Elsewhere(jid) {
			r.probe(x, jid)
			continue
		}
		if err != nil || !all[i].To || !r.s.Local(jid) || r.s.Blocks(x.User(), jid) || r.s.Blocks(jid.Local, x.JID()) {
			continue
		}
		there := false
		for _, y := range r.s.Sessions(jid.Local) {
			if p := y.Presence(); p != nil {
				x.Push(p.With("to", x.JID().String()))
				there = true
			}
		}
		if !there {
			x.Push(subscription(jid, x.JID(), "unavailable"))
		}
	}
}

// directed is §4.6: to one entity, whatever the subscription; it is told when
// the sender goes.
func (r *roster) directed(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	p := el.Clone().Set("from", x.JID().String())
	if r.s.Elsewhere(st.To) && !r.s.Blocks(x.User(), st.To) {
		x.Direct(st.To, st.Type == "")
		r.leaves(p)
		return nil
	}
	if st.To.Local == "" || !r.s.Local(st.To) || r.s.Blocks(st.To.Local, x.JID()) || r.s.Blocks(x.User(), st.To) {
		return nil
	}
	x.Direct(st.To, st.Type == "")
	for _, y := range r.s.Sessions(st.To.Local) {
		if st.To.Resource == "" && y.Available() || y.JID() == st.To {
			y.Push(p.With("to", st.To.String()))
		}
	}
	return nil
}

// gone tells everybody who saw the session (§4.5.2, §4.6.3).
func (r *roster) gone(x *relay.Session) {
	p := xmpp.El(xmpp.NSClient, "presence", "type", "unavailable", "from", x.JID().String())
	if x.Presence() != nil {
		if err := r.broadcast(x, p); err != nil {
			r.s.Log().Error("last presence", "err", err)
		}
		return
	}
	r.tellDirected(x, p)
}

// tellDirected ends directed presence: each is told once (§4.6.3).
func (r *roster) tellDirected(x *relay.Session, p *xmpp.Element) {
	for _, to := range x.Directed() {
		if r.s.Elsewhere(to) {
			x.Direct(to, false)
			r.leaves(p.Clone().Set("to", to.String()))
		}
		if !r.s.Local(to) {
			continue // a host looks after its own
		}
		x.Direct(to, false)
		for _, y := range r.s.Sessions(to.Local) {
			if to.Resource == "" && y.Available() || y.JID() == to {
				y.Push(p.With("to", to.String()))
			}
		}
	}
}

// maySee says whether watcher has a subscription to user's presence.
func (r *roster) maySee(watcher xmpp.JID, user string) bool {
	if r.s.Local(watcher) && watcher.Local == user {
		return true
	}
	ok := false
	err := r.s.Store().View(user, func(rec *offline.Records) error {
		var i item
		if b := rec.Get("roster", watcher.Bare().String()); b != nil {
			if err := json.Unmarshal(b, &i); err != nil {
				return err
			}
		}
		ok = i.From
		return nil
	})
	return ok && err == nil
}
