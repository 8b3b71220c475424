// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// The screen, from above: who, the talk, the input; the list at its left; the
// connection and the keys beneath.

// listWide is how many columns the list has, with its border; 0 when it is not
// beside the talk.
func (m *model) listWide() int {
	if m.w < narrow {
		return 0
	}
	return min(max(m.w*3/10, 20), 32)
}

func (m *model) talkWide() int { return max(1, m.w-m.listWide()) }

// talkShown says that the talk is on the screen.
func (m *model) talkShown() bool { return m.w >= narrow || !m.listing }

// footHigh is the status and, when there is room, the keys.
func (m *model) footHigh() int {
	if m.h < 10 {
		return 1
	}
	return 2
}

// talkHigh is how many lines the talk has.
func (m *model) talkHigh() int { return max(1, m.h-m.footHigh()-m.input.Height()-3) }

// resize fits the input to the screen.
func (m *model) resize() {
	m.input.MaxHeight = min(inputMost, max(1, m.h/3))
	m.input.SetWidth(m.talkWide())
}

// View implements tea.Model.
func (m *model) View() tea.View {
	high := max(1, m.h-m.footHigh())
	var lines []string
	switch {
	case m.w < narrow && m.listing:
		lines = append([]string{m.pen.fit(strong.Styled("people"), m.w), faint.Styled(m.pen.rule("", m.w))}, m.list(m.w, high-2)...)
	case m.w < narrow:
		lines = m.pane(high)
	default:
		left := m.list(m.listWide()-1, high)
		for i, right := range m.pane(high) {
			lines = append(lines, left[i]+faint.Styled("│")+right)
		}
	}
	lines = append(lines, m.status())
	if m.footHigh() > 1 {
		lines = append(lines, faint.Styled(m.pen.cut(m.help(), m.w)))
	}
	lines = lines[max(0, len(lines)-m.h):]
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen, v.ReportFocus = true, true
	if c := m.input.Cursor(); c != nil && m.panel == nil && m.talkShown() {
		c.X += m.listWide()
		c.Y += max(0, high-m.input.Height())
		v.Cursor = c
	}
	return v
}

// pane is the talk with its head and the input, in n lines.
func (m *model) pane(n int) []string {
	wide, high := m.talkWide(), m.talkHigh()
	lines := []string{m.head(wide), faint.Styled(m.pen.rule("", wide))}
	var body []string
	foot := faint.Styled(m.pen.rule("", wide))
	switch {
	case m.panel != nil:
		lines[1] = faint.Styled(m.pen.rule(m.panel.title, wide))
		body = m.panelLines(wide, high)
		foot = faint.Styled(m.pen.rule("Esc closes", wide))
	case m.talk != nil:
		got, err := m.talk.lines(high)
		if err != nil {
			got = []string{trouble.Styled(m.pen.cut(safeLine(err.Error()), wide))}
		}
		body = append(make([]string, high-len(got)), got...)
		if !m.talk.follow {
			foot = badge.Styled(m.pen.rule("↓ more below: End", wide))
		}
	default:
		body = make([]string, high)
		for i, x := range m.pen.wrap(nobodyText, wide-2) {
			if i+1 < high {
				body[i+1] = faint.Styled(" " + x)
			}
		}
	}
	lines = append(append(lines, body...), foot)
	lines = append(lines, strings.Split(m.input.View(), "\n")...)
	for len(lines) < n {
		lines = append(lines, "")
	}
	return lines[:n]
}

const nobodyText = "Nobody is here yet. Type /add bob and Enter to ask somebody to be your contact, or wait until somebody writes."

// head says with whom one talks, whether they are here and what of their keys.
func (m *model) head(wide int) string {
	for i := range m.rows {
		r := &m.rows[i]
		if r.jid != m.open || m.talk == nil {
			continue
		}
		text := " " + m.mark(r) + " " + strong.Styled(r.name)
		if r.contact.Wants {
			ask := " asks to be your contact: Ctrl-Y yes, Ctrl-X no"
			if m.pen.width(text+ask) > wide {
				ask = " asks: Ctrl-Y yes, Ctrl-X no"
			}
			return m.pen.cut(text+badge.Styled(ask), wide)
		}
		if short := nameOf(r.jid, m.c.Self()); short != r.name {
			text += faint.Styled(" (" + short + ")")
		}
		if d := m.doing(r, time.Now()); d != "" {
			text += faint.Styled(" · " + d)
		}
		look, trust := faint, m.talk.trust
		if strings.HasPrefix(trust, "⚠") {
			look = warning
		}
		if strings.HasPrefix(trust, "✔") {
			look = here
		}
		if m.pen.width(text+" · "+trust) > wide { // what it is, without what to do
			trust, _, _ = strings.Cut(strings.TrimPrefix(trust, "encrypted, "), ":")
		}
		return m.pen.cut(text+faint.Styled(" · ")+look.Styled(trust), wide)
	}
	return strong.Styled(" sotto")
}

func (m *model) panelLines(wide, high int) []string {
	var all []string
	for _, x := range m.panel.lines {
		all = append(all, m.pen.wrap(safeText(x), wide-1)...)
	}
	m.panel.from = min(m.panel.from, max(0, len(all)-high))
	all = all[m.panel.from:]
	var out []string
	for i := range high {
		if i < len(all) {
			out = append(out, " "+all[i])
		} else {
			out = append(out, "")
		}
	}
	return out
}

// status is who we are and how the connection is; for a while, what was just done.
func (m *model) status() string {
	me := strong.Styled(" " + nameOf(m.c.Self(), m.c.Self()))
	link := here.Styled(" ● online")
	if !m.online {
		text := " ○ connecting…"
		if m.why != "" {
			text = " ○ reconnecting since " + m.since.Local().Format(clock)
			why := m.why
			if m.pen.width(me+text+why)+3 > m.w { // its end says most
				why = why[strings.LastIndex(why, ": ")+1:]
			}
			text += " (" + strings.TrimSpace(why) + ")"
		}
		link = warning.Styled(text)
	}
	line := me + link
	if n := m.elsewhere(); n > 0 && m.w < narrow && !m.listing {
		line += badge.Styled(fmt.Sprintf(" · %d unread in other talks", n))
	}
	if m.flash != "" {
		line = warning.Styled(" " + m.flash)
	}
	return m.pen.cut(line, m.w)
}

// elsewhere is how many messages wait in talks that are not open.
func (m *model) elsewhere() (n int) {
	for i := range m.rows {
		if m.rows[i].jid != m.open {
			n += m.rows[i].chat.Unread
		}
	}
	return n
}

// help is the keys that matter now.
func (m *model) help() string {
	switch {
	case m.panel != nil && m.panel.number != "":
		return " y the same · n not · Esc close"
	case m.panel != nil:
		return " Esc close · ↑↓ scroll"
	case m.w < narrow && m.listing:
		return " ↑↓ choose · Enter open · Esc leave"
	case m.w < narrow:
		return " Enter send · Esc people · /help"
	}
	all := " Enter send · Ctrl-J new line · Tab next talk · PgUp older · /help · Esc leave"
	if m.pen.width(all) > m.w {
		all = " Enter send · Tab next talk · PgUp older · /help · Esc leave"
	}
	return all
}
