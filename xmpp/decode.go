// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"sync"

	"sotto/xmpp/wire"
)

// Limits bound what a peer may make us hold (DESIGN §6).
type Limits struct {
	Bytes, Depth, Attrs, NSDecls int
	Kids                         int  // of a stanza itself; each is noted; 0: no limit
	Forgive                      bool // a longer stanza is answered, not the end of the stream
}

// The limits before and after login, and of what a server says.
var (
	BeforeAuth = Limits{Bytes: 10 << 10, Depth: 8, Attrs: 32, NSDecls: 16, Kids: 32}
	AfterAuth  = Limits{Bytes: 256 << 10, Depth: 64, Attrs: 64, NSDecls: 256, Kids: 1024, Forgive: true}
	FromServer = Limits{Bytes: 4 << 20, Depth: 64, Attrs: 64, NSDecls: 256, Kids: 1024, Forgive: true} // a roster is one stanza
)

// A Header is the start tag of a stream (RFC 6120 §4.7).
type Header struct {
	To, From          JID
	ID, Version, Lang string
	NS                string // default namespace
	name              string // of the stream element, as written
	content           string // what NS was, where it is not a client's
	prefixes          []headBind
}

type headBind struct{ prefix, uri string }

func (h *Header) has(prefix []byte) bool { return h.uri(prefix) != "" }

func (h *Header) uri(prefix []byte) string {
	for i := range h.prefixes {
		if h.prefixes[i].prefix == string(prefix) {
			return h.prefixes[i].uri
		}
	}
	return ""
}

// A Decoder reads one stream. While nothing moves it holds no buffer: the
// first bytes land in a small strip, a pooled desk takes the rest.
type Decoder struct {
	r       io.Reader
	wait    func() // returns when there is something to read; nil: only reading waits
	more    bool   // the last read filled its buffer: there may be more
	lim     Limits
	stanzas string // the namespace of stanzas; empty: a client's
	head    Header
	desk    *desk
	skip    *skipper
	drop    int            // bytes of the stanza returned last
	ended   bool           // the peer closed its stream
	half    func(yes bool) // told when only a part of a stanza has come
	late    bool           // it was told so
	land    [64]byte
}

// A desk is what reading needs and waiting does not.
type desk struct {
	buf  []byte // unread bytes
	back []byte // the whole allocation
	scan scan
}

var desks = sync.Pool{New: func() any { return &desk{back: make([]byte, 4<<10)} }}

// deskKeeps is the largest buffer that goes back to the pool.
const deskKeeps = 64 << 10

// NewDecoder reads a stream from r.
func NewDecoder(r io.Reader, l Limits) *Decoder { return &Decoder{r: r, lim: l} }

// First is the length of the one element that b begins with, checked as the
// decoder does it; 0 when b holds only a part of it.
func First(b []byte, l Limits) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if b[0] != '<' || len(b) > 1 && b[1] == '/' {
		return 0, errSyntax
	}
	var c scan
	return c.more(b, &l, &Header{NS: NSClient})
}

// SetLimits changes the limits from the next stanza on.
func (d *Decoder) SetLimits(l Limits) { d.lim = l }

// Reset begins a new stream on r; bytes read ahead are dropped.
func (d *Decoder) Reset(r io.Reader) {
	d.release()
	d.r, d.head, d.skip, d.drop, d.wait, d.more = r, Header{}, nil, 0, nil, false
}

// Restart begins a new stream on the same connection (RFC 6120 §6.4.6).
func (d *Decoder) Restart() { d.consume(); d.head = Header{} }

// Ahead says whether more than white space was read beyond what was returned.
func (d *Decoder) Ahead() bool {
	return d.desk != nil && len(trimSpace(d.desk.buf[d.drop:])) > 0
}

// Begins says whether what was read beyond what was returned begins so.
func (d *Decoder) Begins(with string) bool {
	return d.Ahead() && bytes.HasPrefix(trimSpace(d.desk.buf[d.drop:]), []byte(with))
}

func (d *Decoder) release() {
	if d.desk == nil {
		return
	}
	k := d.desk
	d.desk = nil
	k.buf = nil
	k.scan.reset()
	if len(k.back) <= deskKeeps {
		desks.Put(k)
	}
}

// consume drops the stanza that was returned last.
func (d *Decoder) consume() {
	if d.late {
		d.late = false
		d.half(false)
	}
	if d.desk == nil || d.drop == 0 {
		return
	}
	d.desk.buf = d.desk.buf[d.drop:]
	d.drop = 0
}

// idle says whether all that has come was returned, and wait may be called.
// Then nothing is held.
func (d *Decoder) idle(s *Stanza) bool {
	if d.consume(); d.desk != nil && len(d.desk.buf) == 0 && d.skip == nil {
		d.release()
	}
	if d.wait == nil || d.desk != nil || d.more {
		return false
	}
	s.reset()
	return true
}

// fill reads more; at most one piece beyond the limit is ever held.
func (d *Decoder) fill() error {
	if d.desk == nil {
		n, err := d.r.Read(d.land[:])
		d.more = n == len(d.land)
		if n == 0 {
			return err
		}
		d.desk = desks.Get().(*desk)
		d.desk.buf = append(d.desk.back[:0], d.land[:n]...)
		return nil
	}
	k := d.desk
	if cap(k.buf)-len(k.buf) < 512 {
		k.room()
	}
	if d.half != nil && !d.late && (len(k.buf) > 0 || d.skip != nil) {
		d.late = true
		d.half(true)
	}
	free := k.buf[len(k.buf):cap(k.buf)]
	n, err := d.r.Read(free)
	d.more = n == len(free)
	k.buf = k.buf[:len(k.buf)+n]
	if n > 0 {
		return nil
	}
	return err
}

// room moves the unread bytes to the front, into a larger buffer if need be.
func (k *desk) room() {
	if len(k.buf) > len(k.back)/2 {
		k.back = make([]byte, 2*len(k.back))
	}
	n := copy(k.back, k.buf)
	k.buf = k.back[:n]
}

// Header reads the start of the stream.
func (d *Decoder) Header() (Header, error) {
	d.consume()
	start := 0
	for {
		if d.desk != nil {
			end, from, err := headerEnd(d.desk.buf, start)
			if err != nil {
				return Header{}, err
			}
			if end > 0 {
				err := d.readHeader(d.desk.buf[:end], from)
				d.desk.buf = d.desk.buf[end:]
				return d.head, err
			}
			if len(d.desk.buf) > min(d.lim.Bytes, BeforeAuth.Bytes) {
				return Header{}, errTooMuch
			}
		}
		if err := d.fill(); err != nil {
			return Header{}, eof(err, d.desk != nil && len(d.desk.buf) > 0)
		}
	}
}

func eof(err error, half bool) error {
	if err == io.EOF && half {
		return io.ErrUnexpectedEOF
	}
	return err
}

// headerEnd finds the stream's start tag behind an XML declaration; headers
// are short, so looking again from the start is no cost.
func headerEnd(b []byte, at int) (end, from int, err error) {
	declared := false
	for {
		for at < len(b) && isSpace(b[at]) {
			at++
		}
		if len(b)-at < 2 {
			if at < len(b) && b[at] != '<' {
				return 0, 0, errSyntax
			}
			return 0, 0, nil
		}
		if b[at] != '<' {
			return 0, 0, errSyntax
		}
		if b[at+1] == '!' {
			return 0, 0, errRestricted
		}
		if b[at+1] != '?' {
			n, _ := tagEnd(b, at+1, 0)
			return max(n, 0), at, nil
		}
		n := bytes.Index(b[at:], []byte("?>"))
		if n < 0 {
			return 0, 0, nil
		}
		if declared || !bytes.HasPrefix(b[at:], []byte("<?xml ")) {
			return 0, 0, errRestricted
		}
		if err := checkDeclaration(b[at : at+n]); err != nil {
			return 0, 0, err
		}
		declared = true
		at += n + 2
	}
}

// checkDeclaration allows UTF-8 only (RFC 6120 §11.6).
func checkDeclaration(b []byte) error {
	if err := checkChars(b); err != nil {
		return err
	}
	low := bytes.ToLower(b)
	if bytes.Contains(low, []byte("encoding")) && !bytes.Contains(low, []byte("utf-8")) {
		return &StreamError{Cond: StreamUnsupportedEncoding}
	}
	return nil
}

func (d *Decoder) readHeader(b []byte, at int) error {
	if err := checkChars(b[at:]); err != nil {
		return err
	}
	var t tag
	if err := t.parse(b, at, d.lim.Attrs); err != nil {
		return err
	}
	if t.end {
		return errSyntax
	}
	h := Header{name: string(t.name.of(b)), content: d.stanzas}
	for _, a := range t.attrs {
		if err := h.attr(b, a); err != nil {
			return err
		}
	}
	d.head = h
	if t.empty {
		return &StreamError{Cond: StreamBadFormat}
	}
	err := h.check(b, &t)
	if err == nil { // stanzas mean the same in all content namespaces (RFC 6120 §4.8.3)
		d.head.NS = NSClient
	}
	return err
}

func (h *Header) attr(b []byte, a attrSpan) error {
	v := valueOf(a.value.of(b))
	name := string(a.name.of(b))
	var err error
	switch name {
	case "to":
		h.To, err = ParseJID(v)
	case "from":
		h.From, err = ParseJID(v)
	case "id":
		h.ID = v
	case "version":
		h.Version = v
	case "xml:lang":
		h.Lang = v
	case "xmlns":
		h.NS = v
		return checkBind(nil, a.value.of(b))
	default:
		if a.colon >= 0 && name[:a.colon-a.name.from] == "xmlns" {
			p := b[a.colon+1 : a.name.to]
			h.prefixes = append(h.prefixes, headBind{string(p), v})
			return checkBind(p, a.value.of(b))
		}
	}
	if err != nil {
		return &StreamError{Cond: StreamImproperAddressing, Cause: err}
	}
	return nil
}

// check is RFC 6120 §4.8: the namespaces must be exactly these.
func (h *Header) check(b []byte, t *tag) error {
	if t.colon < 0 || string(b[t.colon+1:t.name.to]) != "stream" {
		return &StreamError{Cond: StreamInvalidNamespace}
	}
	prefix := b[t.name.from:t.colon]
	if !h.has(prefix) {
		return errBadPrefix
	}
	want := h.content
	if want == "" {
		want = NSClient
	}
	if h.uri(prefix) != NSStream || h.NS != want {
		return &StreamError{Cond: StreamInvalidNamespace}
	}
	return nil
}

// Framed is a connection that carries each element in a frame of its own
// (RFC 7395 §3.3), behind TLS that is up already. It reads and writes as a
// stream does, and never reads beyond a frame. Logins are not bound to its TLS:
// pages cannot see theirs, and stanza.js takes any -PLUS that it is offered.
type Framed interface {
	net.Conn
	Expect(header bool, lim Limits) // what comes next: a header, or anything else
}

// expect tells a framed connection what may come.
func (a *accept) expect(header bool, l Limits) {
	if f, ok := a.c.nc.(Framed); ok {
		f.Expect(header, l)
	}
}

// secured says whether TLS is up before we see the first byte: HTTPS made it,
// alone or for both (XEP-0368 §4).
func (a *accept) secured() bool {
	switch c := a.c.nc.(type) {
	case Framed:
		if w, ok := c.(interface{ Wait() }); ok {
			a.c.dec.wait = w.Wait
		}
	case *tls.Conn:
		cs := c.ConnectionState()
		a.bindings = Bindings(&cs, a.setup.shown())
		if w, ok := c.NetConn().(*wire.Conn); ok {
			a.c.dec.wait = w.Wait
		}
	default:
		return false
	}
	return true
}
