// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"sotto/internal/client"
)

// typingFor is how long a typing notice is believed without another one.
const typingFor = 25 * time.Second

// row is one person of the list: a contact, a chat, or both.
type row struct {
	jid, name string
	contact   client.Contact // zero for somebody who is none
	chat      client.Chat
}

// sees says that we may know whether this person is here.
func (r *row) sees() bool { return r.contact.Sub == "both" || r.contact.Sub == "to" }

// people are all rows: who asks something first, then the latest talks, then
// contacts without one.
func (m *model) people() []row {
	c := m.c
	byJID := map[string]*row{}
	at := func(jid string) *row {
		if byJID[jid] == nil {
			byJID[jid] = &row{jid: jid, name: nameOf(jid, c.Self())}
		}
		return byJID[jid]
	}
	for _, p := range c.Contacts() {
		r := at(p.JID)
		r.contact = p
		if n := safeLine(p.Name); n != "" {
			r.name = n
		}
	}
	for _, ch := range c.Chats() {
		if ch.Last > 0 || m.text[ch.With] != "" {
			at(ch.With).chat = ch
		}
	}
	for jid, text := range m.text {
		if text != "" {
			at(jid)
		}
	}
	if m.open != "" {
		at(m.open)
	}
	var all []row
	for _, r := range byJID {
		all = append(all, *r)
	}
	first := func(yes bool) int {
		if yes {
			return 0
		}
		return 1
	}
	slices.SortFunc(all, func(x, y row) int {
		return cmp.Or(
			cmp.Compare(first(x.contact.Wants), first(y.contact.Wants)),
			y.chat.At.Compare(x.chat.At),
			cmp.Compare(first(x.contact.Online), first(y.contact.Online)),
			cmp.Compare(x.name, y.name), cmp.Compare(x.jid, y.jid))
	})
	return all
}

// nameOf is what somebody is called who has no name in the roster: people of
// our own server by their short name.
func nameOf(jid, self string) string {
	_, home, _ := strings.Cut(self, "@")
	if name := strings.TrimSuffix(jid, "@"+home); name != "you" { // that is ourselves
		return safeLine(name)
	}
	return safeLine(jid)
}

// mark shows whether somebody is here.
func (m *model) mark(r *row) string {
	switch {
	case r.contact.Wants:
		return badge.Styled("?")
	case !r.contact.Online || !r.sees():
		return faint.Styled("○")
	case !m.online:
		return faint.Styled("●") // as it was
	case r.contact.Show == "away" || r.contact.Show == "xa" || r.contact.Show == "dnd":
		return warning.Styled("●")
	}
	return here.Styled("●")
}

// doing is a few words on somebody.
func (m *model) doing(r *row, now time.Time) string {
	p := &r.contact
	switch {
	case p.Wants:
		return "asks to be your contact"
	case m.isTyping(r.jid, now):
		return "typing…"
	case p.Online && r.sees() && m.online:
		return cmp.Or(map[string]string{"away": "away", "xa": "away", "dnd": "busy"}[p.Show], "online")
	case r.sees() && !p.Seen.IsZero():
		return "last seen " + client.Ago(p.Seen, now)
	case p.Ask:
		return "has not answered yet"
	case p.JID == "":
		return "not a contact: /add"
	case r.sees():
		return "offline"
	}
	return ""
}

func (m *model) isTyping(jid string, now time.Time) bool {
	at, ok := m.typing[jid]
	return ok && now.Sub(at) < typingFor
}

// list draws the people in n lines: two for each, the open one in view.
func (m *model) list(wide, n int) []string {
	now := time.Now()
	open := max(0, slices.IndexFunc(m.rows, func(r row) bool { return r.jid == m.open }))
	fits := max(1, n/2)
	m.top = min(max(m.top, open-fits+1), open, max(0, len(m.rows)-fits))
	var lines []string
	for i := m.top; i < len(m.rows) && len(lines)+2 <= n; i++ {
		r := &m.rows[i]
		count := ""
		if r.chat.Unread > 0 {
			count = " " + strconv.Itoa(r.chat.Unread)
		}
		name := m.pen.fit(r.name, wide-3-len(count))
		if i == open {
			name = chosen.Styled(name)
		}
		word := faint.Styled(m.pen.fit(m.doing(r, now), wide-3))
		if m.isTyping(r.jid, now) {
			word = here.Styled(m.pen.fit("typing…", wide-3))
		}
		if r.jid != m.open && m.text[r.jid] != "" && !r.contact.Wants {
			word = faint.Styled(m.pen.fit("draft: "+safeLine(m.text[r.jid]), wide-3))
		}
		lines = append(lines, m.mark(r)+" "+name+badge.Styled(count)+" ", "  "+word+" ")
	}
	for len(lines) < n {
		lines = append(lines, strings.Repeat(" ", wide))
	}
	return lines
}
