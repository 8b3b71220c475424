// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// What is remembered of capabilities, and of the wishes of one session.
const (
	capsMax  = 10_000
	wantsMax = 500
)

func (b *broker) wanted(x *relay.Session, node string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.wants[x][node]
}

// presence learns from capabilities what a client wants to hear of (XEP-0115
// §8, XEP-0163 §5), and sends who comes what subscriptions owe him.
func (b *broker) presence(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	if !st.HasTo && st.Type == "" {
		b.capable(x, el, func(nodes map[string]bool) { b.learn(x, nodes) })
	}
	return nil
}

// revive learns again what a client wants to hear of that resumed after a crash:
// it will not say it by itself, and may have missed something.
func (b *broker) revive(x *relay.Session) {
	if p := x.Presence(); p != nil {
		b.capable(x, p, func(nodes map[string]bool) { b.learn(x, nodes) })
	}
}

// arrival does the same for those of other servers who show themselves here:
// for each person whom they do it to, once.
func (b *broker) arrival(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	if st.Type != "" || !x.Available() {
		return nil
	}
	owner := st.To.Bare()
	b.capable(x, el, func(nodes map[string]bool) {
		b.mu.Lock()
		met := b.met[x]
		if met == nil {
			met = map[xmpp.JID]bool{}
			b.met[x] = met
		}
		again := met[owner] || len(met) >= metMax
		if !again {
			met[owner] = true
		}
		b.wants[x] = nodes
		b.mu.Unlock()
		if !again && !b.s.Blocks(owner.Local, x.JID()) {
			b.last(x, owner, nodes, nil)
		}
	})
	return nil
}

// metMax is how many people here a client of another server may see.
const metMax = 5000

// capable reads the capabilities in a presence, and asks for those that it does
// not know.
func (b *broker) capable(x *relay.Session, el *xmpp.Element, then func(nodes map[string]bool)) {
	c := el.Child(xmpp.NSCaps, "c")
	if c == nil {
		return
	}
	ver := c.Get("ver")
	b.mu.Lock()
	known, ok := b.caps[ver]
	b.mu.Unlock()
	if ok && c.Get("hash") == "sha-1" {
		then(known)
		return
	}
	q := xmpp.El(xmpp.NSDiscoInfo, "query", "node", c.Get("node")+"#"+ver)
	x.Ask(xmpp.El(xmpp.NSClient, "iq", "type", "get").Add(q), func(a *xmpp.Stanza) { b.answered(c, a, then) })
}

// answered takes a client's disco#info. It is remembered for others only when
// the hash proves it: else one client could lie for all (XEP-0115 §5.4).
func (b *broker) answered(c *xmpp.Element, a *xmpp.Stanza, then func(nodes map[string]bool)) {
	el, err := a.Element()
	if err != nil || a.Type != "result" {
		return
	}
	q := el.Child(xmpp.NSDiscoInfo, "query")
	nodes := map[string]bool{}
	for _, f := range q.Children() {
		n, ok := strings.CutSuffix(f.Get("var"), "+notify")
		if ok && f.Is(xmpp.NSDiscoInfo, "feature") && len(nodes) < wantsMax {
			nodes[n] = true
		}
	}
	if c.Get("hash") == "sha-1" && relay.CapsHash(q) == c.Get("ver") {
		b.mu.Lock()
		if len(b.caps) < capsMax {
			b.caps[c.Get("ver")] = nodes
		}
		b.mu.Unlock()
	}
	then(nodes)
}

// learn notes the wishes of a session and sends it the last items of what is
// new among them (XEP-0163 §4.3.4).
func (b *broker) learn(x *relay.Session, nodes map[string]bool) {
	b.mu.Lock()
	old := b.wants[x]
	b.wants[x] = nodes
	b.mu.Unlock()
	own := x.JID().Bare()
	for _, who := range append(b.s.Watched(x.User()), own) {
		if b.s.Local(who) && !b.s.Blocks(who.Local, own) && !b.s.Blocks(x.User(), who) {
			b.last(x, who, nodes, old)
		}
	}
}

func (b *broker) last(x *relay.Session, who xmpp.JID, nodes, old map[string]bool) {
	type newest struct {
		c    config
		node string
		el   *xmpp.Element
	}
	var all []newest
	p := b.of(who.Local)
	err := b.s.Store().View(p.owner, func(rec *offline.Records) error {
		for node := range nodes {
			c, ok := load(rec, node)
			if !ok || old[node] || c.Last != "on_sub_and_presence" || c.Mute {
				continue
			}
			if l := c.unexpired(itemsOf(rec, node), b.s.Now()); len(l) > 0 {
				it := l[len(l)-1].element(xmpp.NSPubsubEvent, &c)
				all = append(all, newest{c, node, xmpp.El(xmpp.NSPubsubEvent, "items", "node", node).Add(it)})
			}
		}
		return nil
	})
	if err != nil {
		b.s.Log().Error("last items", "err", err)
	}
	for i := range all {
		if b.mayRead(p, all[i].node, &all[i].c, x.JID()) == nil {
			x.Push(b.message(&wish{place: p}, "headline", x.JID(), xmpp.El(xmpp.NSPubsubEvent, "event").Add(all[i].el)))
		}
	}
}

func (b *broker) gone(x *relay.Session) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.wants, x)
	delete(b.met, x)
}
