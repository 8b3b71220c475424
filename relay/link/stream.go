// SPDX-License-Identifier: Apache-2.0

package link

import (
	"bytes"
	"context"
	"strconv"
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/peer"
)

// A stream is one that is up. Stanzas come on it, go on it, or both.
type stream struct {
	// fixed
	l      *links
	peer   *peer.Stream
	conn   *xmpp.Conn
	in     *relay.Inbound
	called bool // by us
	beside bool // to a component
	comes  bool // their stanzas may come
	since  time.Time
	road   *road // what goes here; set before the writer is woken, or never

	// shared: guarded by mu
	mu     sync.Mutex
	acks   bool        // they ack by stream management what we send
	ledger xmpp.Ledger // tags are numbers of mail
	sizes  map[uint64]int
	cursor uint64
	asked  time.Time // when the question was sent that has no answer yet
	ping   string    // its id, without stream management
	covers uint32    // what had been sent before it
	moved  bool      // something was acked
	used   time.Time
	words  [][]byte // what we answer that is no stanza
}

// How many unacked stanzas may be on their way, how much is written at a time.
const (
	window = 256
	batch  = 64 << 10
	tray   = 64
)

// How long nothing may move, and how long an answer may take.
const (
	idleTime   = 10 * time.Minute
	answerTime = time.Minute
	stanzaTime = 2 * time.Minute
)

func (l *links) stream(p *peer.Stream, called bool) *stream {
	s := &stream{l: l, peer: p, called: called, comes: !called || p.Bidi, acks: called && p.SM, since: time.Now(), used: time.Now(), sizes: map[uint64]int{}}
	s.beside = p.Us == peer.Beside
	s.conn = p.Flow(xmpp.JID{}, false)
	s.conn.Hurry(stanzaTime)
	s.conn.Replies(s.reply)
	s.in = l.s.Inbound(s.conn)
	return s
}

// reply sends the error of a stanza that could not be read, if it was theirs to
// send.
func (s *stream) reply(el *xmpp.Element) bool {
	to, err1 := xmpp.ParseJID(el.Get("to"))
	from, err2 := xmpp.ParseJID(el.Get("from"))
	if err1 == nil && err2 == nil && to.Domain == s.peer.Them && (from.Domain == s.peer.Us || s.beside) {
		_ = s.l.s.Route(el) // too much waits for them: they lose an error
	}
	return true
}

// run serves the stream until it ends.
func (s *stream) run(ctx context.Context) {
	s.l.mu.Lock()
	s.l.streams[s] = true
	s.l.mu.Unlock()
	if ctx.Err() != nil {
		s.conn.Close(&xmpp.StreamError{Cond: xmpp.StreamSystemShutdown})
	}
	err := s.conn.Run(context.Background(), s.handle, s.fill)
	s.l.s.Log().Debug("link ended", "err", err)
	s.l.mu.Lock()
	delete(s.l.streams, s)
	s.l.mu.Unlock()
	if s.road != nil {
		s.mu.Lock()
		moved := s.moved
		s.mu.Unlock()
		s.road.leave(s, moved)
	}
}

// What tend may have to do with a stream.
type mood int

const (
	well mood = iota
	quiet
	silent
	mute // a component that answers no pings, though it is there
)

func (s *stream) state(now time.Time) mood {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.asked.IsZero() && now.Sub(s.asked) > answerTime && s.beside:
		return mute
	case !s.asked.IsZero() && now.Sub(s.asked) > answerTime:
		return silent
	case !s.called: // theirs to end: what is on its way to us has no other proof than our reading it
		return well
	case s.ledger.Waiting() == 0 && now.Sub(s.used) > idleTime:
		return quiet
	}
	return well
}

// handle takes one stanza or nonza.
func (s *stream) handle(st *xmpp.Stanza) error {
	s.mu.Lock()
	s.used = time.Now()
	s.mu.Unlock()
	if st.Kind == xmpp.KindNonza {
		return s.nonza(st)
	}
	switch {
	case !s.comes:
		return &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized, Text: "stanzas go the other way here"}
	case !st.HasFrom || !st.HasTo: // RFC 6120 §8.1.1.2, §8.1.2.2
		return &xmpp.StreamError{Cond: xmpp.StreamImproperAddressing}
	case st.From.Domain != s.peer.Them: // §8.1.2.2
		return &xmpp.StreamError{Cond: xmpp.StreamInvalidFrom}
	case st.To.Domain != s.peer.Us && !s.beside:
		return &xmpp.StreamError{Cond: xmpp.StreamHostUnknown}
	}
	if st.Kind == xmpp.KindIQ && (st.Type == "result" || st.Type == "error") && st.To == st.To.Host() {
		s.l.ponged(s.peer, st.ID)
	}
	s.in.Take(st) // that is counted, too: else no <a/> would ever cover what comes behind it (XEP-0198 §4)
	return nil
}

func (s *stream) nonza(st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	switch st.Name {
	case xmpp.Name{Space: xmpp.NSSM, Local: "r"}:
		s.in.Asked()
		return nil
	case xmpp.Name{Space: xmpp.NSSM, Local: "a"}:
		h, err := strconv.ParseUint(el.Get("h"), 10, 32)
		if err != nil {
			return &xmpp.StreamError{Cond: xmpp.StreamBadFormat}
		}
		return s.acked(uint32(h), true)
	case xmpp.Name{Space: xmpp.NSSM, Local: "enable"}: // its streams are not resumed: what waits is on disk
		s.in.Restart()
		s.say([]byte("<enabled xmlns='" + xmpp.NSSM + "'/>"))
		return nil
	case xmpp.Name{Space: xmpp.NSSM, Local: "enabled"}:
		s.in.Restart()
		return nil
	case xmpp.Name{Space: xmpp.NSSM, Local: "failed"}: // pings will do
		s.mu.Lock()
		s.acks, s.asked = false, time.Time{}
		s.mu.Unlock()
		s.conn.Wake()
		return nil
	case xmpp.Name{Space: xmpp.NSSM, Local: "resume"}:
		s.say(xmpp.El(xmpp.NSSM, "failed").Add(xmpp.El(xmpp.NSStanzas, string(xmpp.ItemNotFound))).Bytes())
		return nil
	}
	if b := s.l.trust.Answer(el); b != nil && !s.beside {
		s.say(b)
		return nil
	}
	if st.Name.Space == xmpp.NSDialback || st.Name.Space == xmpp.NSSM {
		return nil // an answer that nobody waits for any more
	}
	return &xmpp.StreamError{Cond: xmpp.StreamUnsupportedStanza}
}

// say queues what is no stanza; it is bounded, for only the peer causes it.
func (s *stream) say(b []byte) {
	s.mu.Lock()
	if len(s.words) < 64 {
		s.words = append(s.words, b)
	}
	s.mu.Unlock()
	s.conn.Wake()
}

// ponged takes the answer to a ping, which may come on another stream than it
// was sent on.
func (l *links) ponged(p *peer.Stream, id string) {
	l.mu.Lock()
	r := l.roads[pair{p.Us, p.Them}]
	l.mu.Unlock()
	if r == nil || id == "" {
		return
	}
	r.mu.Lock()
	s := r.stream
	r.mu.Unlock()
	if s == nil {
		return
	}
	s.mu.Lock()
	mine, covers := s.ping == id, s.covers
	s.mu.Unlock()
	if mine {
		_ = s.acked(covers, false) // covers is what we have sent
	}
}

// acked takes what the other server has off the mailbox (XEP-0198 §4).
func (s *stream) acked(h uint32, byCount bool) error {
	s.mu.Lock()
	if byCount && !s.acks {
		s.mu.Unlock()
		return nil
	}
	tags, err := s.ledger.Acked(h)
	s.asked, s.ping = time.Time{}, ""
	s.moved = s.moved || len(tags) > 0
	had := map[uint64]int{}
	for _, n := range tags {
		had[n] = s.sizes[n]
		delete(s.sizes, n)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for n, size := range had {
		if n != 0 {
			s.road.had(n, size)
		}
	}
	s.conn.Wake()
	return nil
}

// fill is the writer's turn: answers first, then mail, then a question.
func (s *stream) fill(w *xmpp.Writer) error {
	s.mu.Lock()
	words := s.words
	s.words = nil
	s.mu.Unlock()
	for _, b := range words {
		w.Bytes(b)
	}
	if b := s.in.Answer(); b != nil {
		w.Bytes(b)
	}
	if s.road == nil {
		return nil
	}
	for w.Len() < batch {
		s.mu.Lock()
		room, cursor := window-s.ledger.Waiting(), s.cursor
		s.mu.Unlock()
		if room <= 0 {
			break
		}
		mail, err := s.road.box.After(cursor, min(room, tray), nil)
		if err != nil && len(mail) == 0 {
			return err
		}
		if len(mail) == 0 {
			s.ask(w)
			return nil
		}
		s.mu.Lock()
		for i := range mail {
			s.ledger.Sent(mail[i].Seq)
			s.sizes[mail[i].Seq] = len(mail[i].Body)
			s.cursor = mail[i].Seq
		}
		s.used = time.Now()
		s.mu.Unlock()
		for i := range mail {
			s.write(w, &mail[i])
		}
	}
	s.ask(w)
	s.mu.Lock()
	more := window-s.ledger.Waiting() > 0
	s.mu.Unlock()
	if more {
		s.conn.Wake() // the rest goes after the flush
	}
	return nil
}

var endMessage = []byte("</message>")

// lateAfter is how long a message waits until it is said that it did (XEP-0203 §2).
const lateAfter = 5 * time.Second

func (s *stream) write(w *xmpp.Writer, m *offline.Mail) {
	late := s.l.s.Now().Sub(m.At) > lateAfter && bytes.HasSuffix(m.Body, endMessage)
	if st, err := xmpp.Scan(m.Body); !late || err != nil || st.Has(xmpp.NSDelay, "delay") {
		w.Bytes(m.Body)
		return
	}
	w.Bytes(m.Body[:len(m.Body)-len(endMessage)])
	w.Element(xmpp.El(xmpp.NSDelay, "delay", "from", s.l.s.Domain(), "stamp", m.At.UTC().Format("2006-01-02T15:04:05.000Z")))
	w.Bytes(endMessage)
}

// ask asks once for each flight what the other server has: by <r/> (XEP-0198
// §4), or by a ping (XEP-0199) behind it.
func (s *stream) ask(w *xmpp.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ledger.Waiting() == 0 || !s.asked.IsZero() {
		return
	}
	s.asked = time.Now()
	if s.acks {
		w.Bytes([]byte("<r xmlns='" + xmpp.NSSM + "'/>"))
		return
	}
	s.ping, s.covers = relay.NewID(), s.ledger.Out()
	us := s.peer.Us
	if s.beside {
		us = s.l.s.Domain()
	}
	iq := xmpp.El(xmpp.NSClient, "iq", "type", "get", "id", s.ping, "from", us, "to", s.peer.Them)
	w.Element(iq.Add(xmpp.El(xmpp.NSPing, "ping")))
}
