// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/fnv"
	"strconv"

	"sotto/offline"
	"sotto/xmpp"
)

// message sends one message of a session on its road (DESIGN §3).
func (s *Server) message(x *Session, st *xmpp.Stanza, p *page) error {
	to := st.To
	if !st.HasTo {
		to = x.jid.Bare() // RFC 6121 §8.1.1.1: as if to the own account
	}
	if to.Local == "" && s.Local(to) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if s.opt.E2E && readable(st) {
		return xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("this server takes only end-to-end encrypted messages")
	}
	if err := s.blocked(x, to); err != nil {
		return err
	}
	keep := !x.abroad && s.kept(st, x.user, to)
	if keep { // refused before anything is promised
		if err := s.opt.Store.Takes(x.user); err != nil {
			return err
		}
	}
	fleeing := fleeing(st)
	if err := s.toReceiver(x, st, to, fleeing, p); err != nil {
		return err
	}
	if !x.abroad && s.Whose(to) != x.user { // else own devices and archive are the receiver's
		s.sent(x, st, to, fleeing, keep, p)
	}
	return nil
}

func (s *Server) toReceiver(x *Session, st *xmpp.Stanza, to xmpp.JID, fleeing bool, p *page) error {
	if !s.Local(to) {
		return s.send(x, st, to, p)
	}
	var few [boxesFew]box
	boxes, err := s.boxes(few[:0], to.Local)
	unknown := errors.Is(err, offline.ErrNoAccount)
	if err != nil && !unknown {
		return err
	}
	if unknown || s.Blocks(to.Local, x.jid) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable) // RFC 6121 §8.5.1, XEP-0191 §3.2
	}
	if box, err := s.Hold(x, st, to, fleeing); err != nil || box != "" {
		return s.holdBack(x, st, to, box, err, p)
	}
	way := plan(letter{typ: st.Type, full: to.Resource, fleeing: fleeing}, boxes)
	if way.Refuse {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	token := x.token(p, st, 0)
	kept := s.kept(st, to.Local, x.jid)
	archive := s.archiveID(kept, to.Local, token)
	body := s.stamped(st, x.jid, to, to.Bare(), archive)
	light, typing := airyMessage(st)
	way.Light, way.Urgency = light, urgency(st, light)
	slot := ""
	if typing {
		slot = "typing " + x.full
	}
	s.toLive(to.Local, way, body, slot)
	if way.Mail != nil {
		m := &offline.Mail{From: x.full, ID: st.ID, Body: body, Token: token, Archive: archive, Kept: kept}
		if err := s.mail(st, to.Local, way, m, p); err != nil {
			return err
		}
	}
	if way.Direct && copied(st) && s.Whose(to) != x.user {
		s.copyReceived(to, offline.Mail{Body: body, Archive: archive, With: x.full}, way, fleeing)
	}
	return nil
}

// Nowhere is where a message goes that is worth nothing later.
const Nowhere = "nowhere"

// holdBack keeps a message until the receiver wants it; for its sender it is
// delivered, and nothing tells that it is not.
func (s *Server) holdBack(x *Session, st *xmpp.Stanza, to xmpp.JID, box string, err error, p *page) error {
	if err != nil || box == Nowhere {
		return err
	}
	m := &offline.Mail{From: x.full, ID: st.ID, Body: s.stamped(st, x.jid, to, to.Bare(), ""), Token: x.token(p, st, 0)}
	if err := s.mail(st, to.Local, Plan{Mail: []string{box}, Light: true}, m, p); err != nil {
		return err
	}
	s.Held(to.Local, x.jid)
	return nil
}

// mail puts a message into the planned mailboxes and wakes their sessions.
func (s *Server) mail(st *xmpp.Stanza, user string, way Plan, m *offline.Mail, p *page) error {
	m.At = s.Now()
	m.Expires = m.At.Add(s.opt.KeepMail)
	t, err := s.opt.Store.Put(user, way.Mail, m, s.allAck(user, way.Mail))
	if err != nil {
		return refusal(err)
	}
	s.wakeDevices(user, way)
	s.tellOwed(user, way.Mail, m, way.Urgency)
	if p != nil {
		p.wait(t, st)
	}
	return nil
}

// refusal says in XMPP's words why a stanza was not accepted: nothing has been
// promised yet, so nothing is lost (DESIGN §1 P5).
func refusal(err error) error {
	switch {
	case errors.Is(err, offline.ErrNoAccount):
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	case errors.Is(err, offline.ErrFull):
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the receiver's mailbox is full")
	case errors.Is(err, offline.ErrReadOnly):
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the server cannot store anything now; try again later")
	case errors.Is(err, offline.ErrCorrupt):
		return xmpp.Refuse(xmpp.Wait, xmpp.InternalError).Say("what the server has of this account is damaged")
	}
	return err
}

// wakeDevices wakes the sessions of the planned mailboxes.
func (s *Server) wakeDevices(user string, way Plan) {
	for _, device := range way.Mail {
		if device == inbox {
			s.offerInbox(user, way.Light)
			continue
		}
		for _, y := range s.hub.of(user) {
			if y.device != device {
				continue
			}
			if way.Direct {
				y.openDirect()
			}
			y.hasMail(way.Light)
		}
	}
}

// hasMail wakes the writer, but not for what may wait (XEP-0352 §3.2).
func (x *Session) hasMail(light bool) {
	x.mu.Lock()
	if !light {
		x.mailDue++
	}
	quiet := x.quiet()
	x.mu.Unlock()
	if !quiet {
		x.wake()
	}
}

// openDirect lets mail flow before initial presence: a message to the full
// address of a connected resource is delivered (RFC 6121 §8.5.3.1).
func (x *Session) openDirect() {
	x.mu.Lock()
	fresh := !x.direct
	x.direct = true
	x.mu.Unlock()
	if fresh {
		x.remember()
	}
}

// toLive hands a message that is worth nothing later to those who are there.
func (s *Server) toLive(user string, way Plan, body []byte, slot string) {
	for _, device := range way.Live {
		for _, y := range s.hub.of(user) {
			if y.device == device {
				y.offer(body, slot, way.Light)
			}
		}
	}
}

// allAck says whether all targets are there and ack by stream management: then
// the commit may wait a little, and mostly needs no disk at all.
func (s *Server) allAck(user string, devices []string) bool {
	for _, device := range devices {
		ok := false
		for _, y := range s.hub.of(user) {
			y.mu.Lock()
			ok = ok || y.device == device && y.conn != nil && y.sm != nil && (y.presence != nil || y.direct)
			y.mu.Unlock()
		}
		if !ok {
			return false
		}
	}
	return true
}

// boxesFew is how many devices people have; room for them is on the stack.
const boxesFew = 6

// boxes appends to all, which is empty, what routing knows of an account.
func (s *Server) boxes(all []box, user string) ([]box, error) {
	devices, err := s.opt.Store.Devices(user)
	if err != nil {
		return nil, err
	}
	live := s.hub.of(user)
	for i := range devices {
		all = append(all, box{device: devices[i].ID, resource: devices[i].Resource, firm: true})
	}
	for _, x := range live {
		x.mu.Lock()
		b := box{
			device: x.device, resource: x.jid.Resource, firm: x.firm,
			live: true, available: x.presence != nil, prio: x.prio,
		}
		x.mu.Unlock()
		all = putBox(all, b)
	}
	return all, nil
}

func putBox(all []box, b box) []box {
	for i := range all {
		if all[i].device == b.device {
			b.firm = true
			all[i] = b
			return all
		}
	}
	b.firm = false
	return append(all, b)
}

// stamped is the message as it travels: from is ours to say, and so is the
// stanza id (XEP-0359 §3.1), whatever the sender wrote. It is the id in the
// archive of owner (XEP-0313 §3.5); "" = in none.
func (s *Server) stamped(st *xmpp.Stanza, from, to, owner xmpp.JID, archive string) []byte {
	by := owner.String()
	var sid []byte
	if archive != "" {
		sid = make([]byte, 0, 256)
		sid = xmpp.AppendAttr(append(sid, "<stanza-id xmlns='"+xmpp.NSSID+"'"...), "by", by)
		sid = append(xmpp.AppendAttr(sid, "id", archive), "/>"...)
	}
	forged := func(space, local string, raw []byte) bool {
		if space == xmpp.NSDelay && local == "delay" {
			return true
		}
		if space != xmpp.NSSID || local != "stanza-id" {
			return false
		}
		el, err := xmpp.Parse(raw, xmpp.NSClient)
		return err != nil || el.Get("by") == by
	}
	return st.AppendAs(nil, from, to, sid, forged)
}

// archiveID names a message in an archive. One that its sender sends again
// after a crash has the id of before.
func (s *Server) archiveID(kept bool, owner string, token uint64) string {
	switch {
	case s.opt.Keep && !kept:
		return "" // who asks for what came after it must get an answer
	case token == 0:
		return NewID()
	}
	return s.opt.Store.Mark(owner, strconv.FormatUint(token, 36))
}

// token names a stanza of a resumable session, so that a stanza which the
// client sends again after a crash is known as a twin. Its bytes are part of
// it: a client may leave a stanza out when it sends the others again.
func (x *Session) token(p *page, st *xmpp.Stanza, salt byte) uint64 {
	if x.abroad {
		return x.twin(st, salt)
	}
	x.mu.Lock()
	m := x.sm
	x.mu.Unlock()
	if m == nil || m.slot == nil || p == nil {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(m.id))
	b := binary.BigEndian.AppendUint32([]byte{salt}, p.n)
	h.Write(binary.BigEndian.AppendUint32(b, crc32.Checksum(st.Raw, castagnoli)))
	return h.Sum64() | 1
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Route sends a stanza that the server made on its normal road; to and from
// must be set.
func (s *Server) Route(el *xmpp.Element) error {
	st, err := xmpp.StanzaOf(el)
	if err != nil {
		return err
	}
	if s.Elsewhere(st.To) {
		return s.leave(el.Bytes(), nil)
	}
	if !s.Local(st.To) || st.To.Local == "" {
		return nil
	}
	if st.Kind != xmpp.KindMessage {
		if y := s.hub.find(st.To.Local, st.To.Resource); y != nil {
			y.Push(el)
		}
		return nil
	}
	boxes, err := s.boxes(nil, st.To.Local)
	if err != nil {
		return err
	}
	way := plan(letter{typ: st.Type, full: st.To.Resource}, boxes)
	kept := s.kept(st, st.To.Local, st.From)
	archive := s.archiveID(kept, st.To.Local, 0)
	body := s.stamped(st, st.From, st.To, st.To.Bare(), archive)
	s.toLive(st.To.Local, way, body, "")
	if way.Mail == nil {
		return nil
	}
	m := &offline.Mail{From: st.From.String(), ID: st.ID, Body: body, Archive: archive, Kept: kept}
	return s.mail(st, st.To.Local, way, m, nil)
}

// bounceExpired tells the sender that a message was not fetched in time and
// has been forgotten (DESIGN §4).
func (s *Server) bounceExpired(user string, m offline.Mail) {
	if s.Undelivered != nil && s.Undelivered(user, &m) {
		return
	}
	from, err := xmpp.ParseJID(m.From)
	if err != nil || !s.Local(from) && !s.Elsewhere(from) || from.Local == "" {
		return
	}
	if from.Local == user { // a copy of one's own message: nobody waits for it
		return
	}
	to := xmpp.JID{Local: user, Domain: s.domain.Domain}
	el := xmpp.El(xmpp.NSClient, "message", "type", "error", "id", m.ID, "from", to.String(), "to", from.String())
	words := "the receiver did not fetch this message in time; it has been deleted"
	if s.opt.Keep && m.Archive != "" {
		words = "no device of the receiver fetched this message in time; it is in the receiver's archive"
	}
	why := xmpp.Refuse(xmpp.Wait, xmpp.RecipientUnavailable).Say(words)
	el.Add(why.Element())
	if s.Elsewhere(from) {
		_ = s.leave(el.Bytes(), nil) // without a way there he cannot be told
		return
	}
	if err := s.toSender(from, el); err != nil {
		s.opt.Log.Warn("expiry not reported", "err", err)
	}
}

// toSender puts a report into the mailbox of the device that sent, or into the
// account's inbox when that device is no more.
func (s *Server) toSender(from xmpp.JID, el *xmpp.Element) error {
	boxes, err := s.boxes(nil, from.Local)
	if err != nil {
		return err
	}
	way := Plan{Mail: []string{inbox}, Direct: true}
	for _, b := range boxes {
		if b.resource == from.Resource {
			way.Mail = []string{b.device}
		}
	}
	m := &offline.Mail{From: el.Get("from"), ID: el.Get("id"), Body: el.Bytes()}
	return s.mail(nil, from.Local, way, m, nil)
}
