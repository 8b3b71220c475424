// SPDX-License-Identifier: Apache-2.0

package roster

import "testing"

var (
	none    = item{Listed: true}
	out     = item{Listed: true, Ask: true}
	in      = item{In: "<p/>"}
	outIn   = item{Listed: true, Ask: true, In: "<p/>"}
	to      = item{Listed: true, To: true}
	toIn    = item{Listed: true, To: true, In: "<p/>"}
	from    = item{Listed: true, From: true}
	fromOut = item{Listed: true, From: true, Ask: true}
	both    = item{Listed: true, To: true, From: true}
)

func name(i item) string {
	s := i.subscription()
	if i.Ask {
		s += "+out"
	}
	if i.In != "" {
		s += "+in"
	}
	if i.Approved {
		s += "+approved"
	}
	return s
}

// The tables of RFC 6121 Appendix A, row by row.
func TestSubscriptions(t *testing.T) {
	for _, c := range []struct {
		spec  string
		start item
		event string
		inner bool
		want  string
		pass  bool
		reply string
	}{
		{"A.2.1", none, "subscribe", false, "none+out", true, ""},
		{"A.2.1", out, "subscribe", false, "none+out", true, ""},
		{"A.2.1", in, "subscribe", false, "none+out+in", true, ""},
		{"A.2.1", to, "subscribe", false, "to", true, ""},
		{"A.2.1", from, "subscribe", false, "from+out", true, ""},
		{"A.2.1", both, "subscribe", false, "both", true, ""},
		{"A.2.2", out, "unsubscribe", false, "none", true, ""},
		{"A.2.2", outIn, "unsubscribe", false, "none+in", true, ""},
		{"A.2.2", to, "unsubscribe", false, "none", true, ""},
		{"A.2.2", toIn, "unsubscribe", false, "none+in", true, ""},
		{"A.2.2", fromOut, "unsubscribe", false, "from", true, ""},
		{"A.2.2", both, "unsubscribe", false, "from", true, ""},
		{"A.2.3", in, "subscribed", false, "from", true, ""},
		{"A.2.3", outIn, "subscribed", false, "from+out", true, ""},
		{"A.2.3", toIn, "subscribed", false, "both", true, ""},
		{"A.2.3", from, "subscribed", false, "from", false, ""},
		{"§3.4.2", none, "subscribed", false, "none+approved", false, ""},
		{"A.2.4", in, "unsubscribed", false, "none", true, ""},
		{"A.2.4", toIn, "unsubscribed", false, "to", true, ""},
		{"A.2.4", from, "unsubscribed", false, "none", true, ""},
		{"A.2.4", both, "unsubscribed", false, "to", true, ""},
		{"A.2.4", none, "unsubscribed", false, "none", false, ""},
		{"A.3.1", none, "subscribe", true, "none+in", true, ""},
		{"A.3.1", out, "subscribe", true, "none+out+in", true, ""},
		{"A.3.1", in, "subscribe", true, "none+in", false, ""},
		{"A.3.1", to, "subscribe", true, "to+in", true, ""},
		{"A.3.1", from, "subscribe", true, "from", false, "subscribed"},
		{"A.3.1", both, "subscribe", true, "both", false, "subscribed"},
		{"§3.4.3", item{Listed: true, Approved: true}, "subscribe", true, "from", false, "subscribed"},
		{"A.3.2", none, "unsubscribe", true, "none", false, ""},
		{"A.3.2", in, "unsubscribe", true, "none", true, ""},
		{"A.3.2", from, "unsubscribe", true, "none", true, "unavailable"},
		{"A.3.2", both, "unsubscribe", true, "to", true, "unavailable"},
		{"A.3.3", none, "subscribed", true, "none", false, ""},
		{"A.3.3", out, "subscribed", true, "to", true, ""},
		{"A.3.3", outIn, "subscribed", true, "to+in", true, ""},
		{"A.3.3", fromOut, "subscribed", true, "both", true, ""},
		{"A.3.3", both, "subscribed", true, "both", false, ""},
		{"A.3.4", none, "unsubscribed", true, "none", false, ""},
		{"A.3.4", out, "unsubscribed", true, "none", true, ""},
		{"A.3.4", to, "unsubscribed", true, "none", true, ""},
		{"A.3.4", both, "unsubscribed", true, "from", true, ""},
	} {
		i := c.start
		var e effect
		if c.inner {
			e = i.inbound(c.event, "<p/>")
		} else {
			e = i.outbound(c.event)
		}
		if name(i) != c.want || e.pass != c.pass || e.reply != c.reply {
			t.Errorf("%s: %s %s inbound=%v: got %s pass=%v reply=%q", c.spec, name(c.start), c.event, c.inner, name(i), e.pass, e.reply)
		}
	}
}
