// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"slices"
	"strings"
	"time"

	"charm.land/bubbles/v2/key"
	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"sotto/xmpp"
)

const (
	inputMost = 6        // lines of the input on the screen
	inputAll  = 64 << 10 // characters that one message may have
	quiet     = 5 * time.Second
	saveEvery = 200 * time.Millisecond
)

func newInput() textarea.Model {
	in := textarea.New()
	in.ShowLineNumbers = false
	in.Prompt = "> "
	in.SetPromptFunc(2, func(p textarea.PromptInfo) string {
		if p.LineNumber == 0 {
			return "> "
		}
		return "  "
	})
	in.DynamicHeight, in.MinHeight, in.MaxHeight, in.MaxContentHeight = true, 1, inputMost, 1<<20
	in.CharLimit = inputAll
	in.SetVirtualCursor(false)
	bare := textarea.StyleState{Placeholder: lipgloss.NewStyle().Faint(true), Selection: lipgloss.NewStyle().Reverse(true)}
	in.SetStyles(textarea.Styles{Focused: bare, Blurred: bare})
	in.KeyMap.InsertNewline = key.NewBinding(key.WithKeys("ctrl+j", "alt+enter", "shift+enter"))
	in.KeyMap.LineNext = key.NewBinding(key.WithKeys("down"))
	in.KeyMap.LinePrevious = key.NewBinding(key.WithKeys("up"))
	for _, off := range []*key.Binding{&in.KeyMap.Paste, &in.KeyMap.CopySelection, &in.KeyMap.PageUp, &in.KeyMap.PageDown} {
		off.SetEnabled(false) // the clipboard is the terminal's; pages are the talk's
	}
	in.Focus()
	return in
}

// key deals with one key.
func (m *model) key(k tea.KeyPressMsg) tea.Cmd {
	name := k.String()
	if name == "ctrl+c" {
		return tea.Quit
	}
	if m.panel != nil {
		return m.panelKey(name)
	}
	if m.listing && m.w < narrow {
		return m.listKey(name)
	}
	empty := m.input.Length() == 0
	switch {
	case name == "esc" && m.w < narrow:
		m.listing = true
		m.stopTyping()
	case name == "esc":
		return tea.Quit
	case name == "tab", name == "ctrl+n", name == "down" && empty, name == "alt+down":
		return m.move(+1)
	case name == "shift+tab", name == "ctrl+p", name == "up" && empty, name == "alt+up":
		return m.move(-1)
	case name == "pgup":
		return m.scroll(m.talkHigh() - 1)
	case name == "pgdown":
		return m.scroll(1 - m.talkHigh())
	case name == "ctrl+up":
		return m.scroll(+1)
	case name == "ctrl+down":
		return m.scroll(-1)
	case name == "end" && empty, name == "ctrl+end":
		m.toEnd()
	case name == "enter":
		return m.submit()
	case name == "ctrl+y" && m.asks():
		return m.answer(true)
	case name == "ctrl+x" && m.asks():
		return m.answer(false)
	default:
		k.Text = safeText(k.Text)
		return m.type_(k)
	}
	return nil
}

// listKey deals with a key while a narrow screen shows the list.
func (m *model) listKey(name string) tea.Cmd {
	switch name {
	case "esc", "q":
		return tea.Quit
	case "tab", "down", "ctrl+n", "j":
		return m.move(+1)
	case "shift+tab", "up", "ctrl+p", "k":
		return m.move(-1)
	case "enter", "right", "l":
		m.listing = false
	case "ctrl+y":
		return m.answer(true)
	case "ctrl+x":
		return m.answer(false)
	}
	return nil
}

// move opens another talk of the list.
func (m *model) move(by int) tea.Cmd {
	if len(m.rows) == 0 {
		return nil
	}
	i := slices.IndexFunc(m.rows, func(r row) bool { return r.jid == m.open })
	n := len(m.rows)
	return m.say("", m.enter(m.rows[((i+by)%n+n)%n].jid))
}

func (m *model) scroll(by int) tea.Cmd {
	if m.talk == nil {
		return nil
	}
	return m.say("", m.talk.scroll(by, m.talkHigh()))
}

func (m *model) toEnd() {
	if m.talk != nil {
		m.talk.follow, m.talk.still = true, false
	}
}

// type_ gives the input what it understands, and keeps what it holds then.
func (m *model) type_(msg tea.Msg) tea.Cmd {
	before := m.input.Value()
	in, cmd := m.input.Update(msg)
	m.input = in
	text := m.input.Value()
	if text == before {
		return cmd
	}
	return tea.Batch(cmd, m.typed(text))
}

// typed keeps the input on the disk and tells the other that we type; commands
// are nobody's business.
func (m *model) typed(text string) tea.Cmd {
	if m.open == "" {
		return nil
	}
	m.resize()
	m.text[m.open] = text
	m.disk.set(m.open, text)
	m.keyed++
	n := m.keyed
	save := m.save()
	switch {
	case text == "":
		m.c.TypedNothing(m.open)
		return save
	case strings.HasPrefix(text, "/"):
		return save
	}
	m.c.Type(m.open, true)
	return tea.Batch(save, tea.Tick(quiet, func(time.Time) tea.Msg { return outcome{key: n} }))
}

// save brings drafts to the disk a moment later, not for each key.
func (m *model) save() tea.Cmd {
	if m.saving || !m.disk.some() {
		return nil
	}
	m.saving = true
	return tea.Tick(saveEvery, func(time.Time) tea.Msg { return outcome{saved: true, err: m.disk.flush()} })
}

// stopTyping tells the open chat that we are not typing now.
func (m *model) stopTyping() {
	if m.open != "" && m.input.Length() > 0 {
		m.c.Type(m.open, false)
	}
}

// submit sends what was typed, or does what it asks for.
func (m *model) submit() tea.Cmd {
	text := strings.TrimSpace(m.input.Value())
	if text == "" {
		return nil
	}
	if strings.HasPrefix(text, "/") && !strings.HasPrefix(text, "//") {
		m.input.Reset()
		return tea.Batch(m.typed(""), m.command(text))
	}
	if m.open == "" {
		return m.say("nobody is chosen: /add bob", nil)
	}
	to, err := xmpp.ParseJID(m.open)
	if err == nil {
		_, err = m.c.Send(to, strings.TrimPrefix(text, "/"))
	}
	if err != nil {
		return m.say("", err)
	}
	m.toEnd()
	m.talk.mark(0)
	m.input.Reset()
	return m.typed("")
}

// asks says that the open row is somebody who asks to be a contact.
func (m *model) asks() bool {
	return slices.ContainsFunc(m.rows, func(r row) bool { return r.jid == m.open && r.contact.Wants })
}
