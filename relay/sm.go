// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// NewID makes an id that nobody can guess (128 bits).
func NewID() string { return rand.Text() }

// nonza takes what is no stanza: acks, and the switches of a stream.
func (x *Session) nonza(st *xmpp.Stanza) error {
	switch st.Name {
	case xmpp.Name{Space: xmpp.NSSM, Local: "r"}:
		x.mu.Lock()
		if x.sm != nil {
			x.sm.ask(x.books.in)
		}
		x.mu.Unlock()
		x.wake()
		return nil
	case xmpp.Name{Space: xmpp.NSSM, Local: "a"}:
		return x.acked(st)
	case xmpp.Name{Space: xmpp.NSSM, Local: "enable"}:
		return x.enable(st)
	case xmpp.Name{Space: xmpp.NSSM, Local: "resume"}:
		return x.failSM("unexpected-request") // XEP-0198 §5: not after binding
	case xmpp.Name{Space: xmpp.NSCSI, Local: "active"}, xmpp.Name{Space: xmpp.NSCSI, Local: "inactive"}:
		x.mu.Lock()
		x.inactive = st.Name.Local == "inactive"
		x.mu.Unlock()
		x.wake()
		return nil
	}
	return &xmpp.StreamError{Cond: "unsupported-stanza-type"}
}

// acked takes the client's <a h> (XEP-0198 §4): the mail it covers is erased.
func (x *Session) acked(st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	h, err := strconv.ParseUint(el.Get("h"), 10, 32)
	if err != nil {
		return &xmpp.StreamError{Cond: "bad-format"}
	}
	x.mu.Lock()
	if x.sm == nil {
		x.mu.Unlock()
		return x.failSM("unexpected-request")
	}
	x.sm.asking = false
	tags, err := x.takeAck(uint32(h))
	if err == nil && len(tags) > 0 && x.sm.ledger.Waiting() > 0 {
		x.sm.asked = uint32(h) // the client is still at it: ask for the rest
	}
	x.mu.Unlock()
	if err != nil {
		return err
	}
	x.forget(tags)
	x.wake()
	return nil
}

// takeAck moves the ledger; x.mu is held.
func (x *Session) takeAck(h uint32) ([]uint64, error) {
	tags, err := x.sm.ledger.Acked(h)
	if err != nil {
		return nil, err
	}
	kept := x.sm.kept
	for len(kept) > 0 && int32(h-kept[0].n) >= 0 { // wraps at 2^32, XEP-0198 §4
		x.sm.keptBytes -= len(kept[0].b)
		kept = kept[1:]
	}
	if len(kept) == 0 {
		kept = nil
	}
	x.sm.kept = kept
	if x.sm.slot != nil {
		var own, shared uint64
		for _, t := range tags {
			if t&inboxTag != 0 {
				shared = t &^ inboxTag
			} else if t != 0 {
				own = t
			}
		}
		x.sm.slot.Acked(h, own, shared)
	}
	return tags, nil
}

// enable switches stream management on after a classic bind (XEP-0198 §3).
func (x *Session) enable(st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	x.mu.Lock()
	on := x.sm != nil
	x.mu.Unlock()
	if on {
		return &xmpp.StreamError{Cond: "policy-violation", Text: "stream management is on already"}
	}
	want := el.Get("resume") == "true" || el.Get("resume") == "1"
	id := x.startSM(want)
	yes := xmpp.El(xmpp.NSSM, "enabled")
	if id != "" {
		yes.Set("id", id).Set("resume", "true").Set("max", strconv.Itoa(int(x.s.opt.Park/time.Second)))
	}
	x.pushNonza(yes)
	return nil
}

// startSM begins counting; the id is empty when the session may not be resumed.
func (x *Session) startSM(resume bool) string {
	m := &management{}
	if resume {
		m.id = NewID()
		slot, err := x.s.opt.Store.NewSlot(x.record(m.id))
		if err != nil {
			x.s.opt.Log.Warn("session cannot be resumed", "err", err)
			m.id = ""
		}
		m.slot = slot
		if err != nil {
			m.slot = nil
		}
	}
	x.mu.Lock()
	x.sm = m
	x.books.restart(0)
	x.mu.Unlock()
	return m.id
}

func (x *Session) failSM(cond string) error {
	f := xmpp.El(xmpp.NSSM, "failed").Add(xmpp.El(xmpp.NSStanzas, cond))
	x.pushNonza(f)
	return nil
}

func (x *Session) pushNonza(el *xmpp.Element) {
	x.mu.Lock()
	x.out.add(note{b: el.Bytes(), nonza: true})
	x.mu.Unlock()
	x.wake()
}

// The bits of offline.Resumable.Flags.
const (
	flagFirm = 1 << iota
	flagRoster
	flagCarbons
	flagDirect
)

// record is what a resumption after a crash needs; x.mu is not held.
func (x *Session) record(id string) offline.Resumable {
	x.mu.Lock()
	defer x.mu.Unlock()
	r := offline.Resumable{
		ID: id, User: x.user, Device: x.device, Resource: x.jid.Resource,
		Until: x.s.Now().Add(x.s.opt.Park),
	}
	if x.presence != nil {
		r.Presence = x.presence.Bytes()
	}
	r.Directed = x.directed()
	for flag, on := range map[uint32]bool{
		flagFirm: x.firm, flagRoster: x.roster, flagCarbons: x.carbons, flagDirect: x.direct,
	} {
		if on {
			r.Flags |= flag
		}
	}
	return r
}

// remember writes what changed, for a resumption after a crash or for telling
// those who saw a session that it was lost in one.
func (x *Session) remember() {
	x.mu.Lock()
	m := x.sm
	x.mu.Unlock()
	if m != nil && m.slot != nil {
		m.slot.SetRecord(x.record(m.id))
		return
	}
	x.mu.Lock()
	seen := ""
	if x.presence != nil || len(x.shown) > 0 {
		seen = strings.Join(x.directed(), "\n") + "\n"
	}
	changed := x.seen != seen
	x.seen = seen
	x.mu.Unlock()
	if changed {
		x.noteSeen(seen)
	}
}

// noteSeen keeps who is to be told when the session is gone: a session that
// cannot be resumed has no slot, and a crash tells nobody.
func (x *Session) noteSeen(seen string) {
	err := x.s.opt.Store.Later(x.user, func(r *offline.Records) error {
		if seen == "" {
			r.Delete("seen", x.jid.Resource)
		} else {
			r.Put("seen", x.jid.Resource, []byte(seen))
		}
		return nil
	})
	if err != nil {
		x.s.opt.Log.Warn("presence not noted", "err", err)
	}
}

// tellLost tells those who saw a session that a crash has ended it.
func (s *Server) tellLost() error {
	var lost []*Session
	err := s.opt.Store.Every("seen", func(user, resource string, v []byte) {
		if y := s.hub.find(user, resource); y != nil {
			y.seen = string(v)
			return
		}
		x := s.newSession(xmpp.JID{Local: user, Domain: s.domain.Domain, Resource: resource}, "r:"+resource, false)
		x.presence, x.seen = xmpp.El(xmpp.NSClient, "presence", "from", x.jid.String()), string(v)
		x.showTo(strings.Split(x.seen, "\n")) // a nick in a room may have spaces
		lost = append(lost, x)
	})
	for _, x := range lost {
		for _, f := range s.gone {
			f(x)
		}
		x.noteSeen("")
	}
	return err
}

// books count what a client sent us. Its <a h> moves only over stanzas that
// are safe (DESIGN §3.5), in their order, whatever order they become safe in.
type books struct {
	in    uint32 // taken over by the reader
	safe  uint32 // every stanza up to here is safe
	pages []*page
}

// A page is one stanza that is not safe yet.
type page struct {
	x       *Session
	n       uint32
	waiting int
	torn    bool     // the books were closed by a resumption
	who     *Session // who is told of an error, where that is not x

	// what an error reply needs of a message that waits
	id, typ string
	to      xmpp.JID
	hasTo   bool
}

// open starts the page of the next stanza.
func (b *books) open(x *Session) *page {
	x.mu.Lock()
	defer x.mu.Unlock()
	b.in++
	p := &page{x: x, n: b.in, waiting: 1}
	b.pages = append(b.pages, p)
	return p
}

// close says that the reader is done with the stanza.
func (p *page) close() { p.settle() }

// wait keeps the page open until the ticket is safe. When it fails, the sender
// is told, and the stanza counts as handled: it was refused.
func (p *page) wait(t *offline.Ticket, st *xmpp.Stanza) {
	if t.Done() && t.Err() == nil {
		return
	}
	p.x.mu.Lock()
	p.waiting++
	p.id, p.typ, p.to, p.hasTo = st.ID, st.Type, st.To, st.HasTo
	p.x.mu.Unlock()
	t.Then(p)
}

// Settled implements offline.Waiter.
func (p *page) Settled(err error) {
	if err != nil {
		p.refuse(err)
	}
	p.settle()
}

// refuse tells the sender that a message which was read could not be kept.
func (p *page) refuse(err error) {
	x := p.x
	x.s.opt.Log.Error("mail not stored", "err", err)
	if p.typ == "error" {
		return
	}
	st := &xmpp.Stanza{Kind: xmpp.KindMessage, Name: xmpp.Name{Space: xmpp.NSClient, Local: "message"}, ID: p.id, Type: p.typ, To: p.to, HasTo: p.hasTo}
	why := xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the server could not store this message; send it again later")
	el := xmpp.ErrorReply(st, why)
	if p.who != nil {
		x = p.who
	}
	x.Push(el.Set("to", x.jid.String()))
}

func (p *page) settle() {
	x := p.x
	x.mu.Lock()
	p.waiting--
	moved := p.waiting == 0 && !p.torn && x.books.advance()
	if moved && x.sm != nil && x.sm.slot != nil {
		x.sm.slot.Took(x.books.safe)
	}
	wake := moved && x.sm != nil && x.sm.due(x.books.safe) && x.conn != nil
	c := x.conn
	x.mu.Unlock()
	if wake {
		c.Wake()
	}
}

// asksKept bounds how many questions of a client are told apart.
const asksKept = 64

// ask notes an <r/>: it is answered when all that came before it is safe, and
// not later because of what comes behind it.
func (m *management) ask(in uint32) {
	if len(m.asks) == asksKept {
		m.asks = m.asks[:asksKept-1]
	}
	m.asks = append(m.asks, in)
}

// due says whether an answer can be given.
func (m *management) due(safe uint32) bool {
	return len(m.asks) > 0 && int32(safe-m.asks[0]) >= 0 // wraps at 2^32
}

// answered takes off the questions that one answer covers.
func (m *management) answered(safe uint32) {
	for m.due(safe) {
		m.asks = m.asks[1:]
	}
	if len(m.asks) == 0 {
		m.asks = nil
	}
}

// advance moves safe over the settled pages at the front.
func (b *books) advance() bool {
	n := 0
	for n < len(b.pages) && b.pages[n].waiting == 0 {
		n++
	}
	if n == 0 {
		return false
	}
	b.safe = b.pages[n-1].n
	b.pages = b.pages[n:]
	if len(b.pages) == 0 {
		b.pages = nil
	}
	return true
}

// restart begins new counting at h; pages of before no longer matter.
func (b *books) restart(h uint32) {
	for _, p := range b.pages {
		p.torn = true
	}
	b.in, b.safe, b.pages = h, h, nil
}
