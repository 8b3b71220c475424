// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// The looks use only the 16 colours that every terminal has in its own shades;
// the renderer leaves them out when NO_COLOR is set.
var (
	faint   = ansi.NewStyle().Faint()
	strong  = ansi.NewStyle().Bold()
	mine    = ansi.NewStyle().Bold().ForegroundColor(ansi.Cyan)
	theirs  = ansi.NewStyle().Bold().ForegroundColor(ansi.Green)
	here    = ansi.NewStyle().ForegroundColor(ansi.Green)
	warning = ansi.NewStyle().ForegroundColor(ansi.Yellow)
	trouble = ansi.NewStyle().ForegroundColor(ansi.Red)
	badge   = ansi.NewStyle().Bold().ForegroundColor(ansi.Yellow)
	chosen  = ansi.NewStyle().Bold().Reverse(true)
	readYes = ansi.NewStyle().Bold().ForegroundColor(ansi.BrightBlue)
	readNo  = ansi.NewStyle().Bold().Underline(true) // the same without colours
)

// pen draws for one terminal: how it counts columns, and whether it has colours.
type pen struct {
	method ansi.Method
	grey   bool // no colours
}

func (p pen) width(s string) int { return p.method.StringWidth(s) }

// cut shortens a line to n columns.
func (p pen) cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	if p.width(s) <= n {
		return s
	}
	return p.method.Truncate(s, n, "…")
}

// fit makes a line exactly n columns wide.
func (p pen) fit(s string, n int) string {
	s = p.cut(s, n)
	return s + strings.Repeat(" ", max(0, n-p.width(s)))
}

// wrap breaks a text into lines of at most n columns: between words, beside
// letters of two columns, else within a word that is too long. Spaces that
// begin a line of the text stay.
func (p pen) wrap(s string, n int) (out []string) {
	n = max(2, n)
	for line := range strings.SplitSeq(s, "\n") {
		if len(line) > n || p.width(line) > n {
			out = p.wrapLine(out, line, n)
		} else {
			out = append(out, line)
		}
	}
	return out
}

func (p pen) wrapLine(out []string, line string, n int) []string {
	start, wide := 0, 0   // of the row that is being filled
	place, before := 0, 0 // the last place to break, and the row's width there
	for at := 0; at < len(line); {
		c, w := ansi.FirstGraphemeCluster(line[at:], p.method)
		if wide+w <= n || at == start || c == " " {
			at, wide = at+len(c), wide+w
			if c == " " || w == 2 {
				place, before = at, wide
			}
			continue
		}
		if w == 2 || place == start {
			place, before = at, wide
		}
		out = append(out, strings.TrimRight(line[start:place], " "))
		start, wide = place, wide-before
		place, before = start, 0
	}
	return append(out, strings.TrimRight(line[start:], " "))
}

// rule is a line across n columns with a word in its middle.
func (p pen) rule(word string, n int) string {
	if word != "" {
		word = " " + p.cut(word, n-4) + " "
	}
	left := max(0, (n-p.width(word))/2)
	return strings.Repeat("─", left) + word + strings.Repeat("─", max(0, n-left-p.width(word)))
}
