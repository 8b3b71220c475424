// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/xmpp"
)

// DESIGN §1 P1, P2 across servers: both are killed, and the way between them
// ends, again and again, while messages are on it. All of them arrive, once, in
// their order: he has not read them yet, and they say which they are (XEP-0359
// §3.1).
func TestLinkCrashes(t *testing.T) {
	p := newPlay(t)
	p.line = t.Name()
	p.openFar()
	p.act("login bob@far/b agent\nbob@far/b > <presence/>\nbob@far/b < <presence/>")
	p.actor("bob@far/b").cut() // he is away: his device is owed all
	const rounds, each = 8, 25
	sent := 0
	for round := range rounds {
		p.act("login alice/a sm\nalice/a > <presence/>")
		a := p.actor("alice/a")
		for range each {
			sent++
			a.send(fmt.Sprintf("<message to='bob@far.test' type='chat' id='n%d'><body>%d</body><origin-id xmlns='urn:xmpp:sid:0' id='o%d'/></message>", sent, sent, sent))
		}
		switch round % 4 {
		case 0:
			p.far.crash()
		case 1:
			p.far.close()
			p.far.open()
		case 3:
			p.far.close()
		}
		a.send("<r xmlns='urn:xmpp:sm:3'/>")
		p.act(fmt.Sprintf("alice/a < <a xmlns='urn:xmpp:sm:3' h='%d'/>", each+1)) // now it is promised
		if round%4 >= 2 {
			p.crash()
		} else {
			p.act("logout alice/a")
		}
		if round%4 == 3 {
			p.far.open()
		}
	}
	p.waits("0")
	p.act("login bob@far/b agent\nbob@far/b > <presence/>")
	a, next := p.actor("bob@far/b"), 1
	for late := time.After(4 * patience); next <= sent; {
		select {
		case el, ok := <-a.in:
			if !ok {
				t.Fatal("the stream ended at", next)
			}
			id := el.Get("id")
			if el.Child(xmpp.NSPing, "ping") != nil {
				a.send("<iq type='result' id='" + id + "'/>")
			}
			if el.Name.Local != "message" || !strings.HasPrefix(id, "n") {
				continue
			}
			var n int
			if _, err := fmt.Sscanf(id, "n%d", &n); err != nil || n > next {
				t.Fatalf("after %d comes %s", next-1, id)
			}
			if n < next {
				t.Fatal(n, "comes twice")
			}
			next++
		case <-late:
			t.Fatalf("%d of %d came", next-1, sent)
		}
	}
}
