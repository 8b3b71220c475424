// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"

	"sotto/offline"
	"sotto/xmpp"
)

// rank is somebody's affiliation (XEP-0060 §4.1); "" is none. An account is
// the owner of all of its nodes.
func (c *config) rank(p place, who xmpp.JID) string {
	if p.pep && who.Bare() == p.jid {
		return "owner"
	}
	return c.Who[who.Bare().String()]
}

// owners are the bare addresses of a node's owners.
func (c *config) owners(p place) (all []xmpp.JID) {
	if p.pep {
		return []xmpp.JID{p.jid}
	}
	for a, is := range c.Who {
		if j, err := xmpp.ParseJID(a); err == nil && is == "owner" {
			all = append(all, j)
		}
	}
	slices.SortFunc(all, func(a, b xmpp.JID) int {
		if a.String() < b.String() {
			return -1
		}
		return 1
	})
	return all
}

// owns refuses whoever is no owner (§8.2.3.2).
func (w *wish) owns(c *config) error {
	if c.rank(w.place, w.from) != "owner" {
		return forbidden()
	}
	return nil
}

// owned reads a node for one of its owners. What is not there, an account
// hides from others behind the same answer.
func (b *broker) owned(w *wish) (config, error) {
	if w.pep && w.from.Bare() != w.jid {
		return config{}, forbidden()
	}
	c, err := b.look(w.place, w.node)
	if err == nil {
		err = w.owns(&c)
	}
	return c, err
}

// allowed is the access model (§4.5); in says whether somebody has an approved
// subscription. It looks into rosters: never call it inside a View.
func (b *broker) allowed(p place, c *config, who xmpp.JID, in func() bool) error {
	switch c.rank(p, who) {
	case "owner", "publisher", "member":
		return nil
	case "outcast", "publish-only":
		return forbidden() // §4.1
	}
	switch c.Access {
	case "open":
		return nil
	case "presence":
		if slices.ContainsFunc(c.owners(p), func(o xmpp.JID) bool { return b.s.Local(o) && b.s.MaySee(who, o.Local) }) {
			return nil
		}
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(fault("presence-subscription-required"))
	case "roster":
		if slices.ContainsFunc(c.owners(p), func(o xmpp.JID) bool { return b.s.Local(o) && b.grouped(c, o.Local, who) }) {
			return nil
		}
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(fault("not-in-roster-group"))
	case "authorize":
		if in() {
			return nil
		}
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(fault("not-subscribed")) // §6.5.9.3
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed).With(fault("closed-node"))
}

func (b *broker) grouped(c *config, owner string, who xmpp.JID) bool {
	in := b.s.Groups(owner, who)
	return b.s.MaySee(who, owner) && slices.ContainsFunc(c.Groups, func(g string) bool { return slices.Contains(in, g) })
}

// isIn looks for an approved subscription.
func (b *broker) isIn(p place, node string, who xmpp.JID) func() bool {
	return func() bool {
		in := false
		err := b.s.Store().View(p.owner, func(rec *offline.Records) error {
			for _, s := range subsOf(rec, node) {
				in = in || s.jid.Bare() == who.Bare() && !s.Pending
			}
			return nil
		})
		return err == nil && in
	}
}

// mayRead is allowed for one who asks.
func (b *broker) mayRead(p place, node string, c *config, who xmpp.JID) error {
	return b.allowed(p, c, who, b.isIn(p, node, who))
}

// mayPublish is the publish model (§4.5).
func (b *broker) mayPublish(w *wish, c *config) error {
	switch c.rank(w.place, w.from) {
	case "owner", "publisher", "publish-only":
		return nil
	case "outcast":
		return forbidden()
	}
	switch c.Publish {
	case "open":
		return nil
	case "subscribers":
		if b.isIn(w.place, w.node, w.from)() {
			return nil
		}
	}
	return forbidden()
}
