// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	"sotto/xmpp"
)

// nsRetry is our own word: "I could not read these, send them once more". It
// counts only inside a message that also opened under a session with the
// sender's device, so that no server can forge it.
const nsRetry = "urn:sotto:retry:0"

const (
	freshEvery = time.Minute // how often one device may be given a new session
	maxAgain   = 100         // messages that one repair asks for
)

// repair is a chore: an empty message to a device, over a new session when the
// old one is broken. It is the answer to a key exchange, too.
type repair struct {
	Wire  omemo.Wire
	Fresh bool
	IDs   []string
	Last  time.Time // of the last new session
	Idle  bool      // done; kept for Last
}

func repairName(at omemo.Address) string { return at.User + "\n" + number(at.Device) }

// repairOf reads what is noted for a device; idle when nothing is. Callers hold the book.
func (c *Client) repairOf(at omemo.Address) (repair, error) {
	v, err := c.opt.Store.Get(kindRepair, repairName(at))
	if err != nil || v == nil {
		return repair{Idle: true}, err
	}
	var r repair
	return r, json.Unmarshal(v, &r)
}

func (r repair) change(at omemo.Address) vault.Change {
	return vault.Change{Kind: kindRepair, Name: repairName(at), Value: marshal(r)}
}

// todo gives the change that notes a repair, joined with one that waits.
// Callers hold the book until it is committed.
func (c *Client) todo(at omemo.Address, r repair) vault.Change {
	old, err := c.repairOf(at)
	if err == nil {
		r.Last = old.Last
		if !old.Idle {
			r.Fresh = r.Fresh || old.Fresh
			r.IDs = append(old.IDs, r.IDs...)
		}
	}
	r.IDs = r.IDs[max(0, len(r.IDs)-maxAgain):]
	return r.change(at)
}

// mend does the repairs that wait.
func (c *Client) mend(ctx context.Context, s *session) error {
	type job struct {
		at omemo.Address
		r  repair
	}
	var jobs []job
	err := c.opt.Store.Each(kindRepair, func(name string, v []byte) error {
		user, dev, _ := strings.Cut(name, "\n")
		d, err := deviceNumber(dev)
		j := job{at: omemo.Address{User: user, Device: d}}
		err = errors.Join(err, json.Unmarshal(v, &j.r))
		if err == nil && !j.r.Idle {
			jobs = append(jobs, j)
		}
		return err
	})
	for _, j := range jobs {
		if err == nil {
			err = c.mendOne(ctx, s, j.at, j.r)
		}
	}
	return err
}

func (c *Client) mendOne(ctx context.Context, s *session, at omemo.Address, r repair) error {
	var bad error
	if r.Fresh && time.Since(r.Last) > freshEvery {
		r.Last = time.Now()
		bad = c.begin(ctx, s, r.Wire, at)
	} else {
		bad = c.meet(ctx, s, r.Wire, at)
	}
	if errors.Is(bad, errGone) {
		return bad
	}
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	now, err := c.repairOf(at) // more may have come while we asked for keys
	if err != nil {
		return err
	}
	ids := now.IDs
	done := repair{Wire: r.Wire, Last: r.Last, Idle: true}.change(at)
	if bad != nil {
		c.opt.Log.Info("session not repaired", "dev", at.Device, "err", bad)
		return c.opt.Store.Commit(done)
	}
	_, left, err := c.keys.Encrypt(r.Wire, []omemo.Address{at}, nil, func(m *omemo.Message) []vault.Change {
		el := xmpp.El(xmpp.NSClient, "message", "type", "chat", "to", at.User, "id", rand.Text()).Add(encryptedElement(m))
		if len(ids) > 0 {
			again := xmpp.El(nsRetry, "retry")
			for _, id := range ids {
				again.Add(xmpp.El(nsRetry, "message", "id", id))
			}
			el.Add(again)
		}
		el.Add(xmpp.El(xmpp.NSHints, "store"))
		return []vault.Change{done, c.book.post(parcel{Chat: at.User, Stanza: el.Bytes()})}
	})
	if err == nil && len(left) > 0 {
		return c.opt.Store.Commit(done)
	}
	return err
}

// again gives the changes that send messages once more to a device that could
// not read them: each once, and only what was meant for that person.
func (c *Client) again(l *letter, o *omemo.Opened) (changes []vault.Change) {
	if l.out || o.From.User == c.self || o.Trust != omemo.FirstUse && o.Trust != omemo.Verified {
		return nil
	}
	kids := l.el.Child(nsRetry, "retry").Children()
	for _, k := range kids[:min(len(kids), maxAgain)] {
		id := k.Get("id")
		m, err := c.book.find(true, o.From.User, id)
		if err != nil || m == nil {
			continue
		}
		name := id + "\n" + number(o.From.Device)
		if v, err := c.opt.Store.Get(kindRetried, name); err != nil || v != nil {
			continue
		}
		changes = append(changes, vault.Change{Kind: kindRetried, Name: name, Value: []byte{1}},
			c.book.post(parcel{ID: id, Chat: o.From.User, Only: o.From.Device}))
	}
	return changes
}

// chores does what needs questions to the server, one after the other, until
// the socket is gone.
func (c *Client) chores(ctx context.Context, s *session, resumed bool) {
	if !resumed {
		if err := c.enter(ctx, s); err != nil {
			c.opt.Log.Warn("login not complete", "err", err)
			s.drop()
			return
		}
	}
	every := time.NewTicker(time.Hour)
	defer every.Stop()
	later := questions{begun: resumed}
	for {
		err := c.tidy(ctx, s)
		if err != nil && !errors.Is(err, errGone) {
			c.opt.Log.Error("chores", "err", err)
			s.drop() // begin again with a new stream
			return
		}
		if err == nil && later.next(ctx, c, s) {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-c.work:
		case <-every.C:
			if _, err := c.keys.Maintain(time.Now()); err != nil {
				c.opt.Log.Error("keys", "err", err)
			}
		}
	}
}

// tidy looks for all kinds of chores once.
func (c *Client) tidy(ctx context.Context, s *session) error {
	if err := c.listed(ctx, s); err != nil {
		return err
	}
	if err := c.mend(ctx, s); err != nil {
		return err
	}
	return c.ship(ctx, s)
}

// listed follows device lists that have changed, and keeps ours complete.
func (c *Client) listed(ctx context.Context, s *session) error {
	c.mu.Lock()
	var users []string
	for u := range c.stale {
		users = append(users, u)
	}
	c.mu.Unlock()
	for _, u := range users {
		before, err := c.knownLists(u)
		if err != nil {
			return err
		}
		after, err := c.devicesOf(ctx, s, u)
		if err != nil {
			return err
		}
		for _, w := range omemo.Wires {
			for _, d := range after.Of[w] {
				if !before.empty() && d != c.Device() && !before.has(omemo.Old, d) && !before.has(omemo.Two, d) {
					c.emit(Event{Kind: NewDevice, Chat: u, Device: d})
				}
			}
		}
	}
	done, err := c.opt.Store.Get(kindMeta, "published")
	if err != nil {
		return err
	}
	if done == nil || slices.Contains(users, c.self) {
		return c.announce(ctx, s)
	}
	return nil
}
