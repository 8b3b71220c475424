// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"encoding/base64"
	"hash/fnv"
	"strconv"
	"strings"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/mam"
)

const (
	nsSelfPing = xmpp.NSMUC + "#self-ping-optimization"
	nsStableID = xmpp.NSMUC + "#stable_id"
	itemsShown = 1000
)

// lobby answers for the domain itself.
func (v *service) lobby(e *relay.Errand) error {
	st := e.Stanza
	if st.Kind != xmpp.KindIQ {
		if st.Kind == xmpp.KindMessage && st.Type != "error" {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
		}
		return nil
	}
	if st.Type != "get" && st.Type != "set" {
		return nil
	}
	var res *xmpp.Element
	el, err := st.Element()
	if err != nil {
		return err
	}
	q := el.Child("", "")
	switch {
	case st.Type == "get" && q.Is(xmpp.NSDiscoInfo, "query") && q.Get("node") == "":
		res = xmpp.El(xmpp.NSDiscoInfo, "query").Add(
			xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "conference", "type", "text", "name", "Rooms"))
		for _, f := range []string{xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSMUC, xmpp.NSPing, xmpp.NSOccupantID, xmpp.NSRSM, nsFind} {
			res.Add(feature(f))
		}
	case st.Type == "get" && q.Is(xmpp.NSDiscoItems, "query") && q.Get("node") == "":
		res, err = v.roomList(q)
	case q.Is(nsFind, "search"):
		res, err = v.searchRooms(e, q)
	case st.Type == "get" && q.Is(xmpp.NSPing, "ping"):
	default:
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if err == nil {
		e.Answer(xmpp.ResultOf(st, res))
	}
	return err
}

func feature(f string) *xmpp.Element { return xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f) }

// info is §6.4, and the reserved nick of §7.12.
func (r *room) info(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	res := xmpp.El(xmpp.NSDiscoInfo, "query", "node", q.Get("node"))
	switch q.Get("node") {
	case "x-roomuser-item":
		if n := r.ranks[e.From.Bare()].Nick; n != "" {
			res.Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "conference", "type", "text", "name", n))
		}
		return res, nil
	case "":
	default:
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	title := r.conf.Title
	if title == "" {
		title = r.name
	}
	res.Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "conference", "type", "text", "name", title))
	for _, f := range []string{xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSMUC, xmpp.NSPing, nsSelfPing, nsStableID, nsRequest, xmpp.NSSID, xmpp.NSOccupantID, xmpp.NSRegister, xmpp.NSVCard, nsModerate, nsMav} {
		res.Add(feature(f))
	}
	if r.logs() {
		res.Add(feature(xmpp.NSMAM), feature(xmpp.NSMAM+"#extended"), feature(nsRetract), feature(nsRetract+"#tombstone"))
		if r.v.s.Reads() {
			res.Add(feature(mam.NSText))
		}
	}
	pick := func(b bool, yes, no string) {
		if b {
			no = yes
		}
		res.Add(feature("muc_" + no))
	}
	c := &r.conf
	pick(c.Public, "public", "hidden")
	pick(c.MembersOnly, "membersonly", "open")
	pick(c.Persistent, "persistent", "temporary")
	pick(c.Moderated, "moderated", "unmoderated")
	pick(c.Password != "", "passwordprotected", "unsecured")
	pick(c.Whois == "anyone", "nonanonymous", "semianonymous")
	return res.Add(r.roominfo()), nil
}

// roominfo is the form of §6.4, with what clients show before one enters.
func (r *room) roominfo() *xmpp.Element {
	c := &r.conf
	x := xmpp.El(xmpp.NSData, "x", "type", "result").Add(
		field("FORM_TYPE", "hidden", "", xmpp.NSMUC+"#roominfo"),
		field("muc#roominfo_description", "text-single", "Description", c.Desc),
		field("muc#roominfo_occupants", "text-single", "Number of occupants", strconv.Itoa(len(r.nicks))),
		field("muc#roominfo_subjectmod", "boolean", "", bit(c.Subjects)),
		field(setting+"roomname", "text-single", "Title", c.Title),
		field(setting+"changesubject", "boolean", "", bit(c.Subjects)),
		field(setting+"allowinvites", "boolean", "", bit(c.Invites)))
	if c.Lang != "" {
		x.Add(field("muc#roominfo_lang", "text-single", "Language", c.Lang))
	}
	if r.subject.Text != "" {
		x.Add(field("muc#roominfo_subject", "text-single", "Subject", r.subject.Text))
	}
	if c.Slow > 0 { // XEP-0500 §4.2
		x.Add(field("muc#roominfo_slow_mode_duration", "text-single", "", strconv.Itoa(c.Slow)))
	}
	if r.photo != "" { // XEP-0486 §3.2
		x.Add(field("muc#roominfo_avatarhash", "text-multi", "", r.photo))
	}
	return x
}

// items is §6.5: who is here, for those who may know.
func (r *room) items(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	res := xmpp.El(xmpp.NSDiscoItems, "query")
	if r.seats[e.From] == nil && (!r.conf.Public || r.conf.MembersOnly) {
		return res, nil
	}
	for _, o := range r.nicks {
		res.Add(xmpp.El(xmpp.NSDiscoItems, "item", "jid", o.at.String()))
	}
	return sorted(res), nil
}

func (r *room) ping(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) { return nil, nil }

// iqToOccupant carries a question from one occupant to another, and back the
// answer; a ping to oneself the room answers (XEP-0410 §3).
func (r *room) iqToOccupant(e *relay.Errand, el *xmpp.Element, asks bool) error {
	st := e.Stanza
	s := r.seats[e.From]
	if !asks {
		if s != nil {
			r.answered(e, s)
		}
		return nil
	}
	q := el.Children()[0]
	if s == nil {
		if q.Name.Space == xmpp.NSDiscoInfo || q.Name.Space == xmpp.NSDiscoItems { // §6.6
			return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAcceptable)
	}
	o := r.nicks[st.To.Resource]
	if o == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	if o == s.o && q.Is(xmpp.NSPing, "ping") {
		e.Answer(xmpp.ResultOf(st, nil))
		return nil
	}
	if r.v.blocks(o.who, s.o.at) || r.v.blocks(o.who, s.jid) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if err := r.v.spend(e.From, costSay); err != nil {
		return err
	}
	if q.Is(xmpp.NSVCard, "vCard") && st.Type == "get" && r.v.s.Local(o.who) { // §6.6: of the account, not of one client
		card, err := e.AskAccount(q, o.who)
		if err == nil {
			e.Answer(xmpp.ResultOf(st, card))
		}
		return err
	}
	to := o.seats[len(o.seats)-1]
	iq := el.Clone().Set("from", s.o.at.String()).Set("id", mark(s.jid)+st.ID)
	if !e.Hand(iq, to.jid) {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	}
	return nil
}

// answered sends an answer to the client that asked: the id says which.
func (r *room) answered(e *relay.Errand, s *seat) {
	st := e.Stanza
	o := r.nicks[st.To.Resource]
	el, err := st.Element()
	if o == nil || err != nil {
		return
	}
	for _, to := range o.seats {
		if id, ok := strings.CutPrefix(st.ID, mark(to.jid)); ok && id != "" {
			e.Hand(el.Clone().Set("from", s.o.at.String()).Set("id", id), to.jid)
			return
		}
	}
}

// mark names a client of an occupant, so that nothing need be remembered while
// a question is under way.
func mark(j xmpp.JID) string {
	h := fnv.New64a()
	h.Write([]byte(j.String()))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)) + "."
}
