// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"fmt"
	"slices"
	"time"

	"charm.land/bubbles/v2/textarea"
	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	"github.com/charmbracelet/x/ansi"

	"sotto/internal/client"
)

// narrow is the width below which one pane is shown at a time.
const narrow = 60

// model is the screen's state. Only the screen's loop touches it.
type model struct {
	// fixed
	c     *client.Client
	inbox *inbox
	disk  *drafts

	// the terminal
	pen     pen
	w, h    int
	sized   bool // w and h are the terminal's
	blurred bool // the person looks at another window

	// people
	rows    []row
	top     int    // the first row on the screen
	open    string // whose talk is open; empty when there is nobody
	listing bool   // narrow: the list is shown
	text    map[string]string
	typing  map[string]time.Time
	notices map[string][]notice // by chat, since the start

	talk   *talk
	seen   uint64 // of the open talk, told to the client
	panel  *panel
	input  textarea.Model
	saving bool // drafts are on their way to the disk
	keyed  int  // counts changes of the input, for "has stopped typing"

	// the connection
	online bool
	ready  bool
	since  time.Time // offline since
	why    string

	flash   string
	flashes int
}

func newModel(c *client.Client, b *inbox, with string) (*model, error) {
	m := &model{
		c: c, inbox: b, disk: newDrafts(c), w: 80, h: 24, online: c.Online(), since: time.Now(),
		text: map[string]string{}, typing: map[string]time.Time{}, notices: map[string][]notice{}, input: newInput(),
	}
	for _, ch := range c.Chats() {
		m.text[ch.With] = ch.Draft
	}
	m.rows = m.people()
	if with == "" && len(m.rows) > 0 {
		with = m.rows[0].jid
	}
	m.resize()
	return m, m.enter(with)
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd {
	return tea.Batch(m.inbox.wait, everyMinute())
}

// minute comes now and then, for "45 min ago" and the change of day.
type minute struct{}

// again has the screen drawn once more: somebody may have stopped typing.
type again struct{}

func everyMinute() tea.Cmd {
	return tea.Tick(20*time.Second, func(time.Time) tea.Msg { return minute{} })
}

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.w, m.h, m.sized = msg.Width, msg.Height, true
		m.resize()
	case tea.ColorProfileMsg:
		m.pen.grey = msg.Profile < colorprofile.ANSI
	case tea.ModeReportMsg:
		if v := msg.Value; msg.Mode == ansi.ModeUnicodeCore && (v == ansi.ModeSet || v == ansi.ModeReset || v == ansi.ModePermanentlySet) {
			m.pen.method = ansi.GraphemeWidth // the renderer does the same
		}
	case tea.FocusMsg:
		m.blurred = false
	case tea.BlurMsg:
		m.blurred = true
	case happened:
		cmd = tea.Batch(m.inbox.wait, m.hear(msg))
	case minute:
		cmd = everyMinute()
	case again:
	case outcome:
		cmd = m.ended(msg)
	case tea.KeyPressMsg:
		cmd = m.key(msg)
	case tea.PasteMsg:
		cmd = m.type_(tea.PasteMsg{Content: safeText(msg.Content)})
	default:
		cmd = m.type_(msg)
	}
	if m.talk != nil {
		m.talk.shape(m.pen, m.talkWide(), time.Now())
		m.talk.lead(m.talkHigh())
		m.talk.still = m.talk.still && !(m.sized && m.talk.follow)
	}
	return m, tea.Batch(cmd, m.look())
}

// hear takes what has happened at the client.
func (m *model) hear(all happened) tea.Cmd {
	var asks, say string
	var err error
	var later tea.Cmd
	for _, e := range all {
		switch e.Kind {
		case client.Online:
			m.online, m.why = true, ""
		case client.Ready:
			m.ready = true
		case client.Offline:
			if m.online {
				m.since = e.At
			}
			m.online, m.why = false, safeLine(e.Why)
			clear(m.typing)
		case client.Typing:
			m.typing[e.Chat] = e.At
			later = tea.Tick(typingFor, func(time.Time) tea.Msg { return again{} })
			if e.Why != "" {
				delete(m.typing, e.Chat)
			}
		case client.Incoming, client.Outgoing, client.Changed:
			if e.Kind == client.Incoming {
				delete(m.typing, e.Chat)
			}
			if m.talk != nil && e.Chat == m.open && e.Message != nil && err == nil {
				err = m.talk.take(*e.Message)
				if e.Kind == client.Incoming && !m.watched() && m.talk.fresh <= m.seen {
					m.talk.mark(e.Message.Seq)
				}
			}
		case client.Asked:
			asks = e.Chat
		case client.NewDevice, client.Unreadable:
			m.notice(e)
		}
	}
	m.refresh()
	if m.open == "" && len(m.rows) > 0 && err == nil {
		err = m.enter(m.rows[0].jid)
	}
	if asks != "" && asks != m.open {
		say = m.nameIn(asks) + " asks to be your contact: Tab opens"
	}
	return tea.Batch(later, m.say(say, err))
}

// refresh looks again at who is there, and what they are called.
func (m *model) refresh() {
	m.rows = m.people()
	if m.talk == nil {
		return
	}
	if name := m.nameIn(m.open); name != m.talk.peer {
		m.talk.peer = name
		clear(m.talk.blocks)
	}
	m.input.Placeholder = "Write to " + m.talk.peer
	if m.talk.trust == strangerWord {
		m.talk.trust = m.trustOf(m.open)
	}
}

const strangerWord = "no keys yet"

// notice keeps what is not a message, for the talk that it belongs to.
func (m *model) notice(e client.Event) {
	chat, n := e.Chat, notice{at: e.At}
	switch {
	case e.Kind == client.Unreadable:
		n.alarm = true
		n.text = "A message could not be read (" + e.Why + "). It is asked for again."
	case e.Chat == m.c.Self():
		chat, n.alarm = m.open, true
		n.text = fmt.Sprintf("Your account has another device, %d. If it is not yours, change your password.", e.Device)
	default:
		n.text = fmt.Sprintf("%s has another device, %d. /verify compares its key.", m.nameIn(e.Chat), e.Device)
	}
	for _, ch := range m.c.Chats() {
		if ch.With == chat {
			n.after = ch.Last
		}
	}
	m.notices[chat] = append(m.notices[chat], n)
	if m.talk != nil && chat == m.open {
		m.talk.note(n)
		m.talk.trust = m.trustOf(m.open)
	}
}

// watched says that the person has the talk before their eyes.
func (m *model) watched() bool { return m.sized && !m.blurred && m.panel == nil && m.talkShown() }

// look follows what the screen shows: what is in view has been seen.
func (m *model) look() tea.Cmd {
	if m.talk == nil || !m.watched() {
		return nil
	}
	for i := range m.rows {
		if r := &m.rows[i]; r.jid != m.open || r.chat.Unread == 0 {
			continue
		}
		upTo := m.talk.shown()
		if upTo <= m.seen {
			return nil
		}
		if err := m.c.SeenUpTo(m.open, upTo); err != nil {
			return m.say("", err)
		}
		m.seen = upTo
		m.refresh()
		return nil
	}
	return nil
}

// enter opens a talk; what was typed in the one before is kept.
func (m *model) enter(jid string) error {
	if jid == "" || jid == m.open {
		return nil
	}
	m.stopTyping()
	unread := 0
	for _, r := range m.rows {
		if r.jid == jid {
			unread = r.chat.Unread
		}
	}
	t, err := openTalk(m.c, jid, unread)
	if err != nil {
		return err
	}
	m.open, m.talk, m.panel, m.seen = jid, t, nil, 0
	t.trust, t.notices = m.trustOf(jid), slices.Clone(m.notices[jid])
	m.refresh()
	m.input.SetValue(m.text[jid])
	m.resize()
	return nil
}

func (m *model) nameIn(jid string) string {
	for _, r := range m.rows {
		if r.jid == jid {
			return r.name
		}
	}
	return nameOf(jid, m.c.Self())
}

// outcome is how something ended that the screen did not wait for.
type outcome struct {
	say   string
	err   error
	panel *panel
	flash int // which flash has had its time
	key   int // which key was the last one for a while
	saved bool
}

func (m *model) ended(o outcome) tea.Cmd {
	switch {
	case o.flash != 0:
		if o.flash == m.flashes {
			m.flash = ""
		}
		return nil
	case o.key != 0:
		if o.key == m.keyed {
			m.stopTyping()
		}
		return nil
	case o.saved:
		m.saving = false
		return tea.Batch(m.save(), m.say("", o.err))
	case o.panel != nil && o.panel.chat == m.open:
		m.panel = o.panel
	}
	if m.talk != nil {
		m.talk.trust = m.trustOf(m.open)
	}
	m.refresh()
	return m.say(o.say, o.err)
}

// say shows a line for a while.
func (m *model) say(text string, err error) tea.Cmd {
	if err != nil {
		text = safeLine(err.Error())
	}
	if text == "" {
		return nil
	}
	m.flash = text
	m.flashes++
	n := m.flashes
	return tea.Tick(8*time.Second, func(time.Time) tea.Msg { return outcome{flash: n} })
}

// leave is the end: others see that we do not type any more, drafts are kept.
func (m *model) leave() error {
	m.stopTyping()
	return m.disk.flush()
}

// trustOf is what we know of the keys of somebody's devices, in a word.
func (m *model) trustOf(jid string) string {
	on, err := m.c.Listed(jid)
	if err != nil {
		return safeLine(err.Error())
	}
	all, err := m.c.Devices(jid)
	if err != nil {
		return safeLine(err.Error())
	}
	n, verified := 0, 0
	for _, d := range all {
		switch {
		case !on[d.Device] || d.Trust.String() == "distrusted":
			continue
		case d.Changed():
			return "⚠ a key has changed: /verify"
		case d.Trust.String() == "undecided":
			return "⚠ another device: /verify"
		case d.Trust.String() == "verified":
			verified++
		}
		n++
	}
	switch {
	case n == 0:
		return strangerWord
	case n == verified:
		return "✔ verified"
	}
	return "encrypted, not compared: /verify"
}
