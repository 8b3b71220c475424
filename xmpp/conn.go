// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// writeTimeout is how long a peer may take nothing before it is given up.
const writeTimeout = 30 * time.Second

// A Conn is one stream, either end. One goroutine reads; a second one writes
// while there is something to write, and only then: an idle stream has one
// small stack.
type Conn struct {
	// fixed: set before Run, read-only after.
	nc      net.Conn
	log     *slog.Logger
	server  bool
	id      string
	jid     JID
	resumed bool
	reply   func(*Element) bool // takes error replies; nil: written at once

	// reader: only the read loop touches these.
	dec   Decoder
	clean bool // the peer closed the stream itself
	st    Stanza

	// shared: guarded by mu.
	mu      sync.Mutex
	answers []*Element // error replies for our own peer
	fill    func(*Writer) error
	pen     pen
	again   bool // somebody woke us meanwhile
	ending  bool // Close was called
	why     *StreamError
	err     error         // of the writer
	over    chan struct{} // closed when the writer has stopped for good
	unheard chan struct{} // closed when nothing is read any more
}

// A pen says what the writer does; it never goes back from dry.
type pen uint8

const (
	notYet  pen = iota // Run was not called
	resting            // nothing to write: no goroutine
	writing
	dry // the farewell is said, or the socket is broken
)

func newConn(nc net.Conn, log *slog.Logger, l Limits) *Conn {
	if log == nil {
		log = slog.Default()
	}
	return &Conn{
		nc: nc, log: log, dec: Decoder{r: nc, lim: l},
		over: make(chan struct{}),
	}
}

// Bound is the full address of this stream's client.
func (c *Conn) Bound() JID { return c.jid }

// Account is the bare address of this stream's client.
func (c *Conn) Account() JID { return c.jid.Bare() }

// Addr is the peer's network address.
func (c *Conn) Addr() net.Addr { return c.nc.RemoteAddr() }

// Resumed says whether the stream went on with an earlier session.
func (c *Conn) Resumed() bool { return c.resumed }

// StreamID is the id of the stream (RFC 6120 §4.7.3).
func (c *Conn) StreamID() string { return c.id }

// Replies sets, before Run, who sends error replies: they are stanzas and must
// be counted (XEP-0198 §4). False ends the stream.
func (c *Conn) Replies(f func(*Element) bool) { c.reply = f }

// Hurry sets, before Run, how long the peer may take to finish a stanza that it
// has begun: until then we hold its bytes.
func (c *Conn) Hurry(d time.Duration) {
	c.dec.half = func(yes bool) {
		end := time.Time{}
		if yes {
			end = time.Now().Add(d)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.ending { // the farewell has its own
			_ = c.nc.SetReadDeadline(end)
		}
	}
}

// Clean says, after Run, whether the peer closed its stream of its own accord
// and in good order: then the session ends and cannot be resumed (XEP-0198 §5).
func (c *Conn) Clean() bool { return c.clean }

// Wake may be called by anyone and never blocks: one waiting wake is enough.
func (c *Conn) Wake() {
	c.mu.Lock()
	c.again = true
	c.write()
	c.mu.Unlock()
}

// Close ends the stream; why may be nil. It never blocks.
func (c *Conn) Close(why *StreamError) {
	c.mu.Lock()
	if !c.ending {
		c.ending, c.why = true, why
		c.write()
	}
	c.mu.Unlock()
}

// write starts the writer if it rests; c.mu is held.
func (c *Conn) write() {
	if c.pen == resting {
		c.pen = writing
		select {
		case pens <- c:
		default:
			go write(c)
		}
	}
}

// A few writers rest with the stack that they have grown, and take the next
// stream that has something to write.
const restMax = 32

var (
	pens = make(chan *Conn)
	rest atomic.Int32
)

func write(c *Conn) {
	for {
		c.writeAll()
		if rest.Add(1) > restMax {
			rest.Add(-1)
			return
		}
		c = <-pens
		rest.Add(-1)
	}
}

// Drop cuts the socket, as a lost network does.
func (c *Conn) Drop() { c.nc.Close() }

// A Writer gathers what one turn of the write loop sends.
type Writer struct{ b []byte }

// Element adds an element.
func (w *Writer) Element(e *Element) { w.b = e.Append(w.b, NSClient) }

// Bytes adds bytes that are a whole element already.
func (w *Writer) Bytes(b []byte) { w.b = append(w.b, b...) }

// Stanza adds a stanza as it is forwarded.
func (w *Writer) Stanza(s *Stanza, from, to JID, extra []byte) {
	w.b = s.AppendAs(w.b, from, to, extra, nil)
}

// Take gives what was gathered.
func (w *Writer) Take() []byte { return w.b }

// Len is how much waits for the flush.
func (w *Writer) Len() int { return len(w.b) }

var writers = sync.Pool{New: func() any { return &Writer{b: make([]byte, 0, 4<<10)} }}

// writerKeeps is the largest buffer that goes back to the pool.
const writerKeeps = 128 << 10

// Run reads stanzas into handle and calls fill after each wake, until the
// stream ends; both loops have stopped when it returns. Nil means that the
// stream ended in good order.
func (c *Conn) Run(ctx context.Context, handle func(*Stanza) error, fill func(*Writer) error) error {
	if ctx.Done() != nil {
		defer context.AfterFunc(ctx, func() { c.Close(&StreamError{Cond: StreamSystemShutdown}) })()
	}
	c.mu.Lock()
	c.fill, c.pen, c.unheard = fill, resting, make(chan struct{})
	if c.again || c.ending {
		c.write()
	}
	c.mu.Unlock()
	err := c.readLoop(handle)
	c.Close(asStreamError(err))
	if c.server && asStreamError(err) != nil {
		_, _ = io.CopyN(io.Discard, c.nc, drained) // or until the peer or the farewell ends it
	}
	close(c.unheard)
	<-c.over
	if err == nil {
		err = c.err
	}
	return err
}

func asStreamError(err error) *StreamError {
	var all *StreamError
	if errors.As(err, &all) {
		return all
	}
	return nil
}

func (c *Conn) readLoop(handle func(*Stanza) error) error {
	for {
		if c.dec.idle(&c.st) {
			c.dec.wait() // here, where the stack is small
		}
		err := c.dec.Next(&c.st)
		switch {
		case err == io.EOF && c.dec.ended:
			c.mu.Lock()
			c.clean = !c.ending // else it answers our own end (RFC 6120 §4.4)
			c.mu.Unlock()
			return nil
		case err == nil:
			err = c.guard(handle)
		case c.dec.late && errors.Is(err, os.ErrDeadlineExceeded):
			err = &StreamError{Cond: StreamConnectionTimeout, Text: "half a stanza came, and no more"}
		}
		if err != nil && !c.answer(&c.st, err) {
			return err
		}
	}
}

// guard keeps a panic of ours inside the one session that caused it.
func (c *Conn) guard(handle func(*Stanza) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic", "err", p, "cond", string(debug.Stack()))
			err = &StreamError{Cond: StreamInternalError, Cause: fmt.Errorf("panic: %v", p)}
		}
	}()
	return handle(&c.st)
}

// answer is the one place where a Go error becomes XML; false ends the stream.
func (c *Conn) answer(s *Stanza, err error) (open bool) {
	var one *StanzaError
	var all *StreamError
	switch {
	case errors.As(err, &all):
		return false
	case errors.As(err, &one):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		return false
	default:
		var ne net.Error
		if errors.As(err, &ne) || s.Name.Local == "" {
			return false
		}
		c.log.Error("unclassified error", "id", s.ID, "err", err) // our bug
		one = &StanzaError{Type: Cancel, Cond: InternalError, Cause: err}
	}
	if s.Type == "error" || s.Kind == KindIQ && s.Type == "result" || s.Kind == KindNonza {
		return true // an error is never answered with an error, RFC 6120 §8.3.1
	}
	el := ErrorReply(s, one)
	if c.server && !c.jid.IsZero() { // else it is from many
		el.Set("to", c.jid.String())
	}
	if c.reply != nil {
		return c.reply(el)
	}
	c.mu.Lock()
	full := len(c.answers) > 1000
	c.answers = append(c.answers, el)
	c.mu.Unlock()
	c.Wake()
	return !full
}

// writeAll writes until nothing is left; after Close it says farewell.
func (c *Conn) writeAll() {
	for {
		c.mu.Lock()
		ending, again := c.ending, c.again
		c.again = false
		if !ending && !again {
			c.pen = resting
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()
		var err error
		if ending {
			err = c.farewell()
		} else if err = c.turn(writeTimeout); err != nil {
			c.nc.Close()
		}
		if ending || err != nil {
			c.mu.Lock()
			c.pen, c.err = dry, err
			c.mu.Unlock()
			close(c.over)
			return
		}
	}
}

func (c *Conn) turn(patience time.Duration) error {
	w := writers.Get().(*Writer)
	w.b = w.b[:0]
	err := c.fill(w)
	c.mu.Lock()
	answers := c.answers
	c.answers = nil
	c.mu.Unlock()
	for _, a := range answers {
		w.Element(a)
	}
	if len(w.b) > 0 && err == nil {
		err = c.flush(w.b, patience)
	}
	if cap(w.b) <= writerKeeps {
		writers.Put(w)
	}
	return err
}

func (c *Conn) flush(b []byte, patience time.Duration) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := c.nc.Write(b)
	return err
}

// farewell says what waits and why it ends, closes our half of the stream and
// drops the socket (RFC 6120 §4.4, §4.9.1.1).
func (c *Conn) farewell() error {
	_ = c.nc.SetReadDeadline(time.Now().Add(time.Second))
	why := c.why // set once, before the writer saw that it is the end
	_ = c.turn(2 * time.Second)
	_ = c.nc.SetWriteDeadline(time.Now().Add(2 * time.Second))
	var b []byte
	if why != nil {
		b = why.Bytes()
	}
	_, err := c.nc.Write(append(b, "</stream:stream>"...))
	if t, ok := c.nc.(*tls.Conn); ok {
		_ = t.CloseWrite()
	}
	if !c.server || lingers(why) {
		<-c.unheard // the other end's own end, so that no reset overtakes our last words
	}
	err = errors.Join(err, c.nc.Close())
	if why != nil {
		return why
	}
	return err
}

// drained is how much of what a peer still sends is passed over while it reads
// why its stream ends.
const drained = 1 << 20

// lingers says whether the peer gets a second to read why its stream ends,
// whatever it is still sending. Who waits for its place does not wait for that.
func lingers(why *StreamError) bool {
	return why != nil && why.Cond != StreamConflict && why.Cond != StreamSystemShutdown
}
