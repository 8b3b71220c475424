// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"strings"
	"testing"
)

// states are the nine of RFC 6121 Appendix A.1, in its order.
var states = []struct {
	name string
	item item
}{
	{"none", item{Listed: true}},
	{"none+out", item{Listed: true, Ask: true}},
	{"none+in", item{In: "<p/>"}},
	{"none+out+in", item{Listed: true, Ask: true, In: "<p/>"}},
	{"to", item{Listed: true, To: true}},
	{"to+in", item{Listed: true, To: true, In: "<p/>"}},
	{"from", item{Listed: true, From: true}},
	{"from+out", item{Listed: true, From: true, Ask: true}},
	{"both", item{Listed: true, To: true, From: true}},
}

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

// The tables of RFC 6121 Appendix A.2 and A.3 whole: for each state the next
// one, "!" where the stanza is not passed on, and ">" before what is sent back.
func TestSubscriptions(t *testing.T) {
	for _, c := range []struct {
		spec  string
		event string
		inner bool
		next  string
	}{
		{"A.2.1", "subscribe", false, "none+out none+out none+out+in none+out+in to to+in from+out from+out both"},
		{"A.2.2", "unsubscribe", false, "none none none+in none+in none none+in from from from"},
		{"A.2.3 and §3.4.2", "subscribed", false, "!none+approved !none+out+approved from from+out !to+approved both !from !from+out !both"},
		{"A.2.4", "unsubscribed", false, "!none !none+out none none+out !to to none none+out to"},
		{"A.3.1", "subscribe", true, "none+in none+out+in !none+in !none+out+in to+in !to+in !from>subscribed !from+out>subscribed !both>subscribed"},
		{"A.3.2", "unsubscribe", true, "!none !none+out none none+out !to to none>unavailable none+out>unavailable to>unavailable"},
		{"A.3.3", "subscribed", true, "!none to !none+in to+in !to !to+in !from both !both"},
		{"A.3.4", "unsubscribed", true, "!none none !none+in none+in none none+in !from from from"},
	} {
		for n, want := range strings.Fields(c.next) {
			i := states[n].item
			var e effect
			if c.inner {
				e = i.inbound(c.event, "<p/>")
			} else {
				e = i.outbound(c.event)
			}
			got := name(i)
			if !e.pass {
				got = "!" + got
			}
			if e.reply != "" {
				got += ">" + e.reply
			}
			if got != want {
				t.Errorf("%s: %s %s inbound=%v: got %s, want %s", c.spec, states[n].name, c.event, c.inner, got, want)
			}
		}
	}
}

// RFC 6121 §3.4: approval before the request.
func TestApprovedBefore(t *testing.T) {
	i := item{Listed: true}
	if e := i.outbound("subscribed"); e.pass || !e.push || name(i) != "none+approved" {
		t.Error("§3.4.2", name(i), e)
	}
	if e := i.inbound("subscribe", "<p/>"); e.pass || e.reply != "subscribed" || name(i) != "from" {
		t.Error("§3.4.3", name(i), e)
	}
	i = item{Listed: true, Approved: true}
	if e := i.outbound("unsubscribed"); e.pass || !e.push || name(i) != "none" {
		t.Error("§3.4.2", name(i), e)
	}
}
