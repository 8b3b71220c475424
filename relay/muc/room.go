// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"sync"
	"time"

	"sotto/xmpp"
)

// A room is in memory while somebody is in it, or it is asked for something.
type room struct {
	v    *service
	name string
	jid  xmpp.JID

	holds int // guarded by service.mu: who works with it

	mu      sync.Mutex
	dead    bool
	locked  bool // being set up by its first owner (XEP-0045 §10.1.1)
	conf    config
	secret  []byte // of the occupant ids
	ranks   map[xmpp.JID]affiliate
	nicks   map[string]*occupant
	seats   map[xmpp.JID]*seat
	spoke   map[xmpp.JID]time.Time // for slow mode, by account
	photo   string                 // SHA-1 of its picture (XEP-0486)
	edition uint64                 // counts changes of ranks
	edits   []edit                 // the last ones
	subject subject
	past    []line
	bytes   int // in past
}

// An affiliate is somebody whom the room remembers.
type affiliate struct {
	Rank   rank
	Nick   string `json:",omitempty"` // reserved (XEP-0045 §7.10)
	Reason string `json:",omitempty"`
	// Owed says that what is said waits for him while he is away: he has been
	// here, or somebody made him a member whom he lets see his presence. Else
	// anybody could fill his mailbox. Not for the clients that Left.
	Owed bool     `json:",omitempty"`
	Left []string `json:",omitempty"`
}

// An occupant is one person in the room, under one nick, from one or more
// clients.
type occupant struct {
	nick  string
	at    xmpp.JID // room@domain/nick
	who   xmpp.JID // bare
	id    string   // XEP-0421
	role  role
	seats []*seat
}

// A seat is one client in the room.
type seat struct {
	jid    xmpp.JID
	device string
	o      *occupant
	show   []*xmpp.Element // what it says in its presence
}

type subject struct {
	Text string
	Lang string `json:",omitempty"`
	By   string // nick
	ID   string // occupant id
	At   time.Time
}

func (r *room) rankOf(j xmpp.JID) rank { return r.ranks[j.Bare()].Rank }

func (r *room) count(a rank) (n int) {
	for _, f := range r.ranks {
		if f.Rank == a {
			n++
		}
	}
	return n
}

// owes says whether members are owed what they miss: a private group.
func (r *room) owes() bool { return r.conf.MembersOnly && r.conf.Whois == "anyone" }

// occupantID is the same for one person in one room for ever, and tells
// nothing to others (XEP-0421 §3).
func (r *room) occupantID(who xmpp.JID) string {
	m := hmac.New(sha256.New, r.secret)
	m.Write([]byte(who.Bare().String()))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// with works on a room; there is one object for each room at a time.
func (v *service) with(name string, f func(r *room) error) error {
	r, err := v.hold(name)
	if err != nil {
		return err
	}
	defer v.release(r)
	over := false
	err = func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.dead {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		err := f(r)
		over = r.dead
		return err
	}()
	if over && v.s.Keeps() { // waits for the disk, and so without the lock
		if err := v.s.Store().EraseHistory(r.shelf()); err != nil {
			v.s.Log().Error("history of a room not erased", "err", err)
		}
	}
	return err
}

// hold keeps a room in memory until release.
func (v *service) hold(name string) (*room, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r := v.rooms[name]
	if r == nil {
		if !v.listed(name) {
			return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		var err error
		if r, err = v.read(name); err != nil {
			return nil, err
		}
		v.rooms[name] = r
	}
	r.holds++
	return r, nil
}

// release lets go of a room; one that nobody is in need not stay in memory.
func (v *service) release(r *room) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r.holds--
	if r.holds > 0 || v.rooms[r.name] != r {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.dead || len(r.seats) == 0 && len(v.rooms) > loadedMax {
		r.forget(0)
		delete(v.rooms, r.name)
	}
}

// create makes a room that is locked until its owner has set it up
// (XEP-0045 §10.1), and holds it. One that is there is held as it is.
func (v *service) create(name string, who xmpp.JID) (r *room, err error) {
	if !v.s.Local(who) { // their accounts cost nothing
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed).Say("only people of this server make rooms here")
	}
	owned := 0
	for _, a := range v.roomsOf(who.Local) {
		if a == owner {
			owned++
		}
	}
	if owned >= roomsMax {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("you have too many rooms")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.rooms[name]
	if old == nil && v.listed(name) || old != nil && !old.isDead() {
		return nil, errAgain
	}
	r = v.fresh(name)
	r.locked = true
	r.conf = v.firstConfig()
	r.ranks[who.Bare()] = affiliate{Rank: owner}
	r.holds = 1
	v.rooms[name] = r
	r.saveConfig()
	r.saveRank(who.Bare())
	return r, nil
}

var errAgain = xmpp.Refuse(xmpp.Wait, xmpp.Conflict)

func (r *room) isDead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

func (v *service) fresh(name string) *room {
	return &room{
		v: v, name: name, jid: xmpp.JID{Local: name, Domain: v.jid.Domain}, secret: []byte(rand.Text()),
		ranks: map[xmpp.JID]affiliate{}, nicks: map[string]*occupant{}, seats: map[xmpp.JID]*seat{},
	}
}

// destroy ends the room: everybody is told, and nothing of it is kept
// (XEP-0045 §10.9).
func (r *room) destroy(why *xmpp.Element) {
	for _, s := range r.seats {
		if why == nil {
			why = xmpp.El(xmpp.NSMUCUser, "destroy")
		}
		r.tellOne(s, s, news{typ: "unavailable", shows: &standing{stranger, gone}, destroy: why})
	}
	for _, s := range r.seats {
		r.stand(s)
	}
	for who := range r.ranks {
		r.v.noteMember(who, r.name, stranger)
	}
	r.dead = true
	r.forget(0)
	r.v.erase(r.name)
}
