// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"strings"

	"sotto/offline"
	"sotto/xmpp"
)

const nsMoved = "urn:xmpp:moved:1"

// moved takes a request from the new address of somebody who may see owner at
// the old one (XEP-0283 §4.4). False: it is a request like any other.
func (r *roster) moved(owner, from xmpp.JID, el *xmpp.Element) bool {
	said := strings.TrimSpace(el.Child(nsMoved, "moved").Child(nsMoved, "old-jid").Text())
	old, err := xmpp.ParseJID(said)
	if said == "" || err != nil || !old.IsBare() || old.Local == "" || old == from || r.s.Blocks(owner.Local, old) {
		return false
	}
	if !r.shownTo(owner, old).From {
		return false
	}
	if r.s.Local(old) {
		if !r.states(old, from, owner) {
			return false
		}
		r.follow(owner, old, from)
		return true
	}
	if !r.s.Elsewhere(old) {
		return false
	}
	ask := xmpp.El(xmpp.NSClient, "iq", "type", "get", "from", owner.String(), "to", old.String()).Add(
		xmpp.El(xmpp.NSPubsub, "pubsub").Add(xmpp.El(xmpp.NSPubsub, "items", "node", nsMoved)))
	return r.s.Query(ask, func(st *xmpp.Stanza) { // until then nobody is shown anything
		if stated(st) == from && r.shownTo(owner, old).From {
			r.follow(owner, old, from)
		} else {
			r.arrives(from, owner, el)
		}
	}) == nil
}

// stated is the new address in an answer of the old account's server.
func stated(st *xmpp.Stanza) xmpp.JID {
	if st == nil {
		return xmpp.JID{}
	}
	el, err := st.Element()
	if err != nil {
		return xmpp.JID{}
	}
	if gone := el.Child(xmpp.NSClient, "error").Child(xmpp.NSStanzas, "gone"); gone != nil { // RFC 6120 §8.3.3.5
		j, err := xmpp.ParseJID(strings.TrimPrefix(strings.TrimSpace(gone.Text()), "xmpp:"))
		if err != nil {
			return xmpp.JID{}
		}
		return j
	}
	return newJID(el.Child(xmpp.NSPubsub, "pubsub").Child(xmpp.NSPubsub, "items").Children())
}

// newJID is what the last statement says.
func newJID(all []*xmpp.Element) xmpp.JID {
	if len(all) == 0 {
		return xmpp.JID{}
	}
	j, err := xmpp.ParseJID(strings.TrimSpace(all[len(all)-1].Child(nsMoved, "moved").Child(nsMoved, "new-jid").Text()))
	if err != nil {
		return xmpp.JID{}
	}
	return j
}

func (r *roster) shownTo(owner, j xmpp.JID) (i item) {
	err := r.s.Store().View(owner.Local, func(rec *offline.Records) error {
		i = load(rec, j.String())
		return nil
	})
	if err != nil {
		r.s.Log().Error("moved contact", "err", err)
		return item{}
	}
	return i
}

// follow gives the new address what the old one had.
func (r *roster) follow(owner, old, from xmpp.JID) {
	was := r.shownTo(owner, old)
	_, push, err := r.edit(owner.Local, from.String(), func(i *item) effect {
		if i.From, i.In, i.Approved = true, "", false; !i.Listed {
			i.Name, i.Groups, i.Listed = was.Name, was.Groups, true
		}
		return effect{push: true}
	})
	if err != nil {
		r.trouble(err)
		return
	}
	push()
	r.deliver(subscription(owner, from, "subscribed"))
	r.sendAll(owner.Local, from, "")
	// Each address moves once: the old one sees nothing any more.
	r.sendAll(owner.Local, old, "unavailable")
	if _, push, err = r.edit(owner.Local, old.String(), func(i *item) effect { return i.outbound("unsubscribed") }); err != nil {
		r.trouble(err)
	} else {
		push()
		r.deliver(subscription(owner, old, "unsubscribed"))
	}
	if was.To {
		r.askBack(owner, from)
	}
}

// states says whether the old account names the new one, to somebody who may
// read it there.
func (r *roster) states(old, now, asker xmpp.JID) bool {
	all, err := r.s.Shelf.Items(old.Local, nsMoved, asker)
	if err != nil {
		return false
	}
	return newJID(all) == now
}
