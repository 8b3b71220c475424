// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"sotto/crypto/safety"
	"sotto/internal/client"
)

// A printer shows answers: aligned text for people, or a line of JSON for each.
// What it was given is written when it returns.
type printer struct {
	out, notes io.Writer // notes: what is not the answer, as "not connected"
	json       bool
	me         *profile
	verb       string
	up         bool                    // connected, as was said last
	last       map[string]client.State // of each message of ours, so that no hop is shown twice
	here       map[string]string       // of each contact, what was shown last
	now        func() time.Time
}

func newPrinter(out, notes io.Writer, me *profile, asJSON bool, verb string) *printer {
	return &printer{out: out, notes: notes, me: me, json: asJSON, verb: verb, last: map[string]client.State{}, here: map[string]string{}, now: time.Now}
}

func (p *printer) show(a answer) error {
	if a.Event != nil && p.known(a.Event) {
		return nil
	}
	if p.json {
		return p.line(a)
	}
	var text string
	switch {
	case a.Event != nil && p.verb == "send":
		text = p.hop(a.Event)
	case a.Event != nil:
		text = p.happened(a.Event)
	case a.Message != nil:
		text = p.message(a.Message)
	case a.Contact != nil:
		text = p.contact(a.Contact)
	case a.Device != nil && (p.verb == "login" || p.verb == "register"):
		text = p.welcome(a.Device)
	case a.Device != nil:
		text = p.device(a.Device)
	case a.Safety != nil:
		text = safetyText(a.Safety)
	case a.Done != nil && a.Done.Did == "queued":
		_, err := fmt.Fprintln(p.notes, "sotto:", a.Done.Say)
		return err
	case a.Done != nil:
		text = fmt.Sprintf("%s %s: %s", a.Done.Did, a.Done.Who, a.Done.Say)
	}
	if text == "" {
		return nil
	}
	_, err := fmt.Fprintln(p.out, text)
	return err
}

// known says whether a hop was shown, as when a request moved to another process.
func (p *printer) known(e *client.Event) bool {
	if e.Kind != client.Changed || p.verb != "send" {
		return false
	}
	old, has := p.last[e.Message.ID]
	p.last[e.Message.ID] = e.Message.State
	return has && old == e.Message.State
}

func (p *printer) line(a answer) error {
	var v any
	switch {
	case a.Event != nil:
		v = a.Event
	case a.Message != nil:
		v = a.Message
	case a.Contact != nil:
		v = a.Contact
	case a.Device != nil:
		v = a.Device
	case a.Safety != nil:
		v = a.Safety
	case a.Done != nil:
		v = a.Done
	}
	b, err := json.Marshal(v)
	if err == nil {
		_, err = p.out.Write(append(b, '\n'))
	}
	return err
}

// hop is one state of the message that send follows.
func (p *printer) hop(e *client.Event) string {
	if e.Kind == client.Offline {
		fmt.Fprintln(p.notes, "sotto: not connected, trying again:", e.Why)
		return ""
	}
	m := e.Message
	text := map[client.State]string{
		client.Queued: "kept here, for " + m.Chat, client.Sent: "the server has it",
		client.Delivered: "a device of " + m.Chat + " has it", client.Read: m.Chat + " has seen it", client.Failed: m.Why,
	}[m.State]
	if m.State != client.Failed && m.Why != "" {
		text += "; " + m.Why
	}
	return fmt.Sprintf("%s  %-9s  %s", e.At.Local().Format("15:04:05.000"), m.State, text)
}

// interrupted says how far a message has come when nobody waits any more.
func (p *printer) interrupted(id string) error {
	state, has := p.last[id]
	switch {
	case !has:
		return &failure{Code: exitUser, What: "interrupted; the message was not kept"}
	case state == client.Queued:
		return &failure{Code: exitUser, What: "interrupted; the message is queued and goes out with the next command"}
	}
	return &failure{Code: exitUser, What: "interrupted; the message is " + state.String()}
}

// happened is one event as listen shows it; empty for what people need not see.
func (p *printer) happened(e *client.Event) string {
	at := p.clock(e.At)
	switch e.Kind {
	case client.Incoming:
		return at + "  " + e.Chat + ": " + printable(e.Message.Body) + trustNote(e.Message)
	case client.Outgoing:
		return at + "  you to " + e.Chat + ": " + printable(e.Message.Body)
	case client.Changed:
		text := fmt.Sprintf("%s  your message to %s is %s", at, e.Chat, e.Message.State)
		if e.Message.State == client.Failed {
			text += ": " + e.Why
		}
		return text
	case client.Presence:
		return p.presence(at, e)
	case client.Asked:
		return at + "  " + e.Chat + " asks to be your contact: " + p.me.as + " add " + e.Chat
	case client.Unreadable:
		return at + "  a message from " + e.Chat + " could not be read: " + e.Why
	case client.NewDevice:
		return fmt.Sprintf("%s  %s has another device, %d: %s verify %s", at, e.Chat, e.Device, p.me.as, e.Chat)
	case client.Offline:
		p.up = false
		fmt.Fprintln(p.notes, "sotto: not connected, trying again:", e.Why)
	case client.Online, client.Ready:
		if !p.up {
			fmt.Fprintln(p.notes, "sotto: connected; Ctrl-C ends")
		}
		p.up = true
	}
	return ""
}

// clock is a time of today; what came on another day says which.
func (p *printer) clock(t time.Time) string {
	t = t.Local()
	if t.Format(time.DateOnly) != p.now().Local().Format(time.DateOnly) {
		return t.Format(time.DateTime)
	}
	return t.Format(time.TimeOnly)
}

func (p *printer) presence(at string, e *client.Event) string {
	if e.Contact == nil {
		return ""
	}
	now := "offline"
	if e.Contact.Online {
		now = showText(e.Contact.Show)
	}
	old, has := p.here[e.Chat]
	p.here[e.Chat] = now
	if old == now || !has && now == "offline" {
		return ""
	}
	return at + "  " + e.Chat + " is " + now
}

// showText is what a contact says of being here (RFC 6121 §4.7.2.1).
func showText(show string) string {
	switch show {
	case "away":
		return "away"
	case "xa":
		return "away for long"
	case "dnd":
		return "busy"
	}
	return "online"
}

// trustNote warns when a message did not come from a key that is trusted.
func trustNote(m *client.Message) string {
	if m.Trust == "first-use" || m.Trust == "verified" {
		return ""
	}
	return "  [" + m.Trust + "]"
}

// message is one line of a history.
func (p *printer) message(m *client.Message) string {
	when := client.Ago(m.At, p.now())
	if !m.Out {
		return fmt.Sprintf("%-18s  %s: %s%s", when, m.Chat, printable(m.Body), trustNote(m))
	}
	state := m.State.String()
	if m.State == client.Failed {
		state += ", " + m.Why
	}
	return fmt.Sprintf("%-18s  you: %s  (%s)", when, printable(m.Body), state)
}

func (p *printer) contact(c *contact) string {
	here := "offline"
	switch {
	case c.Online:
		here = showText(c.Show)
	case c.Wants:
		here = "asks to be your contact: " + p.me.as + " add " + c.JID
	case c.Ask:
		here = "asked, no answer yet"
	case c.Sub == "none" || c.Sub == "from":
		here = "not a contact"
	case !c.Seen.IsZero():
		here = "last seen " + client.Ago(c.Seen, p.now())
	}
	name := c.JID
	if c.Name != "" {
		name = c.Name + " <" + c.JID + ">"
	}
	if c.Unread > 0 {
		here = fmt.Sprintf("%d unread, %s", c.Unread, here)
	}
	return fmt.Sprintf("%-30s  %s", printable(name), here)
}

// welcome is what login says at the end.
func (p *printer) welcome(d *device) string {
	other := "bob"
	if p.me.who.Local == other {
		other = "alice"
	}
	return fmt.Sprintf(`logged in as %s; this is device %d, %q
its fingerprint   %s

Next:
    %s chat %s
    %s send %s hello`, d.User, d.Device, d.Name, d.Fingerprint, p.me.as, other, p.me.as, other)
}

func (p *printer) device(d *device) string {
	trust := d.Trust
	if trust == "this" {
		trust = "this device"
	}
	if !d.Listed {
		trust += ", not on the list any more"
	}
	text := fmt.Sprintf("%-10d  %s  %s", d.Device, d.Fingerprint, trust)
	if d.Changed != "" {
		text += fmt.Sprintf("\n%-10s  %s  ANOTHER KEY claims this number; compare: %s verify %s", "", d.Changed, p.me.as, d.User)
	}
	return text
}

func safetyText(s *safetyNumber) string {
	word := "not verified"
	if s.Verified {
		word = "verified"
	}
	return fmt.Sprintf("Your safety number with %s (%s):\n\n%s", s.User, word, indent(safety.Lines(s.Number)))
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ") + "\n"
}

// printable keeps what somebody else wrote from steering our terminal.
func printable(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\n          ") // no line of theirs looks like one of ours
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r < 0x20 || r >= 0x7f && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '�' // controls and changes of direction
		}
		return r
	}, s)
}

func sortByTime(all []client.Message) {
	slices.SortStableFunc(all, func(x, y client.Message) int { return x.At.Compare(y.At) })
}

func byName(x, y client.Contact) int {
	return strings.Compare(strings.ToLower(nameOf(x)), strings.ToLower(nameOf(y)))
}

func nameOf(c client.Contact) string {
	if c.Name != "" {
		return c.Name
	}
	return c.JID
}
