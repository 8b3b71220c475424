// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// whoMax bounds how many people one node knows by name.
const whoMax = 500

// affiliations says what the asker is at the nodes here (XEP-0060 §5.7): the
// owner at all of his, others where he named them.
func (p *pep) affiliations(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	list := xmpp.El(xmpp.NSPubsub, "affiliations", "node", el.Get("node"))
	me := r.From.Bare().String()
	err := p.s.Store().View(r.Account(), func(rec *offline.Records) error {
		for _, node := range nodes(rec, el.Get("node")) {
			c, ok := loadConfig(rec, node)
			is := c.Who[me]
			if r.Own() {
				is = "owner"
			}
			if ok && is != "" {
				list.Add(xmpp.El(xmpp.NSPubsub, "affiliation", "node", node, "affiliation", is))
			}
		}
		return nil
	})
	return xmpp.El(xmpp.NSPubsub, "pubsub").Add(list), err
}

// affiliated lists for the owner whom a node knows by name (§8.9.1).
func (p *pep) affiliated(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	c, _, err := p.look(r.From.Local, el.Get("node"))
	if err != nil {
		return nil, err
	}
	list := xmpp.El(xmpp.NSPubsubOwner, "affiliations", "node", el.Get("node"))
	list.Add(xmpp.El(xmpp.NSPubsubOwner, "affiliation", "jid", r.From.Bare().String(), "affiliation", "owner"))
	for jid, is := range c.Who {
		list.Add(xmpp.El(xmpp.NSPubsubOwner, "affiliation", "jid", jid, "affiliation", is))
	}
	return xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(list), nil
}

// setAffiliated names members, whom a whitelist lets in, and outcasts (§8.9.2).
// There is one owner, and he alone publishes.
func (p *pep) setAffiliated(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	_, err := p.edit(r.From.Local, node, func(rec *offline.Records, c *config) error {
		if c.Who == nil {
			c.Who = map[string]string{}
		}
		for _, k := range el.Children() {
			j, err := xmpp.ParseJID(k.Get("jid"))
			if err != nil || !k.Is(xmpp.NSPubsubOwner, "affiliation") {
				return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
			}
			own := j.Bare() == r.From.Bare()
			switch is := k.Get("affiliation"); {
			case own && is == "owner":
			case own, is != "member" && is != "outcast" && is != "none":
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			case is == "none":
				delete(c.Who, j.Bare().String())
			default:
				c.Who[j.Bare().String()] = is
			}
		}
		if len(c.Who) > whoMax {
			return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
		}
		saveConfig(rec, node, *c)
		return nil
	})
	return nil, err
}
