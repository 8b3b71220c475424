// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// Session is one device online. It outlives its socket while it is parked
// (XEP-0198 §5): Live → Parked → Live or Ended.
type Session struct {
	// fixed: set before the session is in the hub, read-only after.
	s      *Server
	jid    xmpp.JID
	full   string // jid, written out
	user   string
	device string // mailbox key
	firm   bool   // the device is owed messages while it is away
	abroad bool   // of another server: what is pushed leaves for there
	box    *offline.Mailbox
	born   time.Time

	// shared: guarded by mu, which is never held while another session's is.
	mu       sync.Mutex
	conn     *xmpp.Conn // nil while parked
	turn     int        // counts sockets: an old one's work is refused
	running  chan struct{}
	ended    bool
	why      *xmpp.StreamError // it was told to end
	spoilt   bool              // something was not said to the client: it cannot be resumed
	presence *xmpp.Element
	prio     int
	initial  bool // the first available presence is being handled
	roster   bool // asked for the roster (RFC 6121 §2.2)
	direct   bool // has mail to its full address before it is available
	carbons  bool
	inactive bool
	mailDue  uint64 // counts what made mail due; what only ticks and copies wait for is not counted
	mailDone uint64 // mailDue when all mail was written
	out      outbox
	sm       *management // nil without stream management
	ping     probe
	cursor   [2]uint64 // own mailbox, inbox: what has been written
	since    time.Time // of the socket: older mail was delayed
	hasInbox bool
	shown    map[xmpp.JID]bool // directed presence (RFC 6121 §4.6)
	seen     string            // what was noted of it for a crash
	moving   bool              // another socket asks for it: how the old one ends plays no part
	revived  bool              // came back from disk: what waited in memory is lost
	timer    *time.Timer
	held     int // how many have more to say before the writer is woken
	books    books
	asks     map[string]func(*xmpp.Stanza) // open questions to the client, by id
}

// management is the XEP-0198 part of a session.
type management struct {
	id        string
	slot      *offline.Slot // nil when the client may not resume
	ledger    xmpp.Ledger
	before    []offline.Tag // what was on its way when a crash came
	kept      []sentNote    // unacked stanzas that are not mail
	keptBytes int
	asked     uint32   // the last <r/> was behind this stanza
	asking    bool     // that <r/> has no answer yet: the next one waits for it
	asks      []uint32 // each <a/> that we owe, by what must be safe first
}

type sentNote struct {
	n uint32
	b []byte
}

// JID is the full address.
func (x *Session) JID() xmpp.JID { return x.jid }

// User is the account.
func (x *Session) User() string { return x.user }

// Device is the key of the device's mailbox.
func (x *Session) Device() string { return x.device }

// Written is how far its own mailbox and the inbox have been written to it.
func (x *Session) Written() [2]uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.cursor
}

// Server is the session's server.
func (x *Session) Server() *Server { return x.s }

// Presence is the last presence sent to all, or nil while unavailable.
func (x *Session) Presence() *xmpp.Element {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.presence
}

// Available says whether initial presence has been sent (RFC 6121 §4.2).
func (x *Session) Available() bool { return x.Presence() != nil }

// Priority is the priority of the last presence (RFC 6121 §4.7.2.3).
func (x *Session) Priority() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.prio
}

// Initial says whether the presence being handled is the first one.
func (x *Session) Initial() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.initial
}

// Interested says whether the session asked for the roster (RFC 6121 §2.2).
func (x *Session) Interested() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.roster
}

// SetInterested marks the session for roster pushes.
func (x *Session) SetInterested() {
	x.mu.Lock()
	x.roster = true
	x.mu.Unlock()
	x.remember()
}

// Push queues a stanza that is not mail and that the client must know; it never
// blocks. False: too much waits, and the session ends (see overflow).
func (x *Session) Push(el *xmpp.Element) bool { return x.push(el.Bytes(), slotOf(el), light(el)) }

func (x *Session) push(b []byte, slot string, light bool) bool {
	if x.abroad {
		return x.s.leave(b, nil) == nil
	}
	x.mu.Lock()
	ok := !x.ended && x.out.put(b, slot, light)
	full, quiet := !ok && !x.ended, x.quiet()
	x.mu.Unlock()
	if full {
		x.overflow()
	}
	if !quiet {
		x.wake()
	}
	return ok
}

// offer queues what another client sends; false: too much waits already. A slot
// is for a typing notice that replaces the one before, while nobody looks.
func (x *Session) offer(b []byte, slot string, light bool) bool {
	if x.abroad {
		return x.push(b, slot, light)
	}
	x.mu.Lock()
	if !x.inactive {
		slot = ""
	}
	ok := !x.ended && x.out.takes(b) && x.out.put(b, slot, light)
	quiet := x.quiet()
	x.mu.Unlock()
	if !quiet {
		x.wake()
	}
	return ok
}

// Offer queues a stanza that a host says because of what others do. They fill
// no one's outbox: false when it is half full.
func (x *Session) Offer(el *xmpp.Element) bool {
	if x.abroad {
		return x.Push(el)
	}
	b, slot := el.Bytes(), slotOf(el)
	x.mu.Lock()
	room := len(x.out.list) < outboxMax/2 && x.out.bytes+len(b) <= outboxBytes/2
	ok := !x.ended && room && x.out.put(b, slot, light(el))
	quiet := x.quiet()
	x.mu.Unlock()
	if !quiet {
		x.wake()
	}
	return ok
}

func (x *Session) unread() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.spoilt
}

// overflow ends a session whose client does not read what it must know. It
// binds anew and is told all of it; its mail waits on disk.
func (x *Session) overflow() {
	x.mu.Lock()
	x.spoilt = true
	if x.conn == nil && x.timer != nil { // parked: its own timer ends it
		x.timer.Reset(0)
	}
	c := x.conn
	x.mu.Unlock()
	if c != nil {
		c.Close(errNoReader)
		time.AfterFunc(5*time.Second, c.Drop) // the writer waits for a reader
	}
}

// Together makes one flight of all that f pushes to the session.
func (x *Session) Together(f func()) {
	x.mu.Lock()
	x.held++
	x.mu.Unlock()
	defer func() {
		x.mu.Lock()
		x.held--
		x.mu.Unlock()
		x.wake()
	}()
	f()
}

// wake makes the writer look again; it may be called by anyone.
func (x *Session) wake() {
	x.mu.Lock()
	c := x.conn
	if x.held > 0 {
		c = nil
	}
	x.mu.Unlock()
	if c != nil {
		c.Wake()
	}
}

func (x *Session) closeConn(why *xmpp.StreamError) {
	x.mu.Lock()
	c := x.conn
	x.why = why // for a socket that is just coming
	x.mu.Unlock()
	if c != nil {
		c.Close(why)
	}
}

// run serves one socket of the session until it is gone.
func (x *Session) run(ctx context.Context, c *xmpp.Conn, turn int) {
	if why := x.attach(c, turn); why != nil {
		c.Close(why)
	}
	if x.s.stopping() {
		c.Close(&xmpp.StreamError{Cond: xmpp.StreamSystemShutdown})
	}
	x.revive()
	handle := func(st *xmpp.Stanza) error { return refusal(x.handle(st)) }
	fill := func(w *xmpp.Writer) error { return x.fill(w, turn) }
	c.Replies(x.Push)
	c.Hurry(x.s.opt.Stanza)
	c.Wake()
	if err := c.Run(ctx, handle, fill); err != nil {
		x.s.opt.Log.Debug("stream ended", "acct", x.user, "err", err)
	}
	x.lost(turn, c.Clean())
}

// revive says to a client that resumed after a crash what the crash may have
// kept from it.
func (x *Session) revive() {
	x.mu.Lock()
	again := x.revived
	x.revived = false
	x.mu.Unlock()
	if !again {
		return
	}
	for _, f := range x.s.revived {
		f(x)
	}
}

func (x *Session) attach(c *xmpp.Conn, turn int) (why *xmpp.StreamError) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.turn != turn || x.ended {
		if x.why != nil && x.turn == turn {
			return x.why
		}
		return &xmpp.StreamError{Cond: xmpp.StreamConflict}
	}
	x.conn = c
	x.mailDue++
	return nil
}

// handle takes one stanza from the reader.
func (x *Session) handle(st *xmpp.Stanza) error {
	if st.Kind == xmpp.KindNonza {
		return x.nonza(st)
	}
	if st.HasFrom && st.From != x.jid && st.From != x.jid.Bare() {
		return &xmpp.StreamError{Cond: "invalid-from"} // RFC 6120 §8.1.2.1
	}
	if x.unread() {
		return errNoReader
	}
	page := x.books.open(x)
	defer page.close()
	for _, look := range x.s.looks {
		if err := look(x, st); err != nil {
			return err
		}
	}
	if st.HasTo && !x.s.Local(st.To) {
		if found, err := x.s.host(x, st, page); found {
			return err
		}
		return x.elsewhere(st, page)
	}
	switch st.Kind {
	case xmpp.KindMessage:
		return x.s.message(x, st, page)
	case xmpp.KindPresence:
		return x.takePresence(st)
	default:
		return x.s.iq(x, st)
	}
}

// takePresence notes what everybody may see and tells the features.
func (x *Session) takePresence(st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	if st.Type == "" {
		for _, f := range x.s.dress {
			f(x, el)
		}
	}
	toAll := !st.HasTo && (st.Type == "" || st.Type == "unavailable")
	if toAll && st.Type == "" {
		prio, err := priority(el)
		if err != nil {
			return err
		}
		el.Set("from", x.jid.String())
		x.mu.Lock()
		x.initial = x.presence == nil
		x.presence, x.prio = el.Clone(), prio
		x.mu.Unlock()
	}
	for _, f := range x.s.presence {
		if err := f(x, st, el); err != nil {
			return err
		}
	}
	x.mu.Lock()
	x.initial = false
	if toAll && st.Type == "unavailable" {
		x.presence, x.prio = nil, 0
	}
	x.mu.Unlock()
	if toAll {
		x.remember()
		x.leaveInbox()
		x.s.offerInbox(x.user, false)
		x.wake()
	}
	return nil
}

// priority reads <priority/> (RFC 6121 §4.7.2.3: -128..127).
func priority(el *xmpp.Element) (int, error) {
	p := el.Child(xmpp.NSClient, "priority")
	if p == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(strings.TrimSpace(p.Text()), 10, 8)
	if err != nil {
		return 0, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return int(n), nil
}
