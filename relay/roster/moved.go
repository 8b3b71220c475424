// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"strings"

	"sotto/offline"
	"sotto/xmpp"
)

const nsMoved = "urn:xmpp:moved:1"

// moved takes a request from the new address of somebody who may see owner at
// the old one (XEP-0283 §4.4). False: nothing proves it, and it is a request
// like any other.
func (r *roster) moved(owner, from xmpp.JID, el *xmpp.Element) bool {
	said := strings.TrimSpace(el.Child(nsMoved, "moved").Child(nsMoved, "old-jid").Text())
	old, err := xmpp.ParseJID(said)
	if said == "" || err != nil || !old.IsBare() || !r.s.Local(old) || old == from || r.s.Blocks(owner.Local, old) {
		return false
	}
	var was item
	err = r.s.Store().View(owner.Local, func(rec *offline.Records) error {
		was = load(rec, old.String())
		return nil
	})
	if err != nil || !was.From || !r.states(old, from, owner) {
		return false
	}
	_, push, err := r.edit(owner.Local, from.String(), func(i *item) effect {
		if i.From, i.In, i.Approved = true, "", false; !i.Listed {
			i.Name, i.Groups, i.Listed = was.Name, was.Groups, true
		}
		return effect{push: true}
	})
	if err != nil {
		r.s.Log().Error("moved contact", "err", err)
		return false
	}
	push()
	r.deliver(subscription(owner, from, "subscribed"))
	r.sendAll(owner.Local, from, "")
	// Each address moves once: the old one sees nothing any more.
	r.sendAll(owner.Local, old, "unavailable")
	if _, push, err = r.edit(owner.Local, old.String(), func(i *item) effect { return i.outbound("unsubscribed") }); err != nil {
		r.s.Log().Error("moved contact", "err", err)
	} else {
		push()
		r.deliver(subscription(owner, old, "unsubscribed"))
	}
	if was.To {
		r.askBack(owner, from)
	}
	return true
}

// states says whether the old account names the new one, to somebody who may
// read it there.
func (r *roster) states(old, now, asker xmpp.JID) bool {
	all, err := r.s.Shelf.Items(old.Local, nsMoved, asker)
	if err != nil || len(all) == 0 {
		return false
	}
	j, err := xmpp.ParseJID(strings.TrimSpace(all[len(all)-1].Child(nsMoved, "moved").Child(nsMoved, "new-jid").Text()))
	return err == nil && j == now
}
