// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"
)

// A Hand drives a stream through what comes before stanzas flow: it says one
// thing and reads the next. The packages that know a kind of stream use it.
type Hand struct{ c *Conn }

// Take begins a stream on a socket; server is the end that was called.
func Take(nc net.Conn, log *slog.Logger, l Limits, server bool) *Hand {
	c := newConn(nc, log, l)
	c.server = server
	return &Hand{c}
}

// Speak says in which namespace the stanzas of this stream are, where that is
// not a client's (RFC 6120 §4.8.3). They are read as a client's.
func (h *Hand) Speak(ns string) { h.c.dec.stanzas = ns }

// Limits changes the limits from the next stanza on.
func (h *Hand) Limits(l Limits) { h.c.dec.SetLimits(l) }

// Net is the socket, inside TLS once there is TLS.
func (h *Hand) Net() net.Conn { return h.c.nc }

// Write says bytes.
func (h *Hand) Write(b []byte) error {
	_, err := h.c.nc.Write(b)
	return err
}

// Send says an element.
func (h *Hand) Send(el *Element) error { return h.Write(el.Bytes()) }

// Header reads the start of a new stream on the same socket (RFC 6120 §4.2).
func (h *Hand) Header() (Header, error) {
	h.c.dec.Restart()
	return h.c.dec.Header()
}

// Read gives the next element; a stream error of the peer is an error.
func (h *Hand) Read() (*Element, error) {
	if err := h.c.dec.Next(&h.c.st); err != nil {
		return nil, err
	}
	el, err := h.c.st.Element()
	if err == nil && el.Is(NSStream, "error") {
		return nil, streamErrorOf(el)
	}
	return el, err
}

// Ask says an element and reads what comes next.
func (h *Hand) Ask(el *Element) (*Element, error) {
	if err := h.Send(el); err != nil {
		return nil, err
	}
	return h.Read()
}

// Features reads the features of a stream.
func (h *Hand) Features() (*Element, error) {
	el, err := h.Read()
	if err == nil && !el.Is(NSStream, "features") {
		err = errors.New("no stream features but " + el.Name.Local)
	}
	return el, err
}

// Secure goes on inside TLS, whose handshake is done. Bytes that came before it
// were not protected (RFC 6120 §5.4.3.3).
func (h *Hand) Secure(t *tls.Conn) error {
	if h.c.dec.Ahead() {
		return errors.New("the peer sent bytes before TLS was up")
	}
	h.c.nc = t
	h.c.dec.Reset(t)
	return nil
}

// Flow gives the stream, on which stanzas may flow now.
func (h *Hand) Flow(as JID, resumed bool) *Conn {
	h.c.jid, h.c.resumed = as, resumed
	return h.c
}

func streamErrorOf(el *Element) *StreamError {
	e := &StreamError{Cond: StreamUndefined, Text: el.Child(NSStreams, "text").Text()}
	for _, k := range el.Children() {
		if k.Name.Space == NSStreams && k.Name.Local != "text" {
			e.Cond = k.Name.Local
		} else if k.Name.Space != NSStreams {
			e.App = k
		}
	}
	return e
}

// TurnAway refuses a socket that was not let in. It never waits: a socket that
// is new takes a few bytes at once.
func (s *Setup) TurnAway(nc net.Conn, direct bool, why *StreamError) {
	if !direct {
		_ = nc.SetDeadline(time.Now().Add(time.Millisecond))
		_, _ = nc.Write(append(append(s.header("", JID{}), why.Bytes()...), "</stream:stream>"...))
	}
	nc.Close()
}

// A Door is how people get an account before login (XEP-0077, XEP-0445).
type Door struct {
	Open    bool // for anybody
	Invited bool // for who has an invitation
	// Ask answers; invite is what this stream has shown, kept between calls.
	Ask func(addr net.Addr, iq *Stanza, invite *string) *Element
}

func (d *Door) features() (all []*Element) {
	if d != nil && d.Invited {
		all = append(all, El(NSRegToken, "register"))
	}
	if d != nil && d.Open {
		all = append(all, El(NSRegFeature, "register"))
	}
	return all
}

// asked says whether a stanza before login is for the door.
func (d *Door) asked(st *Stanza) bool {
	return d != nil && st.Kind == KindIQ && (st.Has(NSRegister, "query") || d.Invited && st.Has(NSPars, "preauth"))
}
