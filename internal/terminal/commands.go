// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"sotto/crypto/safety"
	"sotto/internal/client"
	"sotto/xmpp"
)

// patience is how long the server may take to answer what a command asks.
const patience = 15 * time.Second

// panel covers the talk: help, devices, or a number to compare.
type panel struct {
	title  string
	lines  []string
	chat   string
	number string // a question: was this number the same on both sides?
	from   int    // the first line on the screen
}

// command does what a line that begins with a slash asks for.
func (m *model) command(text string) tea.Cmd {
	f := strings.Fields(text)
	switch f[0] {
	case "/help", "/?":
		m.panel = &panel{title: "help", lines: helpLines, chat: m.open}
	case "/quit", "/q":
		return tea.Quit
	case "/add":
		return m.add(f[1:])
	case "/verify":
		return m.ask((*model).compare)
	case "/devices":
		return m.ask((*model).devices)
	default:
		return m.say(f[0]+" is not known: /help shows all; // begins a message with a slash", nil)
	}
	return nil
}

// address reads what people type: bob, or bob@example.org.
func (m *model) address(text string) (string, error) {
	if !strings.Contains(text, "@") {
		_, home, _ := strings.Cut(m.c.Self(), "@")
		text += "@" + home
	}
	j, err := xmpp.ParseJID(text)
	if err != nil || j.Local == "" {
		return "", fmt.Errorf("%s is no address: it looks like bob, or bob@example.org", text)
	}
	return j.Bare().String(), nil
}

// add asks somebody to be a contact, or accepts who asks.
func (m *model) add(words []string) tea.Cmd {
	jid, name := m.open, ""
	if len(words) > 0 {
		var err error
		if jid, err = m.address(words[0]); err != nil {
			return m.say("", err)
		}
		name = strings.Join(words[1:], " ")
	}
	if jid == "" || jid == m.c.Self() {
		return m.say("whom? /add bob", nil)
	}
	if err := m.enter(jid); err != nil {
		return m.say("", err)
	}
	return m.later("adding "+nameOf(jid, m.c.Self())+"…", func(ctx context.Context) outcome {
		return outcome{say: nameOf(jid, m.c.Self()) + " is asked, and may see when you are here", err: m.c.Add(ctx, jid, name)}
	})
}

// answer says yes or no to the open person, who asks to be a contact.
func (m *model) answer(yes bool) tea.Cmd {
	if !m.asks() {
		return nil
	}
	jid, name := m.open, m.nameIn(m.open)
	return m.later("", func(ctx context.Context) outcome {
		if yes {
			return outcome{say: name + " is your contact", err: m.c.Add(ctx, jid, "")}
		}
		return outcome{say: name + " was told no", err: m.c.Remove(ctx, jid)}
	})
}

// later does what needs the server while the screen goes on.
func (m *model) later(say string, do func(context.Context) outcome) tea.Cmd {
	return tea.Batch(m.say(say, nil), func() tea.Msg {
		ctx, stop := context.WithTimeout(context.Background(), patience)
		defer stop()
		o := do(ctx)
		if o.err != nil {
			o.say = ""
		}
		return o
	})
}

// ask gets the open person's keys as they are now and makes a panel of them.
// Without a connection it shows what is known.
func (m *model) ask(show func(*model, string, string) (*panel, error)) tea.Cmd {
	if m.open == "" {
		return m.say("nobody is chosen", nil)
	}
	jid, name := m.open, m.nameIn(m.open)
	return m.later("", func(ctx context.Context) outcome {
		bad := m.c.Meet(ctx, jid)
		p, err := show(m, jid, name)
		if errors.Is(err, client.ErrStranger) {
			err = fmt.Errorf("%s has no device that reads encrypted messages", name)
			if bad != nil {
				err = fmt.Errorf("no keys of %s are known yet, and there is no connection", name)
			}
		}
		return outcome{panel: p, err: err}
	})
}

// compare makes the panel of the safety number. It runs beside the screen.
func (m *model) compare(jid, name string) (*panel, error) {
	n, err := m.c.SafetyNumber(jid)
	if err != nil {
		return nil, err
	}
	p := &panel{title: "safety number with " + name, chat: jid, number: n, lines: []string{"", ""}}
	for line := range strings.Lines(safety.Lines(n)) {
		p.lines = append(p.lines, "    "+strings.TrimSpace(line))
	}
	p.lines = append(p.lines, "", "Read it to each other, over a phone or face to face.",
		"If "+name+" sees the same digits, nobody sits in between.", "",
		"Are they the same?   y  yes, mark as verified     n  no")
	p.lines = p.lines[1:]
	return p, nil
}

// devices makes the panel of both people's devices. It runs beside the screen.
func (m *model) devices(jid, name string) (*panel, error) {
	p := &panel{title: "devices", chat: jid}
	for _, who := range []string{jid, m.c.Self()} {
		on, err := m.c.Listed(who)
		if err != nil {
			return nil, err
		}
		all, err := m.c.Devices(who)
		if err != nil {
			return nil, err
		}
		title := name
		if who == m.c.Self() {
			title = "you"
			p.lines = append(p.lines, "")
		}
		p.lines = append(p.lines, title)
		if who == m.c.Self() {
			p.lines = append(p.lines, fmt.Sprintf("  %d  this device", m.c.Device()))
			p.lines = append(p.lines, keyLines(m.c.Fingerprint())...)
		}
		for _, d := range all {
			word := map[string]string{"first-use": "not compared", "undecided": "waits for /verify", "distrusted": "not trusted"}[d.Trust.String()]
			if word == "" {
				word = d.Trust.String()
			}
			if !on[d.Device] {
				word += ", no longer used"
			}
			p.lines = append(p.lines, fmt.Sprintf("  %d  %s, since %s", d.Device, word, d.Since.Local().Format("2 January 2006")))
			p.lines = append(p.lines, keyLines(safety.Fingerprint(d.Curve))...)
			if d.Changed() {
				p.lines = append(p.lines, "    ⚠ it now shows another key:")
				p.lines = append(p.lines, keyLines(safety.Fingerprint(d.Offered))...)
			}
		}
	}
	return p, nil
}

// keyLines is a fingerprint in two lines.
func keyLines(key string) []string {
	half := min(len(key), len("01234567 ")*4)
	return []string{"    " + strings.TrimSpace(key[:half]), "    " + key[half:]}
}

// panelKey deals with a key while a panel is open.
func (m *model) panelKey(name string) tea.Cmd {
	p := m.panel
	switch name {
	case "pgup", "up":
		p.from = max(0, p.from-1)
		return nil
	case "pgdown", "down":
		p.from++
		return nil
	case "y", "Y":
		if p.number != "" {
			m.panel = nil
			name := m.nameIn(p.chat)
			return m.later("", func(context.Context) outcome {
				return outcome{say: name + " is verified", err: m.c.Verify(p.chat, p.number)}
			})
		}
		return nil
	case "n", "N":
		if p.number != "" {
			m.panel = nil
			return m.say("not verified; if the digits differ, somebody may sit in between", nil)
		}
		return nil
	case "esc", "enter", "q":
		m.panel = nil
	}
	return nil
}

var helpLines = []string{
	"Tab, Ctrl-N         next talk; Shift-Tab, Ctrl-P back",
	"↑ ↓                 the same while nothing is typed",
	"PgUp PgDn           older and newer messages; End: newest",
	"Enter               send",
	"Ctrl-J, Alt-Enter   new line",
	"Ctrl-Y, Ctrl-X      say yes or no to who asks",
	"Esc, Ctrl-C         leave; what is typed stays",
	"",
	"/add bob Bob B.     ask to be contacts, with a name",
	"/verify             compare safety numbers",
	"/devices            keys of both",
	"/quit               leave",
	"",
	" ○ queued here       ✓ the server has it",
	"✓✓ delivered; bold: read       ✗ not sent",
}
