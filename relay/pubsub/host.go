// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// features that both kinds of places have (XEP-0060 §10).
var features = []string{
	"access-open", "access-presence", "access-roster", "access-whitelist", "config-node", "config-node-max",
	"create-and-configure", "create-nodes", "delete-items", "delete-nodes", "instant-nodes", "item-ids",
	"leased-subscription", "manage-subscriptions", "member-affiliation", "meta-data", "modify-affiliations", "multi-items",
	"outcast-affiliation", "persistent-items", "presence-notifications", "publish", "publish-node-full",
	"publish-only-affiliation", "publish-options", "publisher-affiliation", "purge-nodes", "retract-items",
	"retrieve-affiliations", "retrieve-default", "retrieve-default-sub", "retrieve-items", "retrieve-subscriptions",
	"rsm", "subscribe", "subscription-options",
}

// addHost opens the service.
func (b *broker) addHost(o Options) error {
	if o.Domain == "" {
		o.Domain = "pubsub." + b.s.Domain()
	}
	j, err := xmpp.ParseJID(o.Domain)
	if err != nil {
		return err
	}
	b.host = place{j, "pubsub:", false}
	err = b.s.Store().View(b.host.owner, func(rec *offline.Records) error {
		rec.Each("pepnode", func(node string, _ []byte) bool {
			b.list = append(b.list, node)
			return true
		})
		return nil
	})
	if err != nil { // one file is damaged: accounts in the others are served
		b.s.Log().Error("nodes of the service", "err", err)
	}
	slices.Sort(b.list)
	b.s.Host(j.Domain, "Nodes", b.serve)
	b.s.OnDelete(b.forget)
	return nil
}

// note keeps the list of the service's nodes, so that a look at it costs
// nothing but the page that is shown.
func (b *broker) note(node string, on bool) {
	b.listMu.Lock()
	defer b.listMu.Unlock()
	i, is := slices.BinarySearch(b.list, node)
	switch {
	case on && !is:
		b.list = slices.Insert(b.list, i, node)
	case !on && is:
		b.list = slices.Delete(b.list, i, i+1)
	}
}

// serve takes what is addressed to the service. Nobody lives at it.
func (b *broker) serve(e *relay.Errand) error {
	st := e.Stanza
	asks := st.Kind == xmpp.KindIQ && (st.Type == "get" || st.Type == "set")
	switch {
	case st.Type == "error", st.Kind == xmpp.KindIQ && !asks, st.Kind == xmpp.KindPresence:
		return nil
	case st.To.Local != "" || st.To.Resource != "":
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	if st.Kind == xmpp.KindMessage {
		if !st.Has(xmpp.NSData, "x") {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
		}
		return b.approval(e, el)
	}
	kids := el.Children()
	if len(kids) != 1 {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // RFC 6120 §8.2.3 rule 4
	}
	w := &wish{place: b.host, from: e.From, typ: st.Type, pubsub: kids[0], errand: e}
	res, err := b.reply(w, kids[0])
	if err != nil {
		return err
	}
	e.Answer(xmpp.ResultOf(st, res))
	for _, f := range w.after {
		f()
	}
	return nil
}

func (b *broker) reply(w *wish, q *xmpp.Element) (*xmpp.Element, error) {
	get := w.typ == "get"
	switch {
	case q.Is(xmpp.NSPubsub, "pubsub"), q.Is(xmpp.NSPubsubOwner, "pubsub"):
		return b.do(w)
	case get && q.Is(xmpp.NSPing, "ping"):
		return nil, nil
	case get && q.Is(xmpp.NSDiscoInfo, "query") && q.Get("node") == "":
		return b.hostInfo(), nil
	case get && q.Is(xmpp.NSDiscoInfo, "query"):
		return b.nodeInfo(b.host, w.from, q.Get("node"))
	case get && q.Is(xmpp.NSDiscoItems, "query"):
		return b.hostItems(w, q)
	}
	return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
}

// hostInfo is XEP-0060 §5.1.
func (b *broker) hostInfo() *xmpp.Element {
	q := xmpp.El(xmpp.NSDiscoInfo, "query").Add(
		xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "pubsub", "type", "service", "name", "Nodes"))
	for _, f := range []string{xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSPing, xmpp.NSRSM, xmpp.NSPubsub} {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f))
	}
	for _, f := range append([]string{"access-authorize", "subscription-notifications", "last-published"}, features...) {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", xmpp.NSPubsub+"#"+f))
	}
	return q
}

// hostItems lists nodes (§5.2), or a node's items (§5.5).
func (b *broker) hostItems(w *wish, q *xmpp.Element) (*xmpp.Element, error) {
	res := xmpp.El(xmpp.NSDiscoItems, "query", "node", q.Get("node"))
	var list []*xmpp.Element
	var err error
	if q.Get("node") != "" {
		list, err = b.itemList(b.host, w.from, q)
	} else {
		b.listMu.Lock()
		names := slices.Clone(b.list)
		b.listMu.Unlock()
		list, err = b.nodeList(b.host, w.from, q, names)
	}
	return res.Add(list...), err
}
