// SPDX-License-Identifier: Apache-2.0

package relay

import "sotto/xmpp"

// An outbox holds what a session gets besides mail: answers, pushes and
// presence. Presence has one slot per sender, so a stalled phone costs the
// same memory for one change and for a thousand.
type outbox struct {
	list  []note
	slots map[string]int // presence sender -> place in list
}

// A note is one stanza that waits to be written.
type note struct {
	b     []byte
	from  string // of a presence that a newer one may replace
	nonza bool   // not a stanza: not counted (XEP-0198 §4)
}

// outboxMax bounds what may wait for one session (DESIGN §3, law of waking).
const outboxMax = 2048

// put adds a stanza; false when too much waits already.
func (o *outbox) put(b []byte, from string) bool {
	if from != "" {
		if i, ok := o.slots[from]; ok {
			o.list[i].b = b
			return true
		}
	}
	if len(o.list) >= outboxMax {
		return false
	}
	if from != "" {
		if o.slots == nil {
			o.slots = map[string]int{}
		}
		o.slots[from] = len(o.list)
	}
	o.list = append(o.list, note{b: b, from: from})
	return true
}

// take empties the outbox.
func (o *outbox) take() []note {
	l := o.list
	o.list, o.slots = nil, nil
	return l
}

// slotOf names the slot of a presence; only plain presence may be replaced.
func slotOf(el *xmpp.Element) string {
	if el.Name.Local != "presence" {
		return ""
	}
	if t := el.Get("type"); t != "" && t != "unavailable" {
		return ""
	}
	return el.Get("from")
}
