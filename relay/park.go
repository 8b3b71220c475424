// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"slices"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// lost is called once for each socket that is gone. A session that may be
// resumed is parked, any other ends (XEP-0198 §5).
func (x *Session) lost(turn int, clean bool) {
	x.mu.Lock()
	if x.turn != turn || x.ended {
		x.closeRunning()
		x.mu.Unlock()
		return
	}
	x.conn = nil
	x.closeRunning()
	park := x.sm != nil && x.sm.slot != nil && (!clean || x.moving) && !x.spoilt
	if park {
		x.timer = time.AfterFunc(x.s.opt.Park, func() { x.expired(turn) })
	}
	x.mu.Unlock()
	if park {
		x.remember()
		return
	}
	x.end()
}

// closeRunning tells a waiting resumption that the reader is done.
func (x *Session) closeRunning() {
	if x.running != nil {
		close(x.running)
		x.running = nil
	}
}

// expired ends a parked session that nobody resumed in time.
func (x *Session) expired(turn int) {
	x.mu.Lock()
	still := x.turn == turn && x.conn == nil && !x.ended
	x.mu.Unlock()
	if still {
		x.end()
	}
}

// end takes the session out of the world. Its mail stays with the device.
func (x *Session) end() {
	x.mu.Lock()
	if x.ended {
		x.mu.Unlock()
		return
	}
	x.ended = true
	m := x.sm
	if x.timer != nil {
		x.timer.Stop()
	}
	x.out = outbox{}
	x.mu.Unlock()
	last := x.s.hub.drop(x)
	for _, f := range x.s.gone {
		f(x)
	}
	if m != nil && m.slot != nil {
		m.slot.Drop()
	}
	if x.seen != "" && !x.s.stopping() { // else a restart tells those who come back
		x.noteSeen("")
	}
	if last && !x.firm {
		x.s.salvage(x.user, x.device)
	}
	if x.hasInbox {
		x.s.offerInbox(x.user, false)
	}
}

// replaced ends a session whose resource or device came again: the newer one
// wins (RFC 6120 §7.7.2.2).
func (x *Session) replaced() {
	x.closeConn(&xmpp.StreamError{Cond: "conflict"})
	x.end()
}

// salvage gives the mail of a throw-away resource back to the account: it was
// safe there once and must stay so (XEP-0198 §5, XEP-0160 §2).
func (s *Server) salvage(user, device string) {
	box := s.opt.Store.Mailbox(user, device)
	devices, err := s.opt.Store.Devices(user)
	if err != nil {
		return
	}
	for {
		mail, err := box.After(0, 64, nil)
		if err != nil || len(mail) == 0 {
			break
		}
		for i := range mail {
			if len(devices) == 0 && !s.reput(user, &mail[i]) {
				return
			}
			box.Ack(mail[i].Seq)
		}
	}
	s.offerInbox(user, false)
	_ = s.opt.Store.Later(user, func(r *offline.Records) error {
		r.Delete("throwaway", device)
		return nil
	})
}

// reput moves one mail to the inbox; it is acked in its old box only after
// this has been accepted, so a crash between repeats and never loses.
func (s *Server) reput(user string, m *offline.Mail) bool {
	again := *m
	again.Seq, again.Token = 0, 0
	_, err := s.opt.Store.Put(user, []string{inbox}, &again, false)
	if err == nil && len(s.owed) > 0 && s.Wakes(user, &again) {
		s.tellOwed(user, []string{inbox}, &again, Usual)
	}
	return err == nil
}

// takeInbox lets one available session read the account's inbox.
func (x *Session) takeInbox(light bool) {
	for _, y := range x.s.hub.of(x.user) {
		y.mu.Lock()
		busy := y != x && y.hasInbox && !y.ended
		y.mu.Unlock()
		if busy {
			return
		}
	}
	if x.s.opt.Store.Mailbox(x.user, inbox).Len() == 0 {
		return
	}
	x.mu.Lock()
	if x.presence != nil && x.prio >= 0 && !x.hasInbox {
		x.hasInbox, light = true, false
		x.cursor[1] = 0
	}
	x.mu.Unlock()
	x.hasMail(light)
}

// leaveInbox gives the inbox up: a resource that is not available, or whose
// priority is negative, gets nothing of what was sent to the bare address
// (RFC 6121 §8.5.2.1.1).
func (x *Session) leaveInbox() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.presence == nil || x.prio < 0 {
		x.hasInbox = false
	}
}

// offerInbox lets any session that is there take the inbox.
func (s *Server) offerInbox(user string, light bool) {
	for _, x := range s.hub.of(user) {
		x.takeInbox(light)
	}
}

// wakeParked brings back the sessions that a crash of the server parked, with
// their counters: their clients resume as if only the socket had been lost.
func (s *Server) wakeParked() error {
	all, err := s.opt.Store.Slots()
	if err != nil {
		return err
	}
	for _, r := range all {
		slot, _, err := s.opt.Store.FindSlot(r.ID)
		if err != nil {
			continue
		}
		s.unpark(r, slot)
	}
	return nil
}

func (s *Server) unpark(r offline.Resumable, slot *offline.Slot) {
	jid := xmpp.JID{Local: r.User, Domain: s.domain.Domain, Resource: r.Resource}
	x := s.newSession(jid, r.Device, r.Flags&flagFirm != 0)
	x.roster, x.carbons, x.direct = r.Flags&flagRoster != 0, r.Flags&flagCarbons != 0, r.Flags&flagDirect != 0
	if len(r.Presence) > 0 {
		if el, err := xmpp.Parse(r.Presence, xmpp.NSClient); err == nil {
			x.presence = el
			x.prio, _ = priority(el)
		}
	}
	x.showTo(r.Directed)
	x.revived = true
	in, acked, tags, done := slot.State()
	x.books.restart(in)
	x.sm = &management{id: r.ID, slot: slot, before: tags}
	seqs := make([]uint64, len(tags))
	for i, t := range tags {
		seqs[i] = t.Seq
	}
	x.sm.ledger.Restore(acked, seqs)
	own, shared := slot.Had()
	x.box.AckUpTo(own)
	s.opt.Store.Mailbox(x.user, inbox).AckUpTo(shared)
	// A place of the ring may be an older life's, for mail that never arrived.
	x.hasSince(slices.DeleteFunc(done, func(t offline.Tag) bool {
		return t.Seq&inboxTag == 0 && t.Seq > own || t.Seq&inboxTag != 0 && t.Seq&^inboxTag > shared
	}))
	s.hub.add(x)
	turn := x.turn
	x.timer = time.AfterFunc(s.opt.Park, func() { x.expired(turn) })
}

// A Part is what one family keeps of an account, as other servers read and
// write it (XEP-0227 §4). In says whether an element is its own.
type Part struct {
	Out func(user string) ([]*xmpp.Element, error)
	In  func(user string, el *xmpp.Element) (mine bool, err error)
}

// Part adds one to the server.
func (s *Server) Part(p Part) { s.parts = append(s.parts, p) }

// Parts are all of them.
func (s *Server) Parts() []Part { return s.parts }

// Owe gives an account a message that waited for it elsewhere. A token keeps it
// from coming twice while it waits.
func (s *Server) Owe(user string, el *xmpp.Element, token uint64) (*offline.Ticket, error) {
	at := s.Now()
	if t, err := time.Parse(time.RFC3339, el.Child(xmpp.NSDelay, "delay").Get("stamp")); err == nil && t.Before(at) {
		at = t
	}
	to := s.jidOf(user)
	st, err := xmpp.StanzaOf(el.Clone().Set("to", to.String()))
	if err != nil || st.Kind != xmpp.KindMessage || !st.HasFrom || st.Type == "groupchat" || st.Type == "error" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).Say("it is no message that could wait")
	}
	if s.opt.E2E && readable(st) {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation)
	}
	boxes, err := s.boxes(nil, user)
	if err != nil {
		return nil, err
	}
	way := Plan{Mail: owed(boxes)}
	kept := s.kept(st, user, st.From)
	archive := s.archiveID(kept, user, token)
	m := &offline.Mail{
		At: at, Expires: s.Now().Add(s.opt.KeepMail), From: st.From.String(), ID: st.ID, Token: token,
		Body: s.stamped(st, st.From, to, to, archive), Archive: archive, Kept: kept,
	}
	t, err := s.opt.Store.Put(user, way.Mail, m, false)
	if err != nil {
		return nil, refusal(err)
	}
	s.wakeDevices(user, way)
	s.tellOwed(user, way.Mail, m, Usual)
	return t, nil
}

// Reached says whether the device has a socket now; "" is whoever may read the
// inbox.
func (s *Server) Reached(user, device string) bool {
	for _, x := range s.hub.of(user) {
		x.mu.Lock()
		yes := x.conn != nil && (x.device == device || device == inbox && x.presence != nil && x.prio >= 0)
		x.mu.Unlock()
		if yes {
			return true
		}
	}
	return false
}

// Firm says whether the device is owed messages while it is away.
func (x *Session) Firm() bool { return x.firm }
