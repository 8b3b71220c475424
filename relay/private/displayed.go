// SPDX-License-Identifier: Apache-2.0

package private

import (
	"sotto/relay"
	"sotto/xmpp"
)

// assist notes how far a talk was read, which a client says in the same
// message as to the other side (XEP-0490 §3.5). The other side never learns
// the archive's id.
func (p *private) assist(x *relay.Session, st *xmpp.Stanza) error {
	if st.Kind != xmpp.KindMessage || !st.Has(xmpp.NSDisplayed, "displayed") || !p.s.Local(x.JID()) {
		return nil
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	var mark *xmpp.Element
	left := el.Clone()
	left.Nodes = nil
	for _, n := range el.Nodes {
		if n.El.Is(xmpp.NSDisplayed, "displayed") {
			mark = n.El
		} else {
			left.Nodes = append(left.Nodes, n)
		}
	}
	if len(left.Children()) == 0 { // a message for us alone is none to somebody else
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	bare, err := xmpp.StanzaOf(left)
	if err != nil {
		return err
	}
	to, hasTo := st.To, st.HasTo
	*st = *bare
	if !hasTo || len(mark.Children()) != 1 || mark.Child(xmpp.NSSID, "stanza-id") == nil {
		return nil
	}
	err = p.s.Shelf.Put(x.User(), xmpp.NSDisplayed, "whitelist", xmpp.El(xmpp.NSPubsub, "item", "id", to.String()).Add(mark))
	if err != nil { // it is a courtesy; the message goes on
		p.s.Log().Debug("how far a talk was read is not noted", "err", err)
	}
	return nil
}
