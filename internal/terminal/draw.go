// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"strings"
	"time"

	"sotto/internal/client"
)

const (
	clock    = "15:04"
	tickWide = 2
)

// nameWide is how many columns the talk gives to names.
func (t *talk) nameWide() int {
	most := 12
	if t.wide < narrow {
		most = 8
	}
	return min(max(t.pen.width(t.peer), len("you")), most)
}

// indent is where the text of messages begins.
func (t *talk) indent() int { return len(clock) + 1 + tickWide + 1 + t.nameWide() + 2 }

// draw lays a message out: the day when it is a new one, when, how far it has
// come, who, and the text beside it; what there is to say about it beneath.
func (t *talk) draw(i int) (lines []string) {
	m := &t.msgs[i]
	if i == 0 || !sameDay(t.msgs[i-1].At, m.At) {
		lines = append(lines, faint.Styled(t.pen.rule(dayWord(m.At, time.Now()), t.wide)))
	}
	if m.Seq == t.fresh {
		lines = append(lines, badge.Styled(t.pen.rule("new", t.wide)))
	}
	who, look := t.peer, theirs
	if m.Out {
		who, look = "you", mine
	}
	head := faint.Styled(m.At.Local().Format(clock)) + " " + t.tick(m) + " " + look.Styled(t.pen.fit(who, t.nameWide())) + "  "
	in := t.indent()
	pad := strings.Repeat(" ", in)
	for _, x := range t.pen.wrap(safeText(m.Body), t.wide-in) {
		lines = append(lines, head+x)
		head = pad
	}
	for _, about := range t.about(m) {
		for _, x := range t.pen.wrap(about.text, t.wide-in) {
			lines = append(lines, pad+about.look.Styled(x))
		}
	}
	for _, n := range t.notices {
		if n.after == m.Seq {
			lines = append(lines, t.notice(n)...)
		}
	}
	if t.wide < in+4 { // there is hardly a screen
		for i := range lines {
			lines[i] = t.pen.cut(lines[i], t.wide)
		}
	}
	return lines
}

// loose are the notices before the first message.
func (t *talk) loose() (lines []string) {
	for _, n := range t.notices {
		if n.after == 0 {
			lines = append(lines, t.notice(n)...)
		}
	}
	return lines
}

func (t *talk) notice(n notice) (lines []string) {
	look := faint
	if n.alarm {
		look = warning
	}
	for _, x := range t.pen.wrap(n.at.Local().Format(clock)+" · "+safeLine(n.text), t.wide) {
		lines = append(lines, look.Styled(x))
	}
	return lines
}

// tick says how far a message of ours has come, in two columns.
func (t *talk) tick(m *client.Message) string {
	if !m.Out {
		return "  "
	}
	switch m.State {
	case client.Queued:
		return faint.Styled(" ○")
	case client.Sent:
		return faint.Styled(" ✓")
	case client.Delivered:
		return faint.Styled("✓✓")
	case client.Read:
		if t.pen.grey {
			return readNo.Styled("✓✓")
		}
		return readYes.Styled("✓✓")
	case client.Failed:
		return trouble.Styled(" ✗")
	}
	return "  "
}

type remark struct {
	text string
	look interface{ Styled(string) string }
}

// about is what a person should know about a message beside its text.
func (t *talk) about(m *client.Message) (all []remark) {
	switch m.Trust {
	case "not encrypted":
		all = append(all, remark{"⚠ not encrypted: servers could read this", warning})
	case "undecided":
		all = append(all, remark{"⚠ from a device that was not compared yet: /verify", warning})
	case "distrusted":
		all = append(all, remark{"⚠ from a device that you do not trust", trouble})
	}
	switch {
	case m.State == client.Failed:
		all = append(all, remark{"not sent: " + safeLine(m.Why), trouble})
	case m.Why != "":
		all = append(all, remark{safeLine(m.Why), warning})
	}
	return all
}

func sameDay(a, b time.Time) bool {
	ay, am, ad := a.Local().Date()
	by, bm, bd := b.Local().Date()
	return ay == by && am == bm && ad == bd
}

func dayWord(t, now time.Time) string {
	switch t = t.Local(); {
	case sameDay(t, now):
		return "today"
	case sameDay(t, now.AddDate(0, 0, -1)):
		return "yesterday"
	case t.Year() == now.Year():
		return t.Format("Monday, 2 January")
	}
	return t.Format("Monday, 2 January 2006")
}
