// SPDX-License-Identifier: Apache-2.0

package web

import (
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/frame"
)

// Bounds of one BOSH session.
const (
	holdMax    = 1                // requests that we keep, so that we can speak
	requests   = holdMax + 1      // that a client may have open (XEP-0124 §7)
	askingMax  = 2 * requests     // with those that are asked again
	waitMax    = 60 * time.Second // for something to say
	inactivity = 60 * time.Second // without a request, and the session is lost
	boxMax     = 256 << 10        // what waits in a direction, before one more piece
	lastWords  = 10 * time.Second // for who comes after the end
)

// A word is one element from the client, or the start or end of a stream.
type word struct {
	b             []byte
	header, close bool
}

// An ask is one request: who asks again with its number gets its answer again.
type ask struct {
	rid   uint64
	first bool // it began the session
	last  bool // it ends the session
	until time.Time
	done  bool
	says  []byte
}

// A talk is a BOSH session as a stream.
type talk struct {
	// fixed: set before the stream begins.
	sid, domain string
	local, peer net.Addr
	opening     string // attributes of the first answer
	wait        time.Duration
	hold        int
	end         func() // takes the session off the table

	// shared: guarded by mu.
	mu      sync.Mutex
	news    sync.Cond
	in      []word
	inBytes int
	rest    []byte // of the word that is being read
	header  bool   // a stream must begin
	lim     xmpp.Limits
	out     []byte
	bye     string // attributes of the last answer; empty: the stream goes on
	over    bool   // closed by us
	lost    bool   // the client does not come any more
	ready   bool   // logged in
	asking  int    // requests that wait
	next    uint64 // the request that is to come
	held    []*ask // not answered yet, in order
	recent  []*ask // the last ones
	timer   *time.Timer
	readBy  time.Time
	writeBy time.Time
	alarms  [2]*time.Timer // for the two
}

func newTalk(sid, domain string, local, peer net.Addr, end func()) *talk {
	t := &talk{sid: sid, domain: domain, local: local, peer: peer, end: end, header: true, lim: xmpp.BeforeAuth}
	t.news.L = &t.mu
	t.timer = time.AfterFunc(inactivity, t.idle)
	return t
}

// idle ends a session whose client stays away, and looks after one whose
// request has waited long enough.
func (t *talk) idle() {
	t.mu.Lock()
	if t.over || len(t.held) == 0 {
		t.lost = true
	}
	t.settle()
	gone := t.lost
	t.mu.Unlock()
	if gone {
		t.end()
	}
}

// settle answers the requests that it is time for, in their order; t.mu is held.
func (t *talk) settle() {
	now := time.Now()
	for len(t.held) > 0 {
		a := t.held[0]
		speak := len(t.out) > 0 && !a.last || t.bye != "" || t.over || t.lost
		if !speak && now.Before(a.until) && (a.first || a.last || len(t.held) <= t.hold) {
			break
		}
		a.says, a.done = t.answer(a), true
		t.held = t.held[1:]
	}
	switch {
	case t.lost:
		t.timer.Stop()
	case t.over:
		t.timer.Reset(lastWords)
	case len(t.held) > 0:
		t.timer.Reset(t.held[0].until.Sub(now))
	default:
		t.timer.Reset(inactivity)
	}
	t.news.Broadcast()
}

// answer is the body of one response, with all that waits.
func (t *talk) answer(a *ask) []byte {
	b := []byte("<body xmlns='" + nsBind + "' xmlns:stream='" + xmpp.NSStream + "'")
	if a.first {
		b = append(b, t.opening...)
	}
	switch {
	case t.bye != "":
		b = append(b, t.bye...)
	case t.over || t.lost:
		b = append(b, " type='terminate' condition='item-not-found'"...)
	}
	b = append(b, '>')
	if !a.last { // who leaves wants no more (XEP-0124 §13), and stanza.js stumbles over it
		b = append(b, t.out...)
		t.out = nil
	}
	return append(b, "</body>"...)
}

func (t *talk) loggedIn() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ready
}

func (t *talk) Expect(header bool, l xmpp.Limits) {
	t.mu.Lock()
	t.header, t.lim, t.ready = header, l, l.Forgive
	t.mu.Unlock()
}

// Read gives the bytes of one word.
func (t *talk) Read(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.rest) == 0 {
		switch {
		case t.over:
			return 0, net.ErrClosed
		case len(t.in) > 0:
			if err := t.take(); err != nil {
				return 0, err
			}
		case t.lost:
			return 0, io.ErrUnexpectedEOF
		case late(t.readBy):
			return 0, os.ErrDeadlineExceeded
		default:
			t.news.Wait()
		}
	}
	n := copy(p, t.rest)
	t.rest = t.rest[n:]
	return n, nil
}

// take reads the next word.
func (t *talk) take() error {
	w := t.in[0]
	t.in = t.in[1:]
	t.inBytes -= len(w.b)
	t.news.Broadcast()
	switch {
	case w.close && t.header:
		t.bye = " type='terminate'"
		return io.EOF
	case w.header != t.header && !w.close:
		return &xmpp.StreamError{Cond: xmpp.StreamBadFormat, Text: "the stream does not begin where it should"}
	}
	t.header, t.rest = false, w.b
	return nil
}

func late(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

// Write keeps whole elements for the next answer; who does not ask for them in
// time is as slow as one who does not read his socket.
func (t *talk) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.out) > boxMax {
		switch {
		case t.over || t.lost:
			return 0, net.ErrClosed
		case late(t.writeBy):
			return 0, os.ErrDeadlineExceeded
		}
		t.news.Wait()
	}
	if t.over || t.lost {
		return 0, net.ErrClosed
	}
	failed := false
	err := frame.Out(b, func(one []byte) error {
		switch {
		case frame.IsClose(one) && failed:
			t.bye = " type='terminate' condition='remote-stream-error'" // XEP-0206 §"Stream Errors"
		case frame.IsClose(one):
			t.bye = " type='terminate'"
		case !frame.IsOpen(one):
			failed = failed || frame.IsError(one)
			t.out = append(t.out, one...)
		}
		return nil
	})
	t.settle()
	return len(b), err
}

// Close ends the session; whoever asks in the next seconds is told.
func (t *talk) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over {
		t.over = true
		t.settle()
	}
	return nil
}

func (t *talk) LocalAddr() net.Addr  { return t.local }
func (t *talk) RemoteAddr() net.Addr { return t.peer }

func (t *talk) SetDeadline(at time.Time) error      { return t.patience(&at, &at) }
func (t *talk) SetReadDeadline(at time.Time) error  { return t.patience(&at, nil) }
func (t *talk) SetWriteDeadline(at time.Time) error { return t.patience(nil, &at) }

func (t *talk) patience(read, write *time.Time) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if read != nil {
		t.readBy = *read
	}
	if write != nil {
		t.writeBy = *write
	}
	for i, by := range []time.Time{t.readBy, t.writeBy} {
		if t.alarms[i] != nil {
			t.alarms[i].Stop()
		}
		if !by.IsZero() {
			t.alarms[i] = time.AfterFunc(time.Until(by), func() { t.mu.Lock(); t.news.Broadcast(); t.mu.Unlock() })
		}
	}
	t.news.Broadcast()
	return nil
}

// admit finds or makes the ask of a request; nil: its number is not one that
// may come now. Those that come too early wait for the one before (XEP-0124 §14).
func (t *talk) admit(rid uint64, gaveUp func() bool) (a *ask, fresh bool) {
	for {
		if i := slices.IndexFunc(t.recent, func(a *ask) bool { return a.rid == rid }); i >= 0 {
			return t.recent[i], false
		}
		if rid < t.next || rid >= t.next+requests || t.lost || gaveUp() {
			return nil, false
		}
		if rid == t.next && t.inBytes <= boxMax {
			break
		}
		t.news.Wait()
	}
	a = &ask{rid: rid, first: len(t.recent) == 0, until: time.Now().Add(t.wait)}
	t.next++
	t.held = append(t.held, a)
	if t.recent = append(t.recent, a); len(t.recent) > requests {
		t.recent = slices.Delete(t.recent, 0, 1)
	}
	return a, true
}

// hear takes a request's words and waits until it is time to answer.
func (t *talk) hear(rid uint64, words []word, gaveUp func() bool) ([]byte, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asking >= askingMax { // XEP-0124 §11: more than were agreed
		return nil, false
	}
	t.asking++
	defer func() { t.asking-- }()
	a, fresh := t.admit(rid, gaveUp)
	if a == nil {
		return nil, false
	}
	if fresh {
		for _, w := range words {
			a.last = a.last || w.close
			t.in = append(t.in, w)
			t.inBytes += len(w.b)
		}
		t.settle()
	}
	for !a.done && !gaveUp() {
		t.news.Wait()
	}
	return a.says, true
}
