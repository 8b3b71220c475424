// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// affiliations says what the asker is at the nodes here (XEP-0060 §5.7).
func (b *broker) affiliations(w *wish) (*xmpp.Element, error) {
	list := xmpp.El(xmpp.NSPubsub, "affiliations", "node", w.node)
	err := b.s.Store().View(w.owner, func(rec *offline.Records) error {
		nodes, err := b.nodesOf(rec, w)
		for _, node := range nodes {
			c, _ := load(rec, node)
			if is := c.rank(w.place, w.from); is != "" {
				list.Add(xmpp.El(xmpp.NSPubsub, "affiliation", "node", node, "affiliation", is))
			}
		}
		return err
	})
	return answer(xmpp.NSPubsub, list), err
}

// affiliated lists for an owner whom a node knows by name (§8.9.1).
func (b *broker) affiliated(w *wish) (*xmpp.Element, error) {
	c, err := b.owned(w)
	if err != nil {
		return nil, err
	}
	list := xmpp.El(xmpp.NSPubsubOwner, "affiliations", "node", w.node)
	if w.pep {
		list.Add(xmpp.El(xmpp.NSPubsubOwner, "affiliation", "jid", w.jid.String(), "affiliation", "owner"))
	}
	for jid, is := range c.Who {
		list.Add(xmpp.El(xmpp.NSPubsubOwner, "affiliation", "jid", jid, "affiliation", is))
	}
	return answer(xmpp.NSPubsubOwner, list), nil
}

// setAffiliated is §8.9.2. An account stays the only owner of its nodes, and
// no node is left without one.
func (b *broker) setAffiliated(w *wish) (*xmpp.Element, error) {
	if _, err := b.owned(w); err != nil {
		return nil, err
	}
	type change struct {
		who xmpp.JID
		is  string
	}
	var told []change
	c, err := b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		if c.Who == nil {
			c.Who = map[string]string{}
		}
		for _, k := range w.el.Children() {
			j, is, err := w.affiliate(c, k)
			if err != nil {
				return err
			}
			relate(rec, w.node, j, related(rec, w.node, j), is != "none")
			told = append(told, change{j, is})
		}
		if err := c.peopled(w.place); err != nil {
			return err
		}
		save(rec, w.node, c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, t := range told { // §8.9.4
		if !w.pep {
			b.send(w, c.Mail, t.who, answer(xmpp.NSPubsub, xmpp.El(xmpp.NSPubsub, "affiliations", "node", w.node).Add(
				xmpp.El(xmpp.NSPubsub, "affiliation", "jid", t.who.String(), "affiliation", t.is))))
		}
	}
	return nil, nil
}

var ranks = []string{"owner", "publisher", "publish-only", "member", "outcast", "none"}

func (w *wish) affiliate(c *config, k *xmpp.Element) (j xmpp.JID, is string, err error) {
	j, err = xmpp.ParseJID(k.Get("jid"))
	if err != nil || !k.Is(xmpp.NSPubsubOwner, "affiliation") {
		return j, "", xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	j, is = j.Bare(), k.Get("affiliation")
	own := w.pep && j == w.jid
	switch {
	case !slices.Contains(ranks, is), w.pep && own != (is == "owner"):
		return j, is, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	case own:
	case is == "none":
		delete(c.Who, j.String())
	default:
		c.Who[j.String()] = is
	}
	return j, is, nil
}

// peopled says whether a node's list of people is one that we keep.
func (c *config) peopled(p place) error {
	size := 0
	for a := range c.Who {
		size += len(a)
	}
	if len(c.Who) > whoMax || size > whoBytes {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	}
	if len(c.owners(p)) == 0 { // §8.9.2.4
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	return nil
}

// subscribers tells an owner who listens (§8.8.1).
func (b *broker) subscribers(w *wish) (*xmpp.Element, error) {
	if _, err := b.owned(w); err != nil {
		return nil, err
	}
	list := xmpp.El(xmpp.NSPubsubOwner, "subscriptions", "node", w.node)
	err := b.s.Store().View(w.owner, func(rec *offline.Records) error {
		for _, s := range subsOf(rec, w.node) {
			list.Add(s.element(xmpp.NSPubsubOwner, "").Set("node", ""))
		}
		return nil
	})
	return answer(xmpp.NSPubsubOwner, list), err
}

// setSubscribers lets an owner approve and end subscriptions (§8.8.2); nobody
// is made to listen who did not ask.
func (b *broker) setSubscribers(w *wish) (*xmpp.Element, error) {
	c, err := b.owned(w)
	if err != nil {
		return nil, err
	}
	return nil, b.decide(w, &c, w.el.Children())
}

// decide changes subscriptions as an owner says, and tells whose they are.
func (b *broker) decide(w *wish, c *config, list []*xmpp.Element) error {
	var told []*xmpp.Element
	_, err := b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		var gone []xmpp.JID
		for _, k := range list {
			j, err := xmpp.ParseJID(k.Get("jid"))
			if err != nil || !k.Is(xmpp.NSPubsubOwner, "subscription") {
				return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
			}
			s, is := subOf(j.String(), rec.Get("pepsub/"+w.node, j.String()))
			switch want := k.Get("subscription"); {
			case want == "none" && is && !slices.Contains(gone, j):
				gone = append(gone, j)
				told = append(told, s.element(xmpp.NSPubsubEvent, w.node).Set("subscription", "none"))
			case want == "none", want == "": // §8.8.2.1
			case want != "subscribed" || !is:
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			case s.Pending:
				s.Pending = false
				if err := s.save(rec, w.node); err != nil {
					return err
				}
				told = append(told, s.element(xmpp.NSPubsubEvent, w.node))
			}
		}
		return b.strike(rec, w.place, w.node, c, gone...)
	})
	if err != nil {
		return err
	}
	for _, el := range told { // §12.14
		j := xmpp.MustJID(el.Get("jid"))
		b.send(w, c.Mail, j, xmpp.El(xmpp.NSPubsubEvent, "event").Add(el))
		if el.Get("subscription") == "subscribed" {
			b.lastTo(w, c, j)
		}
	}
	return nil
}

const authorization = xmpp.NSPubsub + "#subscribe_authorization"

// askOwners asks those who may approve a subscription (§8.6). Their answer may
// come later, so the question waits for them.
func (b *broker) askOwners(w *wish, c *config, who xmpp.JID) {
	for _, o := range c.owners(w.place) {
		form := xmpp.El(xmpp.NSData, "x", "type", "form").Add(
			formField("FORM_TYPE", "hidden", authorization),
			formField("pubsub#node", "text-single", w.node),
			formField("pubsub#subscriber_jid", "jid-single", who.String()),
			formField("pubsub#allow", "boolean", "false"))
		b.send(w, "normal", o, form)
	}
}

// approval takes an owner's answer. A form that is cancelled leaves the
// subscription as it is; nobody else's changes anything.
func (b *broker) approval(e *relay.Errand, el *xmpp.Element) error {
	x := el.Child(xmpp.NSData, "x")
	form := map[string]string{}
	for _, f := range x.Children() {
		form[f.Get("var")] = f.Child(xmpp.NSData, "value").Text()
	}
	if x.Get("type") != "submit" || form["FORM_TYPE"] != authorization {
		return nil
	}
	w := &wish{place: b.host, from: e.From, node: form["pubsub#node"], errand: e}
	c, err := b.owned(w)
	if err != nil {
		return err
	}
	is := "none"
	if yes(form["pubsub#allow"]) {
		is = "subscribed"
	}
	return b.decide(w, &c, []*xmpp.Element{xmpp.El(xmpp.NSPubsubOwner, "subscription", "jid", form["pubsub#subscriber_jid"], "subscription", is)})
}
