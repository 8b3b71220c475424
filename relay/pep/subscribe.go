// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// How many may subscribe to one node, and one person with how many addresses.
const (
	subsMax = 1000
	subsOne = 10
)

// subscribers are those who asked to hear of a node (XEP-0060 §6.1), whoever
// else hears of it by his capabilities.
func subscribers(rec *offline.Records, node string) (all []xmpp.JID) {
	rec.Each("pepsub/"+node, func(jid string, _ []byte) bool {
		if j, err := xmpp.ParseJID(jid); err == nil {
			all = append(all, j)
		}
		return true
	})
	return all
}

// subscriber is the address in a wish, which must be the sender's own (§6.1.3.1).
func subscriber(r *relay.Request, el *xmpp.Element) (xmpp.JID, error) {
	j, err := xmpp.ParseJID(el.Get("jid"))
	if err != nil || j.Bare() != r.From.Bare() {
		return j, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "invalid-jid"))
	}
	return j, nil
}

// subscribe is XEP-0060 §6.1. Twice is once.
func (p *pep) subscribe(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	j, err := subscriber(r, el)
	if err != nil {
		return nil, err
	}
	node, user := el.Get("node"), r.Account()
	c, newest, err := p.look(user, node)
	if err != nil {
		return nil, err
	}
	if err := p.allowed(r.From, user, &c); err != nil {
		return nil, err
	}
	err = p.s.Store().Update(user, func(rec *offline.Records) error {
		if _, ok := loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		if rec.Get("pepsub/"+node, j.String()) != nil {
			return nil
		}
		all, own := subscribers(rec, node), 0
		for _, o := range all {
			if o.Bare() == j.Bare() {
				own++
			}
		}
		if len(all) >= subsMax || own >= subsOne { // §6.1.3.9
			return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).With(xmpp.El(xmpp.NSPubsubErrors, "too-many-subscriptions"))
		}
		rec.Put("pepsub/"+node, j.String(), []byte{1})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if newest != nil && c.Last != "never" { // §6.1.7
		own := xmpp.JID{Local: user, Domain: p.s.Domain()}
		what := xmpp.El(xmpp.NSPubsubEvent, "items", "node", node).Add(newest.element(xmpp.NSPubsubEvent))
		r.After = func() { r.Session.Push(event(own, r.Session, what)) }
	}
	return xmpp.El(xmpp.NSPubsub, "pubsub").Add(subscription(node, j)), nil
}

// look reads a node and its newest item.
func (p *pep) look(user, node string) (c config, newest *item, err error) {
	err = p.s.Store().View(user, func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		if l := c.unexpired(items(rec, node), p.s.Now()); len(l) > 0 {
			newest = &l[len(l)-1]
		}
		return nil
	})
	return c, newest, err
}

func subscription(node string, j xmpp.JID) *xmpp.Element {
	return xmpp.El(xmpp.NSPubsub, "subscription", "node", node, "jid", j.String(), "subscription", "subscribed")
}

// unsubscribe is XEP-0060 §6.2.
func (p *pep) unsubscribe(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	j, err := subscriber(r, el)
	if err != nil {
		return nil, err
	}
	node := el.Get("node")
	return nil, p.s.Store().Update(r.Account(), func(rec *offline.Records) error {
		if _, ok := loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		if rec.Get("pepsub/"+node, j.String()) == nil { // §6.2.3.2
			return xmpp.Refuse(xmpp.Cancel, xmpp.UnexpectedRequest).With(xmpp.El(xmpp.NSPubsubErrors, "not-subscribed"))
		}
		rec.Delete("pepsub/"+node, j.String())
		return nil
	})
}

// subscriptions lists the asker's own ones here, of one node or of all (§5.6).
func (p *pep) subscriptions(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	list := xmpp.El(xmpp.NSPubsub, "subscriptions", "node", el.Get("node"))
	err := p.s.Store().View(r.Account(), func(rec *offline.Records) error {
		for _, node := range nodes(rec, el.Get("node")) {
			for _, j := range subscribers(rec, node) {
				if j.Bare() == r.From.Bare() {
					list.Add(subscription(node, j))
				}
			}
		}
		return nil
	})
	return xmpp.El(xmpp.NSPubsub, "pubsub").Add(list), err
}

// nodes are those of an account, or the one that is named.
func nodes(rec *offline.Records, one string) (all []string) {
	if one != "" {
		return []string{one}
	}
	rec.Each("pepnode", func(node string, _ []byte) bool {
		all = append(all, node)
		return true
	})
	return all
}

// subscribers tells the owner who listens (§8.8.1).
func (p *pep) subscribers(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	list := xmpp.El(xmpp.NSPubsubOwner, "subscriptions", "node", el.Get("node"))
	err := p.s.Store().View(r.From.Local, func(rec *offline.Records) error {
		if _, ok := loadConfig(rec, el.Get("node")); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		for _, j := range subscribers(rec, el.Get("node")) {
			list.Add(xmpp.El(xmpp.NSPubsubOwner, "subscription", "jid", j.String(), "subscription", "subscribed"))
		}
		return nil
	})
	return xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(list), err
}

// setSubscribers lets the owner end subscriptions (§8.8.2); nobody is made to
// listen who did not ask.
func (p *pep) setSubscribers(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	_, err := p.edit(r.From.Local, node, func(rec *offline.Records, _ *config) error {
		for _, k := range el.Children() {
			j, err := xmpp.ParseJID(k.Get("jid"))
			if err != nil || !k.Is(xmpp.NSPubsubOwner, "subscription") {
				return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
			}
			is := rec.Get("pepsub/"+node, j.String()) != nil
			switch want := k.Get("subscription"); {
			case want == "none":
				rec.Delete("pepsub/"+node, j.String())
			case want != "subscribed" || !is:
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			}
		}
		return nil
	})
	return nil, err
}
