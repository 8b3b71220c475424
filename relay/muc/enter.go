// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"errors"
	"slices"

	"sotto/relay"
	"sotto/xmpp"
)

// presence is entering, changing and leaving (XEP-0045 §7).
func (v *service) presence(e *relay.Errand, el *xmpp.Element) error {
	st := e.Stanza
	switch st.Type {
	case "", "unavailable":
	case "error":
		return v.failed(e)
	case "probe":
		return nil
	default:
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed) // rooms are nobody's contacts
	}
	if st.To.Resource == "" || len(st.To.Resource) > nickMax {
		if st.Type != "" {
			return nil
		}
		return xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed) // §7.2.1
	}
	if len(st.Raw) > presenceMax {
		return xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("too much presence for a room")
	}
	if st.Type == "unavailable" {
		err := v.with(st.To.Local, func(r *room) error {
			if s := r.seats[e.From]; s != nil {
				r.wants(s, false)
				r.leave(s, el)
			}
			return nil
		})
		if notFound(err) {
			return nil
		}
		return err
	}
	return v.enter(e, el)
}

func notFound(err error) bool {
	no, ok := errors.AsType[*xmpp.StanzaError](err)
	return ok && no.Cond == xmpp.ItemNotFound
}

// enter finds the room, or makes it (§10.1.2).
func (v *service) enter(e *relay.Errand, el *xmpp.Element) error {
	x := v.s.Find(e.From)
	if x == nil {
		return nil // its session ends just now
	}
	ask := el.Child(xmpp.NSMUC, "x")
	for {
		r, err := v.hold(e.Stanza.To.Local)
		if notFound(err) && ask != nil {
			r, err = v.create(e.Stanza.To.Local, e.From)
			if errors.Is(err, errAgain) {
				continue
			}
		}
		if notFound(err) {
			v.outside(e)
			return nil
		}
		if err != nil {
			return err
		}
		again := false
		err = func() error {
			defer v.release(r)
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.dead {
				again = true
				return nil
			}
			return r.arrive(e, x, el, ask)
		}()
		if !again {
			return err
		}
	}
}

// outside tells a client that believes to be in a room that it is not.
func (v *service) outside(e *relay.Errand) {
	x := xmpp.El(xmpp.NSMUCUser, "x").Add(xmpp.El(xmpp.NSMUCUser, "item", "affiliation", "none", "role", "none"), status("110"), status("333"))
	e.Answer(xmpp.El(xmpp.NSClient, "presence", "from", e.Stanza.To.String(), "type", "unavailable").Add(x))
}

func (r *room) arrive(e *relay.Errand, x *relay.Session, el, ask *xmpp.Element) error {
	at := e.Stanza.To
	s := r.seats[e.From]
	switch {
	case s == nil && ask == nil:
		r.v.outside(e)
		return nil
	case s != nil && s.o.nick != at.Resource:
		return r.rename(x, s, at, el)
	case s != nil && ask == nil:
		if err := r.v.spend(e.From, costSay); err != nil {
			return err
		}
		s.show = shown(el)
		r.tell(s, news{}) // §7.7
		return nil
	}
	if err := r.lets(e.From, at.Resource, ask); err != nil {
		return err
	}
	if err := r.v.spend(e.From, costEnter); err != nil {
		return err
	}
	if s == nil && !r.v.sit(e.From, r) {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("you are in too many rooms")
	}
	first := r.locked && len(r.seats) == 0
	s = r.take(x, at, shown(el))
	r.welcome(s, ask, first)
	return nil
}

// lets says whether somebody may enter (§7.2.5 to §7.2.10).
func (r *room) lets(who xmpp.JID, nick string, ask *xmpp.Element) error {
	a := r.rankOf(who)
	switch {
	case a == outcast:
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	case r.locked && a < owner:
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	case r.conf.MembersOnly && a < member:
		return xmpp.Refuse(xmpp.Auth, xmpp.RegistrationRequired)
	case r.conf.Password != "" && ask.Child(xmpp.NSMUC, "password").Text() != r.conf.Password:
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized)
	case r.taken(nick, who):
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	case r.seats[who] != nil:
		return nil
	case len(r.seats) >= occupantsMax || len(r.nicks) >= r.conf.MaxUsers && a < admin && !r.here(who):
		return xmpp.Refuse(xmpp.Wait, xmpp.ServiceUnavailable)
	}
	return nil
}

// here says whether a person is in the room with some client.
func (r *room) here(who xmpp.JID) bool {
	for _, o := range r.nicks {
		if o.who == who.Bare() {
			return true
		}
	}
	return false
}

// taken says whether a nick is somebody else's (§7.2.8).
func (r *room) taken(nick string, who xmpp.JID) bool {
	if o := r.nicks[nick]; o != nil && o.who != who.Bare() {
		return true
	}
	for j, f := range r.ranks {
		if f.Nick == nick && j != who.Bare() {
			return true
		}
	}
	return false
}

// take gives a session its seat.
func (r *room) take(x *relay.Session, at xmpp.JID, show []*xmpp.Element) *seat {
	who := x.JID()
	s := r.seats[who]
	if s == nil {
		s = &seat{jid: who, device: x.Device()}
		r.seats[who] = s
	}
	s.show = show
	if s.o == nil {
		s.o = r.nicks[at.Resource]
		if s.o == nil {
			s.o = &occupant{nick: at.Resource, at: at, who: who.Bare(), id: r.occupantID(who), role: firstRole(r.rankOf(who), r.conf.Moderated)}
			r.nicks[at.Resource] = s.o
		}
		s.o.seats = append(s.o.seats, s)
	}
	r.wants(s, true)
	r.v.sit(who, r)
	x.Direct(at, true) // so that a restart knows where it was
	return s
}

// wants notes that a client of a member entered the room, or left it on purpose:
// from then on nothing waits for it. One that only goes offline is owed all.
func (r *room) wants(s *seat, on bool) {
	who := s.jid.Bare()
	f, ok := r.ranks[who]
	at := slices.Index(f.Left, s.device)
	if !ok || f.Rank < member || on && f.Owed && at < 0 || !on && at >= 0 {
		return
	}
	f.Owed = true
	if on && at >= 0 {
		f.Left = slices.Delete(slices.Clone(f.Left), at, at+1)
	}
	if !on {
		f.Left = append(slices.Clone(f.Left), s.device)
		f.Left = f.Left[max(0, len(f.Left)-leftMax):]
	}
	r.ranks[who] = f
	r.saveRank(who)
}

// leftMax is how many clients of one member are remembered as gone; accounts
// have no more devices.
const leftMax = 16

// welcome is the order of events of §7.1: those who are there, oneself, what
// was said, the subject.
func (r *room) welcome(s *seat, ask *xmpp.Element, made bool) {
	r.catchUp(s, ask.Child(nsMav, "mav"))
	if r.photo != "" {
		r.push(s, r.look())
	}
	for _, o := range r.nicks {
		if o != s.o {
			r.tellOne(s, o.seats[len(o.seats)-1], news{})
		}
	}
	n := news{}
	if r.conf.Whois == "anyone" {
		n.own = append(n.own, "100")
	}
	if r.logs() {
		n.own = append(n.own, "170")
	}
	if made {
		n.own = append(n.own, "201")
	}
	if ask.Child(nsMav, "mav") != nil {
		n.mav = xmpp.El(nsMav, "mav", "until", r.version())
	}
	r.tell(s, n)
	r.recall(s, ask.Child(xmpp.NSMUC, "history"))
	r.push(s, r.subjectLine())
}

// rename is §7.6: the old name goes, the new one comes.
func (r *room) rename(x *relay.Session, s *seat, at xmpp.JID, el *xmpp.Element) error {
	if r.taken(at.Resource, s.jid) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	}
	if err := r.v.spend(s.jid, costRename); err != nil {
		return err
	}
	o, old := s.o, s.o.at
	if r.nicks[at.Resource] != nil { // his own, from another client
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	}
	s.show = shown(el)
	r.tell(s, news{typ: "unavailable", nick: at.Resource, codes: []string{"303"}})
	delete(r.nicks, o.nick)
	o.nick, o.at = at.Resource, at
	r.nicks[o.nick] = o
	for _, y := range o.seats {
		if z := r.v.s.Find(y.jid); z != nil {
			z.Direct(old, false)
			z.Direct(at, true)
		}
	}
	r.tell(s, news{})
	return nil
}

// leave is §7.14; el is what the client said, or nil when its session ended.
func (r *room) leave(s *seat, el *xmpp.Element) {
	n := news{typ: "unavailable", said: shown(el), shows: &standing{r.rankOf(s.jid), gone}}
	o := s.o
	if len(o.seats) > 1 { // another client of his stays
		r.tellOne(s, s, n)
		r.stand(s)
		r.tell(o.seats[len(o.seats)-1], news{})
		return
	}
	r.tell(s, n)
	r.stand(s)
	r.empty()
}

// stand takes a seat away.
func (r *room) stand(s *seat) {
	delete(r.seats, s.jid)
	r.v.rise(s.jid, r)
	if x := r.v.s.Find(s.jid); x != nil {
		x.Direct(s.o.at, false)
	}
	for i, y := range s.o.seats {
		if y == s {
			s.o.seats = append(s.o.seats[:i:i], s.o.seats[i+1:]...)
			break
		}
	}
	if len(s.o.seats) == 0 {
		delete(r.nicks, s.o.nick)
	}
}

// empty ends a room that lives only with its occupants (§10.1.2).
func (r *room) empty() {
	if len(r.seats) == 0 && !r.dead && (r.locked || !r.conf.Persistent) {
		r.destroy(nil)
	}
}
