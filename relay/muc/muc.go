// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"slices"
	"sync"
	"sync/atomic"

	"sotto/relay"
	"sotto/xmpp"
)

// Options are the settings of the service; zero values are defaults.
type Options struct {
	Domain  string // default: rooms. and the server's own
	History int    // how many messages a new room shows to who enters
}

// The limits: a room with hostile people in it stays small.
const (
	occupantsMax = 1024
	ranksMax     = 2048    // affiliations of one room
	nickMax      = 256     // bytes
	presenceMax  = 3 << 10 // a full room must fit into a client's outbox
	subjectMax   = 8 << 10
	roomsMax     = 50  // owned by one account
	joinedMax    = 256 // rooms that one session is in
	historyMax   = 100
	historyBytes = 256 << 10 // of one room
	historyAll   = 64 << 20
	loadedMax    = 1024 // rooms in memory that nobody is in
)

type service struct {
	s   *relay.Server
	jid xmpp.JID
	opt Options

	mu    sync.Mutex // may be held while a room's is taken, never the other way round
	rooms map[string]*room

	listMu sync.Mutex // nothing else is taken under it
	index  map[string]entry
	blind  bool                // fixed: the list could not be read
	purses map[xmpp.JID]*purse // by account

	past  atomic.Int64 // bytes of history in all rooms
	seats map[xmpp.JID]map[*room]bool
}

// Add registers the family: the domain of rooms.
func Add(s *relay.Server, o Options) error {
	if o.Domain == "" {
		o.Domain = "rooms." + s.Domain()
	}
	jid, err := xmpp.ParseJID(o.Domain)
	if err != nil {
		return err
	}
	v := &service{s: s, jid: jid, opt: o, rooms: map[string]*room{}, index: map[string]entry{}, seats: map[xmpp.JID]map[*room]bool{}, purses: map[xmpp.JID]*purse{}}
	v.load()
	s.Host(jid.Domain, "Rooms", v.host)
	s.OnPresence(v.unavailable)
	s.OnGone(v.left)
	s.OnDeparted(func(x *relay.Session) { v.leaveAll(x.JID(), nil) })
	s.OnDelete(v.deleted)
	s.Shares = v.shares
	v.seatAgain()
	return nil
}

// host takes what is addressed to the domain of rooms.
func (v *service) host(e *relay.Errand) error {
	st := e.Stanza
	if st.To.Local == "" {
		return v.lobby(e)
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	if st.Kind == xmpp.KindPresence {
		return v.presence(e, el)
	}
	if st.Kind == xmpp.KindIQ {
		return v.iq(e, el)
	}
	if st.Type == "error" {
		return v.failed(e)
	}
	var back *retraction
	err = v.with(st.To.Local, func(r *room) error {
		err := r.message(e, el)
		if err == nil && st.Has(nsRetract, "retract") {
			back = r.takesBack(e, el)
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := v.amend(back); err != nil { // it was said, and is on its way
		v.s.Log().Warn("retraction not archived", "err", err)
	}
	return nil
}

// unreachable are the errors that say that somebody will get nothing any more.
var unreachable = []xmpp.Condition{xmpp.Gone, xmpp.ItemNotFound, xmpp.JIDMalformed, xmpp.RecipientUnavailable, xmpp.Redirect,
	xmpp.RemoteServerNotFound, xmpp.RemoteServerTimeout, xmpp.ServiceUnavailable}

// failed takes somebody of another server out of a room whose words come back
// (XEP-0045 §7.14): nobody else would ever do it.
func (v *service) failed(e *relay.Errand) error {
	el, err := e.Stanza.Element()
	if err != nil || !v.s.Elsewhere(e.From) || !slices.Contains(unreachable, xmpp.StanzaErrorOf(el).Cond) {
		return nil
	}
	err = v.with(e.Stanza.To.Local, func(r *room) error {
		if s := r.seats[e.From]; s != nil {
			r.leave(s, nil)
		}
		return nil
	})
	if notFound(err) {
		return nil
	}
	return err
}

// blocks says whether somebody here refuses j.
func (v *service) blocks(who, j xmpp.JID) bool { return v.s.Local(who) && v.s.Blocks(who.Local, j) }

// iq answers for a room, or passes a question on to somebody in it.
func (v *service) iq(e *relay.Errand, el *xmpp.Element) error {
	st := e.Stanza
	asks := st.Type == "get" || st.Type == "set"
	if asks && (st.ID == "" || len(el.Children()) != 1) {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if st.To.Resource != "" {
		return v.with(st.To.Local, func(r *room) error { return r.iqToOccupant(e, el, asks) })
	}
	if !asks {
		return nil
	}
	q := el.Children()[0]
	if q.Is(xmpp.NSMAM, "query") {
		return v.search(e, q)
	}
	if q.Is(xmpp.NSMAM, "metadata") && st.Type == "get" {
		return v.metadata(e)
	}
	if q.Name.Space == nsModerate && st.Type == "set" {
		return v.moderation(e, q)
	}
	h := answers[st.Type+" "+q.Name.Space]
	if h == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	var res *xmpp.Element
	err := v.with(st.To.Local, func(r *room) (err error) {
		if r.locked && r.rankOf(e.From) < owner { // XEP-0045 §7.2.10
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		res, err = h(r, e, q)
		return err
	})
	if err != nil {
		return err
	}
	if st.Type == "set" {
		if err := v.settle(st.To.Local); err != nil {
			return err
		}
	}
	e.Answer(xmpp.ResultOf(st, res))
	return nil
}

// answers are the questions that a room itself answers.
var answers = map[string]func(r *room, e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error){
	"get " + xmpp.NSDiscoInfo:  (*room).info,
	"get " + xmpp.NSDiscoItems: (*room).items,
	"get " + xmpp.NSPing:       (*room).ping,
	"get " + xmpp.NSMUCAdmin:   (*room).lists,
	"set " + xmpp.NSMUCAdmin:   (*room).changes,
	"get " + xmpp.NSMUCOwner:   (*room).showForm,
	"set " + xmpp.NSMUCOwner:   (*room).ownerSet,
	"get " + xmpp.NSVCard:      (*room).card,
	"set " + xmpp.NSVCard:      (*room).setCard,
	"get " + xmpp.NSRegister:   (*room).showRegister,
	"set " + xmpp.NSRegister:   (*room).register,
}

// unavailable is a session that goes offline without ending (RFC 6121 §4.5).
func (v *service) unavailable(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	if !st.HasTo && st.Type == "unavailable" {
		v.leaveAll(x.JID(), el)
	}
	return nil
}

// left is the end of a session. One that a crash ended has no seat here, but
// those who stayed over the crash still see it.
func (v *service) left(x *relay.Session) {
	sat := map[string]bool{}
	for _, r := range v.sitsIn(x.JID()) {
		sat[r.name] = true
	}
	v.leaveAll(x.JID(), nil)
	for _, j := range x.Directed() {
		if j.Domain != v.jid.Domain || sat[j.Local] {
			continue
		}
		_ = v.with(j.Local, func(r *room) error {
			if r.nicks[j.Resource] == nil {
				r.ghost(j.Resource, x.JID())
			}
			return nil
		})
	}
}

func (v *service) leaveAll(who xmpp.JID, el *xmpp.Element) {
	for _, r := range v.sitsIn(who) {
		_ = v.with(r.name, func(r *room) error {
			if s := r.seats[who]; s != nil {
				r.leave(s, el)
			}
			return nil
		})
	}
}

// deleted takes an account out of all rooms. Those that it alone owned go.
func (v *service) deleted(user string) {
	who := xmpp.JID{Local: user, Domain: v.s.Domain()}
	for name := range v.roomsOf(user) {
		_ = v.with(name, func(r *room) error {
			if r.ranks[who].Rank == owner && r.count(owner) == 1 {
				r.destroy(nil)
				return nil
			}
			r.setRank(who, stranger, news{})
			return nil
		})
	}
}

// shares says whether two are members of one private group, to which the first
// has come by himself: else anybody could make it so.
func (v *service) shares(user string, j xmpp.JID) (yes bool) {
	who := xmpp.JID{Local: user, Domain: v.s.Domain()}
	for name, rank := range v.roomsOf(user) {
		if rank < member || yes {
			continue
		}
		_ = v.with(name, func(r *room) error {
			yes = r.owes() && r.rankOf(who) >= member && r.ranks[who].Owed && r.rankOf(j) >= member
			return nil
		})
	}
	return yes
}

// sitsIn lists the rooms that a session is in.
func (v *service) sitsIn(who xmpp.JID) (all []*room) {
	v.listMu.Lock()
	defer v.listMu.Unlock()
	for r := range v.seats[who] {
		all = append(all, r)
	}
	return all
}

// sit notes that a session enters a room; false: it is in too many.
func (v *service) sit(who xmpp.JID, r *room) bool {
	v.listMu.Lock()
	defer v.listMu.Unlock()
	m := v.seats[who]
	if m == nil {
		m = map[*room]bool{}
		v.seats[who] = m
	}
	if len(m) >= joinedMax && !m[r] {
		return false
	}
	m[r] = true
	return true
}

func (v *service) rise(who xmpp.JID, r *room) {
	v.listMu.Lock()
	defer v.listMu.Unlock()
	delete(v.seats[who], r)
	if len(v.seats[who]) == 0 {
		delete(v.seats, who)
	}
}
