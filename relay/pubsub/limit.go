// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"encoding/json"

	"sotto/offline"
	"sotto/xmpp"
)

// Nobody's nodes may grow without bound.
const (
	nameMax    = 1023 // of a node, an item
	itemsMax   = 1000
	itemsUsual = 20 // of a node of the service
	payloadMax = 128 << 10
	nodeMax    = 1 << 20 // bytes, so that an answer with all of them is no flood
	titleMax   = 256
	groupsMax  = 50
	whoMax     = 500      // people whom one node knows by name
	whoBytes   = 64 << 10 // and their names
	subsMax    = 1000     // subscribers of one node
	subsOne    = 10       // of them with one bare address
	shownMax   = 1000     // entries of a list in one answer
)

// A use is how much somebody, or a place, has of what is bounded.
type use struct{ Nodes, Bytes, Subs int }

// The bounds of one person (at his own nodes, or at the service), of the whole
// service, and of all people of another domain at it.
var (
	personMax = use{200, 8 << 20, 5000}
	hostMax   = use{10_000, 256 << 20, 100_000}
	domainMax = use{0, 0, 10_000}
)

func (u use) beyond(m use) bool { return u.Nodes > m.Nodes || u.Bytes > m.Bytes || u.Subs > m.Subs }

// spend notes that so much more, or less, is used by who: "" is the place. It
// must come before the transaction changes any node.
func (p *place) spend(rec *offline.Records, who string, d, limit use) error {
	var u use
	if v := rec.Get("pepuse", who); v == nil {
		u = p.count(rec, who)
	} else if err := json.Unmarshal(v, &u); err != nil {
		return err
	}
	grows := d.Nodes > 0 || d.Bytes > 0 || d.Subs > 0
	u = use{max(0, u.Nodes+d.Nodes), max(0, u.Bytes+d.Bytes), max(0, u.Subs+d.Subs)}
	if grows && u.beyond(limit) {
		return tooMuch(u, limit)
	}
	v, err := json.Marshal(u)
	if err == nil {
		rec.Put("pepuse", who, v)
	}
	return err
}

// count looks through nodes of which no count was kept.
func (p *place) count(rec *offline.Records, who string) (u use) {
	if !p.pep { // the service has counted from the beginning
		return u
	}
	rec.Each("pepnode", func(node string, v []byte) bool {
		var c config
		if json.Unmarshal(v, &c) == nil {
			u.Nodes++
			u.Bytes += c.Bytes
		}
		return true
	})
	return u
}

func tooMuch(u, limit use) error {
	switch {
	case u.Nodes > limit.Nodes:
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).With(fault("max-nodes-exceeded"))
	case u.Subs > limit.Subs:
		return tooManySubs()
	}
	return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too much is published; take something back first")
}

func tooManySubs() error { // XEP-0060 §6.1.3.9
	return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).With(fault("too-many-subscriptions"))
}

// publishes notes what the items of a node weigh, and nodes that come or go.
func (p *place) publishes(rec *offline.Records, creator string, nodes, bytes int) error {
	d := use{Nodes: nodes, Bytes: bytes}
	if d == (use{}) {
		return nil
	}
	if p.pep {
		return p.spend(rec, "", d, personMax)
	}
	if err := p.spend(rec, "", d, hostMax); err != nil {
		return err
	}
	return p.spend(rec, creator, d, personMax)
}

// subscribed notes that somebody has one more subscription, or one less.
func (b *broker) counts(rec *offline.Records, p place, who xmpp.JID, n int) error {
	d := use{Subs: n}
	if p.pep {
		return p.spend(rec, "", d, personMax)
	}
	if err := p.spend(rec, "", d, hostMax); err != nil {
		return err
	}
	if !b.s.Local(who) {
		if err := p.spend(rec, "@"+who.Domain, d, domainMax); err != nil {
			return err
		}
	}
	return p.spend(rec, who.Bare().String(), d, personMax)
}
