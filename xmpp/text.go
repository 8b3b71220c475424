// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// checkChars refuses what is not UTF-8 or no XML character (XML 1.0 §2.2).
func checkChars(b []byte) error {
	ascii := true
	for _, c := range b {
		if c < 0x20 && !isSpace(c) {
			return errSyntax
		}
		ascii = ascii && c < 0x80
	}
	if ascii {
		return nil
	}
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n < 2 {
			return &StreamError{Cond: StreamUnsupportedEncoding}
		}
		if r == 0xFFFE || r == 0xFFFF {
			return errSyntax
		}
		i += n
	}
	return nil
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

// unescape gives the characters that checked text or a checked value means.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '&') < 0 && bytes.IndexByte(b, '\r') < 0 {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b))
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '&':
			r, n := entity(b[i:])
			s.WriteRune(r)
			i += n - 1
		case '\r': // XML 1.0 §2.11
			s.WriteByte('\n')
			if i+1 < len(b) && b[i+1] == '\n' {
				i++
			}
		default:
			s.WriteByte(b[i])
		}
	}
	return s.String()
}

// appendEscaped writes text or a value between single or double quotes.
func appendEscaped(dst []byte, s string) []byte {
	from := 0
	for i := 0; i < len(s); i++ {
		var e string
		switch s[i] {
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
