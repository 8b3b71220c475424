// SPDX-License-Identifier: Apache-2.0

package xmpp

import "bytes"

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
