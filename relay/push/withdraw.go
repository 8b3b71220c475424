// SPDX-License-Identifier: Apache-2.0

package push

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// withdrawn takes a registration off when its service says that the account may
// publish there no more (XEP-0357 §8). The message goes on to the account.
func (p *push) withdrawn(x *relay.Session, st *xmpp.Stanza) error {
	if st.Kind != xmpp.KindMessage || st.Type == "error" || !p.s.Local(st.To) || !st.Has(xmpp.NSPubsub, "pubsub") {
		return nil
	}
	user := st.To.Local
	p.mu.Lock()
	known := p.known[user]
	p.mu.Unlock()
	if !known {
		return nil
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	q := el.Child(xmpp.NSPubsub, "pubsub")
	a, node, from := q.Child(xmpp.NSPubsub, "affiliation"), q.Get("node"), x.JID().String()
	if a.Get("affiliation") != "none" || a.Get("jid") != user+"@"+p.s.Domain() || node == "" {
		return nil
	}
	return p.s.Store().Later(user, func(rec *offline.Records) error {
		for key, all := range every(rec) {
			if n := len(all.Regs); n > 0 {
				if all.drop(from, &node); len(all.Regs) != n {
					all.put(rec, key)
				}
			}
		}
		return nil
	})
}
