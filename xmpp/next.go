// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"io"
)

// Next reads the next stanza or nonza into s, which is valid until the next
// call. It answers io.EOF at the end tag of the stream, a *StreamError where
// the stream cannot go on, and a *StanzaError where only this stanza was bad:
// then s has its envelope and the stream goes on behind it.
func (d *Decoder) Next(s *Stanza) error {
	d.consume()
	s.reset()
	for {
		if d.desk != nil {
			done, err := d.element(s)
			if done || err != nil {
				return err
			}
			if len(d.desk.buf) == 0 && d.skip == nil {
				d.release()
			}
		}
		if err := d.fill(); err != nil {
			return eof(err, d.desk != nil)
		}
	}
}

func (d *Decoder) element(s *Stanza) (bool, error) {
	k := d.desk
	if d.skip != nil {
		return d.skipOn(s)
	}
	if k.scan.at == 0 {
		k.buf = trimSpace(k.buf) // whitespace keepalives, RFC 6120 §4.6.1
		if len(k.buf) < 2 {
			if len(k.buf) == 1 && k.buf[0] != '<' {
				return false, &StreamError{Cond: StreamBadFormat}
			}
			return false, nil
		}
		if k.buf[0] != '<' {
			return false, &StreamError{Cond: StreamBadFormat}
		}
		if k.buf[1] == '/' {
			return d.closing()
		}
	}
	n, err := k.scan.more(k.buf, &d.lim, &d.head)
	if err != nil {
		return false, err
	}
	if n == 0 && len(k.buf) > d.lim.Bytes || n > d.lim.Bytes {
		return d.tooLong(s, n)
	}
	if n == 0 {
		return false, nil
	}
	err = s.take(k.buf[:n:n], &k.scan, &d.head)
	k.scan.reset()
	d.drop = n
	return true, err
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && isSpace(b[0]) {
		b = b[1:]
	}
	return b
}

// closing reads the end tag of the stream.
func (d *Decoder) closing() (bool, error) {
	b := d.desk.buf
	end := bytes.IndexByte(b, '>')
	if end < 0 {
		if len(b) > 256 {
			return false, errSyntax
		}
		return false, nil
	}
	name := bytes.TrimRight(b[2:end], " \t\r\n")
	d.drop = end + 1
	if string(name) != d.head.name {
		return false, errSyntax
	}
	d.ended = true
	return true, io.EOF
}

// A skipper passes over the rest of a stanza that is too long, keeping nothing.
type skipper struct {
	depth int
	state skipState
	end   bool // in an end tag
	quote byte
	prev  byte
	n     int // bytes passed over
}

// skipMax is how many times its limit a stanza is passed over; then it counts
// as one that does not end.
const skipMax = 64

type skipState uint8

const (
	skipText  skipState = iota
	skipFirst           // behind '<'
	skipTag
)

// tooLong begins to pass over a stanza: n is its length when it is complete.
func (d *Decoder) tooLong(s *Stanza, n int) (bool, error) {
	k := d.desk
	if !d.lim.Forgive || k.scan.at == 0 {
		return false, errTooMuch
	}
	if err := s.envelope(k.buf, &k.scan, &d.head); err != nil {
		return false, err
	}
	s.Raw = nil
	if n > 0 {
		d.drop = n
		k.scan.reset()
		return true, errTooLong(d.lim.Bytes)
	}
	d.skip = &skipper{depth: len(k.scan.open)}
	k.buf = k.buf[k.scan.at:]
	k.scan.reset()
	return d.skipOn(s)
}

func errTooLong(limit int) error {
	e := Refuse(Modify, PolicyViolation)
	return e.Say("the stanza is longer than this server takes (" + itoa(limit) + " bytes)")
}

func (d *Decoder) skipOn(s *Stanza) (bool, error) {
	k := d.desk
	for i, c := range k.buf {
		if err := d.skip.byte(c); err != nil {
			return false, err
		}
		if d.skip.depth == 0 {
			d.skip = nil
			d.drop = i + 1
			return true, errTooLong(d.lim.Bytes)
		}
	}
	if d.skip.n += len(k.buf); d.skip.n > skipMax*d.lim.Bytes {
		return false, errTooMuch
	}
	k.buf = k.buf[:0]
	return false, nil
}

func (p *skipper) byte(c byte) error {
	switch p.state {
	case skipText:
		if c == '<' {
			p.state = skipFirst
		}
	case skipFirst:
		if c == '!' || c == '?' {
			return errRestricted
		}
		p.state, p.end, p.quote = skipTag, c == '/', 0
	case skipTag:
		p.inTag(c)
	}
	p.prev = c
	return nil
}

func (p *skipper) inTag(c byte) {
	switch {
	case p.quote != 0:
		if c == p.quote {
			p.quote = 0
		}
	case c == '\'' || c == '"':
		p.quote = c
	case c == '>':
		p.state = skipText
		switch {
		case p.end:
			p.depth--
		case p.prev != '/':
			p.depth++
		}
	}
}

// rename makes what is in a content namespace a client's.
func (e *Element) rename(ns string) {
	if e.Name.Space == ns {
		e.Name.Space = NSClient
	}
	for _, n := range e.Nodes {
		if n.El != nil {
			n.El.rename(ns)
		}
	}
}
