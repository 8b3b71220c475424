// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"sotto/relay"
	"sotto/xmpp"
)

const (
	invitesMax = 32 // in one message
	nsRequest  = xmpp.NSMUC + "#request"
)

// letter is a message to the room that is not for all: invitations, answers to
// them, and wishes for voice.
func (r *room) letter(e *relay.Errand, el *xmpp.Element, s *seat) error {
	x := el.Child(xmpp.NSMUCUser, "x")
	if f := el.Child(xmpp.NSData, "x"); f != nil && value(f, "FORM_TYPE") == nsRequest {
		return r.voice(s, f)
	}
	if d := x.Child(xmpp.NSMUCUser, "decline"); d != nil {
		return r.decline(e, d)
	}
	n := 0
	for _, k := range x.Children() {
		if !k.Is(xmpp.NSMUCUser, "invite") {
			continue
		}
		if n++; n > invitesMax {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("too many invitations in one message")
		}
		if err := r.invite(e, s, k); err != nil {
			return err
		}
	}
	if n == 0 {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return nil
}

// invite is §7.8.2. Who is asked into a room for members becomes one.
func (r *room) invite(e *relay.Errand, s *seat, k *xmpp.Element) error {
	to, err := xmpp.ParseJID(k.Get("to"))
	if err != nil || to.Local == "" {
		return xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
	}
	a := r.rankOf(e.From)
	if s == nil && a < member {
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if r.conf.MembersOnly && a < admin && !r.conf.Invites {
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	cost := float64(costSay)
	if !r.v.s.Local(to) || !r.v.s.MaySee(e.From, to.Local) {
		cost = costStranger
	}
	if err := r.v.spend(e.From, cost); err != nil {
		return err
	}
	if r.v.blocks(to, e.From) || r.v.blocks(to, r.jid) {
		return nil // as an account that does not answer
	}
	if r.conf.MembersOnly && r.rankOf(to) == stranger {
		if len(r.ranks) >= ranksMax {
			return tooMany
		}
		r.setRank(to.Bare(), member, news{by: e.From})
	}
	inv := xmpp.El(xmpp.NSMUCUser, "invite", "from", e.From.Bare().String())
	if s != nil && r.conf.Whois != "anyone" {
		inv.Set("from", s.o.at.String())
	}
	inv.Add(k.Child(xmpp.NSMUCUser, "reason").Clone(), k.Child(xmpp.NSMUCUser, "continue").Clone())
	x := xmpp.El(xmpp.NSMUCUser, "x").Add(inv)
	if r.conf.Password != "" {
		x.Add(xmpp.El(xmpp.NSMUCUser, "password").WithText(r.conf.Password))
	}
	m := xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "id", relay.NewID()).Add(x)
	m.Add(xmpp.El(xmpp.NSConference, "x", "jid", r.jid.String(), "password", r.conf.Password))
	return e.Deliver(m, to.Bare())
}

// decline is §7.8.2, the answer.
func (r *room) decline(e *relay.Errand, d *xmpp.Element) error {
	to, err := xmpp.ParseJID(d.Get("to"))
	if err != nil {
		return xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
	}
	if to.Domain == r.jid.Domain { // the inviter, as he is called here
		o := r.nicks[to.Resource]
		if o == nil || to.Local != r.name {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		to = o.who
	}
	if !r.here(to) && r.rankOf(to) < member {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound) // we carry no letters to strangers
	}
	if r.v.blocks(to, e.From) {
		return nil
	}
	if err := r.v.spend(e.From, costSay); err != nil {
		return err
	}
	no := xmpp.El(xmpp.NSMUCUser, "decline", "from", e.From.Bare().String()).Add(d.Child(xmpp.NSMUCUser, "reason").Clone())
	m := xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "id", relay.NewID())
	return e.Deliver(m.Add(xmpp.El(xmpp.NSMUCUser, "x").Add(no)), to.Bare())
}

// voice is §7.13, the wish, and §8.6, the answer of a moderator.
func (r *room) voice(s *seat, f *xmpp.Element) error {
	if s == nil {
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	if err := r.v.spend(s.jid, costSay); err != nil {
		return err
	}
	if s.o.role == moderator {
		o := r.nicks[value(f, "muc#roomnick")]
		if o != nil && o.role == visitor && truth(value(f, "muc#request_allow")) {
			o.role = participant
			r.tell(o.seats[0], news{actor: s.o.nick})
		}
		return nil
	}
	if s.o.role != visitor {
		return nil
	}
	form := xmpp.El(xmpp.NSData, "x", "type", "form").Add(
		xmpp.El(xmpp.NSData, "title").WithText("Somebody asks to speak"),
		field("FORM_TYPE", "hidden", "", nsRequest),
		field("muc#role", "list-single", "Role", "participant"),
		field("muc#jid", "jid-single", "Address", s.jid.String()),
		field("muc#roomnick", "text-single", "Name", s.o.nick),
		field("muc#request_allow", "boolean", "Let this person speak?", "0"))
	for _, to := range r.seats {
		if to.o.role == moderator {
			r.push(to, xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "id", relay.NewID()).Add(form))
		}
	}
	return nil
}

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
