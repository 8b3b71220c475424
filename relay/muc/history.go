// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/mam"
)

// A line is something that was said, in memory only, for those who enter
// later. A room keeps none unless it is set up so.
type line struct {
	at   time.Time
	body []byte
}

// remember keeps a message, as long as there is room for it.
func (r *room) remember(body []byte) {
	if r.conf.History == 0 {
		return
	}
	if r.v.past.Load() > historyAll { // somebody else's rooms are full of it
		r.forget(0)
		return
	}
	r.past = append(r.past, line{r.v.s.Now(), body})
	r.size(len(body))
	r.forget(r.conf.History)
}

// forget leaves so many messages at most.
func (r *room) forget(most int) {
	for len(r.past) > most || r.bytes > historyBytes {
		r.size(-len(r.past[0].body))
		r.past[0] = line{}
		r.past = r.past[1:]
	}
	if len(r.past) == 0 {
		r.past = nil
	}
}

func (r *room) size(n int) {
	r.bytes += n
	r.v.past.Add(int64(n))
}

// recall sends what was said, within what the client wants (XEP-0045 §7.2.13).
// Members of a private group have it from their mailboxes.
func (r *room) recall(s *seat, wish *xmpp.Element) {
	if r.owes() && r.rankOf(s.jid) >= member {
		return
	}
	var all []*xmpp.Element
	room, chars := count(wish, "maxstanzas"), count(wish, "maxchars")
	from := r.since(wish)
	for i := len(r.past) - 1; i >= 0 && len(all) < room; i-- {
		l := r.past[i]
		m, err := xmpp.Parse(l.body, xmpp.NSClient)
		if l.at.Before(from) || err != nil {
			break
		}
		m.Set("to", s.jid.String()).Add(delay(r.jid, l.at))
		if chars -= len(m.Bytes()); chars < 0 {
			break
		}
		all = append(all, m)
	}
	for i := len(all) - 1; i >= 0; i-- {
		r.push(s, all[i])
	}
}

const anyNumber = 1 << 30

func count(wish *xmpp.Element, name string) int {
	n, err := strconv.Atoi(wish.Get(name))
	if err != nil || n < 0 || n > anyNumber {
		return anyNumber
	}
	return n
}

func (r *room) since(wish *xmpp.Element) (from time.Time) {
	if n := count(wish, "seconds"); n < anyNumber {
		from = r.v.s.Now().Add(-time.Duration(n) * time.Second)
	}
	if t, err := time.Parse(time.RFC3339, wish.Get("since")); err == nil && t.After(from) {
		from = t
	}
	return from
}

// logs says whether what is said is archived.
func (r *room) logs() bool { return r.conf.Logged && r.v.s.Keeps() }

// shelf is the name of the room's archive. A later room of the same name has
// another one.
func (r *room) shelf() string {
	return r.jid.String() + "/" + r.v.s.Store().Mark("room", string(r.secret))
}

// log archives what was said; the sender's ack waits for it.
func (r *room) log(e *relay.Errand, body []byte, s *seat, id string) error {
	return r.keep(e, body, s.o.at, e.Stanza.ID, id)
}

func (r *room) keep(e *relay.Errand, body []byte, from xmpp.JID, own, id string) error {
	if !r.logs() {
		return nil
	}
	m := &offline.Mail{At: r.v.s.Now(), From: from.String(), ID: own, Body: body, Archive: id}
	t, err := r.v.s.Store().Keep(r.shelf(), m, false)
	if err == nil {
		e.Wait(t)
	}
	return err
}

// mayRead gives the name of a room's archive to those who may enter.
func (v *service) mayRead(e *relay.Errand) (shelf string, err error) {
	err = v.with(e.Stanza.To.Local, func(r *room) error {
		a := r.rankOf(e.From)
		if a == outcast || a < member && r.seats[e.From] == nil {
			return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
		}
		if !r.logs() {
			return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
		}
		shelf = r.shelf()
		return r.v.spend(e.From, costEnter)
	})
	return shelf, err
}

// metadata is XEP-0313 §5 of a room.
func (v *service) metadata(e *relay.Errand) error {
	shelf, err := v.mayRead(e)
	if err != nil {
		return err
	}
	var ends [2]*mam.End
	for i := range ends {
		found, err := v.s.Store().History(shelf, offline.Find{Max: 1, Last: i == 1})
		if err != nil {
			return err
		}
		if len(found.Mail) > 0 {
			ends[i] = &mam.End{ID: found.Mail[0].Archive, At: found.Mail[0].At}
		}
	}
	e.Answer(xmpp.ResultOf(e.Stanza, mam.Metadata(ends[0], ends[1])))
	return nil
}

// search is XEP-0313 §4: the disk is asked without the room's lock.
func (v *service) search(e *relay.Errand, el *xmpp.Element) error {
	x := v.s.Find(e.From)
	shelf, err := v.mayRead(e)
	if err != nil || x == nil {
		return err
	}
	if e.Stanza.Type == "get" {
		e.Answer(xmpp.ResultOf(e.Stanza, mam.Form(v.s.Reads())))
		return nil
	}
	q, err := mam.Parse(el)
	if err != nil {
		return err
	}
	if len(q.Text) > 0 && !v.s.Reads() {
		return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
	}
	if x.Stuffed() {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("read, and ack, what you asked for before")
	}
	found, err := v.s.Store().History(shelf, offline.Find(q.Find))
	if errors.Is(err, offline.ErrGone) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	if err != nil {
		return err
	}
	if q.Flip {
		slices.Reverse(found.Mail)
	}
	for i := range found.Mail {
		m := &found.Mail[i]
		inner, err := xmpp.Parse(m.Body, xmpp.NSClient)
		if err != nil {
			return err
		}
		x.Push(q.Result(e.Stanza.To.String(), e.From, relay.NewID(), m.Archive, m.At, inner))
	}
	e.Answer(xmpp.ResultOf(e.Stanza, q.Fin(mam.Page{
		Complete: found.Complete, First: found.First, Last: found.Last, Count: found.Count, Index: found.Index,
	})))
	return nil
}

const (
	nsModerate = "urn:xmpp:message-moderate:1"
	nsRetract  = "urn:xmpp:message-retract:1"
)

// A retraction is a message that is taken back: what stands in the archive for
// it is changed when the room's lock is free again.
type retraction struct {
	shelf, id string
	author    string        // occupant-id of who may; "" is anybody: a moderator asks
	mark      *xmpp.Element // <retracted/>
}

// moderation takes back what somebody said, for all clients that do
// (XEP-0425). What was said is on its way already and not ours to find; who is
// owed the message is owed this, too.
func (v *service) moderation(e *relay.Errand, q *xmpp.Element) error {
	var back *retraction
	err := v.with(e.Stanza.To.Local, func(r *room) (err error) {
		back, err = r.moderate(e, q)
		return err
	})
	if err == nil {
		err = v.amend(back)
	}
	if err == nil {
		e.Answer(xmpp.ResultOf(e.Stanza, nil))
	}
	return err
}

func (r *room) moderate(e *relay.Errand, q *xmpp.Element) (*retraction, error) {
	s, id := r.seats[e.From], q.Get("id")
	if s == nil || s.o.role < moderator {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if !q.Is(nsModerate, "moderate") || q.Child(nsRetract, "retract") == nil || id == "" || len(id) > 256 {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if err := r.v.spend(e.From, costSay); err != nil {
		return nil, err
	}
	r.unsay(id, "")
	by := xmpp.El(nsModerate, "moderated", "by", s.o.at.String()).Add(xmpp.El(xmpp.NSOccupantID, "occupant-id", "id", s.o.id))
	back := xmpp.El(nsRetract, "retract", "id", id).Add(by)
	mark := r.mark("").Add(by.Clone())
	if t := q.Child(nsModerate, "reason").Text(); t != "" {
		back.Add(xmpp.El(nsRetract, "reason").WithText(t))
		mark.Add(xmpp.El(nsRetract, "reason").WithText(t))
	}
	own := relay.NewID()
	m := xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "type", "groupchat", "id", relay.NewID())
	mark.Set("id", m.Get("id"))
	m.Add(back, xmpp.El(xmpp.NSSID, "stanza-id", "by", r.jid.String(), "id", own))
	if err := r.keep(e, m.Bytes(), r.jid, m.Get("id"), own); err != nil { // XEP-0424 §5: who was away learns of it
		return nil, err
	}
	return &retraction{r.archive(), id, "", mark}, r.owe(e, m.Bytes(), r.jid)
}

// mark is what stands for a message that was taken back (XEP-0424 §4).
func (r *room) mark(by string) *xmpp.Element {
	return xmpp.El(nsRetract, "retracted", "id", by, "stamp", r.v.s.Now().UTC().Format("2006-01-02T15:04:05Z"))
}

// takesBack is XEP-0424 of somebody's own message; nil: it is something else.
func (r *room) takesBack(e *relay.Errand, el *xmpp.Element) *retraction {
	s, back := r.seats[e.From], el.Child(nsRetract, "retract")
	id := back.Get("id")
	if s == nil || e.Stanza.Type != "groupchat" || id == "" || len(id) > 256 {
		return nil
	}
	r.unsay(id, s.o.id)
	return &retraction{r.archive(), id, s.o.id, r.mark(e.Stanza.ID)}
}

// archive is the name of the room's archive, "" when there is none.
func (r *room) archive() string {
	if !r.logs() {
		return ""
	}
	return r.shelf()
}

// amend leaves in the archive that there was a message, and from whom.
func (v *service) amend(t *retraction) error {
	if t == nil || t.shelf == "" {
		return nil
	}
	err := v.s.Store().Amend(t.shelf, t.id, func(m *offline.Mail) []byte {
		el, err := xmpp.Parse(m.Body, xmpp.NSClient)
		if err != nil || t.author != "" && el.Child(xmpp.NSOccupantID, "occupant-id").Get("id") != t.author {
			return nil
		}
		left := xmpp.El(xmpp.NSClient, "message", "from", el.Get("from"), "type", el.Get("type"), "id", el.Get("id")).
			Add(el.Child(xmpp.NSOccupantID, "occupant-id"), t.mark)
		for _, k := range el.Children() {
			if k.Is(xmpp.NSSID, "stanza-id") {
				left.Add(k)
			}
		}
		return left.Bytes()
	})
	if errors.Is(err, offline.ErrGone) {
		return nil
	}
	return err
}

// unsay takes a message, of one author or of anybody, out of what is shown to
// who enters.
func (r *room) unsay(id, author string) {
	r.past = slices.DeleteFunc(r.past, func(l line) bool {
		m, err := xmpp.Parse(l.body, xmpp.NSClient)
		if err != nil || author != "" && m.Child(xmpp.NSOccupantID, "occupant-id").Get("id") != author {
			return false
		}
		for _, k := range m.Children() {
			if k.Is(xmpp.NSSID, "stanza-id") && k.Get("by") == r.jid.String() && k.Get("id") == id {
				r.size(-len(l.body))
				return true
			}
		}
		return false
	})
}

// A purse is what an account may do in rooms: so much at once, then so much a
// second.
type purse struct {
	used  float64
	since time.Time
}

const (
	purseSize, purseRate = 600, 60
	pursesMax            = 1 << 14
	costSay              = 1
	costEnter            = 2
	costStranger         = 30 // an invitation to somebody one does not know
	costRename           = 10 // each leaves something in the outbox of all
)

// spend says whether an account may do one more thing.
func (v *service) spend(who xmpp.JID, cost float64) error {
	now := v.s.Now()
	v.listMu.Lock()
	defer v.listMu.Unlock()
	p := v.purses[who.Bare()]
	if p == nil {
		if len(v.purses) >= pursesMax {
			for j, q := range v.purses {
				if now.Sub(q.since).Seconds()*purseRate >= q.used {
					delete(v.purses, j)
				}
			}
		}
		p = &purse{since: now}
		v.purses[who.Bare()] = p
	}
	p.used = max(0, p.used-now.Sub(p.since).Seconds()*purseRate)
	p.since = now
	if p.used+cost > purseSize {
		return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).Say("too much at once; wait a moment")
	}
	p.used += cost
	return nil
}
