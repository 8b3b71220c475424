// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"maps"
	"slices"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// message takes what is sent to the room or to somebody in it.
func (r *room) message(e *relay.Errand, el *xmpp.Element) error {
	st := e.Stanza
	s := r.seats[e.From]
	if st.To.Resource != "" {
		if st.Type == "groupchat" {
			return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // §7.5
		}
		return r.private(e, s)
	}
	if st.Type == "groupchat" {
		if s == nil {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable) // §7.4
		}
		return r.say(e, el, s)
	}
	return r.letter(e, el, s)
}

// say is §7.4: everybody gets it, and so do the members of a private group who
// are away.
func (r *room) say(e *relay.Errand, el *xmpp.Element, s *seat) error {
	st := e.Stanza
	naming := st.Has(xmpp.NSClient, "subject") && !st.Has(xmpp.NSClient, "body") && !st.Has(xmpp.NSClient, "thread")
	if err := r.maySay(s, naming, st.Has(xmpp.NSClient, "body")); err != nil {
		return err
	}
	if naming {
		return r.setSubject(e, el, s)
	}
	id := relay.NewID()
	body := r.written(st, s, id)
	if e.Fleeing() {
		for _, to := range r.seats {
			e.Pass(body, to.jid)
		}
		return nil
	}
	if err := r.log(e, body, s, id); err != nil {
		return err
	}
	r.remember(body)
	return r.owe(e, body, s.o.at)
}

// maySay is §7.4 and §8.1, with a budget that the XEP does not have.
func (r *room) maySay(s *seat, naming, words bool) error {
	if naming && !(s.o.role == moderator || r.conf.Subjects && s.o.role == participant) || s.o.role == visitor {
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if err := r.v.spend(s.jid, costSay); err != nil || !words {
		return err
	}
	return r.notTooSoon(s.jid)
}

// notTooSoon is XEP-0500 §5: for everybody but admins, whatever nick he has.
func (r *room) notTooSoon(who xmpp.JID) error {
	slow := time.Duration(r.conf.Slow) * time.Second
	if slow == 0 || r.rankOf(who) >= admin {
		return nil
	}
	now := r.v.s.Now()
	if wait := slow - now.Sub(r.spoke[who.Bare()]); wait > 0 {
		return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).
			Say("this room is in slow mode: one message every " + slow.String() + "; wait " + wait.Round(time.Second).String())
	}
	if len(r.spoke) >= occupantsMax {
		maps.DeleteFunc(r.spoke, func(_ xmpp.JID, at time.Time) bool { return now.Sub(at) >= slow })
	}
	if r.spoke == nil {
		r.spoke = map[xmpp.JID]time.Time{}
	}
	r.spoke[who.Bare()] = now
	return nil
}

// written is a message as the room reflects it: without an address yet, with
// what only the room may say (XEP-0359 §3, XEP-0421 §3).
func (r *room) written(st *xmpp.Stanza, s *seat, id string) []byte {
	extra := xmpp.El(xmpp.NSSID, "stanza-id", "by", r.jid.String(), "id", id).Bytes()
	extra = append(extra, xmpp.El(xmpp.NSOccupantID, "occupant-id", "id", s.o.id).Bytes()...)
	if r.owes() { // who is away has seen no presence that says who it is
		item := xmpp.El(xmpp.NSMUCUser, "item", "affiliation", r.rankOf(s.jid).String(), "role", s.o.role.String(), "jid", s.jid.String())
		extra = append(extra, xmpp.El(xmpp.NSMUCUser, "x").Add(item).Bytes()...)
	}
	return st.AppendAs(nil, s.o.at, xmpp.JID{}, extra, r.forged)
}

// forged says whether a client wrote what only the room may.
func (r *room) forged(space, local string, raw []byte) bool {
	switch space {
	case xmpp.NSOccupantID, xmpp.NSMUCUser, xmpp.NSMUC:
		return true
	case xmpp.NSDelay:
		return local == "delay"
	case xmpp.NSSID:
		el, err := xmpp.Parse(raw, xmpp.NSClient)
		return local == "stanza-id" && (err != nil || el.Get("by") == r.jid.String())
	}
	return false
}

// owe puts a message into the mailboxes of all who are owed it, one for each
// account: what the sender's ack waits for.
func (r *room) owe(e *relay.Errand, body []byte, from xmpp.JID) error {
	var first error
	taken := 0
	for who, to := range r.owed() {
		if len(to) == 0 {
			continue
		}
		if err := e.Copy(body, from.String(), who, to...); err == nil {
			taken++
		} else if first == nil {
			first = err
		}
	}
	if taken == 0 { // nothing was promised yet, nothing is lost
		return first
	}
	return nil
}

// owed lists the devices of each account that get what is said: those that are
// here, and in a private group all others of each member (DESIGN §4).
func (r *room) owed() map[xmpp.JID][]string {
	all := make(map[xmpp.JID][]string, len(r.seats))
	for _, s := range r.seats {
		who := s.jid.Bare()
		all[who] = append(all[who], s.device)
	}
	if !r.owes() {
		return all
	}
	for who, f := range r.ranks {
		if f.Rank < member || !f.Owed || !r.v.s.Local(who) || r.v.s.Blocks(who.Local, r.jid) {
			continue
		}
		devices, err := r.v.s.Store().Devices(who.Local)
		if err != nil {
			continue // no such account
		}
		for _, d := range devices {
			if !slices.Contains(f.Left, d.ID) {
				all[who] = append(all[who], d.ID)
			}
		}
		if len(devices) == 0 && len(all[who]) == 0 && len(f.Left) == 0 {
			all[who] = []string{""} // its inbox: it has no devices
		}
	}
	return all
}

// setSubject is §8.1.
func (r *room) setSubject(e *relay.Errand, el *xmpp.Element, s *seat) error {
	sub := el.Child(xmpp.NSClient, "subject")
	if len(sub.Text()) > subjectMax {
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("the subject is too long")
	}
	r.subject = subject{Text: sub.Text(), Lang: sub.Get("xml:lang"), By: s.o.nick, ID: s.o.id, At: r.v.s.Now()}
	r.saveSubject()
	body := r.written(e.Stanza, s, relay.NewID())
	for _, to := range r.seats {
		if err := e.Copy(body, s.o.at.String(), to.jid.Bare(), to.device); err != nil {
			r.v.s.Log().Debug("subject not delivered", "err", err)
		}
	}
	return nil
}

// subjectLine is the subject as those who enter get it; an empty one says that
// all has been said (§7.2.15).
func (r *room) subjectLine() *xmpp.Element {
	from := r.jid
	if r.subject.By != "" {
		if at, err := r.jid.With(r.subject.By); err == nil {
			from = at
		}
	}
	m := xmpp.El(xmpp.NSClient, "message", "type", "groupchat", "from", from.String(), "id", relay.NewID())
	m.Add(xmpp.El(xmpp.NSClient, "subject", "xml:lang", r.subject.Lang).WithText(r.subject.Text))
	if r.subject.By != "" {
		m.Add(delay(r.jid, r.subject.At), xmpp.El(xmpp.NSOccupantID, "occupant-id", "id", r.subject.ID))
	}
	return m
}

func delay(from xmpp.JID, at time.Time) *xmpp.Element {
	return xmpp.El(xmpp.NSDelay, "delay", "from", from.String(), "stamp", at.UTC().Format("2006-01-02T15:04:05.000Z"))
}

// private is §7.5: to one person in the room, with all of his clients here.
func (r *room) private(e *relay.Errand, s *seat) error {
	if s == nil {
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	o := r.nicks[e.Stanza.To.Resource]
	if o == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	if !r.mayWrite(s.o, o) {
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if err := r.v.spend(s.jid, costSay); err != nil {
		return err
	}
	if r.v.blocks(o.who, s.o.at) || r.v.blocks(o.who, s.jid) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	extra := xmpp.El(xmpp.NSMUCUser, "x").Bytes()
	extra = append(extra, xmpp.El(xmpp.NSOccupantID, "occupant-id", "id", s.o.id).Bytes()...)
	body := e.Stanza.AppendAs(nil, s.o.at, xmpp.JID{}, extra, r.forged)
	var devices []string
	for _, to := range o.seats {
		if e.Fleeing() {
			e.Pass(body, to.jid)
		}
		devices = append(devices, to.device)
	}
	if e.Fleeing() {
		return nil
	}
	return e.Copy(body, s.o.at.String(), o.who, devices...)
}

// mayWrite is the setting muc#roomconfig_allowpm.
func (r *room) mayWrite(from, to *occupant) bool {
	switch r.conf.Private {
	case "none":
		return false
	case "moderators":
		return from.role == moderator || to.role == moderator
	case "participants":
		return from.role >= participant
	}
	return true
}
