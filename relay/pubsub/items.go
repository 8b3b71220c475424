// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"
	"strconv"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/rsm"
)

// read gives a node's items, the oldest first, to who may have them.
func (b *broker) read(p place, who xmpp.JID, node string) (c config, all []item, err error) {
	err = b.s.Store().View(p.owner, func(rec *offline.Records) error {
		var ok bool
		if c, ok = load(rec, node); !ok {
			return notFound()
		}
		all = c.unexpired(itemsOf(rec, node), b.s.Now())
		return nil
	})
	if err == nil {
		err = b.mayRead(p, node, &c, who)
	}
	return c, all, err
}

// items is XEP-0060 §6.5: all, the newest few, those named, or a page.
func (b *broker) items(w *wish) (*xmpp.Element, error) {
	c, all, err := b.read(w.place, w.from, w.node)
	if err != nil {
		return nil, err
	}
	if !c.Persist { // §6.5.9.4
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented).With(fault("unsupported").Set("feature", "persistent-items"))
	}
	if m := w.el.Get("max_items"); m != "" { // §6.5.7
		n, err := strconv.ParseUint(m, 10, 63)
		if err != nil {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		all = all[len(all)-int(min(n, uint64(len(all)))):]
	}
	named := map[string]bool{}
	for _, k := range w.el.Children() {
		named[k.Get("id")] = true
	}
	all = slices.DeleteFunc(all, func(i item) bool { return len(named) > 0 && !named[i.ID] })
	all, set, err := page(w.pubsub, all, itemsMax, func(i *item) string { return i.ID })
	if err != nil {
		return nil, err
	}
	list := xmpp.El(xmpp.NSPubsub, "items", "node", w.node)
	for i := range all {
		list.Add(all[i].element(xmpp.NSPubsub, &c))
	}
	return answer(xmpp.NSPubsub, list, set), nil
}

// page cuts a list as asked for (§6.5.4). Without a question there is no note
// of it, unless the list had to be cut.
func page[T any](el *xmpp.Element, all []T, most int, id func(*T) string) ([]T, *xmpp.Element, error) {
	ask, err := rsm.Parse(el.Child(xmpp.NSRSM, "set"))
	if err != nil {
		return nil, nil, err
	}
	if ask == nil && len(all) <= most {
		return all, nil, nil
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = id(&all[i])
	}
	from, to, err := ask.Cut(ids, most)
	if err != nil {
		return nil, nil, err
	}
	return all[from:to], rsm.Set(ids, from, to), nil
}

// nodeInfo is §5.3; what a node is about is for those who may read it (§5.4).
func (b *broker) nodeInfo(p place, who xmpp.JID, node string) (*xmpp.Element, error) {
	c, err := b.look(p, node)
	if err != nil {
		return nil, err
	}
	q := xmpp.El(xmpp.NSDiscoInfo, "query", "node", node).Add(
		xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "pubsub", "type", "leaf", "name", c.Title),
		xmpp.El(xmpp.NSDiscoInfo, "feature", "var", xmpp.NSPubsub))
	if err := b.mayRead(p, node, &c, who); err != nil {
		if p.pep {
			return nil, err
		}
		return q, nil
	}
	x := xmpp.El(xmpp.NSData, "x", "type", "result").Add(formField("FORM_TYPE", "hidden", xmpp.NSPubsub+"#meta-data"))
	for i := range fields {
		switch f := &fields[i]; f.name {
		case "title", "description", "type", "access_model", "publish_model", "max_items":
			if v := f.get(&c); v != "" {
				x.Add(formField("pubsub#"+f.name, "text-single", v))
			}
		}
	}
	owners := xmpp.El(xmpp.NSData, "field", "var", "pubsub#owner", "type", "jid-multi")
	for _, o := range c.owners(p) {
		owners.Add(value(o.String()))
	}
	if c.Made > 0 {
		x.Add(formField("pubsub#creator", "jid-single", c.Creator),
			formField("pubsub#creation_date", "text-single", time.Unix(c.Made, 0).UTC().Format("2006-01-02T15:04:05Z")))
	}
	return q.Add(x.Add(owners, formField("pubsub#num_subscribers", "text-single", strconv.Itoa(c.Subs)))), nil
}

// nodeInfoOf and listOf implement relay.Shelf.
func (b *broker) nodeInfoOf(r *relay.Request) (*xmpp.Element, error) {
	return b.nodeInfo(b.of(r.Account()), r.From, r.Payload.Get("node"))
}

func (b *broker) listOf(r *relay.Request) ([]*xmpp.Element, error) {
	p := b.of(r.Account())
	if r.Payload.Get("node") != "" {
		return b.itemList(p, r.From, r.Payload)
	}
	var names []string
	err := b.s.Store().View(p.owner, func(rec *offline.Records) error {
		rec.Each("pepnode", func(node string, _ []byte) bool {
			names = append(names, node)
			return true
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return b.nodeList(p, r.From, r.Payload, names)
}

// nodeList shows the nodes that somebody may read (§5.2).
func (b *broker) nodeList(p place, who xmpp.JID, q *xmpp.Element, names []string) ([]*xmpp.Element, error) {
	names, set, err := page(q, names, shownMax, func(s *string) string { return *s })
	if err != nil {
		return nil, err
	}
	found := make([]config, len(names))
	err = b.s.Store().View(p.owner, func(rec *offline.Records) error {
		for i, node := range names {
			found[i], _ = load(rec, node)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var list []*xmpp.Element
	for i, node := range names {
		c := &found[i]
		if c.Access == "" || b.mayRead(p, node, c, who) != nil {
			continue
		}
		list = append(list, xmpp.El(xmpp.NSDiscoItems, "item", "jid", p.jid.String(), "node", node, "name", c.Title))
	}
	if set != nil {
		list = append(list, set)
	}
	return list, nil
}

// itemList names the items of a node (§5.5).
func (b *broker) itemList(p place, who xmpp.JID, q *xmpp.Element) ([]*xmpp.Element, error) {
	_, all, err := b.read(p, who, q.Get("node"))
	if err != nil {
		return nil, err
	}
	all, set, err := page(q, all, itemsMax, func(i *item) string { return i.ID })
	if err != nil {
		return nil, err
	}
	var list []*xmpp.Element
	for i := range all {
		list = append(list, xmpp.El(xmpp.NSDiscoItems, "item", "jid", p.jid.String(), "name", all[i].ID))
	}
	if set != nil {
		list = append(list, set)
	}
	return list, nil
}
