// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"errors"

	"sotto/relay"
	"sotto/xmpp"
)

// What people of other servers may leave here: their accounts cost nothing.
const (
	requestsMax = 100     // that one account has not answered
	requestMax  = 4 << 10 // bytes; of a longer one only its start tag stays
)

// leaves sends presence to another server; who waits for an answer is told when
// there is no way to it.
func (r *roster) leaves(p *xmpp.Element) {
	if no, ok := errors.AsType[*xmpp.StanzaError](r.s.Route(p)); ok {
		r.s.Bounce(p.Bytes(), no)
	}
}

// probe asks another server how a contact is (RFC 6121 §4.3.1).
func (r *roster) probe(x *relay.Session, contact xmpp.JID) {
	if r.s.Blocks(x.User(), contact) {
		return
	}
	r.leaves(xmpp.El(xmpp.NSClient, "presence", "type", "probe", "from", x.JID().String(), "to", contact.Bare().String()))
}

// arrival takes presence from another server.
func (r *roster) arrival(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	switch st.Type {
	case "", "unavailable", "error":
		r.shown(st, el)
		return nil
	case "probe":
		r.probed(st)
		return nil
	case "subscribe", "subscribed", "unsubscribe", "unsubscribed":
		if st.Type == "subscribe" && r.crowded(st) {
			return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too many requests wait for an answer")
		}
		p := el.Clone().Set("from", st.From.Bare().String()).Set("to", st.To.Bare().String())
		if len(p.Bytes()) > requestMax {
			p = subscription(st.From.Bare(), st.To.Bare(), st.Type)
		}
		r.deliver(p)
		return nil
	}
	return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // RFC 6121 §4.7.1
}

// shown gives presence to whom it is addressed (RFC 6121 §8.5.2.1.2, §8.5.3.1);
// an error is of use only to the client that it answers.
func (r *roster) shown(st *xmpp.Stanza, el *xmpp.Element) {
	if r.s.Blocks(st.To.Local, st.From) {
		return
	}
	for _, y := range r.s.Clients(st.To) {
		if st.To.Resource == "" && y.Available() && st.Type != "error" || y.JID() == st.To {
			y.Push(el.Clone().Set("from", st.From.String()).Set("to", st.To.String()))
		}
	}
}

// probed answers for an account (RFC 6121 §4.3.2). An account that is not here
// answers as one that does not know who asks.
func (r *roster) probed(st *xmpp.Stanza) {
	user, own := st.To.Local, st.To.Bare()
	if r.s.Blocks(user, st.From) {
		return
	}
	if !r.s.MaySee(st.From, user) {
		r.leaves(subscription(own, st.From.Bare(), "unsubscribed"))
		return
	}
	there := false
	for _, y := range r.s.Sessions(user) {
		if p := y.Presence(); p != nil {
			there = true
			r.leaves(p.Clone().Set("to", st.From.String()))
		}
	}
	if !there {
		r.leaves(subscription(own, st.From, "unavailable"))
	}
}

// crowded says whether too many strangers wait for an answer already.
func (r *roster) crowded(st *xmpp.Stanza) bool {
	all, _, err := r.items(st.To.Local)
	if err != nil {
		return true
	}
	n := 0
	for i := range all {
		if all[i].JID == st.From.Bare().String() {
			return false
		}
		if all[i].In != "" && !all[i].Listed {
			n++
		}
	}
	return n >= requestsMax
}
