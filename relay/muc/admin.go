// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"sotto/relay"
	"sotto/xmpp"
)

var tooMany = xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the room remembers too many people")

// lists is "get" of the admin namespace: who has a role or an affiliation.
func (r *room) lists(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	item := q.Child(xmpp.NSMUCAdmin, "item")
	res := xmpp.El(xmpp.NSMUCAdmin, "query")
	if a, ok := rankOf(item.Get("affiliation")); ok {
		if !r.mayList(e.From, a) {
			return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
		}
		for who, f := range r.ranks {
			if f.Rank == a {
				i := xmpp.El(xmpp.NSMUCAdmin, "item", "affiliation", a.String(), "jid", who.String(), "nick", f.Nick)
				if f.Reason != "" {
					i.Add(xmpp.El(xmpp.NSMUCAdmin, "reason").WithText(f.Reason))
				}
				res.Add(i)
			}
		}
		return sorted(res), nil
	}
	o, ok := roleOf(item.Get("role"))
	if !ok {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if s := r.seats[e.From]; r.rankOf(e.From) < admin && (s == nil || s.o.role < moderator || o == moderator) { // §8.5, §9.8
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	for _, p := range r.nicks {
		if p.role == o {
			res.Add(xmpp.El(xmpp.NSMUCAdmin, "item", "affiliation", r.rankOf(p.who).String(), "role", o.String(),
				"nick", p.nick, "jid", p.seats[0].jid.String()))
		}
	}
	return sorted(res), nil
}

func sorted(q *xmpp.Element) *xmpp.Element {
	slices.SortFunc(q.Nodes, func(a, b xmpp.Node) int {
		return strings.Compare(a.El.Get("jid")+a.El.Get("nick"), b.El.Get("jid")+b.El.Get("nick"))
	})
	return q
}

// mayList: where nobody is anonymous those who belong to the room may know the
// others, for they encrypt to them (§9.5; XEP-0384 §5.8 of 0.8).
func (r *room) mayList(who xmpp.JID, a rank) bool {
	own := r.rankOf(who)
	if own >= admin {
		return true
	}
	return a >= member && r.conf.Whois == "anyone" && (own == member || r.seats[who] != nil)
}

// A change is one item of a "set", checked.
type change struct {
	who  xmpp.JID // bare; for a rank
	rank rank
	o    *occupant // for a role
	role role
	n    news
}

// changes is "set" of the admin namespace: all of it or nothing.
func (r *room) changes(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	var all []change
	for _, k := range q.Children() {
		c, err := r.change(e, k)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if err := r.keeps(all); err != nil {
		return nil, err
	}
	for _, c := range all {
		if c.o != nil {
			r.setRole(c.o, c.role, c.n)
		} else {
			r.setRank(c.who, c.rank, c.n)
		}
	}
	return nil, nil
}

// change reads one item and asks whether it is allowed.
func (r *room) change(e *relay.Errand, k *xmpp.Element) (c change, err error) {
	if !k.Is(xmpp.NSMUCAdmin, "item") {
		return c, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	c.n.reason = k.Child(xmpp.NSMUCAdmin, "reason").Text()
	c.n.by = e.From
	s := r.seats[e.From]
	if s != nil {
		c.n.actor = s.o.nick
	}
	own := r.rankOf(e.From)
	if word := k.Get("affiliation"); word != "" {
		var ok bool
		if c.rank, ok = rankOf(word); !ok {
			return c, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		if c.who, err = r.target(k); err != nil {
			return c, err
		}
		return c, mayRank(own, r.ranks[c.who].Rank, c.rank, c.who == e.From.Bare())
	}
	role, ok := roleOf(k.Get("role"))
	if !ok || k.Get("nick") == "" {
		return c, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	actor := standing{rank: own}
	if s != nil {
		actor.role = s.o.role
	}
	if actor.role != moderator {
		return c, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	c.o, c.role = r.nicks[k.Get("nick")], role
	if c.o == nil {
		return c, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return c, mayRole(actor, standing{r.rankOf(c.o.who), c.o.role}, role)
}

// target is whom an item means: an address, or somebody in the room.
func (r *room) target(k *xmpp.Element) (xmpp.JID, error) {
	if j := k.Get("jid"); j != "" {
		who, err := xmpp.ParseJID(j)
		if err != nil {
			return who, xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
		}
		return who.Bare(), nil
	}
	o := r.nicks[k.Get("nick")]
	if o == nil {
		return xmpp.JID{}, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return o.who, nil
}

// keeps refuses changes that leave no owner (§10.5) or make the room too large.
func (r *room) keeps(all []change) error {
	owners, size := map[xmpp.JID]bool{}, len(r.ranks)
	for who, f := range r.ranks {
		if f.Rank == owner {
			owners[who] = true
		}
	}
	before := len(owners)
	for _, c := range all {
		if c.o != nil {
			continue
		}
		if _, known := r.ranks[c.who]; !known && c.rank != stranger {
			size++
		}
		delete(owners, c.who)
		if c.rank == owner {
			owners[c.who] = true
		}
	}
	if before > 0 && len(owners) == 0 {
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	}
	if size > ranksMax {
		return tooMany
	}
	return nil
}

// setRole gives somebody who is here another role.
func (r *room) setRole(o *occupant, to role, n news) {
	if len(o.seats) == 0 {
		return // put out by an item before this one
	}
	if to == gone {
		r.expel(o, "307", n)
		return
	}
	if o.role != to {
		o.role = to
		r.tell(o.seats[len(o.seats)-1], n)
	}
}

// expel puts somebody out: kicked 307, banned 301, no longer a member 321, or
// the room became one for members 322.
func (r *room) expel(o *occupant, code string, n news) {
	n.typ, n.codes, n.shows = "unavailable", []string{code}, &standing{r.rankOf(o.who), gone}
	for _, s := range slices.Clone(o.seats) {
		if len(o.seats) > 1 {
			r.tellOne(s, s, n)
		} else {
			r.tell(s, n)
		}
		r.stand(s)
	}
	r.empty()
}

// setRank changes an affiliation, and what follows from it for who is here.
func (r *room) setRank(who xmpp.JID, a rank, n news) {
	old := r.ranks[who]
	if old.Rank == a || r.dead {
		return
	}
	if a == stranger {
		delete(r.ranks, who)
	} else {
		f := old
		f.Rank, f.Reason = a, ""
		f.Owed = old.Owed || r.here(who) || n.by.Local != "" && r.v.s.Local(who) && r.v.s.MaySee(n.by, who.Local)
		if a == outcast {
			f = affiliate{Rank: a, Reason: n.reason}
		}
		r.ranks[who] = f
	}
	n.mav = r.edited(who)
	r.saveRank(who)
	here := false
	for _, o := range r.nicks {
		if o.who != who {
			continue
		}
		here = true
		switch {
		case a == outcast:
			r.expel(o, "301", n)
		case a < member && r.conf.MembersOnly:
			r.expel(o, "321", n)
		default:
			if o.role != moderator || a < admin { // voice that was given stays
				o.role = max(firstRole(a, r.conf.Moderated), min(o.role, participant))
			}
			r.tell(o.seats[len(o.seats)-1], n)
		}
	}
	if !here {
		r.tellRank(who, a, n)
	}
}

const (
	nsMav    = "urn:xmpp:muc:affiliations:1"
	editsMax = 256
)

// An edit is one change of ranks; from is the version before it.
type edit struct {
	from string
	who  xmpp.JID
}

// version names the ranks as they are now (XEP-0463 §5). Who was not told it
// cannot guess it, and so asks for no past that he was no part of.
func (r *room) version() string {
	m := hmac.New(sha256.New, r.secret)
	m.Write(binary.BigEndian.AppendUint64([]byte("edition"), r.edition))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil)[:12])
}

// edited notes a change, and says between which versions it lies.
func (r *room) edited(who xmpp.JID) *xmpp.Element {
	since := r.version()
	r.edition++
	until := r.version()
	r.v.put(roomOwner(r.name), "edition", "", r.edition)
	r.edits = append(r.edits, edit{since, who})
	r.edits = r.edits[max(0, len(r.edits)-editsMax):]
	return xmpp.El(nsMav, "mav", "since", since, "until", until)
}

// catchUp tells who enters the ranks that changed since a version, or all: one
// stanza instead of four questions (XEP-0463 §5.2).
func (r *room) catchUp(s *seat, wish *xmpp.Element) {
	since := wish.Get("since")
	if wish == nil || since == r.version() {
		return
	}
	m := xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "id", relay.NewID())
	if !r.mayList(s.jid, member) {
		r.push(s, m.Set("type", "error").Add(xmpp.Refuse(xmpp.Auth, xmpp.Forbidden).Element()))
		return
	}
	which := slices.Collect(maps.Keys(r.ranks))
	if i := slices.IndexFunc(r.edits, func(d edit) bool { return d.from == since }); i >= 0 {
		which = nil
		for _, d := range r.edits[i:] {
			if !slices.Contains(which, d.who) {
				which = append(which, d.who)
			}
		}
	} else {
		since = ""
	}
	x := xmpp.El(xmpp.NSMUCUser, "x").Add(xmpp.El(nsMav, "mav", "since", since, "until", r.version()))
	banned := r.mayList(s.jid, outcast)
	for _, who := range which {
		a := r.ranks[who].Rank
		if a == outcast && !banned {
			if a = stranger; since == "" {
				continue
			}
		}
		x.Add(xmpp.El(xmpp.NSMUCUser, "item", "jid", who.String(), "affiliation", a.String()))
	}
	r.push(s, m.Add(x))
}
