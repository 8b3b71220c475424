// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"encoding/json"
	"slices"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// itemOf reads what is to be published.
func itemOf(el *xmpp.Element) (it item, err error) {
	kids := el.Children()
	if len(kids) > 1 {
		return it, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("invalid-payload")) // §7.1.3.6
	}
	it.ID = el.Get("id")
	if len(kids) == 1 {
		it.XML = string(kids[0].Bytes())
	}
	if len(it.XML) > payloadMax || len(it.ID) > nameMax {
		return it, tooBig()
	}
	if it.ID == "" {
		it.ID = relay.NewID()
	}
	return it, nil
}

func tooBig() error {
	return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).With(fault("payload-too-big"))
}

// publish is XEP-0060 §7.1 with preconditions (§7.1.5); at an account the node
// is made when it is not there (XEP-0163 §3).
func (b *broker) publish(w *wish) (*xmpp.Element, error) {
	kids := w.el.Children()
	if len(kids) > 1 || len(kids) == 1 && !kids[0].Is(xmpp.NSPubsub, "item") {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("invalid-payload"))
	}
	if err := b.mayTry(w); err != nil {
		return nil, err
	}
	it := item{By: w.from.Bare().String()}
	if len(kids) == 1 {
		one, err := itemOf(kids[0])
		if err != nil {
			return nil, err
		}
		it.ID, it.XML = one.ID, one.XML
		if err := b.sealed(w, kids[0]); err != nil {
			return nil, err
		}
	}
	options := w.pubsub.Child(xmpp.NSPubsub, "publish-options").Child(xmpp.NSData, "x")
	c, err := b.put(w, &it, options, "")
	if err != nil {
		return nil, err
	}
	done := xmpp.El(xmpp.NSPubsub, "publish", "node", w.node)
	if it.ID == "" {
		b.tell(w, &c, xmpp.El(xmpp.NSPubsubEvent, "items", "node", w.node))
		return answer(xmpp.NSPubsub, done), nil
	}
	b.announce(w, &c, it.element(xmpp.NSPubsubEvent, &c))
	b.changed(w)
	return answer(xmpp.NSPubsub, done.Add(xmpp.El(xmpp.NSPubsub, "item", "id", it.ID))), nil
}

// put publishes an item in one transaction; a node that it makes has this
// access model, if it is one.
func (b *broker) put(w *wish, it *item, options *xmpp.Element, access string) (c config, err error) {
	p, err := b.planned(w, it)
	if err != nil {
		return c, err
	}
	err = b.s.Store().Update(w.owner, func(rec *offline.Records) error {
		var made bool
		var err error
		if c, made, err = b.ready(rec, w.place, w.from, w.node, options); err != nil {
			return err
		}
		if made && access != "" {
			c.Access = access
		}
		return b.store(rec, w, &c, it, p)
	})
	if err == nil {
		b.expires(w.owner, w.node, &c, b.s.Now())
	}
	return c, err
}

// changed tells the families that look at an account's own nodes.
func (b *broker) changed(w *wish) {
	if w.pep {
		b.s.Published(w.owner, w.node)
	}
}

// mayTry refuses early who may not publish. A node that is not there yet is
// its owner's to make.
func (b *broker) mayTry(w *wish) error {
	c, err := b.look(w.place, w.node)
	if err == nil {
		return b.mayPublish(w, &c)
	}
	if w.pep && w.from.Bare() == w.jid {
		return nil
	}
	if w.pep {
		return forbidden()
	}
	return err
}

// sealed keeps what the server could read off the service, and off what others
// publish at an account, where nothing readable is taken
// (docs/decisions/05-what-nodes-may-hold.md).
func (b *broker) sealed(w *wish, el *xmpp.Element) error {
	if !b.s.E2E() || w.pep && w.from.Bare() == w.jid {
		return nil
	}
	for _, k := range el.Children() {
		if !relay.Sealed(k.Name) {
			return xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("this server takes only end-to-end encrypted items here")
		}
	}
	return nil
}

// ready gives the node's configuration, making the node if need be and right.
func (b *broker) ready(rec *offline.Records, p place, who xmpp.JID, node string, options *xmpp.Element) (c config, made bool, err error) {
	c, ok := load(rec, node)
	if ok {
		want := c
		if err := p.readForm(&want, options, true); err != nil {
			return c, false, err
		}
		if !want.same(&c) {
			return c, false, unmet()
		}
		return c, false, nil
	}
	if !p.pep {
		return c, false, notFound() // §7.1.3.3
	}
	c, err = b.make(rec, p, who, node, options)
	return c, true, err
}

// make is a new node; whoever calls saves it.
func (b *broker) make(rec *offline.Records, p place, who xmpp.JID, node string, form *xmpp.Element) (config, error) {
	c := p.fresh(node)
	c.Creator, c.Made = who.Bare().String(), b.s.Now().Unix()
	if !p.pep {
		c.Who = map[string]string{c.Creator: "owner"}
	}
	if err := p.readForm(&c, form, false); err != nil {
		return c, err
	}
	return c, p.publishes(rec, c.Creator, 1, 0)
}

// fits holds an item against the kind of node (§7.1.3.7). An item without
// payload is taken: people take back what they said with one (XEP-0084 §3.2).
func (c *config) fits(it *item) error {
	switch {
	case it.ID == "" && (c.Persist || !c.Bare):
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("item-required"))
	case it.ID != "" && !c.Persist && c.Bare:
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("item-forbidden"))
	case len(it.XML) > c.payloadMax():
		return tooBig()
	}
	return nil
}

// A plan says what goes when an item comes. It is made outside of the commit,
// which others wait for, and holds as long as the node is as it was.
type plan struct {
	next uint64
	drop []string
	size int // of all that stays
	full bool
}

// plan looks through the items that are there.
func (b *broker) plan(rec *offline.Records, node string, c *config, it *item) (p plan) {
	old := slices.DeleteFunc(itemsOf(rec, node), func(o item) bool { return o.ID == it.ID })
	live := c.unexpired(slices.Clone(old), b.s.Now())
	p.full = len(live) >= c.MaxItems
	live = live[max(0, len(live)-c.MaxItems+1):]
	keep := map[string]bool{}
	p.next, p.size = c.Next, len(it.XML)
	for i := range live {
		keep[live[i].ID] = true
		p.size += len(live[i].XML)
	}
	for i := range old {
		if !keep[old[i].ID] {
			p.drop = append(p.drop, old[i].ID)
		}
	}
	return p
}

// planned makes a plan before the commit; nil where there is no node yet.
func (b *broker) planned(w *wish, it *item) (p *plan, err error) {
	err = b.s.Store().View(w.owner, func(rec *offline.Records) error {
		if c, ok := load(rec, w.node); ok && c.Persist {
			made := b.plan(rec, w.node, &c, it)
			p = &made
		}
		return nil
	})
	return p, err
}

// store writes an item, and drops what must make room for it.
func (b *broker) store(rec *offline.Records, w *wish, c *config, it *item, p *plan) error {
	if err := c.fits(it); err != nil {
		return err
	}
	if p == nil || p.next != c.Next { // somebody else was quicker
		made := plan{}
		if c.Persist {
			made = b.plan(rec, w.node, c, it)
		}
		p = &made
	}
	c.Next++
	it.Seq, it.At = c.Next, b.s.Now().Unix()
	if !c.Persist {
		save(rec, w.node, c)
		return nil
	}
	switch {
	case c.RejectsFull && p.full: // §7.1.3.4
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict).With(fault("node-full"))
	case p.size > nodeMax && p.size > c.Bytes:
		return tooMuch(use{}, use{})
	}
	if err := w.publishes(rec, c.Creator, 0, p.size-c.Bytes); err != nil {
		return err
	}
	c.Bytes = p.size
	for _, id := range p.drop {
		rec.Delete("pep/"+w.node, id)
	}
	save(rec, w.node, c)
	v, err := json.Marshal(it)
	if err == nil {
		rec.Put("pep/"+w.node, it.ID, v)
	}
	return err
}

// retract is XEP-0060 §7.2.
func (b *broker) retract(w *wish) (*xmpp.Element, error) {
	id := w.el.Child(xmpp.NSPubsub, "item").Get("id")
	if id == "" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("item-required"))
	}
	c, err := b.look(w.place, w.node)
	if err != nil && w.pep && w.from.Bare() != w.jid {
		return nil, forbidden()
	}
	if err != nil {
		return nil, err
	}
	if err := b.mayPublish(w, &c); err != nil {
		return nil, err
	}
	c, err = b.takeBack(w, id)
	if err == nil {
		if !c.NoRetract || yes(w.el.Get("notify")) { // §7.2.2.1
			b.announce(w, &c, xmpp.El(xmpp.NSPubsubEvent, "retract", "id", id))
		}
		b.changed(w)
	}
	return nil, err
}

// takeBack lets owners drop any item, others their own (§7.2.3.1).
func (b *broker) takeBack(w *wish, id string) (c config, err error) {
	return b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		var it item
		v := rec.Get("pep/"+w.node, id)
		if v == nil {
			return notFound()
		}
		if err := json.Unmarshal(v, &it); err != nil {
			return err
		}
		if c.rank(w.place, w.from) != "owner" && it.By != w.from.Bare().String() {
			return forbidden()
		}
		if err := w.publishes(rec, c.Creator, 0, -len(it.XML)); err != nil {
			return err
		}
		c.Bytes = max(0, c.Bytes-len(it.XML))
		c.Next++ // what was planned with the item is not so any more
		rec.Delete("pep/"+w.node, id)
		save(rec, w.node, c)
		return nil
	})
}
