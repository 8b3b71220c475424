// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"sotto/crypto/omemo"
	"sotto/crypto/safety"
	"sotto/xmpp"
)

// handle deals with one element of the stream. A stanza is counted, and so
// acked, when everything that follows from it is durable (XEP-0198 §4).
func (c *Client) handle(s *session, st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	c.opt.Wire(false, el)
	if st.Kind == xmpp.KindNonza {
		return c.nonza(s, el)
	}
	switch st.Kind {
	case xmpp.KindMessage:
		err = c.message(el)
	case xmpp.KindPresence:
		c.presence(s, el)
	default:
		c.iq(s, el)
	}
	if err != nil {
		c.opt.Log.Error("message not kept", "id", st.ID, "err", err)
		s.drop() // it is not acked, so it comes again
		return err
	}
	s.count(st.Kind)
	return nil
}

func (c *Client) nonza(s *session, el *xmpp.Element) error {
	switch {
	case el.Is(xmpp.NSSM, "r"):
		s.owe()
	case el.Is(xmpp.NSSM, "a"):
		h, err := strconv.ParseUint(el.Get("h"), 10, 32)
		if err != nil {
			return &xmpp.StreamError{Cond: xmpp.StreamUndefined}
		}
		s.mu.Lock()
		err = s.take(uint32(h))
		s.mu.Unlock()
		if err != nil {
			return err
		}
		return c.settle(s)
	}
	return nil
}

// iq answers what a client is asked and takes answers to our own questions.
func (c *Client) iq(s *session, el *xmpp.Element) {
	typ := el.Get("type")
	if typ == "result" || typ == "error" {
		s.answer(el, c.self)
		return
	}
	reply := xmpp.El(xmpp.NSClient, "iq", "type", "result", "id", el.Get("id"))
	if from := el.Get("from"); from != "" {
		reply.Set("to", from)
	}
	var what *xmpp.Element
	if kids := el.Children(); len(kids) > 0 {
		what = kids[0]
	}
	switch {
	case typ == "set" && what.Is(xmpp.NSRoster, "query") && bare(el.Get("from"), c.self) == c.self:
		if err := c.roster(what, false); err != nil {
			c.opt.Log.Error("roster", "err", err)
		}
	case typ == "get" && what.Is(xmpp.NSPing, "ping"):
	case typ == "get" && what.Is(xmpp.NSDiscoInfo, "query"):
		info := discoElement()
		if n := what.Get("node"); n != "" {
			info.Set("node", n)
		}
		reply.Add(info)
	case typ == "get" && what.Is(xmpp.NSVersion, "query"):
		reply.Add(xmpp.El(xmpp.NSVersion, "query").Add(xmpp.El(xmpp.NSVersion, "name").WithText("sotto")))
	default:
		reply.Set("type", "error").Add(xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable).Element())
	}
	s.send(reply)
}

// features are what we understand; +notify asks for events (XEP-0163 §4.3.2).
var features = []string{
	xmpp.NSChatStates, xmpp.NSDiscoInfo, xmpp.NSOmemoAxolotl + ".devicelist+notify", "jabber:iq:version",
	xmpp.NSMarkers, xmpp.NSOmemo2 + ":devices+notify", xmpp.NSPing, xmpp.NSReceipts, nsRetry,
}

const node = "urn:sotto:client"

func discoElement() *xmpp.Element {
	q := xmpp.El(xmpp.NSDiscoInfo, "query").Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "client", "type", "console", "name", "sotto"))
	for _, f := range features {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f))
	}
	return q
}

// capsElement names our features by their hash (XEP-0115 §5.1).
func capsElement() *xmpp.Element {
	text := "client/console//sotto<"
	for _, f := range slices.Sorted(slices.Values(features)) {
		text += f + "<"
	}
	sum := sha1.Sum([]byte(text))
	return xmpp.El(xmpp.NSCaps, "c", "hash", "sha-1", "node", node, "ver", base64.StdEncoding.EncodeToString(sum[:]))
}

// drop cuts the socket; Run comes back with a new one.
func (s *session) drop() {
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Drop()
	}
}

// Devices are all devices of an account that we have met; our own one is not
// among ours.
func (c *Client) Devices(user string) ([]omemo.Device, error) { return c.keys.Devices(user) }

// Listed says which of an account's devices are on its list now.
func (c *Client) Listed(user string) (map[uint32]bool, error) {
	l, err := c.knownLists(user)
	on := map[uint32]bool{}
	for _, w := range omemo.Wires {
		for _, d := range l.Of[w] {
			on[d] = true
		}
	}
	return on, err
}

// Fingerprint is our own key as other clients show it.
func (c *Client) Fingerprint() string { return safety.Fingerprint(c.keys.Identity().Curve) }

// ErrStranger says that we have no keys of somebody yet.
var ErrStranger = errors.New("no keys are known yet")

// SafetyNumber is what both people compare: the keys of all listed devices of both.
func (c *Client) SafetyNumber(user string) (string, error) {
	mine, err := c.side(c.self)
	if err != nil {
		return "", err
	}
	mine.Keys = append(mine.Keys, c.keys.Identity().Curve)
	other, err := c.side(user)
	if err != nil {
		return "", err
	}
	if len(other.Keys) == 0 {
		return "", fmt.Errorf("%s: %w", user, ErrStranger)
	}
	return safety.Number(mine, other), nil
}

func (c *Client) side(user string) (safety.Side, error) {
	on, err := c.Listed(user)
	if err != nil {
		return safety.Side{}, err
	}
	all, err := c.keys.Devices(user)
	side := safety.Side{ID: user}
	for _, d := range all {
		switch {
		case !on[d.Device] || d.Trust == omemo.Distrusted:
		case d.Changed(): // what is compared is what would be trusted
			side.Keys = append(side.Keys, d.Offered)
		default:
			side.Keys = append(side.Keys, d.Curve)
		}
	}
	return side, err
}

// ErrNumber says that a safety number is not the one that was compared.
var ErrNumber = errors.New("the safety number has changed meanwhile")

// Verify trusts the devices that a safety number stands for, and no other: a
// device that came after the number was compared does not slip in.
func (c *Client) Verify(user, number string) error {
	side, err := c.side(user)
	if err != nil {
		return err
	}
	now, err := c.SafetyNumber(user)
	if err != nil {
		return err
	}
	if now != number {
		return ErrNumber
	}
	all, err := c.keys.Devices(user)
	for _, d := range all {
		key := d.Curve
		if d.Changed() {
			key = d.Offered
		}
		if err == nil && slices.Contains(side.Keys, [32]byte(key)) {
			err = c.keys.SetTrust(omemo.Address{User: user, Device: d.Device}, omemo.Verified)
		}
	}
	return err
}

// Trust decides about one device; a changed key is accepted with it.
func (c *Client) Trust(user string, device uint32, t omemo.Trust) error {
	return c.keys.SetTrust(omemo.Address{User: user, Device: device}, t)
}

// Meet fetches the devices and keys of an account and of our own, so that they
// can be compared before the first message.
func (c *Client) Meet(ctx context.Context, user string) error {
	s, err := c.up()
	if err != nil {
		return err
	}
	_, err = c.aim(ctx, s, &parcel{Chat: user})
	return err
}
