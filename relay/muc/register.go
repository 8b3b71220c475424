// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"sotto/relay"
	"sotto/xmpp"
)

const nickField = "muc#register_roomnick"

// showRegister is §7.10: the form, and the nick that one has.
func (r *room) showRegister(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	if err := r.mayRegister(e.From); err != nil {
		return nil, err
	}
	res := xmpp.El(xmpp.NSRegister, "query")
	f := r.ranks[e.From.Bare()]
	if f.Nick != "" {
		res.Add(xmpp.El(xmpp.NSRegister, "registered"), xmpp.El(xmpp.NSRegister, "username").WithText(f.Nick))
	}
	form := xmpp.El(xmpp.NSData, "x", "type", "form").Add(field("FORM_TYPE", "hidden", "", xmpp.NSMUC+"#register"))
	n := field(nickField, "text-single", "Nickname", f.Nick)
	return res.Add(form.Add(n.Add(xmpp.El(xmpp.NSData, "required")))), nil
}

// mayRegister: in a room for members only they may, for the others are asked
// in by somebody.
func (r *room) mayRegister(who xmpp.JID) error {
	a := r.rankOf(who)
	if a == outcast {
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if r.conf.MembersOnly && a < member {
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	}
	return nil
}

// register reserves a nick and makes a member, or undoes both.
func (r *room) register(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	who := e.From.Bare()
	if err := r.mayRegister(who); err != nil {
		return nil, err
	}
	f, known := r.ranks[who]
	if q.Child(xmpp.NSRegister, "remove") != nil {
		if f.Rank >= admin {
			f.Nick = ""
			r.ranks[who] = f
			r.saveRank(who)
			return nil, nil
		}
		r.setRank(who, stranger, news{})
		return nil, nil
	}
	x := q.Child(xmpp.NSData, "x")
	if x.Get("type") == "cancel" {
		return nil, nil
	}
	at, err := r.jid.With(value(x, nickField))
	if err != nil || len(at.Resource) > nickMax {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if r.taken(at.Resource, who) {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	}
	if !known && len(r.ranks) >= ranksMax {
		return nil, tooMany
	}
	if f.Rank < member {
		r.setRank(who, member, news{by: e.From})
		f = r.ranks[who]
	}
	f.Nick = at.Resource
	r.ranks[who] = f
	r.saveRank(who)
	return nil, nil
}
