// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// create is XEP-0060 §8.1.
func (p *pep) create(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	form := r.Payload.Child(xmpp.NSPubsub, "configure").Child(xmpp.NSData, "x")
	err := p.s.Store().Update(r.From.Local, func(rec *offline.Records) error {
		if _, ok := loadConfig(rec, node); ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
		}
		c, err := p.ready(rec, node, form)
		if err == nil {
			saveConfig(rec, node, c)
		}
		return err
	})
	return nil, err
}

// edit changes a node that must be there.
func (p *pep) edit(r *relay.Request, el *xmpp.Element, f func(rec *offline.Records, node string, c *config) error) (c config, err error) {
	node := el.Get("node")
	err = p.s.Store().Update(r.From.Local, func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		return f(rec, node, &c)
	})
	return c, err
}

// retract is XEP-0060 §7.2.
func (p *pep) retract(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	id := el.Child(xmpp.NSPubsub, "item").Get("id")
	if id == "" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "item-required"))
	}
	c, err := p.edit(r, el, func(rec *offline.Records, node string, c *config) error {
		if rec.Get("pep/"+node, id) == nil {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		c.Bytes = 0
		for _, i := range items(rec, node) {
			if i.ID != id {
				c.Bytes += len(i.XML)
			}
		}
		rec.Delete("pep/"+node, id)
		saveConfig(rec, node, *c)
		return nil
	})
	if err == nil {
		p.announce(r.From.Local, el.Get("node"), &c, xmpp.El(xmpp.NSPubsubEvent, "retract", "id", id))
	}
	return nil, err
}

// remove is XEP-0060 §8.4, purge §8.5.
func (p *pep) remove(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	var subs []xmpp.JID
	c, err := p.edit(r, el, func(rec *offline.Records, node string, _ *config) error {
		subs = subscribers(rec, node)
		for _, j := range subs {
			rec.Delete("pepsub/"+node, j.String())
		}
		empty(rec, node)
		rec.Delete("pepnode", node)
		return nil
	})
	if err == nil {
		p.tellThese(r.From.Local, el.Get("node"), &c, xmpp.El(xmpp.NSPubsubEvent, "delete", "node", el.Get("node")), subs)
	}
	return nil, err
}

func (p *pep) purge(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	c, err := p.edit(r, el, func(rec *offline.Records, node string, c *config) error {
		empty(rec, node)
		c.Bytes = 0
		saveConfig(rec, node, *c)
		return nil
	})
	if err == nil {
		p.tell(r.From.Local, el.Get("node"), &c, xmpp.El(xmpp.NSPubsubEvent, "purge", "node", el.Get("node")))
	}
	return nil, err
}

func empty(rec *offline.Records, node string) {
	for _, i := range items(rec, node) {
		rec.Delete("pep/"+node, i.ID)
	}
}

func (p *pep) showConfig(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	var c config
	err := p.s.Store().View(r.From.Local, func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, el.Get("node")); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(
		xmpp.El(xmpp.NSPubsubOwner, "configure", "node", el.Get("node")).Add(c.form())), nil
}

// showDefault is XEP-0060 §8.3.
func (p *pep) showDefault(_ *relay.Request, _ *xmpp.Element) (*xmpp.Element, error) {
	c := fresh("")
	return xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(xmpp.El(xmpp.NSPubsubOwner, "default").Add(c.form())), nil
}

// setConfig is XEP-0060 §8.2.4; a smaller max_items drops the oldest.
func (p *pep) setConfig(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	form := el.Child(xmpp.NSData, "x")
	if form.Get("type") == "cancel" {
		return nil, nil
	}
	_, err := p.edit(r, el, func(rec *offline.Records, node string, c *config) error {
		if err := c.read(form, false); err != nil {
			return err
		}
		all := items(rec, node)
		for len(all) > c.MaxItems {
			rec.Delete("pep/"+node, all[0].ID)
			c.Bytes -= len(all[0].XML)
			all = all[1:]
		}
		saveConfig(rec, node, *c)
		return nil
	})
	return nil, err
}
