// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"sotto/relay"
	"sotto/xmpp"
)

// addPEP makes each account a place (XEP-0163 §3).
func (b *broker) addPEP() {
	s := b.s
	s.HandleIQ(xmpp.NSPubsub, "pubsub", b.pep)
	s.HandleIQ(xmpp.NSPubsubOwner, "pubsub", b.pep)
	s.ForAll(xmpp.NSPubsub, "pubsub")
	s.Identity(relay.OnAccount, "pubsub", "pep", "")
	s.Identity(relay.OnServer, "pubsub", "pep", "")
	s.Disco(relay.OnAccount, xmpp.NSPubsub, xmpp.NSRSM)
	s.Disco(relay.OnServer, xmpp.NSPubsub)
	all := append([]string{"auto-create", "auto-subscribe", "filtered-notifications", "last-published", "pubsub-on-a-jid"}, features...)
	for _, f := range all {
		s.Disco(relay.OnAccount, xmpp.NSPubsub+"#"+f)
		s.Disco(relay.OnServer, xmpp.NSPubsub+"#"+f) // clients look there, too (XEP-0163 §6.1)
	}
	s.Shelf = relay.Shelf{Items: b.shown, Put: b.shelve, Drop: b.drop, Info: b.nodeInfoOf, List: b.listOf}
}

func (b *broker) of(user string) place {
	return place{xmpp.JID{Local: user, Domain: b.s.Domain()}, user, true}
}

// pep answers for an account.
func (b *broker) pep(r *relay.Request) (*xmpp.Element, error) {
	if r.ToServer() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	w := &wish{place: b.of(r.Account()), from: r.From, typ: r.Type, pubsub: r.Payload}
	el, err := b.do(w)
	r.After = func() {
		for _, f := range w.after {
			f()
		}
	}
	return el, err
}

// shown implements relay.Shelf.
func (b *broker) shown(user, node string, asker xmpp.JID) ([]*xmpp.Element, error) {
	c, l, err := b.read(b.of(user), asker, node)
	if err != nil {
		return nil, err
	}
	var all []*xmpp.Element
	for i := range l {
		all = append(all, l[i].element(xmpp.NSPubsub, &c))
	}
	return all, nil
}

// shelve implements relay.Shelf.
func (b *broker) shelve(user, node, access string, el *xmpp.Element) error {
	p := b.of(user)
	it, err := itemOf(el)
	if err != nil {
		return err
	}
	it.By = p.jid.String()
	w := &wish{place: p, from: p.jid, node: node}
	c, err := b.put(w, &it, nil, access)
	if err == nil {
		b.announce(w, &c, it.element(xmpp.NSPubsubEvent, &c))
	}
	return err
}

// drop implements relay.Shelf.
func (b *broker) drop(user, node, id string) error {
	p := b.of(user)
	c, err := b.takeBack(&wish{place: p, from: p.jid, node: node}, id)
	if err == nil && !c.NoRetract {
		b.announce(&wish{place: p, from: p.jid, node: node}, &c, xmpp.El(xmpp.NSPubsubEvent, "retract", "id", id))
	}
	return err
}
