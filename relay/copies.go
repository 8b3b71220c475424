// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"slices"
	"strings"

	"sotto/offline"
	"sotto/xmpp"
)

// fleeing says whether a message is worth nothing to somebody who is away:
// typing notices alone, or what asks not to be stored (XEP-0334 §4.2).
func fleeing(st *xmpp.Stanza) bool {
	if st.Has(xmpp.NSHints, "no-store") || st.Has(xmpp.NSHints, "no-permanent-store") {
		return true
	}
	if st.Has(xmpp.NSHints, "store") {
		return false
	}
	lasting := false
	for space, local := range kids(st) {
		notice := space == xmpp.NSChatStates || local == "thread" && space == xmpp.NSClient || space == xmpp.NSHints
		lasting = lasting || !notice
	}
	return !lasting
}

// kids ranges over the names of a stanza's direct children.
func kids(st *xmpp.Stanza) func(yield func(space, local string) bool) {
	return func(yield func(space, local string) bool) {
		st.Kids(func(space, local string, _ []byte) bool { return yield(space, local) })
	}
}

// The ways in which a message can be unreadable to us.
var sealedBy = []xmpp.Name{
	{Space: "eu.siacs.conversations.axolotl", Local: "encrypted"},
	{Space: "urn:xmpp:omemo:2", Local: "encrypted"},
	{Space: "urn:xmpp:openpgp:0", Local: "openpgp"},
	{Space: "jabber:x:encrypted", Local: "x"},
}

// Sealed says whether an element is content that we cannot read.
func Sealed(n xmpp.Name) bool { return slices.Contains(sealedBy, n) }

// readable says whether a message has content for people that the server, too,
// could read. The body beside sealed content is the fallback text.
func readable(st *xmpp.Stanza) bool {
	if st.Type == "error" || !st.Has(xmpp.NSClient, "body") {
		return false
	}
	for _, n := range sealedBy {
		if st.Has(n.Space, n.Local) {
			return false
		}
	}
	return true
}

// airyMessage says whether a message may wait for an inactive client; typing,
// whether all there is to it is that somebody types.
func airyMessage(st *xmpp.Stanza) (light, typing bool) {
	light = st.Type != "error"
	for space, local := range kids(st) {
		light = light && airy(space, local)
		typing = typing || space == xmpp.NSChatStates
	}
	return light, typing && light
}

// urgency says whether a device that is away is woken for a message. What else
// there is of a call (XEP-0353) is for devices that take part in it.
func urgency(st *xmpp.Stanza, light bool) Urgency {
	switch {
	case st.Has(xmpp.NSJingleMessage, "propose") || st.Has(xmpp.NSJingleMessage, "retract"):
		return Ring
	case light || ofCall(st):
		return Idle
	}
	return Usual
}

// ofCall says whether a message is about a call: a phone that rings must not
// hear later that another one has taken it.
func ofCall(st *xmpp.Stanza) bool {
	for space := range kids(st) {
		if space == xmpp.NSJingleMessage {
			return true
		}
	}
	return false
}

// Wakes says of mail that waits whether a device is woken for it.
func (s *Server) Wakes(user string, m *offline.Mail) bool {
	el, err := Opened(m, xmpp.JID{Local: user, Domain: s.opt.Domain})
	if err != nil || el.Child(xmpp.NSCarbons, "sent") != nil {
		return false
	}
	if got := el.Child(xmpp.NSCarbons, "received"); got != nil && m.From == user+"@"+s.opt.Domain {
		el = got.Child(xmpp.NSForward, "forwarded").Child(xmpp.NSClient, "message")
	}
	if el == nil {
		return false
	}
	st, err := xmpp.StanzaOf(el)
	if err != nil {
		return false
	}
	light, _ := airyMessage(st)
	return urgency(st, light) != Idle
}

// copied says whether own other devices get the message too (XEP-0280 §6.1).
func copied(st *xmpp.Stanza) bool {
	if st.Type == "groupchat" || st.Type == "headline" || st.Type == "error" {
		return false
	}
	if st.Has(xmpp.NSCarbons, "private") || st.Has(xmpp.NSHints, "no-copy") {
		return false
	}
	if st.Has(xmpp.NSCarbons, "sent") || st.Has(xmpp.NSCarbons, "received") {
		return false // a copy is not copied again, and a forged one not at all
	}
	if st.Type == "chat" || st.Has(xmpp.NSClient, "body") {
		return true
	}
	for space := range kids(st) {
		switch space {
		case xmpp.NSReceipts, xmpp.NSMarkers, xmpp.NSChatStates, xmpp.NSEME:
			return true
		}
	}
	return false
}

// lasting says whether a message belongs into histories (XEP-0313 §6.1.1,
// XEP-0334 §4).
func lasting(st *xmpp.Stanza) bool {
	if st.Type != "chat" && st.Type != "" && st.Type != "normal" || st.Has(xmpp.NSHints, "no-store") || st.Has(xmpp.NSHints, "no-permanent-store") {
		return false
	}
	if st.Has(xmpp.NSClient, "body") || st.Has(xmpp.NSHints, "store") {
		return true
	}
	for _, n := range sealedBy {
		if st.Has(n.Space, n.Local) {
			return true
		}
	}
	return false
}

// kept says whether a message goes into the history of one side.
func (s *Server) kept(st *xmpp.Stanza, owner string, with xmpp.JID) bool {
	return s.opt.Keep && lasting(st) && s.Archives(owner, with)
}

// sent writes what was sent into the sender's history, and gives it to his
// other devices by the same mailboxes: a laptop that slept a week has both
// sides of the talk.
func (s *Server) sent(x *Session, st *xmpp.Stanza, to xmpp.JID, fleeing, keep bool, p *page) {
	var way Plan
	if st.Type != "error" && copied(st) {
		way = copyPlan(s.copyTo(x.user, x.device), fleeing)
	}
	if !keep && way.Mail == nil && way.Live == nil {
		return
	}
	way.Light, way.Urgency = !ofCall(st), Idle // the person is at another device
	own := s.ownCopy(x, st, to, p)
	if keep {
		s.keepSent(x, st, own, p)
	}
	if way.Mail != nil || way.Live != nil {
		s.sendCopy(x, st, x.jid.Bare(), "sent", own, way, p)
	}
}

// ownCopy is a sent message as its sender's archive has it.
func (s *Server) ownCopy(x *Session, st *xmpp.Stanza, to xmpp.JID, p *page) offline.Mail {
	archive := s.archiveID(s.kept(st, x.user, to), x.user, x.token(p, st, 1))
	return offline.Mail{
		From: x.full, With: to.String(), ID: st.ID, At: s.Now(), Archive: archive,
		Body: s.stamped(st, x.jid, to, x.jid.Bare(), archive),
	}
}

// keepSent writes it into the history; the sender's ack waits for that.
func (s *Server) keepSent(x *Session, st *xmpp.Stanza, own offline.Mail, p *page) {
	t, err := s.opt.Store.Keep(x.user, &own, true)
	if err != nil {
		s.opt.Log.Error("not in the sender's history", "err", err)
		return
	}
	if p != nil {
		p.wait(t, st)
	}
}

// copyReceived gives the receiver's other devices a message that was sent to
// one of them by its full address (XEP-0280 §7).
func (s *Server) copyReceived(to xmpp.JID, m offline.Mail, first Plan, fleeing bool) {
	way := copyPlan(s.copyTo(to.Local, append(first.Mail, first.Live...)[0]), fleeing)
	if way.Mail == nil && way.Live == nil {
		return
	}
	way.Light, way.Urgency = first.Light, first.Urgency
	s.sendCopy(nil, nil, to.Bare(), "received", m, way, nil)
}

func copyPlan(devices []string, fleeing bool) Plan {
	if fleeing {
		return Plan{Live: devices}
	}
	return Plan{Mail: devices}
}

func (s *Server) sendCopy(x *Session, st *xmpp.Stanza, own xmpp.JID, word string, inner offline.Mail, way Plan, p *page) {
	body := wrapCopy(own.String(), word, inner.Body)
	for _, y := range s.hub.of(own.Local) {
		if slices.Contains(way.Live, y.device) {
			var w xmpp.Writer
			w.Bytes(addressed(&w, body, own.String(), y.jid))
			y.offer(w.Take(), "", way.Light)
		}
	}
	if way.Mail == nil {
		return
	}
	m := &offline.Mail{From: own.String(), ID: NewID(), Body: body, Archive: inner.Archive, With: inner.With}
	if x != nil {
		m.Token = x.token(p, st, 1)
	}
	if err := s.mail(st, own.Local, way, m, p); err != nil {
		s.opt.Log.Warn("copy not stored", "err", err)
	}
}

func wrapCopy(own, word string, inner []byte) []byte {
	b := make([]byte, 0, len(inner)+256)
	b = append(b, "<message from='"...)
	b = append(b, own...)
	b = append(b, "' to='"...)
	b = append(b, own...)
	b = append(b, "' type='chat'><"+word+" xmlns='"+xmpp.NSCarbons+"'><forwarded xmlns='"+xmpp.NSForward+"'>"...)
	b = append(b, "<message xmlns='"+xmpp.NSClient+"'"...)
	b = append(b, inner[len("<message"):]...)
	return append(b, "</forwarded></"+word+"></message>"...)
}

var toFirst, noAddress = []byte("<message to='"), []byte("<message to=''")

// addressed writes the full address of the receiving resource into a copy
// (XEP-0280 §6.1). Copies lie in the mailboxes with the bare one, for they are
// stored once for all devices.
func addressed(w *xmpp.Writer, body []byte, from string, to xmpp.JID) []byte {
	if bytes.HasPrefix(body, toFirst) { // from a host, see Errand.Copy
		end := len(toFirst) + bytes.IndexByte(body[len(toFirst):], '\'')
		w.Bytes(xmpp.AppendAttr([]byte("<message"), "to", to.String()))
		return body[end+1:]
	}
	if strings.Contains(from, "/") || from != to.Bare().String() {
		return body
	}
	head := "<message from='" + from + "' to='" + from + "'"
	if !bytes.HasPrefix(body, []byte(head)) {
		return body
	}
	start := xmpp.El(xmpp.NSClient, "message", "from", from, "to", to.String()).Bytes()
	w.Bytes(bytes.TrimSuffix(start, []byte("/>")))
	return body[len(head):]
}

// copyTo lists the devices, but one, that asked for copies.
func (s *Server) copyTo(user, but string) []string {
	var few [boxesFew]box
	boxes, err := s.boxes(few[:0], user)
	if err != nil {
		return nil
	}
	var to []string
	var wants map[string]bool // read only when a device is away
	for _, b := range boxes {
		if b.device == but {
			continue
		}
		if !b.live && wants == nil {
			wants = s.carbonDevices(user)
		}
		if b.live && s.wantsCopies(user, b.device) || !b.live && wants[b.device] {
			to = append(to, b.device)
		}
	}
	return to
}

func (s *Server) wantsCopies(user, device string) bool {
	for _, x := range s.hub.of(user) {
		if x.device == device {
			x.mu.Lock()
			defer x.mu.Unlock()
			return x.carbons
		}
	}
	return false
}

// carbonDevices are the devices that had copies on when they were last here.
func (s *Server) carbonDevices(user string) map[string]bool {
	wants := map[string]bool{}
	_ = s.opt.Store.View(user, func(r *offline.Records) error {
		r.Each("carbons", func(key string, _ []byte) bool {
			wants[key] = true
			return true
		})
		return nil
	})
	return wants
}

func (s *Server) loadCarbons(x *Session) {
	if s.carbonDevices(x.user)[x.device] && !x.carbons {
		s.setCarbons(x, false) // each login asks again (XEP-0280 §4)
	}
}

// setCarbons switches copies for a session and, for a device, for the time
// that it is away.
func (s *Server) setCarbons(x *Session, on bool) {
	x.mu.Lock()
	x.carbons = on
	x.mu.Unlock()
	x.remember()
	if !x.firm || s.carbonDevices(x.user)[x.device] == on {
		return
	}
	err := s.opt.Store.Update(x.user, func(r *offline.Records) error {
		if on {
			r.Put("carbons", x.device, []byte{1})
		} else {
			r.Delete("carbons", x.device)
		}
		return nil
	})
	if err != nil {
		s.opt.Log.Warn("carbons not noted", "err", err)
	}
}

// carbonsIQ answers enable and disable (XEP-0280 §4, §5).
func (s *Server) carbonsIQ(on bool) Handler {
	return func(r *Request) (*xmpp.Element, error) {
		if r.Type != "set" || !r.Own() {
			return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
		}
		s.setCarbons(r.Session, on)
		return nil, nil
	}
}

// unaddressed is body with an empty address, see addressed.
func (e *Errand) unaddressed(body []byte) []byte {
	rest := body[len("<message"):]
	if len(e.blank) != len(noAddress)+len(rest) || !bytes.HasSuffix(e.blank, rest) {
		e.blank = append(append(make([]byte, 0, len(noAddress)+len(rest)), noAddress...), rest...)
	}
	return e.blank
}

// Opened is mail as its owner is to read it.
func Opened(m *offline.Mail, owner xmpp.JID) (*xmpp.Element, error) {
	el, err := xmpp.Parse(m.Body, xmpp.NSClient)
	if err == nil && el.Get("to") == "" {
		el.Set("to", owner.String())
	}
	return el, err
}

func addressTo(body []byte, to xmpp.JID) []byte {
	b := make([]byte, 0, len(body)+64)
	b = xmpp.AppendAttr(append(b, "<message"...), "to", to.String())
	return append(b, body[len("<message"):]...)
}
