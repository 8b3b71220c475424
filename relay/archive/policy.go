// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"slices"
	"strconv"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// policy says what is done with people's messages here, as the server is set
// up (XEP-0504 §3).
func (a *archive) policy() *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "result")
	field := func(typ, name string, values ...string) {
		f := xmpp.El(xmpp.NSData, "field", "var", name, "type", typ)
		for _, v := range values {
			f.Add(xmpp.El(xmpp.NSData, "value").WithText(v))
		}
		x.Add(f)
	}
	p := a.s.Policy()
	field("hidden", "FORM_TYPE", xmpp.NSPolicy)
	held := hours(p.Mail)
	words := "Messages are deleted as soon as every device of the receiver has them. What nobody fetches is deleted after " + held + " hours, and the sender is told."
	if p.Keep {
		words = "The server keeps the messages of every account, sent and received, unless its owner chose otherwise."
		held = "infinite"
		if p.History > 0 {
			held = hours(max(p.Mail, p.History+weekMore))
			words += " They are no longer given out after " + hours(p.History) + " hours, and erased in the week after."
		}
	}
	field("text-single", "data_retention", held)
	// Nothing of encryption_at_rest: the keys lie beside the data. They are for erasing.
	if p.Leave {
		field("boolean", "full_erasure", "true")
	}
	field("list-multi", "access_policy", "admins")
	if p.E2E {
		words += " Only end-to-end encrypted messages are taken: who runs the server sees who writes to whom and when, not what."
	} else {
		words += " Messages that are not end-to-end encrypted can be read by who runs the server."
	}
	if slices.Contains(a.s.Features(relay.OnAccount), xmpp.NSPush) {
		words += " Devices that are away are woken through the push services that their clients choose: those learn that something waits, and nothing else."
	}
	field("text-multi", "extra_info", words)
	return x
}

// weekMore is how much longer than given out a message may be on disk: its week
// is erased as a whole.
const weekMore = 7 * 24 * time.Hour

// hours rounds up: data is stored for at most so long.
func hours(d time.Duration) string { return strconv.Itoa(int((d + time.Hour - 1) / time.Hour)) }
