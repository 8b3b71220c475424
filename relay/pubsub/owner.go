// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// create is XEP-0060 §8.1. At the service people of this server may, at an
// account its owner.
func (b *broker) create(w *wish) (*xmpp.Element, error) {
	if w.pep && w.from.Bare() != w.jid || !w.pep && !b.s.Local(w.from) {
		return nil, forbidden()
	}
	if w.node == "" { // instant: the name must not be guessed by who wants it first
		w.node = relay.NewID()
	}
	form := w.pubsub.Child(xmpp.NSPubsub, "configure").Child(xmpp.NSData, "x")
	err := b.s.Store().Update(w.owner, func(rec *offline.Records) error {
		if _, ok := load(rec, w.node); ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
		}
		c, err := b.make(rec, w.place, w.from, w.node, form)
		if err == nil {
			save(rec, w.node, &c)
			if !w.pep {
				relate(rec, w.node, w.from, 0, true)
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if !w.pep {
		b.note(w.node, true)
	}
	return answer(xmpp.NSPubsub, xmpp.El(xmpp.NSPubsub, "create", "node", w.node)), nil
}

// remove is §8.4. Subscribers are told where the node has moved, if it has.
func (b *broker) remove(w *wish) (*xmpp.Element, error) {
	if _, err := b.owned(w); err != nil {
		return nil, err
	}
	c, subs, err := b.erase(w.place, w.node)
	if err != nil {
		return nil, err
	}
	what := xmpp.El(xmpp.NSPubsubEvent, "delete", "node", w.node)
	if uri := w.el.Child(xmpp.NSPubsubOwner, "redirect").Get("uri"); uri != "" && len(uri) <= 2*nameMax {
		what.Add(xmpp.El(xmpp.NSPubsubEvent, "redirect", "uri", uri))
	}
	if !c.NoDelete {
		b.tellThese(w, &c, what, subs)
	}
	b.changed(w)
	return nil, nil
}

// erase forgets a node and all that belongs to it.
func (b *broker) erase(p place, node string) (c config, subs []sub, err error) {
	c, err = b.edit(p, node, func(rec *offline.Records, c *config) error {
		subs = subsOf(rec, node)
		gone := make([]xmpp.JID, len(subs))
		for i := range subs {
			gone[i] = subs[i].jid
		}
		if err := p.publishes(rec, c.Creator, -1, -c.Bytes); err != nil {
			return err
		}
		who := c.Who
		c.Who = nil
		if err := b.strike(rec, p, node, c, gone...); err != nil {
			return err
		}
		for a := range who {
			if j, err := xmpp.ParseJID(a); err == nil {
				relate(rec, node, j, 0, false)
			}
		}
		c.Who = who
		rec.Clear("pep/" + node)
		rec.Delete("pepnode", node)
		return nil
	})
	if err == nil && !p.pep {
		b.note(node, false)
	}
	return c, subs, err
}

// purge is §8.5.
func (b *broker) purge(w *wish) (*xmpp.Element, error) {
	if _, err := b.owned(w); err != nil {
		return nil, err
	}
	c, err := b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		if !c.Persist { // §8.5.3.3
			return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented).With(fault("unsupported").Set("feature", "persistent-items"))
		}
		if err := w.publishes(rec, c.Creator, 0, -c.Bytes); err != nil {
			return err
		}
		rec.Clear("pep/" + w.node)
		c.Bytes = 0
		c.Next++
		save(rec, w.node, c)
		return nil
	})
	if err == nil {
		b.tell(w, &c, xmpp.El(xmpp.NSPubsubEvent, "purge", "node", w.node))
		b.changed(w)
	}
	return nil, err
}

func (b *broker) showConfig(w *wish) (*xmpp.Element, error) {
	c, err := b.owned(w)
	if err != nil {
		return nil, err
	}
	return answer(xmpp.NSPubsubOwner, xmpp.El(xmpp.NSPubsubOwner, "configure", "node", w.node).Add(w.form(&c, "form"))), nil
}

// showDefault is §8.3.
func (b *broker) showDefault(w *wish) (*xmpp.Element, error) {
	if w.pep && w.from.Bare() != w.jid {
		return nil, forbidden()
	}
	c := w.fresh("")
	return answer(xmpp.NSPubsubOwner, xmpp.El(xmpp.NSPubsubOwner, "default").Add(w.form(&c, "form"))), nil
}

// setConfig is §8.2.4; a smaller max_items drops the oldest.
func (b *broker) setConfig(w *wish) (*xmpp.Element, error) {
	if _, err := b.owned(w); err != nil {
		return nil, err
	}
	form := w.el.Child(xmpp.NSData, "x")
	if form.Get("type") == "cancel" {
		return nil, nil
	}
	c, err := b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		old := *c
		if err := w.readForm(c, form, false); err != nil {
			return err
		}
		var drop []item
		if c.MaxItems < old.MaxItems || old.Persist && !c.Persist {
			drop = itemsOf(rec, w.node)
		}
		if c.Persist {
			drop = drop[:max(0, len(drop)-c.MaxItems)]
		}
		c.Next++
		size := 0
		for i := range drop {
			rec.Delete("pep/"+w.node, drop[i].ID)
			size += len(drop[i].XML)
		}
		if err := w.publishes(rec, c.Creator, 0, -size); err != nil {
			return err
		}
		c.Bytes = max(0, c.Bytes-size)
		save(rec, w.node, c)
		return nil
	})
	if err == nil {
		b.expires(w.owner, w.node, &c, time.Unix(0, 0)) // what is there may be older than it may be
	}
	if err == nil && c.TellConfig { // §8.2.5.3
		what := xmpp.El(xmpp.NSPubsubEvent, "configuration", "node", w.node)
		if !c.Bare {
			what.Add(w.form(&c, "result"))
		}
		b.tell(w, &c, what)
	}
	return nil, err
}

// forget takes a deleted account off the service: nodes that nobody else owns
// go with it.
func (b *broker) forget(user string) {
	who := b.of(user).jid
	w := &wish{place: b.host, from: who}
	var nodes []string
	err := b.s.Store().View(b.host.owner, func(rec *offline.Records) (err error) {
		nodes, err = b.nodesOf(rec, w)
		return err
	})
	for _, node := range nodes {
		if e := b.leave(node, who); err == nil {
			err = e
		}
	}
	if err != nil {
		b.s.Log().Error("nodes of a deleted account", "err", err)
	}
}

func (b *broker) leave(node string, who xmpp.JID) error {
	c, err := b.look(b.host, node)
	if err != nil {
		return err
	}
	if slices.Equal(c.owners(b.host), []xmpp.JID{who}) {
		_, _, err = b.erase(b.host, node)
		return err
	}
	_, err = b.edit(b.host, node, func(rec *offline.Records, c *config) error {
		var gone []xmpp.JID
		for _, s := range subsOf(rec, node) {
			if s.jid.Bare() == who {
				gone = append(gone, s.jid)
			}
		}
		delete(c.Who, who.String())
		relate(rec, node, who, len(gone), false)
		return b.strike(rec, b.host, node, c, gone...)
	})
	return err
}
