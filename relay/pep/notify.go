// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// capsMax bounds how many capabilities are remembered.
const capsMax = 10_000

// announce tells of a change inside a node.
func (p *pep) announce(user, node string, c *config, change *xmpp.Element) {
	p.tell(user, node, c, xmpp.El(xmpp.NSPubsubEvent, "items", "node", node).Add(change))
}

// tell sends an event to who wants it and may have it (XEP-0163 §4): contacts
// by their capabilities, and those who subscribed (XEP-0060 §6.1).
func (p *pep) tell(user, node string, c *config, what *xmpp.Element) {
	var subs []xmpp.JID
	err := p.s.Store().View(user, func(rec *offline.Records) error {
		subs = subscribers(rec, node)
		return nil
	})
	if err != nil {
		p.s.Log().Error("subscribers", "err", err)
	}
	p.tellThese(user, node, c, what, subs)
}

func (p *pep) tellThese(user, node string, c *config, what *xmpp.Element, subs []xmpp.JID) {
	own := xmpp.JID{Local: user, Domain: p.s.Domain()}
	told := map[*relay.Session]bool{}
	for _, who := range append(p.s.Watchers(user), own) {
		if !p.mayHear(who, user, c) {
			continue
		}
		for _, x := range p.s.Sessions(who.Local) {
			if p.wanted(x, node) && !told[x] {
				told[x] = true
				x.Push(event(own, x, what))
			}
		}
	}
	for _, who := range subs {
		if !p.mayHear(who, user, c) {
			continue
		}
		for _, x := range p.s.Sessions(who.Local) {
			if (who.IsBare() && x.Available() || who == x.JID()) && !told[x] {
				told[x] = true
				x.Push(event(own, x, what))
			}
		}
	}
}

func (p *pep) mayHear(who xmpp.JID, user string, c *config) bool {
	own := xmpp.JID{Local: user, Domain: p.s.Domain()}
	return p.s.Local(who) && p.allowed(who, user, c) == nil && !p.s.Blocks(user, who) && !p.s.Blocks(who.Local, own)
}

func event(from xmpp.JID, to *relay.Session, what *xmpp.Element) *xmpp.Element {
	m := xmpp.El(xmpp.NSClient, "message", "type", "headline", "from", from.String(), "to", to.JID().String(), "id", relay.NewID())
	return m.Add(xmpp.El(xmpp.NSPubsubEvent, "event").Add(what.Clone()))
}

func (p *pep) wanted(x *relay.Session, node string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wants[x][node]
}

// presence learns from capabilities what a client wants to hear of (XEP-0115
// §8, XEP-0163 §5).
func (p *pep) presence(x *relay.Session, st *xmpp.Stanza, el *xmpp.Element) error {
	c := el.Child(xmpp.NSCaps, "c")
	if st.HasTo || st.Type != "" || c == nil {
		return nil
	}
	ver := c.Get("ver")
	p.mu.Lock()
	known, ok := p.caps[ver]
	p.mu.Unlock()
	if ok && c.Get("hash") == "sha-1" {
		p.learn(x, known)
		return nil
	}
	q := xmpp.El(xmpp.NSDiscoInfo, "query", "node", c.Get("node")+"#"+ver)
	x.Ask(xmpp.El(xmpp.NSClient, "iq", "type", "get").Add(q), func(a *xmpp.Stanza) { p.answered(x, c, a) })
	return nil
}

// answered takes a client's disco#info. It is remembered for others only when
// the hash proves it: else one client could lie for all (XEP-0115 §5.4).
func (p *pep) answered(x *relay.Session, c *xmpp.Element, a *xmpp.Stanza) {
	el, err := a.Element()
	if err != nil || a.Type != "result" {
		return
	}
	q := el.Child(xmpp.NSDiscoInfo, "query")
	nodes := map[string]bool{}
	for _, f := range q.Children() {
		if n, ok := strings.CutSuffix(f.Get("var"), "+notify"); ok && f.Is(xmpp.NSDiscoInfo, "feature") {
			nodes[n] = true
		}
	}
	if c.Get("hash") == "sha-1" && relay.CapsHash(q) == c.Get("ver") {
		p.mu.Lock()
		if len(p.caps) < capsMax {
			p.caps[c.Get("ver")] = nodes
		}
		p.mu.Unlock()
	}
	p.learn(x, nodes)
}

// learn notes the wishes of a session and sends it the last items of what is
// new among them (XEP-0163 §4.3.4).
func (p *pep) learn(x *relay.Session, nodes map[string]bool) {
	p.mu.Lock()
	old := p.wants[x]
	p.wants[x] = nodes
	p.mu.Unlock()
	own := x.JID().Bare()
	for _, who := range append(p.s.Watched(x.User()), own) {
		if p.s.Local(who) && !p.s.Blocks(who.Local, own) && !p.s.Blocks(x.User(), who) {
			p.last(x, who, nodes, old)
		}
	}
}

func (p *pep) last(x *relay.Session, who xmpp.JID, nodes, old map[string]bool) {
	type newest struct {
		c  config
		el *xmpp.Element
	}
	var all []newest
	err := p.s.Store().View(who.Local, func(rec *offline.Records) error {
		for node := range nodes {
			c, ok := loadConfig(rec, node)
			if !ok || old[node] || c.Last != "on_sub_and_presence" {
				continue
			}
			if l := c.unexpired(items(rec, node), p.s.Now()); len(l) > 0 {
				it := l[len(l)-1].element(xmpp.NSPubsubEvent)
				all = append(all, newest{c, xmpp.El(xmpp.NSPubsubEvent, "items", "node", node).Add(it)})
			}
		}
		return nil
	})
	if err != nil {
		p.s.Log().Error("last items", "err", err)
	}
	for i := range all {
		if p.allowed(x.JID(), who.Local, &all[i].c) == nil {
			x.Push(event(who, x, all[i].el))
		}
	}
}

func (p *pep) gone(x *relay.Session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.wants, x)
}
