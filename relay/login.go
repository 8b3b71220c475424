// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// A login is one socket on its way to a session.
type login struct {
	s    *Server
	x    *Session
	turn int
}

// bind makes the session of a device (RFC 6120 §7, XEP-0386).
func (l *login) bind(c *xmpp.Conn, b xmpp.BindRequest) (xmpp.Bound, error) {
	s := l.s
	resource, device, chosen := deviceOf(b)
	jid, err := b.Account.Bare().With(resource)
	if err != nil {
		return xmpp.Bound{}, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // RFC 6120 §7.7.2.1
	}
	if err := s.placeFor(jid.Local); err != nil {
		return xmpp.Bound{}, err
	}
	firm, err := s.known(jid, device, chosen, b)
	if err != nil {
		return xmpp.Bound{}, err
	}
	x := s.newSession(jid, device, firm)
	x.running = make(chan struct{})
	x.carbons = b.Carbons
	x.inactive = b.CSIInactive
	for _, old := range s.hub.add(x) {
		old.replaced()
	}
	l.x, l.turn = x, x.turn
	if s.barred(x.user) { // since it logged in; who is in the hub now will be told to go
		x.end()
		return xmpp.Bound{}, &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: errDisabled.Text}
	}
	if firm {
		s.loadCarbons(x)
	}
	if b.Carbons {
		s.setCarbons(x, true)
	}
	out := xmpp.Bound{JID: jid}
	for _, f := range s.bound {
		if b.Bind2 {
			out.Extra = append(out.Extra, f(x)...)
		}
	}
	if b.SM {
		out.SMID = x.startSM(b.SMResume)
		out.SMMax = int(s.opt.Park / time.Second)
	}
	return out, nil
}

// AgentDevice is the key of the device with a user agent's id (XEP-0388 §2.3).
func AgentDevice(id string) string { return "a:" + id }

// deviceOf names the resource and the mailbox of a login (DESIGN §4); chosen
// is false when the server made the resource.
func deviceOf(b xmpp.BindRequest) (resource, device string, chosen bool) {
	switch {
	case b.AgentID != "":
		resource = b.Resource
		if b.Bind2 || resource == "" {
			sum := sha256.Sum256([]byte(b.AgentID))
			resource = strings.Trim(b.Tag+"."+base32.HexEncoding.EncodeToString(sum[:5]), ".")
		}
		return resource, AgentDevice(b.AgentID), true
	case b.Bind2:
		resource = strings.Trim(b.Tag+"."+NewID()[:12], ".")
		return resource, "r:" + resource, false
	case b.Resource == "":
		resource = NewID()[:16]
		return resource, "r:" + resource, false
	}
	return b.Resource, "r:" + b.Resource, true
}

func (s *Server) newSession(jid xmpp.JID, device string, firm bool) *Session {
	return &Session{
		s: s, jid: jid, full: jid.String(), user: jid.Local, device: device, firm: firm,
		box: s.opt.Store.Mailbox(jid.Local, device), born: s.Now(), since: s.Now(), turn: 1,
	}
}

// placeFor makes sure that the account may have one session more: the oldest that
// is parked gives way, if need be (RFC 6120 §7.6.2.1).
func (s *Server) placeFor(user string) error {
	all := s.hub.of(user)
	if len(all) < s.gate.lim.Sessions {
		return nil
	}
	var first *Session
	for _, x := range all {
		x.mu.Lock()
		if x.conn == nil && x.running == nil && (first == nil || x.since.Before(first.since)) {
			first = x
		}
		x.mu.Unlock()
	}
	if first == nil {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the account has too many sessions")
	}
	first.end()
	return nil
}

// known says whether this is a device, and notes it. Where nothing can be
// written, a new one is none: people must get in to fetch what waits for them.
func (s *Server) known(jid xmpp.JID, device string, chosen bool, b xmpp.BindRequest) (firm bool, err error) {
	if a, err := s.opt.Store.Account(jid.Local); err == nil && slices.Contains(a.Revoked, device) {
		return false, &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "this device was unlinked; change the password to let it in again"}
	}
	firm = b.AgentID != ""
	if chosen && !firm {
		firm, err = s.cameBack(jid, device)
	}
	if err == nil {
		err = s.noteDevice(jid, device, firm, b)
	}
	if !errors.Is(err, offline.ErrReadOnly) {
		return firm, err
	}
	s.opt.Log.Warn("login without a note of it", "err", err)
	if s.hasDevice(jid.Local, device) {
		return true, nil
	}
	return false, s.opt.Store.Later(jid.Local, func(r *offline.Records) error {
		r.Put("throwaway", device, []byte{1})
		return nil
	})
}

// cameBack says whether a resource that the client chose was used before: from
// its second login on it is a device.
func (s *Server) cameBack(jid xmpp.JID, device string) (bool, error) {
	again := s.noted.again(jid)
	if again {
		return true, nil
	}
	err := s.opt.Store.View(jid.Local, func(r *offline.Records) error {
		again = r.Get("resource", jid.Resource) != nil
		return nil
	})
	if err != nil || again {
		return again, err
	}
	return false, s.opt.Store.Later(jid.Local, func(r *offline.Records) error {
		r.Put("resource", jid.Resource, []byte{1})
		return nil
	})
}

// noted are resources whose first login may not be on disk yet.
type noted struct {
	mu   sync.Mutex
	seen map[xmpp.JID]struct{}
}

const notedMax = 4096 // far more than log in during one commit

func (n *noted) again(jid xmpp.JID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.seen[jid]; ok {
		return true
	}
	if n.seen == nil || len(n.seen) >= notedMax {
		n.seen = map[xmpp.JID]struct{}{}
	}
	n.seen[jid] = struct{}{}
	return false
}

// noteDevice writes down who may be owed mail, and picks up what throw-away
// resources left behind in a crash. Nobody waits for the disk: mail for the
// resource can only be in the same commit or a later one.
func (s *Server) noteDevice(jid xmpp.JID, device string, firm bool, b xmpp.BindRequest) error {
	if firm {
		label := strings.TrimSpace(b.Software + " " + b.DeviceName)
		_, err := s.opt.Store.SawDevice(jid.Local, offline.Device{
			ID: device, Resource: jid.Resource, Label: label, Since: s.Now(), Seen: s.Now(),
		})
		return err
	}
	var left []string
	err := s.opt.Store.View(jid.Local, func(r *offline.Records) error {
		r.Each("throwaway", func(key string, _ []byte) bool {
			left = append(left, key)
			return true
		})
		return nil
	})
	if err != nil {
		return err
	}
	err = s.opt.Store.Later(jid.Local, func(r *offline.Records) error {
		r.Put("throwaway", device, []byte{1})
		return nil
	})
	for _, d := range left {
		if d != device && !s.online(jid.Local, d) {
			s.salvage(jid.Local, d)
		}
	}
	return err
}

func (s *Server) online(user, device string) bool {
	for _, x := range s.hub.of(user) {
		if x.device == device {
			return true
		}
	}
	return false
}

// settleTime is how long a resumption waits for the old socket's last stanzas
// to become safe.
const settleTime = 3 * time.Second

// resume gives a parked session its new socket (XEP-0198 §5). Only sessions of
// the account that logged in are looked at.
func (l *login) resume(c *xmpp.Conn, account xmpp.JID, previd string, h uint32) (uint32, error) {
	gone := xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	for _, x := range l.s.hub.of(account.Local) {
		x.mu.Lock()
		mine := previd != "" && x.sm != nil && x.sm.slot != nil && x.sm.id == previd && !x.ended
		x.mu.Unlock()
		if !mine {
			continue
		}
		if !x.leave() {
			return 0, gone
		}
		in, turn, err := x.back(h)
		if err != nil {
			return 0, err
		}
		l.x, l.turn = x, turn
		return in, nil
	}
	return 0, gone
}

// leave closes the socket that the session still has and waits until its
// reader has stopped and all that it took is safe.
func (x *Session) leave() bool {
	x.mu.Lock()
	x.moving = true
	x.mu.Unlock()
	x.closeConn(&xmpp.StreamError{Cond: "conflict"})
	x.mu.Lock()
	running := x.running
	x.mu.Unlock()
	late := time.After(settleTime)
	if running != nil {
		select {
		case <-running:
		case <-late:
			return false
		}
	}
	for tick := 0; ; tick++ {
		x.mu.Lock()
		safe := x.books.safe == x.books.in
		x.mu.Unlock()
		if safe {
			return true
		}
		select {
		case <-late:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// back starts the session's next socket: what the client has is erased, what
// it has not is written again.
func (x *Session) back(h uint32) (in uint32, turn int, err error) {
	x.mu.Lock()
	if x.ended || x.spoilt || x.running != nil {
		x.mu.Unlock()
		return 0, 0, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	tags, err := x.takeAck(h)
	if err != nil {
		x.mu.Unlock()
		return 0, 0, err
	}
	if x.timer != nil {
		x.timer.Stop()
	}
	x.turn++
	x.moving, x.inactive = false, false // XEP-0352 §4.2: a stream begins active
	x.running = make(chan struct{})
	x.since = x.s.Now()
	var again outbox
	for _, k := range x.sm.kept {
		again.add(note{b: k.b})
	}
	for _, n := range x.out.take() {
		if !n.nonza {
			again.add(n)
		}
	}
	x.out = again
	x.sm.keptBytes = 0
	x.sm.kept, x.sm.asked, x.sm.asking, x.sm.asks = nil, h, false, nil
	x.sm.ledger.Restore(h, nil)
	x.cursor = [2]uint64{}
	x.books.restart(x.books.safe)
	in, turn = x.books.safe, x.turn
	before := x.sm.before[:min(len(tags), len(x.sm.before))]
	x.sm.before = nil
	x.mu.Unlock()
	x.forget(tags)
	x.hasSince(before)
	return in, turn, nil
}

// hasSince tells the mailboxes what the client has had since before a crash:
// mail that was in no file may come again from its sender. What is on disk has
// been acked by number.
func (x *Session) hasSince(before []offline.Tag) {
	for _, t := range before {
		box := x.box
		if t.Seq&inboxTag != 0 {
			box = x.s.opt.Store.Mailbox(x.user, inbox)
		}
		box.Arrived(t.Token)
	}
}

// Accounts that another server made may have keys for SCRAM-SHA-1 only: while
// there are any, their names are records of nobody.
const kindWeak, nobody = "weak", ""

// NoteWeak says that an account is one of those.
func (s *Server) NoteWeak(user string) error {
	err := s.opt.Store.Update(nobody, func(r *offline.Records) error {
		r.Put(kindWeak, user, []byte{1})
		return nil
	})
	if err == nil {
		s.feeble.Add(1)
	}
	return err
}

// findWeak counts them, and forgets those who are none any more.
func (s *Server) findWeak() {
	var all []string
	err := s.opt.Store.View(nobody, func(r *offline.Records) error {
		r.Each(kindWeak, func(user string, _ []byte) bool { all = append(all, user); return true })
		return nil
	})
	for _, user := range all {
		if a, bad := s.opt.Store.Account(user); errors.Is(bad, offline.ErrNoAccount) || bad == nil && len(a.SHA256.StoredKey) > 0 {
			err = errors.Join(err, s.opt.Store.Later(nobody, func(r *offline.Records) error { r.Delete(kindWeak, user); return nil }))
			continue
		}
		s.feeble.Add(1)
	}
	if err != nil {
		s.opt.Log.Error("accounts with old keys", "err", err)
	}
}
