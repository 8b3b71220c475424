// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"sotto/offline"
	"sotto/xmpp"
)

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
	torn    bool // the books were closed by a resumption

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
