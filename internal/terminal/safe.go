// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What others write is drawn by our terminal, so nothing in it may be anything
// but text: no control character of C0 or C1 (ECMA-48 §5), which could move the
// cursor, set the title or write the clipboard, and nothing that turns the
// direction of the text around it (Unicode UAX #9 §2).

const (
	tab      = "    "
	maxMarks = 6 // combining marks on one letter; more would climb over other lines
)

// safeText makes a text of several lines harmless.
func safeText(s string) string {
	if plain(s) {
		return s
	}
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var b strings.Builder
	marks := 0
	for _, r := range s {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Me, r) {
			if marks++; marks > maxMarks {
				continue
			}
		} else {
			marks = 0
		}
		switch {
		case r == '\n' || r == '\u2028' || r == '\u2029':
			b.WriteByte('\n')
		case r == '\t':
			b.WriteString(tab)
		case r < 0x20:
			b.WriteRune('␀' + r) // the picture of it
		case r == 0x7f:
			b.WriteRune('␡')
		case r == utf8.RuneError || r >= 0x80 && r < 0xa0:
			b.WriteRune(utf8.RuneError)
		case turns(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// safeLine is safeText on one line, for names and reasons.
func safeLine(s string) string {
	return strings.Join(strings.Fields(safeText(s)), " ")
}

// plain says that nothing needs to be changed; most messages pass here.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 && c != '\n' || c >= 0x7f {
			return false
		}
	}
	return true
}

// turns says whether a character sets the direction of text, or is invisible
// and made to fool (embeddings, overrides, isolates, annotations, tags).
func turns(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x206f || r >= 0xfff9 && r <= 0xfffb ||
		r == 0x200e || r == 0x200f || r == 0x061c || r == 0xfeff
}
