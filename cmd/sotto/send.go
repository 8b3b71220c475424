// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/xmpp"
)

// send queues a message and follows it as far as the request wants.
func (d *desk) send(ctx context.Context, r *request, say func(answer) error) error {
	to, err := xmpp.ParseJID(r.Who)
	if err != nil {
		return err
	}
	f := d.listen()
	defer f.close()
	m, err := d.client.SendOnce(to, r.ID, r.Text)
	if err != nil {
		return err
	}
	told := ""
	for e := (client.Event{Kind: client.Changed, At: m.At, Chat: m.Chat, Message: m}); ; {
		switch {
		case e.Kind == client.Changed && e.Message.ID == m.ID:
			m = e.Message
			if err := say(answer{Event: &e}); err != nil {
				return err
			}
			if m.State == client.Failed {
				return &failure{Code: exitUser, What: "not sent: " + m.Why}
			}
			if m.State >= r.Wait {
				return nil
			}
		case e.Kind == client.Offline && e.Why != told:
			told = e.Why
			if err := say(answer{Event: &e}); err != nil {
				return err
			}
		}
		if e, err = f.next(ctx); err != nil {
			return d.notYet(ctx, m, err)
		}
	}
}

// notYet says honestly how far the message has come when the time is up.
func (d *desk) notYet(ctx context.Context, m *client.Message, err error) error {
	if !errors.Is(err, context.DeadlineExceeded) {
		var f *failure
		if errors.As(err, &f) {
			f.What = fmt.Sprintf("the message is %s; %s", m.State, f.What)
		}
		return err
	}
	if m.State == client.Queued {
		return &failure{Code: exitNetwork, What: "still queued: " + d.reason(), Hint: "it is kept, and goes out with the next command; " + d.p.as + " listen   keeps trying"}
	}
	return &failure{Code: exitNetwork, What: fmt.Sprintf("%s, and no more in this time", m.State), Hint: d.p.as + " history " + m.Chat + "   shows how far it has come"}
}

func queuedText(n int) string {
	if n == 1 {
		return "1 message stays queued; it goes out with the next command"
	}
	return fmt.Sprintf("%d messages stay queued; they go out with the next command", n)
}

const shownKind = "sotto shown" // name: chat; up to where listen has printed

// follow prints what was not printed yet, then what comes.
func (d *desk) follow(ctx context.Context, r *request, say func(answer) error) error {
	f := d.listen()
	defer f.close()
	n := 0
	show := func(e client.Event) (enough bool, err error) {
		m := e.Message
		if e.Kind != client.Incoming {
			return false, say(answer{Event: &e})
		}
		shown, err := d.shown(m.Chat)
		if err != nil || m.Seq <= shown {
			return false, err
		}
		if err := say(answer{Event: &e}); err != nil {
			return false, err
		}
		v := binary.BigEndian.AppendUint64(nil, m.Seq)
		err = d.vault.Commit(vault.Change{Kind: shownKind, Name: m.Chat, Value: v})
		if err == nil && r.Seen {
			err = d.client.SeenUpTo(m.Chat, m.Seq)
		}
		n++
		return n == r.Count, err
	}
	old, err := d.unprinted()
	for _, m := range old {
		if enough, err := show(client.Event{Kind: client.Incoming, At: m.At, Chat: m.Chat, Message: &m}); enough || err != nil {
			return err
		}
	}
	for err == nil {
		var e client.Event
		var enough bool
		if e, err = f.next(ctx); err == nil {
			enough, err = show(e)
		}
		if enough {
			return err
		}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		if r.Count == 0 {
			return nil
		}
		return &failure{Code: exitNetwork, What: fmt.Sprintf("%d of %d messages came in this time", n, r.Count)}
	}
	return err
}

func (d *desk) shown(chat string) (uint64, error) {
	v, err := d.vault.Get(shownKind, chat)
	if err != nil || len(v) != 8 {
		return 0, err
	}
	return binary.BigEndian.Uint64(v), nil
}

// unprinted are messages that came while another command ran, oldest first.
func (d *desk) unprinted() (old []client.Message, err error) {
	for _, c := range d.client.Chats() {
		shown, err := d.shown(c.With)
		if err != nil {
			return nil, err
		}
		if c.Unread == 0 || c.Last <= shown {
			continue
		}
		all, err := d.client.History(c.With, int(c.Last-shown))
		if err != nil {
			return nil, err
		}
		for _, m := range all {
			if !m.Out && !m.Seen {
				old = append(old, m)
			}
		}
	}
	sortByTime(old)
	return old, nil
}

// history gives the newest messages of a talk; without a connection, those that are here.
func (d *desk) history(ctx context.Context, r *request, say func(answer) error) error {
	bad := d.connected(ctx)
	if bad == nil {
		bad = d.client.Refresh(ctx)
	}
	if errors.Is(bad, context.Canceled) || errors.Is(bad, errMoved) {
		return bad
	}
	all, err := d.client.History(r.Who, r.Count)
	for _, m := range all {
		if err == nil {
			err = say(answer{Message: &m})
		}
	}
	if err == nil && bad != nil {
		err = say(answer{Event: &client.Event{Kind: client.Offline, At: time.Now(), Why: bad.Error()}})
	}
	return err
}

// within is the deadline of a request; 0 means none.
func within(d time.Duration) time.Time {
	if d == 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}
