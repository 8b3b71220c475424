// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// itemOf reads what is to be published.
func itemOf(el *xmpp.Element) (it item, err error) {
	kids := el.Children()
	if len(kids) > 1 {
		return it, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "invalid-payload"))
	}
	it.ID = el.Get("id")
	if len(kids) == 1 {
		it.XML = string(kids[0].Bytes())
	}
	if len(it.XML) > payloadMax || len(it.ID) > 1023 {
		return it, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).With(xmpp.El(xmpp.NSPubsubErrors, "payload-too-big"))
	}
	if it.ID == "" {
		it.ID = relay.NewID()
	}
	return it, nil
}

// shown implements relay.Shelf.
func (p *pep) shown(user, node string, asker xmpp.JID) ([]*xmpp.Element, error) {
	var c config
	var all []*xmpp.Element
	err := p.s.Store().View(user, func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		for _, i := range c.unexpired(items(rec, node), p.s.Now()) {
			all = append(all, i.element(xmpp.NSPubsub))
		}
		return nil
	})
	if err == nil {
		err = p.allowed(asker, user, &c)
	}
	if err != nil {
		return nil, err
	}
	return all, nil
}

// put implements relay.Shelf.
func (p *pep) put(user, node, access string, el *xmpp.Element) error {
	it, err := itemOf(el)
	if err != nil {
		return err
	}
	var c config
	err = p.s.Store().Update(user, func(rec *offline.Records) (err error) {
		if _, ok := loadConfig(rec, node); !ok && access != "" {
			if c, err = p.ready(rec, node, nil); err != nil {
				return err
			}
			c.Access = access
			saveConfig(rec, node, c)
		}
		c, err = p.store(rec, node, &it, nil)
		return err
	})
	if err == nil {
		p.announce(user, node, &c, it.element(xmpp.NSPubsubEvent))
	}
	return err
}

// drop implements relay.Shelf.
func (p *pep) drop(user, node, id string) error {
	c, err := p.takeBack(user, node, id)
	if err == nil {
		p.announce(user, node, &c, xmpp.El(xmpp.NSPubsubEvent, "retract", "id", id))
	}
	return err
}

func (p *pep) takeBack(user, node, id string) (c config, err error) {
	return p.edit(user, node, func(rec *offline.Records, c *config) error {
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
}
