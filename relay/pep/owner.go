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
func (p *pep) edit(user, node string, f func(rec *offline.Records, c *config) error) (c config, err error) {
	err = p.s.Store().Update(user, func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		return f(rec, &c)
	})
	return c, err
}

// retract is XEP-0060 §7.2.
func (p *pep) retract(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	id := el.Child(xmpp.NSPubsub, "item").Get("id")
	if id == "" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "item-required"))
	}
	user, node := r.From.Local, el.Get("node")
	err := p.drop(user, node, id)
	if err == nil {
		p.s.Published(user, node)
	}
	return nil, err
}

// remove is XEP-0060 §8.4, purge §8.5.
func (p *pep) remove(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	var subs []xmpp.JID
	node := el.Get("node")
	c, err := p.edit(r.From.Local, node, func(rec *offline.Records, _ *config) error {
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
		p.s.Published(r.From.Local, el.Get("node"))
	}
	return nil, err
}

func (p *pep) purge(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	c, err := p.edit(r.From.Local, node, func(rec *offline.Records, c *config) error {
		empty(rec, node)
		c.Bytes = 0
		saveConfig(rec, node, *c)
		return nil
	})
	if err == nil {
		p.tell(r.From.Local, el.Get("node"), &c, xmpp.El(xmpp.NSPubsubEvent, "purge", "node", el.Get("node")))
		p.s.Published(r.From.Local, el.Get("node"))
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
	node := el.Get("node")
	_, err := p.edit(r.From.Local, node, func(rec *offline.Records, c *config) error {
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
