// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"slices"
	"strconv"
)

// Kind says what a top-level child of a stream is.
type Kind uint8

// The kinds of RFC 6120 §8, and what is none of them.
const (
	KindNonza Kind = iota
	KindMessage
	KindPresence
	KindIQ
)

// A Stanza is one top-level child of a stream: its verified bytes and what
// routing needs of its start tag.
type Stanza struct {
	Kind            Kind
	Name            Name
	ID, Type, Lang  string
	To, From        JID
	HasTo, HasFrom  bool
	Raw             []byte // valid until the Decoder's next Next; see Keep
	kids            []kid
	el              *Element
	toText, frText  string // what To and From were parsed from last
	toCache, fCache JID
}

func (s *Stanza) reset() {
	*s = Stanza{kids: s.kids[:0], toText: s.toText, frText: s.frText, toCache: s.toCache, fCache: s.fCache}
}

// take makes s the element that fills b.
func (s *Stanza) take(b []byte, c *scan, head *Header) error {
	own := head.content != "" && !c.inherits && string(c.space.of(b)) == head.content
	if c.alien || own {
		el, err := build(b, head)
		if err != nil {
			return err
		}
		if own {
			el.rename(head.content)
		}
		return s.rescan(el.Append(nil, NSClient))
	}
	s.Raw = b
	err := s.envelope(b, c, head)
	s.kids, c.kids = c.kids, s.kids[:0]
	return err
}

// rescan reads bytes that we wrote ourselves.
func (s *Stanza) rescan(b []byte) error {
	var c scan
	head := Header{NS: NSClient}
	lim := Limits{Depth: 1 << 10, Attrs: 1 << 10, NSDecls: 1 << 16}
	n, err := c.more(b, &lim, &head)
	if err != nil {
		return err
	}
	if n != len(b) {
		return errSyntax
	}
	c.alien = false // we wrote no prefixes but those of single attributes
	return s.take(b, &c, &head)
}

// envelope reads the start tag. A bad address is a stanza error (RFC 6120
// §8.3.3.8), for the stream itself is well.
func (s *Stanza) envelope(b []byte, c *scan, head *Header) error {
	s.Name = Name{Space: spaceOf(b, c.space, c.inherits, c.root.name, c.root.colon, head), Local: intern(c.local.of(b))}
	if s.Name.Space == NSClient {
		s.Kind = kinds[s.Name.Local]
	}
	var bad error
	for i := range c.root.attrs {
		a := &c.root.attrs[i]
		v := a.value.of(b)
		switch string(a.name.of(b)) {
		case "id":
			s.ID = valueOf(v)
		case "type":
			s.Type = intern(v)
		case "xml:lang":
			s.Lang = intern(v)
		case "to":
			s.HasTo = true
			bad = orElse(bad, s.address(v, &s.To, &s.toText, &s.toCache))
		case "from":
			s.HasFrom = true
			bad = orElse(bad, s.address(v, &s.From, &s.frText, &s.fCache))
		}
	}
	if bad != nil && s.Kind != KindNonza {
		return bad
	}
	return nil
}

func orElse(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// address parses an address, unless it is the one that came last: talks come
// in runs.
func (s *Stanza) address(v []byte, to *JID, text *string, cache *JID) error {
	if len(v) > 0 && string(v) == *text {
		*to = *cache
		return nil
	}
	j, err := ParseJID(valueOf(v))
	if err != nil {
		e := Refuse(Modify, JIDMalformed)
		e.Cause = err
		return e
	}
	*to, *text, *cache = j, string(v), j
	return nil
}

var kinds = map[string]Kind{"message": KindMessage, "presence": KindPresence, "iq": KindIQ}

func spaceOf(b []byte, space span, inherits bool, name span, colon int, head *Header) string {
	switch {
	case !inherits:
		return intern(space.of(b))
	case colon < 0:
		return head.NS
	}
	return head.uri(b[name.from:colon])
}

// Keep copies the stanza, so that it outlives the decoder's buffer.
func (s *Stanza) Keep() *Stanza {
	k := *s
	k.Raw = append([]byte(nil), s.Raw...)
	k.kids = append([]kid(nil), s.kids...)
	return &k
}

// Element is the stanza as a tree.
func (s *Stanza) Element() (*Element, error) {
	if s.el == nil {
		if s.Raw == nil {
			return nil, Refuse(Modify, PolicyViolation)
		}
		el, err := build(s.Raw, &Header{NS: NSClient})
		if err != nil {
			return nil, err
		}
		s.el = el
	}
	return s.el, nil
}

var clientBytes = []byte(NSClient)

func (s *Stanza) kidSpace(k *kid) []byte {
	if k.inherits {
		return clientBytes
	}
	return k.space.of(s.Raw)
}

// Has says whether there is such a direct child; "" stands for any.
func (s *Stanza) Has(space, local string) bool {
	for i := range s.kids {
		k := &s.kids[i]
		if local != "" && string(k.local.of(s.Raw)) != local {
			continue
		}
		if space == "" || k.inherits && space == NSClient || !k.inherits && string(k.space.of(s.Raw)) == space {
			return true
		}
	}
	return false
}

// Kids yields the direct children in their order.
func (s *Stanza) Kids(yield func(space, local string, raw []byte) bool) {
	for i := range s.kids {
		k := &s.kids[i]
		if !yield(intern(s.kidSpace(k)), intern(k.local.of(s.Raw)), k.all.of(s.Raw)) {
			return
		}
	}
}

// AppendAs writes the stanza as it is forwarded: a start tag of our own, the
// verified children but those that drop names, then extra.
func (s *Stanza) AppendAs(dst []byte, from, to JID, extra []byte, drop func(space, local string, raw []byte) bool) []byte {
	dst = slices.Grow(dst, len(s.Raw)+len(extra)+tagRoom)
	dst = append(append(dst, '<'), s.Name.Local...)
	if s.Name.Space != NSClient {
		dst = AppendAttr(dst, "xmlns", s.Name.Space)
	}
	dst = appendAddress(dst, " from='", from)
	dst = appendAddress(dst, " to='", to)
	dst = AppendAttr(dst, "id", s.ID)
	dst = AppendAttr(dst, "type", s.Type)
	dst = AppendAttr(dst, "xml:lang", s.Lang)
	dst = append(dst, '>')
	for i := range s.kids {
		k := &s.kids[i]
		raw := k.all.of(s.Raw)
		if drop == nil || !drop(intern(s.kidSpace(k)), intern(k.local.of(s.Raw)), raw) {
			dst = append(dst, raw...)
		}
	}
	dst = append(dst, extra...)
	dst = append(append(dst, "</"...), s.Name.Local...)
	return append(dst, '>')
}

// tagRoom is what a start tag of ours mostly needs more than the client's.
const tagRoom = 128

func appendAddress(dst []byte, start string, j JID) []byte {
	if j.IsZero() {
		return dst
	}
	dst = append(dst, start...)
	if plainResource(j.Resource) {
		dst = j.AppendTo(dst)
	} else {
		dst = appendValue(dst, j.String())
	}
	return append(dst, '\'')
}

func plainResource(s string) bool {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '<', '>', '&', '\'', '"':
			return false
		}
	}
	return true
}

// AppendAttr writes an attribute, unless it is empty.
func AppendAttr(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(append(append(dst, ' '), name...), "='"...)
	return append(appendValue(dst, value), '\'')
}

func itoa(n int) string { return strconv.Itoa(n) }

// StanzaOf makes a stanza of a tree.
func StanzaOf(e *Element) (*Stanza, error) { return Scan(e.Append(nil, NSClient)) }

// Scan reads a stanza that we wrote.
func Scan(b []byte) (*Stanza, error) {
	s := new(Stanza)
	return s, s.rescan(b)
}

// A Ledger counts what was sent on a stream and not yet acked (XEP-0198 §4).
// Counters wrap at 2^32.
type Ledger struct {
	acked uint32
	tags  []uint64
}

// Sent notes one stanza and returns its number; the tag is the caller's.
func (l *Ledger) Sent(tag uint64) uint32 {
	l.tags = append(l.tags, tag)
	return l.acked + uint32(len(l.tags))
}

// Acked takes the peer's h and returns the tags that it newly covers. An h
// beyond what was sent ends the stream; an old one covers nothing.
func (l *Ledger) Acked(h uint32) ([]uint64, error) {
	n := h - l.acked
	if n > uint32(len(l.tags)) {
		if n > 1<<31 {
			return nil, nil
		}
		app := El(NSSM, "handled-count-too-high", "h", itoa(int(h)), "send-count", itoa(int(l.Out())))
		return nil, &StreamError{Cond: StreamUndefined, App: app}
	}
	got := l.tags[:n:n]
	l.tags = l.tags[n:]
	if len(l.tags) == 0 {
		l.tags = nil
	}
	l.acked = h
	return got, nil
}

// Waiting is how many stanzas are not acked.
func (l *Ledger) Waiting() int { return len(l.tags) }

// Out is the number of the stanza sent last.
func (l *Ledger) Out() uint32 { return l.acked + uint32(len(l.tags)) }

// Tags are those of the stanzas that are not acked, in order.
func (l *Ledger) Tags() []uint64 { return append([]uint64(nil), l.tags...) }

// Restore begins at a known state, after a resumption.
func (l *Ledger) Restore(acked uint32, tags []uint64) {
	l.acked, l.tags = acked, append([]uint64(nil), tags...)
}
