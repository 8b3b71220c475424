// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"sotto/relay"
	"sotto/xmpp"
)

// news is what a presence of the room says besides who it is about.
type news struct {
	typ     string // "" or unavailable
	codes   []string
	own     []string  // codes for the person himself
	nick    string    // the new one (XEP-0045 §7.6)
	shows   *standing // instead of what he is
	actor   string    // nick of who did it
	by      xmpp.JID  // his address
	reason  string
	destroy *xmpp.Element
	said    []*xmpp.Element // what the client said on leaving
	mav     *xmpp.Element   // the change of ranks that it is about (XEP-0463)
}

// shown is what a presence may say in a room: not what only we say there.
func shown(p *xmpp.Element) (all []*xmpp.Element) {
	for _, k := range p.Children() {
		switch k.Name.Space {
		case xmpp.NSMUC, xmpp.NSMUCUser, xmpp.NSOccupantID, xmpp.NSDelay:
			continue
		}
		all = append(all, k)
	}
	return all
}

// notice is a presence about s as a viewer gets it (XEP-0045 §7.2.2).
func (r *room) notice(s *seat, n *news, withJID, self bool) *xmpp.Element {
	st := standing{r.rankOf(s.jid), s.o.role}
	if n.shows != nil {
		st = *n.shows
	}
	p := xmpp.El(xmpp.NSClient, "presence", "from", s.o.at.String(), "type", n.typ)
	if n.typ == "" {
		p.Add(s.show...)
	} else {
		p.Add(n.said...)
	}
	item := xmpp.El(xmpp.NSMUCUser, "item", "affiliation", st.rank.String(), "role", st.role.String(), "nick", n.nick)
	if withJID {
		item.Set("jid", s.jid.String())
	}
	if n.actor != "" {
		item.Add(xmpp.El(xmpp.NSMUCUser, "actor", "nick", n.actor))
	}
	if n.reason != "" {
		item.Add(xmpp.El(xmpp.NSMUCUser, "reason").WithText(n.reason))
	}
	x := xmpp.El(xmpp.NSMUCUser, "x").Add(n.mav, item)
	codes := n.codes
	if self {
		codes = append(append([]string{"110"}, n.own...), n.codes...)
	}
	for _, c := range codes {
		x.Add(status(c))
	}
	return p.Add(x.Add(n.destroy), xmpp.El(xmpp.NSOccupantID, "occupant-id", "id", s.o.id))
}

func status(code string) *xmpp.Element { return xmpp.El(xmpp.NSMUCUser, "status", "code", code) }

// sees says whether to may know who s is (XEP-0045 §4.2).
func (r *room) sees(to, s *seat) bool {
	return to.o == s.o || r.conf.Whois == "anyone" || to.o.role == moderator
}

// push gives a client what it must know.
func (r *room) push(to *seat, el *xmpp.Element) {
	if x := r.v.s.Find(to.jid); x != nil {
		x.Push(el.Set("to", to.jid.String()))
	}
}

func (r *room) tellOne(to, s *seat, n news) {
	r.push(to, r.notice(s, &n, r.sees(to, s), to.o == s.o))
}

// tell shows the news about s to all; he himself is last, so that he knows that
// the others have seen it (XEP-0045 §7.2.2).
func (r *room) tell(s *seat, n news) {
	var plain, named *xmpp.Element
	var lost []*seat
	for _, to := range r.seats {
		el := &plain
		switch {
		case to.o == s.o:
			continue
		case r.sees(to, s):
			el = &named
		}
		if *el == nil {
			*el = r.notice(s, &n, el == &named, false)
		}
		if !r.offer(to, *el) {
			lost = append(lost, to)
		}
	}
	for _, to := range s.o.seats {
		r.tellOne(to, s, n)
	}
	r.lose(lost)
}

// offer gives a client what others cause; false: it does not read.
func (r *room) offer(to *seat, el *xmpp.Element) bool {
	x := r.v.s.Find(to.jid)
	return x == nil || x.Offer(el.Set("to", to.jid.String()))
}

// lose takes clients out of the room that read nothing: what they would have to
// know grows, and nobody may fill their outbox. They are told so in one stanza,
// and enter again when they read it (§7.14, status 333).
func (r *room) lose(all []*seat) {
	for _, s := range all {
		if r.seats[s.jid] != s {
			continue
		}
		n := news{typ: "unavailable", codes: []string{"333"}, shows: &standing{r.rankOf(s.jid), gone}}
		o := s.o
		r.tellOne(s, s, n)
		r.stand(s)
		if len(o.seats) == 0 {
			r.tell(&seat{jid: s.jid, o: o}, n)
		}
	}
}

// ghost takes somebody from the screens of those who stayed over a crash that
// he did not (XEP-0045 §7.14; status 332).
func (r *room) ghost(nick string, who xmpp.JID) {
	at, err := r.jid.With(nick)
	if err != nil {
		return
	}
	s := &seat{jid: who, o: &occupant{nick: nick, at: at, who: who.Bare(), id: r.occupantID(who)}}
	r.tell(s, news{typ: "unavailable"})
}

// announce says something to everybody as the room itself.
func (r *room) announce(codes ...string) {
	x := xmpp.El(xmpp.NSMUCUser, "x")
	for _, c := range codes {
		x.Add(status(c))
	}
	for _, to := range r.seats {
		r.push(to, xmpp.El(xmpp.NSClient, "message", "type", "groupchat", "from", r.jid.String(), "id", relay.NewID()).Add(x))
	}
}

// tellRank shows a changed affiliation of somebody who is not here to those
// who may know (XEP-0045 §9.3, §9.4).
func (r *room) tellRank(who xmpp.JID, a rank, n news) {
	item := xmpp.El(xmpp.NSMUCUser, "item", "affiliation", a.String(), "role", gone.String(), "jid", who.String())
	if n.reason != "" {
		item.Add(xmpp.El(xmpp.NSMUCUser, "reason").WithText(n.reason))
	}
	for _, to := range r.seats {
		if r.conf.Whois == "anyone" || to.o.role == moderator {
			m := xmpp.El(xmpp.NSClient, "message", "from", r.jid.String(), "id", relay.NewID())
			r.offer(to, m.Add(xmpp.El(xmpp.NSMUCUser, "x").Add(n.mav, item)))
		}
	}
}
