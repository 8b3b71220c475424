// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"errors"
	"strconv"
	"sync"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// window is how many unacked mails may be on their way to one device.
const window = 256

// How much that is not mail goes out before we ask whether it has come.
const askNotes, askBytes = 8, 2 << 10

// batch is how much is written before the socket is flushed.
const batch = 64 << 10

// inboxTag marks a ledger tag whose mail lies in the inbox.
const inboxTag = 1 << 63

var errStale = errors.New("another socket has taken over this session")

// fill is the writer's turn: answers and pushes first, then mail.
func (x *Session) fill(w *xmpp.Writer, turn int) error {
	x.mu.Lock()
	quiet, due := x.quiet(), x.mailDue
	x.mu.Unlock()
	if quiet {
		return x.fillAsk(w, turn)
	}
	if err := x.fillNotes(w, turn); err != nil {
		return err
	}
	all := true
	for which := range 2 {
		empty, err := x.fillMail(w, turn, which)
		if err != nil {
			return err
		}
		all = all && empty
	}
	if all {
		x.mu.Lock()
		x.mailDone = due
		x.mu.Unlock()
	}
	return x.fillAsk(w, turn)
}

// What is held for an inactive client before it is written after all.
const heldMax, heldBytes = 400, 200 << 10

// quiet says whether all that waits can wait until the client is active again
// (XEP-0352 §3.2); the radio of a phone stays off. When anything must be
// written, all is, in its order: then the radio is on. x.mu is held.
func (x *Session) quiet() bool {
	return x.inactive && x.out.grave == 0 && len(x.out.list) < heldMax && x.out.bytes < heldBytes &&
		x.mailDue == x.mailDone && (x.sm == nil || !x.sm.due(x.books.safe))
}

func (x *Session) fillNotes(w *xmpp.Writer, turn int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.turn != turn || x.ended {
		return errStale
	}
	last, counted := uint32(0), 0
	for _, n := range x.out.take() {
		w.Bytes(n.b)
		if x.sm != nil && !n.nonza {
			last, counted = x.sm.ledger.Sent(0), counted+1
			x.sm.kept = append(x.sm.kept, sentNote{last, n.b})
			x.sm.keptBytes += len(n.b)
		}
	}
	if x.sm != nil && (len(x.sm.kept) > outboxMax || x.sm.keptBytes > outboxBytes) {
		x.spoilt = true // it reads, but does not ack
		x.conn.Close(errNoReader)
	}
	if counted > 0 && x.sm.slot != nil {
		x.sm.slot.Sent(last+1-uint32(counted), last, nil)
	}
	if x.sm != nil && x.sm.due(x.books.safe) {
		x.sm.answered(x.books.safe)
		w.Bytes(ackBytes(x.books.safe))
	}
	return nil
}

func ackBytes(h uint32) []byte {
	b := append(make([]byte, 0, 48), "<a xmlns='"+xmpp.NSSM+"' h='"...)
	b = strconv.AppendUint(b, uint64(h), 10)
	return append(b, "'/>"...)
}

// trayMax is how many mails are pulled at a time.
const trayMax = 64

// trays are where pulled mail lies until it is written.
var trays = sync.Pool{New: func() any {
	t := make([]offline.Mail, trayMax)
	return &t
}}

// fillMail pulls from one mailbox: 0 is the device's own, 1 the inbox.
// empty says that nothing is left in it.
func (x *Session) fillMail(w *xmpp.Writer, turn, which int) (empty bool, err error) {
	tray := trays.Get().(*[]offline.Mail)
	defer func() {
		clear(*tray)
		trays.Put(tray)
	}()
	for w.Len() < batch {
		room, cursor, box, since := x.mayPull(which)
		if room <= 0 {
			return box == nil && which == 1, nil
		}
		mail, err := box.After(cursor, min(room, trayMax), (*tray)[:0])
		if err != nil && len(mail) == 0 {
			return false, err
		}
		if len(mail) == 0 {
			return true, nil
		}
		if err := x.sent(turn, which, mail); err != nil {
			return false, err
		}
		for i := range mail {
			x.writeMail(w, &mail[i], since)
		}
	}
	x.wake() // the rest goes after the flush
	return false, nil
}

// mayPull says how much mail may be written now, from where.
func (x *Session) mayPull(which int) (int, uint64, *offline.Mailbox, time.Time) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if which == 1 && !x.hasInbox {
		return 0, 0, nil, time.Time{}
	}
	if x.presence == nil && !x.direct {
		return 0, 0, x.box, time.Time{}
	}
	out := len(x.ping.sent)
	if x.sm != nil {
		out = x.sm.ledger.Waiting()
	}
	box := x.box
	if which == 1 {
		box = x.s.opt.Store.Mailbox(x.user, inbox)
	}
	return window - out, x.cursor[which], box, x.since
}

// sent notes mail as on its way, before the socket sees a byte of it.
func (x *Session) sent(turn, which int, mail []offline.Mail) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.turn != turn || x.ended {
		return errStale
	}
	var flag uint64
	if which == 1 {
		flag = inboxTag
	}
	tags := make([]offline.Tag, len(mail))
	var first uint32
	for i := range mail {
		tags[i] = offline.Tag{Seq: mail[i].Seq | flag, Token: mail[i].Token}
		if x.sm == nil {
			x.ping.sent = append(x.ping.sent, tags[i].Seq)
		} else if n := x.sm.ledger.Sent(tags[i].Seq); i == 0 {
			first = n
		}
	}
	x.cursor[which] = mail[len(mail)-1].Seq
	if x.sm != nil && x.sm.slot != nil {
		x.sm.slot.Sent(first, first+uint32(len(tags))-1, tags)
	}
	return nil
}

var endMessage = []byte("</message>")

// writeMail adds <delay/> to what waited (XEP-0203 §2).
func (x *Session) writeMail(w *xmpp.Writer, m *offline.Mail, since time.Time) {
	body := addressed(w, m.Body, m.From, x.jid)
	if !m.At.Before(since) || !bytes.HasSuffix(body, endMessage) {
		w.Bytes(body)
		return
	}
	w.Bytes(body[:len(body)-len(endMessage)])
	d := xmpp.El(xmpp.NSDelay, "delay", "from", x.s.opt.Domain, "stamp", m.At.UTC().Format("2006-01-02T15:04:05.000Z"))
	w.Element(d)
	w.Bytes(endMessage)
}

// fillAsk asks the client what it has, once per flight: <r/> (XEP-0198 §4), or
// a ping (XEP-0199) where there is no stream management.
func (x *Session) fillAsk(w *xmpp.Writer, turn int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.turn != turn || x.ended {
		return errStale
	}
	if x.sm != nil {
		if last := x.sm.ledger.Out(); x.sm.curious() && x.sm.asked != last && !x.sm.asking {
			x.sm.asked, x.sm.asking = last, true
			w.Bytes([]byte("<r xmlns='" + xmpp.NSSM + "'/>"))
		}
		return nil
	}
	if len(x.ping.sent) > 0 && x.ping.id == "" {
		x.ping.id, x.ping.covers = NewID(), len(x.ping.sent)
		iq := xmpp.El(xmpp.NSClient, "iq", "type", "get", "id", x.ping.id, "from", x.s.opt.Domain, "to", x.jid.String())
		w.Element(iq.Add(xmpp.El(xmpp.NSPing, "ping")))
	}
	return nil
}

// curious says whether it is worth to ask what the client has: for mail always,
// for presence and answers when some of them are held.
func (m *management) curious() bool {
	return m.ledger.Waiting() > len(m.kept) || len(m.kept) >= askNotes || m.keptBytes >= askBytes
}

// A probe is the ping behind mail to a client without stream management.
type probe struct {
	sent   []uint64 // unacked tags in their order
	id     string   // of the ping that is out, "" = none
	covers int      // how many of sent were written before that ping
}

// ponged takes the answer to our ping: what was before it has arrived.
func (x *Session) ponged(id string) bool {
	x.mu.Lock()
	if id == "" || x.ping.id != id {
		x.mu.Unlock()
		return false
	}
	got := append([]uint64(nil), x.ping.sent[:x.ping.covers]...)
	x.ping.sent = x.ping.sent[x.ping.covers:]
	x.ping.id, x.ping.covers = "", 0
	x.mu.Unlock()
	x.forget(got)
	x.wake()
	return true
}

// forget acks mail in its mailbox: the last device's ack erases it (P3).
func (x *Session) forget(tags []uint64) {
	var own, shared []uint64
	for _, t := range tags {
		switch {
		case t == 0:
		case t&inboxTag != 0:
			shared = append(shared, t&^inboxTag)
		default:
			own = append(own, t)
		}
	}
	if len(own) > 0 {
		x.box.Ack(own...)
	}
	if len(shared) > 0 {
		x.s.opt.Store.Mailbox(x.user, inbox).Ack(shared...)
	}
}

// An outbox holds what a session gets besides mail: answers, pushes and
// presence. Presence has one slot per sender, so a stalled phone costs the
// same memory for one change and for a thousand.
type outbox struct {
	list  []note
	slots map[string]int // presence sender -> place in list
	bytes int
	grave int // how many must not wait for an inactive client
}

// A note is one stanza that waits to be written.
type note struct {
	b     []byte
	from  string // of a presence or typing notice that a newer one may replace
	light bool   // may wait while the client is inactive
	nonza bool   // not a stanza: not counted (XEP-0198 §4)
}

// What may wait for one session (DESIGN §3, law of waking), and how much of it
// others may put there: they fill no one's outbox.
const (
	outboxMax, outboxBytes = 8192, 4 << 20
	offerMax, offerBytes   = 512, 512 << 10
)

var errNoReader = &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "too much waits to be read or acked"}

// put adds a stanza; false when too much waits already.
func (o *outbox) put(b []byte, from string, light bool) bool {
	if o.bytes+len(b) > outboxBytes {
		return false
	}
	if from != "" {
		if i, ok := o.slots[from]; ok {
			o.bytes += len(b) - len(o.list[i].b)
			o.list[i].b = b
			return true
		}
	}
	if len(o.list) >= outboxMax {
		return false
	}
	if from != "" {
		if o.slots == nil {
			o.slots = map[string]int{}
		}
		o.slots[from] = len(o.list)
	}
	o.add(note{b: b, from: from, light: light})
	return true
}

func (o *outbox) add(n note) {
	o.list = append(o.list, n)
	o.bytes += len(n.b)
	if !n.light {
		o.grave++
	}
}

// takes says whether there is room for what others send.
func (o *outbox) takes(b []byte) bool {
	return len(o.list) < offerMax && o.bytes+len(b) <= offerBytes
}

// take empties the outbox.
func (o *outbox) take() []note {
	l := o.list
	*o = outbox{}
	return l
}

// slotOf names the slot of a presence; only plain presence may be replaced.
func slotOf(el *xmpp.Element) string {
	if el.Name.Local != "presence" {
		return ""
	}
	if t := el.Get("type"); t != "" && t != "unavailable" {
		return ""
	}
	return el.Get("from")
}

// light says whether a stanza of ours may wait while the client is inactive:
// presence, and messages without anything to read.
func light(el *xmpp.Element) bool {
	if el.Name.Local != "message" || el.Get("type") == "error" {
		return slotOf(el) != ""
	}
	for _, k := range el.Children() {
		if !airy(k.Name.Space, k.Name.Local) {
			return false
		}
	}
	return true
}

// airy names what makes no message important: typing, ticks, events of PEP.
// What we do not know is important.
func airy(space, local string) bool {
	switch space {
	case xmpp.NSChatStates, xmpp.NSReceipts, xmpp.NSMarkers, xmpp.NSHints, xmpp.NSSID, xmpp.NSPubsubEvent, xmpp.NSDelay:
		return true
	}
	return space == xmpp.NSClient && local == "thread"
}

// Stuffed says whether so much waits for the client already that it should read
// before it asks for more.
func (x *Session) Stuffed() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	waits, n := x.out.bytes, len(x.out.list)
	if x.sm != nil {
		waits, n = waits+x.sm.keptBytes, n+len(x.sm.kept)
	}
	return waits > outboxBytes/2 || n > outboxMax/2
}
