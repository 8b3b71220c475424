// SPDX-License-Identifier: Apache-2.0

package roster

// An item is one contact as the owner's roster keeps it (RFC 6121 §2.1.2).
type item struct {
	JID      string
	Name     string   `json:",omitempty"`
	Groups   []string `json:",omitempty"`
	To       bool     `json:",omitempty"` // we see the contact
	From     bool     `json:",omitempty"` // the contact sees us
	Ask      bool     `json:",omitempty"` // our request is out
	In       string   `json:",omitempty"` // the contact's request, to be shown again
	Approved bool     `json:",omitempty"` // pre-approved (§3.4)
	Listed   bool     `json:",omitempty"` // part of the roster, not only a request
}

// subscription is the word on the wire (§2.1.2.5).
func (i *item) subscription() string {
	switch {
	case i.To && i.From:
		return "both"
	case i.To:
		return "to"
	case i.From:
		return "from"
	}
	return "none"
}

// An effect is what a subscription stanza does besides changing the state.
type effect struct {
	pass  bool   // deliver it (outbound: to the contact; inbound: to the owner)
	push  bool   // the roster changed for its owner
	reply string // presence type to send back at once
}

// outbound is Appendix A.2 of RFC 6121: what the owner's own stanza does.
func (i *item) outbound(typ string) effect {
	before := *i
	e := effect{pass: true}
	switch typ {
	case "subscribe": // A.2.1
		if !i.To {
			i.Ask, i.Listed = true, true
		}
	case "unsubscribe": // A.2.2
		i.To, i.Ask = false, false
	case "subscribed": // A.2.3
		switch {
		case i.From:
			e.pass = false
		case i.In != "":
			i.From, i.In, i.Approved, i.Listed = true, "", false, true
		default: // §3.4.2: pre-approval
			i.Approved, i.Listed, e.pass = true, true, false
		}
	case "unsubscribed": // A.2.4
		e.pass = i.From || i.In != ""
		i.From, i.In, i.Approved = false, "", false
	}
	e.push = i.visible(&before)
	return e
}

// inbound is Appendix A.3: what a contact's stanza does to the owner's state.
// raw is a subscribe stanza, kept until it is answered.
func (i *item) inbound(typ, raw string) effect {
	before := *i
	var e effect
	switch typ {
	case "subscribe": // A.3.1
		switch {
		case i.From:
			e.reply = "subscribed"
		case i.Approved: // §3.4.3
			i.From, i.Approved = true, false
			e.reply = "subscribed"
		default:
			e.pass = i.In == ""
			i.In = raw
		}
	case "unsubscribe": // A.3.2
		if i.From || i.In != "" {
			e.pass = true
			if i.From {
				e.reply = "unavailable"
			}
		}
		i.From, i.In = false, ""
	case "subscribed": // A.3.3
		if i.Ask {
			i.To, i.Ask = true, false
			e.pass = true
		}
	case "unsubscribed": // A.3.4
		if i.To || i.Ask {
			i.To, i.Ask = false, false
			e.pass = true
		}
	}
	e.push = i.visible(&before)
	return e
}

// visible says whether the owner's clients see a difference.
func (i *item) visible(b *item) bool {
	return i.Listed && (i.To != b.To || i.From != b.From || i.Ask != b.Ask || i.Approved != b.Approved || !b.Listed)
}

// empty says that nothing is left to remember.
func (i *item) empty() bool { return !i.Listed && i.In == "" && !i.From && !i.To }
