// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"errors"
	"strconv"
	"time"

	"sotto/xmpp"
)

// away are those of whom we may know when they were last here, and are not.
func (c *Client) away() (all []string) {
	for _, p := range c.Contacts() {
		if (p.Sub == "both" || p.Sub == "to") && !p.Online {
			all = append(all, p.JID)
		}
	}
	return all
}

// lastSeen asks when somebody was last here (XEP-0012 §4).
func (c *Client) lastSeen(ctx context.Context, s *session, jid string) error {
	el, err := s.ask(ctx, "get", jid, xmpp.El(xmpp.NSLast, "query"))
	if errors.Is(err, errGone) {
		return err
	}
	if err != nil {
		return nil // not for us
	}
	n, err := strconv.ParseInt(el.Child(xmpp.NSLast, "query").Get("seconds"), 10, 40)
	if err == nil && n >= 0 {
		c.person(jid, func(p *Contact) { p.Seen = time.Now().Add(-time.Duration(n) * time.Second).Truncate(time.Second) })
	}
	return nil
}

// Refresh waits for the mail and the presence that the server has for us now,
// and asks when those who are away were last seen.
func (c *Client) Refresh(ctx context.Context) error {
	s, err := c.up()
	if err != nil {
		return err
	}
	if err := c.drain(ctx, s); err != nil {
		return err
	}
	for _, jid := range c.away() {
		if err := c.lastSeen(ctx, s, jid); err != nil {
			return err
		}
	}
	return nil
}

// drain returns when the server has nothing more for us at the moment. An
// answer may overtake mail, so it takes one that comes alone.
func (c *Client) drain(ctx context.Context, s *session) error {
	if err := c.barrier(ctx, s); err != nil {
		return err
	}
	for {
		before := s.told()
		if err := c.barrier(ctx, s); err != nil {
			return err
		}
		if s.told() == before {
			return nil
		}
	}
}

// questions are those that can wait: they are asked one at a time, when there
// is nothing else to do.
type questions struct {
	begun bool
	to    []string
}

// next asks one; false when there is none.
func (q *questions) next(ctx context.Context, c *Client, s *session) bool {
	if !q.begun && c.present() {
		if c.drain(ctx, s) != nil {
			return false
		}
		q.begun, q.to = true, c.away()
	}
	if len(q.to) == 0 {
		return false
	}
	jid := q.to[0]
	q.to = q.to[1:]
	return c.lastSeen(ctx, s, jid) == nil
}
