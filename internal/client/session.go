// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

var errGone = errors.New("connection lost")

const askTimeout = 30 * time.Second

// session is one stream-management session (XEP-0198): it lives on when the
// socket breaks and is resumed.
type session struct {
	mu      sync.Mutex
	conn    *xmpp.Conn
	smID    string
	managed bool // the server counts with us
	handled uint32
	news    uint32 // those of them that are no IQs
	owes    bool   // the server asked for our count

	ledger  xmpp.Ledger
	waiting []*xmpp.Element // to be written
	unacked []*xmpp.Element // written; parallel to the ledger
	tags    map[*xmpp.Element]parcel
	acked   []parcel // what the server has of them

	nextID int
	asks   map[string]question
	gone   chan struct{} // closed when the socket is gone
}

// question is a request of ours that has no answer yet.
type question struct {
	to string
	ch chan *xmpp.Element
}

func newSession() *session {
	return &session{asks: map[string]question{}, tags: map[*xmpp.Element]parcel{}}
}

// resumption is what the next login may resume; the id is empty for none.
func (s *session) resumption() (h uint32, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handled, s.smID
}

// attach binds the session to a new socket. What the server had not taken over
// is written again.
func (s *session) attach(conn *xmpp.Conn, w *dial.Welcome) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conn, s.smID, s.managed, s.gone = conn, w.SMID, w.SMID != "", make(chan struct{})
	conn.Replies(func(e *xmpp.Element) bool { s.send(e); return true })
	if !w.Resumed {
		return nil
	}
	conn.Wake()
	return s.again(w.H)
}

// again queues what the server's count does not cover, but for what is worth
// nothing by now (XEP-0198 §5). Callers hold mu.
func (s *session) again(h uint32) error {
	if err := s.take(h); err != nil {
		return err
	}
	s.waiting = slices.DeleteFunc(append(s.unacked, s.waiting...), fleeting)
	s.unacked = nil
	s.ledger.Restore(h, nil)
	return nil
}

// detach notes that the socket is gone; questions without an answer fail.
func (s *session) detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.gone)
	s.conn = nil
}

// take notes the server's count: what it covers is the server's now.
func (s *session) take(h uint32) error {
	got, err := s.ledger.Acked(h)
	if err != nil {
		return err
	}
	for _, e := range s.unacked[:len(got)] {
		if tag, ok := s.tags[e]; ok {
			s.acked = append(s.acked, tag)
			delete(s.tags, e)
		}
	}
	s.unacked = s.unacked[len(got):]
	return nil
}

// send queues a stanza; it never blocks.
func (s *session) send(e *xmpp.Element) { s.sendParcel(e, nil) }

// sendParcel queues a stanza of the outbox.
func (s *session) sendParcel(e *xmpp.Element, p *parcel) {
	s.mu.Lock()
	s.waiting = append(s.waiting, e)
	if p != nil {
		s.tags[e] = *p
	}
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Wake()
	}
}

// fill writes what waits; each flight asks for the server's count (XEP-0198 §4).
func (s *session) fill(w *xmpp.Writer, wire func(bool, *xmpp.Element)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.waiting {
		w.Element(e)
		wire(true, e)
		if s.managed {
			s.ledger.Sent(0)
			s.unacked = append(s.unacked, e)
		}
	}
	if s.managed && len(s.waiting) > 0 {
		w.Element(xmpp.El(xmpp.NSSM, "r"))
	}
	s.waiting = nil
	if s.owes && s.managed {
		s.owes = false
		w.Element(xmpp.El(xmpp.NSSM, "a", "h", strconv.FormatUint(uint64(s.handled), 10)))
	}
	return nil
}

// count notes a stanza of the server's that we have dealt with.
func (s *session) count(k xmpp.Kind) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handled++
	if k != xmpp.KindIQ {
		s.news++
	}
}

// told is how many messages and presences have come in this session.
func (s *session) told() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.news
}

// owe notes that the server wants our count.
func (s *session) owe() {
	s.mu.Lock()
	s.owes = true
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Wake()
	}
}

// done takes the outbox entries that the server has.
func (s *session) done() []parcel {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.acked
	s.acked = nil
	return out
}

// ask sends a request and waits for its answer; an error answer is a *xmpp.StanzaError.
func (s *session) ask(ctx context.Context, typ, to string, payload *xmpp.Element) (*xmpp.Element, error) {
	s.mu.Lock()
	s.nextID++
	id := "q" + strconv.Itoa(s.nextID)
	ch := make(chan *xmpp.Element, 1)
	s.asks[id] = question{to, ch}
	gone := s.gone
	s.mu.Unlock()
	iq := xmpp.El(xmpp.NSClient, "iq", "type", typ, "id", id).Add(payload)
	if to != "" {
		iq.Set("to", to)
	}
	defer func() {
		s.mu.Lock()
		delete(s.asks, id)
		s.mu.Unlock()
	}()
	s.send(iq)
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case el := <-ch:
		if e := xmpp.StanzaErrorOf(el); e != nil {
			return nil, e
		}
		return el, nil
	case <-gone:
		return nil, errGone
	case <-ctx.Done():
		return nil, errors.Join(errGone, ctx.Err())
	}
}

// answer hands an answer to who asked; only the one who was asked may answer
// (RFC 6120 §8.2.3). False when nobody asked.
func (s *session) answer(el *xmpp.Element, self string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, from := s.asks[el.Get("id")], el.Get("from")
	if q.ch == nil || from != q.to && !(q.to == "" && from == self || q.to == self && from == "") {
		return false
	}
	delete(s.asks, el.Get("id"))
	q.ch <- el
	return true
}
