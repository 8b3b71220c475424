// SPDX-License-Identifier: Apache-2.0

package relay

// This file decides who gets a message. It is pure: the letter and what is
// known of the receiver go in, a Plan comes out.

// A letter is what routing looks at in a message.
type letter struct {
	typ     string // type attribute; "" is "normal" (RFC 6121 §5.2.2)
	full    string // resource addressed, "" for a bare address
	fleeing bool   // worth nothing later: typing notices, no-store (XEP-0334 §4.2)
}

// A box is one device of the receiver as routing sees it.
type box struct {
	device    string
	resource  string
	firm      bool // owed messages while away (DESIGN §4)
	live      bool // has a session, which may be parked
	available bool
	prio      int
}

// A Plan is what to do with one message.
type Plan struct {
	Mail   []string // device mailboxes that are owed it; "" is the inbox
	Live   []string // devices that get it only if they are there now
	Refuse bool     // answer service-unavailable
	Direct bool     // addressed to one device: no copies to others
	Light  bool     // may wait while a client is inactive (XEP-0352)

	Urgency Urgency // whether a device that is away shall be woken
}

// Urgency says how much of a hurry mail is in, for a device that is away.
type Urgency uint8

// Usual is for people to read; Ring is a call that begins or ends (XEP-0353);
// Idle is what the device finds when it comes by itself.
const (
	Usual Urgency = iota
	Ring
	Idle
)

// plan is RFC 6121 §8.5 with devices instead of resources: a device that is
// away counts as there, because its mail waits for it.
func plan(l letter, boxes []box) Plan {
	if l.full != "" {
		if p, done := planFull(l, boxes); done {
			return p
		}
	}
	switch l.typ {
	case "error": // §8.5.2.1.1, §8.5.2.2.1: silently ignored
		return Plan{}
	case "groupchat": // a bare account address is no room
		return Plan{Refuse: true}
	case "headline":
		return Plan{Live: present(boxes)}
	}
	if l.fleeing {
		return Plan{Live: present(boxes)}
	}
	return Plan{Mail: owed(boxes)}
}

// planFull is RFC 6121 §8.5.3; done is false when the message is to be
// treated as if it were sent to the bare address.
func planFull(l letter, boxes []box) (Plan, bool) {
	for _, b := range boxes {
		if b.resource != l.full || (!b.live && !b.firm) {
			continue
		}
		switch {
		case l.fleeing || !b.live && l.typ == "headline":
			return Plan{Live: []string{b.device}, Direct: true}, true
		case b.live || l.typ != "groupchat" && l.typ != "error": // an unknown type is a normal one (§5.2.2)
			return Plan{Mail: []string{b.device}, Direct: true}, true
		}
	}
	switch l.typ { // §8.5.3.2.1: no such resource
	case "chat":
		return Plan{}, false
	case "error":
		return Plan{}, true
	}
	return Plan{Refuse: !l.fleeing}, true
}

// present lists devices that are available with a priority that is not
// negative (RFC 6121 §8.5.2.1.1).
func present(boxes []box) []string {
	var to []string
	for _, b := range boxes {
		if b.live && b.available && b.prio >= 0 {
			to = append(to, b.device)
		}
	}
	return to
}

// owed lists every device that must get a message to the bare address; with
// none, the inbox keeps it (XEP-0160 §2).
func owed(boxes []box) []string {
	var to []string
	for _, b := range boxes {
		there := b.live && b.available
		if there && b.prio >= 0 || b.firm && !there {
			to = append(to, b.device)
		}
	}
	if to == nil {
		return []string{inbox}
	}
	return to
}

// inbox is the mailbox of an account that no device owns.
const inbox = ""
