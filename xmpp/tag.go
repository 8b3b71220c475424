// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// A span is a piece of the buffer, by offsets: buffers move, offsets stay.
type span struct{ from, to int }

func (s span) of(b []byte) []byte { return b[s.from:s.to] }

// An attrSpan is one attribute of a start tag.
type attrSpan struct {
	name  span // qualified, as written
	colon int  // offset of the colon in the buffer, or -1
	value span // between the quotes, still escaped
}

// A tag is one start or end tag, already checked.
type tag struct {
	name   span
	colon  int
	end    bool // </x>
	empty  bool // <x/>
	attrs  []attrSpan
	length int
}

var (
	errSyntax     = &StreamError{Cond: StreamNotWellFormed}
	errRestricted = &StreamError{Cond: StreamRestrictedXML} // RFC 6120 §11.1
	errBadPrefix  = &StreamError{Cond: StreamBadNamespacePrefix}
	errTooMuch    = &StreamError{Cond: StreamPolicyViolation}
)

// nameByte says which ASCII bytes may stand in a name; bit 1: also first.
var nameByte = func() (t [256]uint8) {
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-32] = 3, 3
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = 1
	}
	t['_'], t['-'], t['.'] = 3, 1, 1
	return t
}()

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// parse reads the tag that fills b[at:]; b ends just behind its '>'. Names are
// ASCII: no XMPP name is anything else, and Unicode names are a playground for
// parsers that disagree.
func (t *tag) parse(b []byte, at int, maxAttrs int) error {
	t.attrs, t.end, t.empty, t.length = t.attrs[:0], false, false, len(b)-at
	i, last := at+1, len(b)-1
	if b[i] == '/' {
		t.end = true
		i++
	} else if b[last-1] == '/' {
		t.empty = true
		last--
	}
	var err error
	if t.name, t.colon, i, err = qname(b, i, last); err != nil {
		return err
	}
	for {
		gap := i
		for i < last && isSpace(b[i]) {
			i++
		}
		if i == last {
			return nil
		}
		if gap == i || t.end {
			return errSyntax
		}
		if len(t.attrs) >= maxAttrs {
			return errTooMuch
		}
		var a attrSpan
		if a, i, err = attribute(b, i, last); err != nil {
			return err
		}
		t.attrs = append(t.attrs, a)
	}
}

func qname(b []byte, i, last int) (span, int, int, error) {
	from, colon := i, -1
	for i < last {
		c := b[i]
		if c == ':' {
			if colon >= 0 || i == from {
				return span{}, 0, 0, errSyntax
			}
			colon = i
		} else if nameByte[c] == 0 {
			break
		} else if (i == from || i == colon+1 && colon >= 0) && nameByte[c]&2 == 0 {
			return span{}, 0, 0, errSyntax
		}
		i++
	}
	if i == from || colon == i-1 && colon >= 0 {
		return span{}, 0, 0, errSyntax
	}
	return span{from, i}, colon, i, nil
}

func attribute(b []byte, i, last int) (attrSpan, int, error) {
	var a attrSpan
	var err error
	if a.name, a.colon, i, err = qname(b, i, last); err != nil {
		return a, 0, err
	}
	for i < last && isSpace(b[i]) {
		i++
	}
	if i == last || b[i] != '=' {
		return a, 0, errSyntax
	}
	i++
	for i < last && isSpace(b[i]) {
		i++
	}
	if i == last || b[i] != '\'' && b[i] != '"' {
		return a, 0, errSyntax
	}
	n := bytes.IndexByte(b[i+1:last], b[i])
	if n < 0 {
		return a, 0, errSyntax
	}
	a.value = span{i + 1, i + 1 + n}
	v := a.value.of(b)
	if bytes.IndexByte(v, '<') >= 0 {
		return a, 0, errSyntax
	}
	return a, i + n + 2, checkEntities(v)
}

// tagEnd finds the '>' that ends a tag in b[from:], resuming with quote, the
// quote that was open at from. It returns the offset behind the '>', or -1 and
// the quote to go on with.
func tagEnd(b []byte, from int, quote byte) (int, byte) {
	for i := from; i < len(b); {
		if quote != 0 {
			n := bytes.IndexByte(b[i:], quote)
			if n < 0 {
				return -1, quote
			}
			i, quote = i+n+1, 0
			continue
		}
		switch b[i] {
		case '>':
			return i + 1, 0
		case '\'', '"':
			quote = b[i]
		}
		i++
	}
	return -1, quote
}

// checkChars refuses what is not UTF-8 or no XML character (XML 1.0 §2.2).
func checkChars(b []byte) error {
	for {
		b = b[plain(b):]
		if len(b) == 0 {
			return nil
		}
		if c := b[0]; c < utf8.RuneSelf {
			if c < 0x20 && !isSpace(c) {
				return errSyntax
			}
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n < 2 {
			return &StreamError{Cond: StreamUnsupportedEncoding}
		}
		if r == 0xFFFE || r == 0xFFFF {
			return errSyntax
		}
		b = b[n:]
	}
}

// plain counts printable ASCII at the start, mostly eight bytes at a time.
func plain(b []byte) (n int) {
	const high, space = 0x8080808080808080, 0x2020202020202020
	for ; len(b)-n >= 8; n += 8 {
		if w := binary.LittleEndian.Uint64(b[n:]); (w|(w-space)&^w)&high != 0 {
			break // a byte of 0x80 or more, or one below 0x20
		}
	}
	for n < len(b) && b[n] >= 0x20 && b[n] < utf8.RuneSelf {
		n++
	}
	return n
}

// checkText checks character data between tags.
func checkText(b []byte) error {
	if bytes.IndexByte(b, ']') >= 0 && bytes.Contains(b, []byte("]]>")) {
		return errSyntax
	}
	return checkEntities(b)
}

// checkEntities allows the five predefined entities and numbers (RFC 6120 §11.1).
func checkEntities(b []byte) error {
	for {
		i := bytes.IndexByte(b, '&')
		if i < 0 {
			return nil
		}
		_, n := entity(b[i:])
		if n == 0 {
			return entityError(b[i:])
		}
		b = b[i+n:]
	}
}

func entityError(b []byte) error {
	if n := bytes.IndexByte(b[:min(len(b), 64)], ';'); n > 1 && nameByte[b[1]]&2 != 0 {
		return errRestricted // an entity that only a DTD could define
	}
	return errSyntax
}

var entities = []struct {
	name string
	r    rune
}{{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}}

// entity reads the reference at the start of b; n is 0 when there is none.
func entity(b []byte) (r rune, n int) {
	for _, e := range entities {
		if len(b) >= len(e.name) && string(b[:len(e.name)]) == e.name {
			return e.r, len(e.name)
		}
	}
	if len(b) < 4 || b[1] != '#' {
		return 0, 0
	}
	i, base := 2, rune(10)
	if b[2] == 'x' {
		i, base = 3, 16
	}
	from := i
	for ; i < len(b) && i < from+8; i++ {
		d := digit(b[i])
		if d < 0 || d >= base {
			break
		}
		r = r*base + d
	}
	if i == from || i == len(b) || b[i] != ';' || !isChar(r) {
		return 0, 0
	}
	return r, i + 1
}

func digit(c byte) rune {
	switch {
	case c >= '0' && c <= '9':
		return rune(c - '0')
	case c >= 'a' && c <= 'f':
		return rune(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return rune(c-'A') + 10
	}
	return -1
}

func isChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xD7FF ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// unescape gives the characters that checked text means; line ends are one
// character (XML 1.0 §2.11).
func unescape(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return string(b)
	}
	return spell(b, '\n', false)
}

// valueOf gives the characters that a checked value of an attribute means:
// white space that is not written as a reference is a space (XML 1.0 §3.3.3).
func valueOf(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 && !bytes.ContainsAny(b, "\t\r\n") {
		return string(b)
	}
	return spell(b, ' ', true)
}

func spell(b []byte, end byte, spaces bool) string {
	var s strings.Builder
	s.Grow(len(b))
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '&':
			r, n := entity(b[i:])
			s.WriteRune(r)
			i += n - 1
		case c == '\r':
			s.WriteByte(end)
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
		case spaces && (c == '\n' || c == '\t'):
			s.WriteByte(' ')
		default:
			s.WriteByte(c)
		}
	}
	return s.String()
}

// appendEscaped writes text.
func appendEscaped(dst []byte, s string) []byte { return escape(dst, s, false) }

// appendValue writes a value between single or double quotes.
func appendValue(dst []byte, s string) []byte { return escape(dst, s, true) }

func escape(dst []byte, s string, value bool) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		var e string
		switch s[i] {
		case '\n', '\t':
			if !value {
				continue
			}
			e = "&#10;"
			if s[i] == '\t' {
				e = "&#9;"
			}
		case '<':
			e = "&lt;"
		case '>':
			e = "&gt;"
		case '&':
			e = "&amp;"
		case '\'':
			e = "&apos;"
		case '"':
			e = "&quot;"
		case '\r':
			e = "&#13;"
		default:
			continue
		}
		dst = append(append(dst, s[from:i]...), e...)
		from = i + 1
	}
	return append(dst, s[from:]...)
}
