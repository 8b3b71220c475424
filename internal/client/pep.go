// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	"sotto/xmpp"
)

// publish puts an item into a node of ours that everybody may read (XEP-0384 §4.1).
func (s *session) publish(ctx context.Context, node, item string, payload *xmpp.Element, many bool) error {
	options := map[string]string{"pubsub#access_model": "open", "pubsub#persist_items": "true"}
	if many {
		options["pubsub#max_items"] = "max"
	}
	pub := xmpp.El(xmpp.NSPubsub, "publish", "node", node).Add(xmpp.El(xmpp.NSPubsub, "item", "id", item).Add(payload))
	with := xmpp.El(xmpp.NSPubsub, "publish-options").Add(form(xmpp.NSPubsubOptions, options))
	_, err := s.ask(ctx, "set", "", xmpp.El(xmpp.NSPubsub, "pubsub").Add(pub, with))
	var e *xmpp.StanzaError
	if !errors.As(err, &e) || e.Cond != xmpp.Conflict {
		return err
	}
	// The node is there with other options: change them, then once more (XEP-0060 §7.1.5).
	conf := form("http://jabber.org/protocol/pubsub#node_config", options)
	owner := xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(xmpp.El(xmpp.NSPubsubOwner, "configure", "node", node).Add(conf))
	if _, err := s.ask(ctx, "set", "", owner); err != nil {
		return err
	}
	_, err = s.ask(ctx, "set", "", xmpp.El(xmpp.NSPubsub, "pubsub").Add(pub.Clone()))
	return err
}

func form(typ string, fields map[string]string) *xmpp.Element {
	field := func(name, value string) *xmpp.Element {
		return xmpp.El(xmpp.NSData, "field", "var", name).Add(xmpp.El(xmpp.NSData, "value").WithText(value))
	}
	x := xmpp.El(xmpp.NSData, "x", "type", "submit").Add(field("FORM_TYPE", typ).Set("type", "hidden"))
	for k, v := range fields {
		x.Add(field(k, v))
	}
	return x
}

// fetch reads an item of somebody's node; nil when it is not there.
func (s *session) fetch(ctx context.Context, of, node, item string) (*xmpp.Element, error) {
	items := xmpp.El(xmpp.NSPubsub, "items", "node", node)
	if item != "" {
		items.Add(xmpp.El(xmpp.NSPubsub, "item", "id", item))
	}
	el, err := s.ask(ctx, "get", of, xmpp.El(xmpp.NSPubsub, "pubsub").Add(items))
	var e *xmpp.StanzaError
	if errors.As(err, &e) {
		return nil, nil // not there, or not for us: no difference to us
	}
	if err != nil {
		return nil, err
	}
	for _, it := range el.Child(xmpp.NSPubsub, "pubsub").Child(xmpp.NSPubsub, "items").Children() {
		for _, payload := range it.Children() {
			if item == "" || it.Get("id") == item {
				return payload, nil
			}
		}
	}
	return nil, nil
}

// lists are the devices of an account by wire.
type lists struct {
	Of    [2][]uint32
	Label map[uint32]label // of devices on the new wire's list
}

// A label is what a device calls itself, and its signature (XEP-0384 §5.3.1).
type label struct{ Text, Sig string }

// ourLabel tells other sottos that this device reads all of the new wire.
const ourLabel = "sotto"

func (l *lists) empty() bool { return len(l.Of[0])+len(l.Of[1]) == 0 }

func (l *lists) has(w omemo.Wire, device uint32) bool { return slices.Contains(l.Of[w], device) }

// classic says that a device must be written to on the old wire. Whoever lists
// a device there reads it; slixmpp-omemo, that lists its devices on both, opens
// the new wire's keys but not its envelopes, and takes the new one when a
// message has both.
func (l *lists) classic(device uint32) bool {
	return l.has(omemo.Old, device) && !(l.has(omemo.Two, device) && l.Label[device].Text == ourLabel)
}

func (c *Client) knownLists(of string) (l lists, err error) {
	v, err := c.opt.Store.Get(kindLists, of)
	if err != nil || v == nil {
		return l, err
	}
	return l, json.Unmarshal(v, &l)
}

// devicesOf gives an account's device lists, fetched once in a session and
// whenever they have changed.
func (c *Client) devicesOf(ctx context.Context, s *session, of string) (lists, error) {
	c.mu.Lock()
	known := c.current(of)
	delete(c.stale, of)
	if !known {
		delete(c.fresh, of) // who asks while we fetch shall not get the old list
	}
	c.mu.Unlock()
	if known {
		return c.knownLists(of)
	}
	var l lists
	for _, w := range omemo.Wires {
		el, err := s.fetch(ctx, of, listNode(w), "")
		if err != nil {
			return l, err
		}
		if l.Of[w] = listOf(el); w == omemo.Two {
			l.Label = labelsOf(el)
		}
	}
	c.mu.Lock()
	c.fresh[of] = time.Now()
	c.mu.Unlock()
	return l, c.opt.Store.Commit(vault.Change{Kind: kindLists, Name: of, Value: marshal(l)})
}

// strangersLists is how long a list is good for somebody who is no contact: no
// event tells us when it changes.
const strangersLists = time.Minute

// current says whether the list that we keep is the present one. Callers hold mu.
func (c *Client) current(of string) bool {
	at, ok := c.fresh[of]
	if !ok || c.stale[of] {
		return false
	}
	p := c.people[of]
	return of == c.self || p != nil && (p.Sub == "to" || p.Sub == "both") || time.Since(at) < strangersLists
}

// unlisted looks at an account's list again when a device writes that is not on it.
func (c *Client) unlisted(at omemo.Address) {
	l, err := c.knownLists(at.User)
	if err != nil || l.has(omemo.Old, at.Device) || l.has(omemo.Two, at.Device) {
		return
	}
	c.mu.Lock()
	c.stale[at.User] = true
	c.mu.Unlock()
}

// announce makes sure that our device is listed and its bundles are there.
func (c *Client) announce(ctx context.Context, s *session) error {
	publish, err := c.keys.Maintain(time.Now())
	if err != nil {
		return err
	}
	done, err := c.opt.Store.Get(kindMeta, "published")
	if err != nil {
		return err
	}
	l, err := c.devicesOf(ctx, s, c.self)
	if err != nil {
		return err
	}
	me := c.keys.Self().Device
	for _, w := range omemo.Wires {
		listed := l.has(w, me)
		if publish || done == nil || !listed {
			if err := c.publishBundle(ctx, s, w); err != nil {
				return err
			}
		}
		if listed && (w == omemo.Old || l.Label[me].Text == ourLabel) {
			continue
		}
		l.add(w, me)
		if err := s.publish(ctx, listNode(w), "current", listElement(w, &l), false); err != nil {
			return err
		}
	}
	return c.opt.Store.Commit(vault.Change{Kind: kindLists, Name: c.self, Value: marshal(l)},
		vault.Change{Kind: kindMeta, Name: "published", Value: []byte{1}})
}

// add puts our device on a list.
func (l *lists) add(w omemo.Wire, device uint32) {
	if !l.has(w, device) {
		l.Of[w] = append(l.Of[w], device)
	}
	if l.Label == nil {
		l.Label = map[uint32]label{}
	}
	l.Label[device] = label{Text: ourLabel}
}

func (c *Client) publishBundle(ctx context.Context, s *session, w omemo.Wire) error {
	node, item := bundlePlace(w, c.keys.Self().Device)
	return s.publish(ctx, node, item, bundleElement(w, c.keys.Bundle(w)), w == omemo.Two)
}

// begin starts a session with a device from its published bundle.
func (c *Client) begin(ctx context.Context, s *session, w omemo.Wire, at omemo.Address) error {
	node, item := bundlePlace(w, at.Device)
	el, err := s.fetch(ctx, at.User, node, item)
	if err != nil {
		return err
	}
	if el == nil {
		return omemo.ErrBundle
	}
	b, err := bundleOf(w, el)
	if err != nil {
		return omemo.ErrBundle
	}
	return c.keys.Begin(w, at, b)
}

// event deals with a published item that somebody, or another device of ours, has changed.
func (c *Client) event(from string, el *xmpp.Element) {
	items := el.Child(xmpp.NSPubsubEvent, "items")
	for _, w := range omemo.Wires {
		if items.Get("node") != listNode(w) {
			continue
		}
		c.mu.Lock()
		c.stale[from] = true
		c.mu.Unlock()
		c.nudge()
	}
}
