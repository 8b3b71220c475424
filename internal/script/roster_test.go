// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strings"
	"testing"
)

// TestRosterBounds: nobody fills a roster without end, neither its owner nor
// who asks to be in it; and what is seen by many is not long.
func TestRosterBounds(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nalice/a > <iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>\nalice/a < <iq type='result' id='r'/>")
	long := strings.Repeat("g", 1000)
	item := func(i, groups int) string {
		var b strings.Builder
		for g := range groups {
			fmt.Fprintf(&b, "<group>%d%s</group>", g, long)
		}
		return fmt.Sprintf("<query xmlns='jabber:iq:roster'><item jid='x%d@localhost'>%s</item></query>", i, b.String())
	}
	for i := range 10 {
		p.act(fmt.Sprintf("alice/a > <iq type='set' id='s%d'>%s</iq>\nalice/a < <iq type='result' id='s%[1]d'/>", i, item(i, 100)))
	}
	full := "<error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
	p.act(fmt.Sprintf("alice/a > <iq type='set' id='s'>%s</iq>\nalice/a < <iq type='error' id='s'>%s</iq>", item(11, 100), full))
	// What is there can still be changed, and made smaller; then there is room again.
	p.act("alice/a > <iq type='set' id='less'>" + item(0, 1) + "</iq>\nalice/a < <iq type='result' id='less'/>")
	p.act(fmt.Sprintf("alice/a > <iq type='set' id='again'>%s</iq>\nalice/a < <iq type='result' id='again'/>", item(11, 90)))
	p.act("alice/a > <iq type='get' id='all'><query xmlns='jabber:iq:roster'/></iq>\nalice/a < <iq type='result' id='all'><query xmlns='jabber:iq:roster'><item jid='x11@localhost'/></query></iq>")
	// A request waits without what is too much of it.
	p.act("login carol/c\ncarol/c > <presence type='subscribe' id='ask' to='bob@localhost'><status>" + strings.Repeat("x", 10<<10) + "</status></presence>")
	p.act("carol/c > <iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>\ncarol/c < <iq type='result' id='p'/>") // it was taken
	p.act("login bob/b\nbob/b > <presence/>\nbob/b < <presence type='subscribe' id='ask' from='carol@localhost'/>")
	if got := p.actor("bob/b").last.Bytes(); len(got) > 200 {
		t.Errorf("%d bytes of a request came back", len(got))
	}
	refused := "<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
	for _, to := range []string{"", " to='bob@localhost'", " to='r@rooms.localhost/n'"} {
		p.act("carol/c > <presence id='big'" + to + "><status>" + strings.Repeat("x", 20<<10) + "</status></presence>\ncarol/c < <presence type='error' id='big'>" + refused + "</presence>")
	}
}
