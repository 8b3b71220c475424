// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"encoding/json"
	"slices"
	"strconv"
	"sync"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

type pep struct {
	s *relay.Server

	mu    sync.Mutex
	caps  map[string]map[string]bool         // verified hash -> nodes wanted
	wants map[*relay.Session]map[string]bool // nodes that a session wants to hear of
}

// Add registers the family.
func Add(s *relay.Server) {
	p := &pep{s: s, caps: map[string]map[string]bool{}, wants: map[*relay.Session]map[string]bool{}}
	s.HandleIQ(xmpp.NSPubsub, "pubsub", p.pubsub)
	s.HandleIQ(xmpp.NSPubsubOwner, "pubsub", p.owner)
	s.Identity(relay.OnAccount, "pubsub", "pep", "")
	s.Identity(relay.OnServer, "pubsub", "pep", "")
	s.Disco(relay.OnAccount, xmpp.NSPubsub)
	s.Disco(relay.OnServer, xmpp.NSPubsub)
	for _, f := range []string{
		"access-open", "access-presence", "access-roster", "access-whitelist", "auto-create", "auto-subscribe", "config-node",
		"config-node-max", "create-and-configure", "create-nodes", "delete-items", "delete-nodes", "filtered-notifications",
		"item-ids", "last-published", "manage-subscriptions", "member-affiliation", "modify-affiliations", "multi-items",
		"outcast-affiliation", "persistent-items", "presence-notifications", "publish", "publish-options", "purge-nodes",
		"retract-items", "retrieve-affiliations", "retrieve-default", "retrieve-items", "retrieve-subscriptions", "subscribe",
	} {
		s.Disco(relay.OnAccount, xmpp.NSPubsub+"#"+f)
		s.Disco(relay.OnServer, xmpp.NSPubsub+"#"+f) // clients look there, too (XEP-0163 §6.1)
	}
	s.Shelf = relay.Shelf{Items: p.shown, Put: p.put, Drop: p.drop}
	s.OnPresence(p.presence)
	s.OnGone(p.gone)
}

// verbs of the pubsub namespace and of its owner part.
type verb func(p *pep, r *relay.Request, el *xmpp.Element) (*xmpp.Element, error)

func (p *pep) pubsub(r *relay.Request) (*xmpp.Element, error) {
	return p.dispatch(r, map[string]verb{
		"set publish": (*pep).publish, "set retract": (*pep).retract, "set create": (*pep).create, "get items": (*pep).get,
		"set subscribe": (*pep).subscribe, "set unsubscribe": (*pep).unsubscribe,
		"get subscriptions": (*pep).subscriptions, "get affiliations": (*pep).affiliations,
	})
}

func (p *pep) owner(r *relay.Request) (*xmpp.Element, error) {
	return p.dispatch(r, map[string]verb{
		"get configure": (*pep).showConfig, "set configure": (*pep).setConfig, "set delete": (*pep).remove, "set purge": (*pep).purge,
		"get default": (*pep).showDefault, "get subscriptions": (*pep).subscribers, "set subscriptions": (*pep).setSubscribers,
		"get affiliations": (*pep).affiliated, "set affiliations": (*pep).setAffiliated,
	})
}

// forAll are the verbs that anybody may try; wide ones need no node.
var (
	forAll = []string{"items", "subscribe", "unsubscribe", "subscriptions", "affiliations"}
	wide   = []string{"subscriptions", "affiliations"}
)

func (p *pep) dispatch(r *relay.Request, verbs map[string]verb) (*xmpp.Element, error) {
	if r.ToServer() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	for _, k := range r.Payload.Children() {
		f := verbs[r.Type+" "+k.Name.Local]
		if f == nil {
			continue
		}
		if !r.Own() && (k.Name.Space == xmpp.NSPubsubOwner || !slices.Contains(forAll, k.Name.Local)) {
			return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
		}
		all := k.Name.Local == "default" || k.Name.Space == xmpp.NSPubsub && slices.Contains(wide, k.Name.Local)
		if node := k.Get("node"); node == "" && !all || len(node) > 1023 {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "nodeid-required"))
		}
		return f(p, r, k)
	}
	return nil, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
}

// publish is XEP-0060 §7.1 with preconditions (§7.1.5); the node is made when
// it is not there (XEP-0163 §3).
func (p *pep) publish(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	kids := el.Children()
	if len(kids) != 1 || !kids[0].Is(xmpp.NSPubsub, "item") {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(xmpp.NSPubsubErrors, "invalid-payload"))
	}
	it, err := itemOf(kids[0])
	if err != nil {
		return nil, err
	}
	options := r.Payload.Child(xmpp.NSPubsub, "publish-options").Child(xmpp.NSData, "x")
	var c config
	err = p.s.Store().Update(r.From.Local, func(rec *offline.Records) (err error) {
		c, err = p.store(rec, node, &it, options)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.announce(r.From.Local, node, &c, it.element(xmpp.NSPubsubEvent))
	p.s.Published(r.From.Local, node)
	return xmpp.El(xmpp.NSPubsub, "pubsub").Add(xmpp.El(xmpp.NSPubsub, "publish", "node", node).
		Add(xmpp.El(xmpp.NSPubsub, "item", "id", it.ID))), nil
}

func (p *pep) store(rec *offline.Records, node string, it *item, options *xmpp.Element) (config, error) {
	c, err := p.ready(rec, node, options)
	if err != nil {
		return c, err
	}
	c.Next++
	it.Seq = c.Next
	if !c.Persist {
		saveConfig(rec, node, c)
		return c, nil
	}
	now := p.s.Now()
	if c.Expire > 0 {
		it.At = now.Unix()
	}
	old := slices.DeleteFunc(items(rec, node), func(o item) bool { return o.ID == it.ID })
	live := c.unexpired(slices.Clone(old), now)
	live = live[max(0, len(live)-c.MaxItems+1):]
	keep := map[string]bool{}
	size := len(it.XML)
	for i := range live {
		keep[live[i].ID] = true
		size += len(live[i].XML)
	}
	if err := room(rec, node, &c, size); err != nil {
		return c, err
	}
	for i := range old {
		if !keep[old[i].ID] {
			rec.Delete("pep/"+node, old[i].ID)
		}
	}
	saveConfig(rec, node, c)
	b, err := json.Marshal(it)
	if err == nil {
		rec.Put("pep/"+node, it.ID, b)
	}
	return c, err
}

// room notes how large a node is, or refuses what would be too much.
func room(rec *offline.Records, node string, c *config, size int) error {
	grows := size > c.Bytes
	c.Bytes = size
	if !grows {
		return nil
	}
	all := size
	rec.Each("pepnode", func(name string, v []byte) bool {
		var o config
		if name != node && json.Unmarshal(v, &o) == nil {
			all += o.Bytes
		}
		return true
	})
	if size > nodeMax || all > accountMax {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too much is published; take something back first")
	}
	return nil
}

// ready gives the node's configuration, making the node if need be.
func (p *pep) ready(rec *offline.Records, node string, options *xmpp.Element) (config, error) {
	c, ok := loadConfig(rec, node)
	if ok {
		want := c
		if err := want.read(options, true); err != nil {
			return c, err
		}
		if !want.same(&c) {
			return c, unmet()
		}
		return c, nil
	}
	c = fresh(node)
	n := 0
	rec.Each("pepnode", func(string, []byte) bool { n++; return true })
	if n >= nodesMax {
		return c, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).With(xmpp.El(xmpp.NSPubsubErrors, "max-nodes-exceeded"))
	}
	return c, c.read(options, false)
}

// get is XEP-0060 §6.5: all items, the newest few, or those named.
func (p *pep) get(r *relay.Request, el *xmpp.Element) (*xmpp.Element, error) {
	node := el.Get("node")
	var all []item
	var c config
	err := p.s.Store().View(r.Account(), func(rec *offline.Records) error {
		var ok bool
		if c, ok = loadConfig(rec, node); !ok {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		all = c.unexpired(items(rec, node), p.s.Now())
		return nil
	})
	if err == nil { // outside of View: one view inside another can lock up
		err = p.allowed(r.From, r.Account(), &c)
	}
	if err != nil {
		return nil, err
	}
	if n, err := strconv.Atoi(el.Get("max_items")); err == nil && n >= 0 && n < len(all) {
		all = all[len(all)-n:]
	}
	named := map[string]bool{}
	for _, k := range el.Children() {
		named[k.Get("id")] = true
	}
	list := xmpp.El(xmpp.NSPubsub, "items", "node", node)
	for i := range all {
		if len(named) == 0 || named[all[i].ID] {
			list.Add(all[i].element(xmpp.NSPubsub))
		}
	}
	return xmpp.El(xmpp.NSPubsub, "pubsub").Add(list), nil
}

// allowed is the access model (XEP-0060 §4.5).
func (p *pep) allowed(who xmpp.JID, user string, c *config) error {
	part := c.Who[who.Bare().String()]
	switch {
	case p.s.Local(who) && who.Local == user:
		return nil
	case part == "outcast":
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) // §4.1
	case c.Access == "open", part == "member":
		return nil
	case c.Access == "presence":
		if p.s.MaySee(who, user) {
			return nil
		}
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(xmpp.El(xmpp.NSPubsubErrors, "presence-subscription-required"))
	case c.Access == "roster":
		in := p.s.Groups(user, who)
		if p.s.MaySee(who, user) && slices.ContainsFunc(c.Groups, func(g string) bool { return slices.Contains(in, g) }) {
			return nil
		}
		return xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(xmpp.El(xmpp.NSPubsubErrors, "not-in-roster-group"))
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed).With(xmpp.El(xmpp.NSPubsubErrors, "closed-node"))
}
