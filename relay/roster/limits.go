// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"encoding/json"
	"errors"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// The limits of a roster: nobody's list may grow without bound, neither by what
// its owner writes nor by what strangers ask.
const (
	itemsMax    = 5000
	nameMax     = 1023
	groupsMax   = 100
	wordsMax    = 1 << 20 // bytes of all addresses, names and groups
	asksMax     = 300     // strangers who wait for an answer
	askBytes    = 2 << 10 // of what one of them says
	presenceMax = 16 << 10
)

func (i *item) words() int {
	n := len(i.JID) + len(i.Name)
	for _, g := range i.Groups {
		n += len(g)
	}
	return n
}

// fits says whether a roster has room for a change of one contact.
func fits(rec *offline.Records, old, now *item) error {
	more := now.Listed && (!old.Listed || now.words() > old.words())
	asks := now.In != "" && old.In == "" && !now.Listed
	if !more && !asks {
		return nil
	}
	listed, waiting, words := 0, 0, now.words()
	rec.Each("roster", func(_ string, v []byte) bool {
		var i item
		switch {
		case json.Unmarshal(v, &i) != nil || i.JID == now.JID:
		case i.Listed:
			listed++
			words += i.words()
		default:
			waiting++
		}
		return true
	})
	if more && (listed >= itemsMax || words > wordsMax) || asks && waiting >= asksMax {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("the roster is full")
	}
	return nil
}

// asked is what is kept of a request (RFC 6121 §3.1.3): all of it, unless it is
// long.
func asked(el *xmpp.Element) string {
	if b := el.Bytes(); len(b) <= askBytes {
		return string(b)
	}
	return string(xmpp.El(xmpp.NSClient, "presence", "type", "subscribe", "from", el.Get("from"), "to", el.Get("to"), "id", el.Get("id")).Bytes())
}

// size refuses presence that is too long: each of those who see it gets all of
// it, here and in rooms.
func (r *roster) size(_ *relay.Session, st *xmpp.Stanza) error {
	if st.Kind == xmpp.KindPresence && len(st.Raw) > presenceMax {
		return xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("that much presence is not passed on")
	}
	return nil
}

// trouble logs what went wrong with somebody's list, unless it is only full.
func (r *roster) trouble(err error) {
	var full *xmpp.StanzaError
	if err != nil && !errors.As(err, &full) {
		r.s.Log().Error("roster", "err", err)
	}
}
