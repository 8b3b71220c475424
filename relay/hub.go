// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// A hub is the routing table: which sessions each account has.
type hub struct {
	mu     sync.RWMutex
	users  map[string][]*Session // copied on write: readers keep what they got
	guests int                   // those of other servers among them
}

func newHub() *hub { return &hub{users: map[string][]*Session{}} }

// of lists the sessions of an account; the slice is never changed afterwards.
func (h *hub) of(user string) []*Session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.users[user]
}

// find gives the session bound to a resource, or nil.
func (h *hub) find(user, resource string) *Session {
	for _, x := range h.of(user) {
		if x.jid.Resource == resource {
			return x
		}
	}
	return nil
}

// add puts x into the table and returns the session that had its resource or
// its device before (RFC 6120 §7.7.2.2: the newer one wins).
func (h *hub) add(x *Session) (old []*Session) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept := make([]*Session, 0, len(h.users[x.user])+1)
	for _, y := range h.users[x.user] {
		if y.jid.Resource == x.jid.Resource || y.device == x.device {
			old = append(old, y)
			continue
		}
		kept = append(kept, y)
	}
	h.users[x.user] = append(kept, x)
	return old
}

// drop takes x out; false when it was not there any more.
func (h *hub) drop(x *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	var kept []*Session
	found := false
	for _, y := range h.users[x.user] {
		if y == x {
			found = true
			continue
		}
		kept = append(kept, y)
	}
	if len(kept) == 0 {
		delete(h.users, x.user)
	} else {
		h.users[x.user] = kept
	}
	return found
}

// resting says whether an account has an inactive client (XEP-0352).
func (h *hub) resting(user string) bool {
	for _, x := range h.of(user) {
		x.mu.Lock()
		yes := x.inactive
		x.mu.Unlock()
		if yes {
			return true
		}
	}
	return false
}

func (h *hub) all() []*Session {
	h.mu.RLock()
	defer h.mu.RUnlock()
	var all []*Session
	for _, l := range h.users {
		if !l[0].abroad {
			all = append(all, l...)
		}
	}
	return all
}

// DeleteUser ends an account: its streams close, and all it had is erased.
func (s *Server) DeleteUser(user string) error {
	if err := s.Erase(user); err != nil {
		return err
	}
	s.Expel(s.jidOf(user), ErrDeleted)
	return nil
}

// Why the operator, or the account's end, closes streams.
var (
	ErrDeleted  = &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "the account was deleted"}
	ErrEnded    = &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "the operator ended this session"}
	errDisabled = &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "the operator disabled this account"}
)

// Disable keeps everybody out of an account whose sessions end, or lets them
// in again. What it has stays, and what is sent to it waits (XEP-0133 §4.3).
func (s *Server) Disable(user string, out bool) error {
	if err := s.opt.Store.Disable(user, out); err != nil {
		return err
	}
	if out {
		s.Expel(s.jidOf(user), errDisabled)
	}
	return nil
}

func (s *Server) barred(user string) bool {
	a, err := s.opt.Store.Account(user)
	return err == nil && a.Disabled
}

func (s *Server) jidOf(user string) xmpp.JID { return xmpp.JID{Local: user, Domain: s.domain.Domain} }

// Active says whether somebody seems to be at the session's client.
func (x *Session) Active() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch x.presence.Child(xmpp.NSClient, "show").Text() {
	case "away", "xa":
		return false
	}
	return x.conn != nil && !x.inactive
}

// Born is when the session began.
func (x *Session) Born() time.Time { return x.born }

// Unlink takes a device from its account: its sessions end, its token and its
// mail go. One that has a name of its own may not come back until the password
// changes; known says that another may, by the password. The session of who
// asked, if it is among them, ends when it has been answered.
func (s *Server) Unlink(user, device string, asker *Session) (known bool, err error) {
	known = !strings.HasPrefix(device, AgentDevice(""))
	if !known {
		if err := s.opt.Store.RevokeDevice(user, device); err != nil {
			return known, err
		}
	}
	for _, x := range s.hub.of(user) {
		if x.device == device {
			x.mu.Lock()
			x.spoilt = true
			x.mu.Unlock()
			x.closeConn(&xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "this device was unlinked"})
			if x != asker {
				x.end()
			}
		}
	}
	if err := s.opt.Store.DropDevice(user, device); err != nil && !errors.Is(err, offline.ErrGone) {
		return known, err
	}
	return known, nil
}

// Erase deletes all that an account had.
func (s *Server) Erase(user string) error {
	for _, f := range s.deleted {
		f(user)
	}
	return s.opt.Store.DeleteAccount(user)
}

// Expel ends the sessions of an account, or the one of a full address; what
// waits for their clients is said before (XEP-0077 §3.2).
func (s *Server) Expel(who xmpp.JID, why *xmpp.StreamError) {
	for _, x := range s.hub.of(who.Local) {
		if who.Resource != "" && who.Resource != x.jid.Resource {
			continue
		}
		x.mu.Lock()
		x.spoilt = true
		away := x.conn == nil
		x.mu.Unlock()
		x.closeConn(why)
		if away {
			x.end()
		}
	}
}

// OnCreate adds a hook for a new account.
func (s *Server) OnCreate(f func(user string)) { s.created = append(s.created, f) }

// Created tells of a new account.
func (s *Server) Created(user string) {
	for _, f := range s.created {
		f(user)
	}
}

// OnOwed adds a hook for mail that may want a device woken; ring: a call begins
// or ends. It must not block, and keep only what it copies.
func (s *Server) OnOwed(f func(user string, devices []string, m *offline.Mail, ring bool)) {
	s.owed = append(s.owed, f)
}

func (s *Server) tellOwed(user string, devices []string, m *offline.Mail, u Urgency) {
	if u == Idle || m.Seq == 0 { // a twin has been told of
		return
	}
	for _, f := range s.owed {
		f(user, devices, m, u == Ring)
	}
}

// OnStop adds what ends with the server; it returns when it has ended.
func (s *Server) OnStop(f func()) { s.stop = append(s.stop, f) }

// OnNudge adds a hook for what wants somebody's attention and is no mail: a
// request to be a contact.
func (s *Server) OnNudge(f func(user string)) { s.nudged = append(s.nudged, f) }

// Nudge tells of it.
func (s *Server) Nudge(user string) {
	for _, f := range s.nudged {
		f(user)
	}
}

// The server's own questions that are open, and how long each is.
const (
	questionsMax = 4096
	answerTime   = time.Minute
)

type questions struct {
	mu   sync.Mutex
	open map[string]*question
}

type question struct {
	to    xmpp.JID
	from  xmpp.JID
	then  func(*xmpp.Stanza)
	timer *time.Timer
}

// Query asks anybody, in the name of the domain or of an account that is the
// element's from. Unless it returns an error, then is called once: with the
// answer, or with nil when none came in a minute.
func (s *Server) Query(el *xmpp.Element, then func(*xmpp.Stanza)) error {
	id := NewID()
	if el.Get("from") == "" {
		el.Set("from", s.opt.Domain)
	}
	st, err := xmpp.StanzaOf(el.Set("id", id))
	if err != nil {
		return err
	}
	q, all := &question{to: st.To, from: st.From, then: then}, &s.questions
	all.mu.Lock()
	if len(all.open) >= questionsMax {
		all.mu.Unlock()
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	}
	if all.open == nil {
		all.open = map[string]*question{}
	}
	all.open[id] = q
	q.timer = time.AfterFunc(answerTime, func() { s.closed(id, st.To, nil) })
	all.mu.Unlock()
	if err := s.ask(st); err != nil {
		all.mu.Lock()
		delete(all.open, id)
		all.mu.Unlock()
		q.timer.Stop()
		return err
	}
	return nil
}

func (s *Server) ask(st *xmpp.Stanza) error {
	if h := s.hosts[st.To.Domain]; h != nil {
		return h(&Errand{Server: s, From: st.From, Stanza: st})
	}
	if !s.Local(st.To) {
		return s.leave(st.AppendAs(nil, st.From, st.To, nil, nil), nil)
	}
	y := s.hub.find(st.To.Local, st.To.Resource)
	if y == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if !y.offer(st.AppendAs(nil, st.From, st.To, nil, nil), "", false) {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	}
	return nil
}

// heard takes an answer that is for the domain, or an account.
func (s *Server) heard(from xmpp.JID, st *xmpp.Stanza) bool {
	return st.To.IsBare() && s.closed(st.ID, from, st)
}

func (s *Server) heardOf(from xmpp.JID, el *xmpp.Element) {
	if st, err := xmpp.StanzaOf(el); err == nil {
		s.heard(from, st)
	}
}

func (s *Server) closed(id string, from xmpp.JID, st *xmpp.Stanza) bool {
	s.questions.mu.Lock()
	q := s.questions.open[id]
	mine := q != nil && q.to == from && (st == nil || st.To == q.from)
	if mine {
		delete(s.questions.open, id)
	}
	s.questions.mu.Unlock()
	if mine {
		q.timer.Stop()
		q.then(st)
	}
	return mine
}

// directedMax bounds how many entities a session shows itself to.
const directedMax = 500

// Direct notes that an entity was shown this session's presence, or no longer
// is (RFC 6121 §4.6).
func (x *Session) Direct(to xmpp.JID, shown bool) {
	x.mu.Lock()
	changed := x.shown[to] != shown && !x.ended && !x.abroad // what was noted stays for a restart
	switch {
	case !shown:
		delete(x.shown, to)
	case len(x.shown) < directedMax && !x.abroad:
		if x.shown == nil {
			x.shown = map[xmpp.JID]bool{}
		}
		x.shown[to] = true
	}
	x.mu.Unlock()
	if changed {
		x.remember()
	}
}

// directed lists whom the presence was shown to; x.mu is held.
func (x *Session) directed() (all []string) {
	for j := range x.shown {
		all = append(all, j.String())
	}
	slices.Sort(all)
	return all
}

// showTo is what directed gave, before a restart.
func (x *Session) showTo(all []string) {
	for _, a := range all {
		if j, err := xmpp.ParseJID(a); err == nil {
			if x.shown == nil {
				x.shown = map[xmpp.JID]bool{}
			}
			x.shown[j] = true
		}
	}
}

// Directed lists who must be told when the session goes.
func (x *Session) Directed() []xmpp.JID {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Collect(maps.Keys(x.shown))
}
