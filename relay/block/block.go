// SPDX-License-Identifier: Apache-2.0

package block

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// listMax bounds a block list.
const listMax = 5000

type block struct {
	s *relay.Server

	mu     sync.Mutex
	lists  map[string]map[string]bool // by user, read once
	pushTo map[*relay.Session]bool    // asked for the list (XEP-0191 §3.3)
}

// Add registers the family.
func Add(s *relay.Server) {
	b := &block{s: s, lists: map[string]map[string]bool{}, pushTo: map[*relay.Session]bool{}}
	s.Blocks = b.blocks
	s.Disco(relay.OnServer, xmpp.NSBlock, xmpp.NSReport)
	s.Disco(relay.OnAccount, xmpp.NSBlock)
	s.HandleIQ(xmpp.NSBlock, "blocklist", b.list)
	s.HandleIQ(xmpp.NSBlock, "block", b.block)
	s.HandleIQ(xmpp.NSBlock, "unblock", b.unblock)
	s.Part(relay.Part{Out: b.out, In: b.in})
	s.OnGone(func(x *relay.Session) {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.pushTo, x)
	})
	s.OnDelete(func(user string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.lists, user)
	})
}

// of gives a user's list; it is never changed, only replaced.
func (b *block) of(user string) map[string]bool {
	b.mu.Lock()
	l, ok := b.lists[user]
	b.mu.Unlock()
	if ok {
		return l
	}
	if _, err := b.s.Store().Account(user); err != nil {
		return nil
	}
	l = map[string]bool{}
	err := b.s.Store().View(user, func(r *offline.Records) error {
		r.Each("block", func(jid string, _ []byte) bool {
			l[jid] = true
			return true
		})
		return nil
	})
	if err != nil { // what can be read of it still holds
		b.s.Log().Error("block list", "err", err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if now, ok := b.lists[user]; ok {
		return now
	}
	b.lists[user] = l
	return l
}

// blocks matches full address, bare address, host with resource, host
// (XEP-0191 §4).
func (b *block) blocks(user string, j xmpp.JID) bool {
	if b.s.Local(j) && j.Local == user {
		return false
	}
	l := b.of(user)
	if len(l) == 0 {
		return false
	}
	host := xmpp.JID{Domain: j.Domain, Resource: j.Resource}
	return l[j.String()] || l[j.Bare().String()] || l[host.String()] || l[j.Domain]
}

func (b *block) list(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "get" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	}
	b.mu.Lock()
	b.pushTo[r.Session] = true
	b.mu.Unlock()
	el := xmpp.El(xmpp.NSBlock, "blocklist")
	for jid := range b.of(r.From.Local) {
		el.Add(xmpp.El(xmpp.NSBlock, "item", "jid", jid))
	}
	return el, nil
}

// wish reads the addresses of a request.
func wish(r *relay.Request) ([]xmpp.JID, error) {
	if r.Type != "set" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	}
	var all []xmpp.JID
	for _, k := range r.Payload.Children() {
		j, err := xmpp.ParseJID(k.Get("jid"))
		if err != nil || !k.Is(xmpp.NSBlock, "item") {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		all = append(all, j)
	}
	return all, nil
}

func (b *block) block(r *relay.Request) (*xmpp.Element, error) {
	all, err := wish(r)
	if err == nil && len(all) == 0 {
		err = xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // §3.3
	}
	if err != nil {
		return nil, err
	}
	if len(b.of(r.From.Local))+len(all) > listMax {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the block list is full")
	}
	b.show(r.From.Local, all, false) // while it still goes through
	err = b.change(r.From.Local, func(l map[string]bool, rec *offline.Records) {
		for _, j := range all {
			l[j.String()] = true
			rec.Put("block", j.String(), []byte{1})
		}
		b.report(rec, r.Payload)
	})
	if err == nil {
		b.push(r)
		b.toOperator(r)
	}
	return nil, err
}

func (b *block) unblock(r *relay.Request) (*xmpp.Element, error) {
	all, err := wish(r)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 { // §3.4: all of them
		for jid := range b.of(r.From.Local) {
			if j, err := xmpp.ParseJID(jid); err == nil {
				all = append(all, j)
			}
		}
	}
	err = b.change(r.From.Local, func(l map[string]bool, rec *offline.Records) {
		for _, j := range all {
			delete(l, j.String())
			rec.Delete("block", j.String())
		}
	})
	if err == nil {
		b.show(r.From.Local, all, true)
		b.push(r)
	}
	return nil, err
}

func (b *block) change(user string, f func(l map[string]bool, rec *offline.Records)) error {
	l := map[string]bool{}
	for jid := range b.of(user) {
		l[jid] = true
	}
	err := b.s.Store().Update(user, func(rec *offline.Records) error {
		f(l, rec)
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lists[user] = l
	return nil
}

// push tells the resources that asked for the list (§3.3).
func (b *block) push(r *relay.Request) {
	el := xmpp.El(xmpp.NSBlock, r.Payload.Name.Local)
	for _, k := range r.Payload.Children() { // without what is for the operator
		el.Add(xmpp.El(xmpp.NSBlock, "item", "jid", k.Get("jid")))
	}
	for _, x := range b.s.Sessions(r.From.Local) {
		b.mu.Lock()
		asked := b.pushTo[x]
		b.mu.Unlock()
		if asked {
			iq := xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", relay.NewID(), "to", x.JID().String())
			x.Push(iq.Add(el.Clone()))
		}
	}
}

// show gives the watchers among those addresses the user's presence, or takes
// it away (§3.3, §3.4).
func (b *block) show(user string, all []xmpp.JID, visible bool) {
	for _, who := range b.s.Watchers(user) {
		if !among(who, all) {
			continue
		}
		for _, x := range b.s.Sessions(user) {
			p := x.Presence()
			if p == nil {
				continue
			}
			if !visible {
				p = xmpp.El(xmpp.NSClient, "presence", "type", "unavailable", "from", x.JID().String())
			}
			if b.s.Elsewhere(who) {
				_ = b.s.Route(p.Clone().Set("to", who.String())) // without a way there, nobody there saw him
				continue
			}
			if !b.s.Local(who) {
				continue
			}
			for _, y := range b.s.Sessions(who.Local) {
				if y.Available() {
					y.Push(p.Clone().Set("to", who.String()))
				}
			}
		}
	}
}

func among(who xmpp.JID, all []xmpp.JID) bool {
	for _, j := range all {
		if j.Domain == who.Domain && (j.Local == "" || j.Local == who.Local) {
			return true
		}
	}
	return false
}

const nsPrivacy = "jabber:iq:privacy"

// out is the list as a privacy list (XEP-0227 §4.8), which all servers read.
func (b *block) out(user string) ([]*xmpp.Element, error) {
	all := slices.Sorted(maps.Keys(b.of(user)))
	if len(all) == 0 {
		return nil, nil
	}
	list := xmpp.El(nsPrivacy, "list", "name", "blocked")
	for n, jid := range all {
		list.Add(xmpp.El(nsPrivacy, "item", "type", "jid", "value", jid, "action", "deny", "order", strconv.Itoa(n+1)))
	}
	return []*xmpp.Element{xmpp.El(nsPrivacy, "query").Add(xmpp.El(nsPrivacy, "default", "name", "blocked"), list)}, nil
}

// in takes from the list that is in force whom it keeps out altogether.
func (b *block) in(user string, el *xmpp.Element) (mine bool, err error) {
	if !el.Is(nsPrivacy, "query") {
		return false, nil
	}
	name := el.Child(nsPrivacy, "default").Get("name")
	var all []xmpp.JID
	left := 0
	for _, list := range el.Children() {
		if !list.Is(nsPrivacy, "list") || list.Get("name") != name {
			continue
		}
		for _, k := range list.Children() {
			if k.Get("action") == "allow" {
				continue // as it is without a rule
			}
			j, err := xmpp.ParseJID(k.Get("value"))
			if err != nil || k.Get("type") != "jid" || k.Get("action") != "deny" || len(k.Children()) > 0 || len(all) >= listMax {
				left++
				continue
			}
			all = append(all, j)
		}
	}
	err = b.change(user, func(l map[string]bool, rec *offline.Records) {
		for _, j := range all {
			l[j.String()] = true
			rec.Put("block", j.String(), []byte{1})
		}
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d rules of the privacy list are left out", left)
	}
	return true, err
}
