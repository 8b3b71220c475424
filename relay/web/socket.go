// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/frame"
	"sotto/xmpp/wire"
)

// subprotocol is RFC 7395 §3.1.
const subprotocol = "xmpp"

// socket makes a stream of a WebSocket. A page of any site may open one: whoever
// does must log in, and no cookie does it for him.
func socket(w http.ResponseWriter, r *http.Request) {
	v, key := visitOf(r), r.Header.Get("Sec-WebSocket-Key")
	nonce, err := base64.StdEncoding.DecodeString(key)
	switch {
	case v == nil || r.Method != http.MethodGet || !says(r, "Connection", "upgrade") || !says(r, "Upgrade", "websocket"),
		!says(r, "Sec-WebSocket-Protocol", subprotocol), err != nil || len(nonce) != 16:
		http.Error(w, "this is for WebSockets with the subprotocol xmpp", http.StatusBadRequest)
		return
	case r.Header.Get("Sec-WebSocket-Version") != "13": // RFC 6455 §4.4
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "only version 13 is spoken here", http.StatusUpgradeRequired)
		return
	}
	_, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "only over HTTP/1.1", http.StatusBadRequest)
		return
	}
	if rw.Reader.Buffered() > 0 { // RFC 6455 §4.1: who speaks before our answer does not know that we can
		v.Close()
		return
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 §4.2.2
	_ = v.SetWriteDeadline(time.Now().Add(headTime))
	if _, err := v.Write([]byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " +
		base64.StdEncoding.EncodeToString(sum[:]) + "\r\nSec-WebSocket-Protocol: " + subprotocol + "\r\n\r\n")); err != nil {
		v.Close()
		return
	}
	v.stop()
	go v.g.Stream(v.ctx, newFramed(v), false) // all that HTTP held is free
}

// says looks for a word in a header that lists some.
func says(r *http.Request, header, word string) bool {
	all := strings.Split(strings.Join(r.Header.Values(header), ","), ",")
	return slices.ContainsFunc(all, func(p string) bool { return strings.EqualFold(strings.TrimSpace(p), word) })
}

// framed is a WebSocket as a stream; addresses and deadlines are those of the
// socket below.
type framed struct {
	*visit

	// fixed: set before the stream begins.
	below *wire.Conn // nil: waiting costs a buffer

	// reader: only who holds reading touches these.
	reading sync.Mutex
	lane    lane
	header  bool
	lim     xmpp.Limits
	rest    []byte // of a message
	whole   []byte // what has come of one, if it comes in pieces
	over    bool   // it is longer than a stanza may be, and goes on as it comes

	// shared: safe from anywhere, by type.
	polite atomic.Bool // one end has said <close/>
}

func newFramed(v *visit) *framed {
	f := &framed{visit: v, lane: lane{nc: v.Conn, most: messageTime}}
	if v.tls != nil {
		f.below, _ = v.tls.NetConn().(*wire.Conn)
	}
	return f
}

func (f *framed) Expect(header bool, l xmpp.Limits) { f.header, f.lim = header, l }

// Wait returns when there may be something to read; until then nothing is held.
func (f *framed) Wait() {
	f.reading.Lock()
	defer f.reading.Unlock()
	if f.below != nil && len(f.rest) == 0 && len(f.lane.data) == 0 && !f.lane.open {
		f.below.Wait()
	}
}

// Read gives the bytes of one message; the end of a message is never passed.
func (f *framed) Read(p []byte) (int, error) {
	f.reading.Lock()
	defer f.reading.Unlock()
	for len(f.rest) == 0 {
		if err := f.next(); err != nil {
			f.lane.free()
			return 0, err
		}
	}
	n := copy(p, f.rest)
	if f.rest = f.rest[n:]; len(f.rest) == 0 {
		f.rest = nil
		f.lane.free()
	}
	return n, nil
}

// next takes a message, or more of one. One that is too long goes on to the
// decoder as it comes, which passes over it and says so, if this is no stranger's.
func (f *framed) next() error {
	b, last, err := f.lane.piece()
	switch {
	case errors.Is(err, errBinary):
		return &xmpp.StreamError{Cond: xmpp.StreamBadFormat, Text: "only text frames are taken"} // RFC 7395 §3.2
	case err != nil:
		return err
	case f.over:
		f.rest, f.over = b, !last
		return nil
	case !last || f.whole != nil:
		f.whole = append(f.whole, b...)
		b = f.whole
	}
	if len(b) > f.lim.Bytes {
		if !f.lim.Forgive || f.header {
			return &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "the frame is too long"}
		}
		f.rest, f.whole, f.over = b, nil, !last
		return nil
	}
	if !last {
		return nil
	}
	f.whole = nil
	if f.rest, err = frame.In(b, f.header, f.lim); err != nil {
		if err == io.EOF {
			f.polite.Store(true)
		}
		return err
	}
	f.header = false
	return nil
}

// Write sends whole elements, each as a message.
func (f *framed) Write(b []byte) (int, error) {
	out := make([]byte, 0, len(b)+64)
	err := frame.Out(b, func(one []byte) error {
		if frame.IsClose(one) {
			f.polite.Store(true)
		}
		out = frameOf(out, plain, one)
		return nil
	})
	if err == nil {
		_, err = f.Conn.Write(out)
	}
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close drops the socket; after a <close/> it first closes the WebSocket as
// RFC 7395 §3.6 wants, for a moment.
func (f *framed) Close() error {
	if f.polite.Load() {
		_ = f.SetReadDeadline(time.Now().Add(time.Second)) // also for who is reading, unless he has begun to take his time
		defer time.AfterFunc(time.Second, func() { f.Conn.Close() }).Stop()
		f.lane.end(codeNormal)
		f.reading.Lock()
		f.lane.drain()
		f.reading.Unlock()
	}
	return f.visit.Close()
}
