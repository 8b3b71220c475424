// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

const (
	pubsubXML  = "<iq type='%s' id='%s' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>%s</pubsub></iq>"
	pubsubFull = "<iq type='error' id='%s'><error type='wait'><%s xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
)

// TestNodesBound: one account makes so many nodes, of so many bytes, whatever
// it asks for; that keeps nobody else from making one (XEP-0060 §8.1).
func TestNodesBound(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nlogin bob/b")
	a := p.actor("alice/a")
	for i := range 300 {
		a.send(fmt.Sprintf(pubsubXML, "set", fmt.Sprint("c", i), fmt.Sprintf("<create node='urn:n:%d'/>", i)))
	}
	p.act("alice/a < <iq type='result' id='c199'/>")
	for i := 200; i < 300; i++ {
		p.act("alice/a < <iq type='error' id='c" + fmt.Sprint(i) + "'><error type='wait'><max-nodes-exceeded xmlns='http://jabber.org/protocol/pubsub#errors'/></error></iq>")
	}
	p.act("bob/b > " + fmt.Sprintf(pubsubXML, "set", "1", "<create node='urn:bob'/>") + "\nbob/b < <iq type='result' id='1'/>")
	payload := "<publish node='urn:n:%d'><item id='%d'><x xmlns='urn:x'>" + strings.Repeat("x", 120<<10) + "</x></item></publish>"
	for i := range 9 { // one node
		a.send(fmt.Sprintf(pubsubXML, "set", fmt.Sprint("p", i), fmt.Sprintf(payload, 0, i)))
	}
	p.act("alice/a < <iq type='result' id='p7'/>\nalice/a < " + fmt.Sprintf(pubsubFull, "p8", "resource-constraint"))
	for n := 1; n <= 8; n++ { // all of them
		for i := range 8 {
			a.send(fmt.Sprintf(pubsubXML, "set", fmt.Sprintf("q%d-%d", n, i), fmt.Sprintf(payload, n, i)))
			if n == 8 && i >= 4 {
				p.act("alice/a < " + fmt.Sprintf(pubsubFull, fmt.Sprintf("q%d-%d", n, i), "resource-constraint"))
			} else {
				p.act(fmt.Sprintf("alice/a < <iq type='result' id='q%d-%d'/>", n, i))
			}
		}
	}
	// What is deleted makes room again (§8.4); a restart keeps the books.
	p.act("restart\nlogin alice/a")
	p.actor("alice/a").send(fmt.Sprintf(pubsubXML, "set", "r", fmt.Sprintf(payload, 9, 0)))
	p.act("alice/a < " + fmt.Sprintf(pubsubFull, "r", "resource-constraint"))
	p.act(`alice/a > <iq type='set' id='d' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='urn:n:0'/></pubsub></iq>
		alice/a < <iq type='result' id='d'/>`)
	p.actor("alice/a").send(fmt.Sprintf(pubsubXML, "set", "s", fmt.Sprintf(payload, 9, 0)))
	p.act("alice/a < <iq type='result' id='s'/>")
}

// TestSubscriptionsBound: no address takes more than ten places at a node, and
// a list of people has an end (XEP-0060 §6.1.3.9, §8.9.2).
func TestSubscriptionsBound(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nlogin bob/b\nalice/a > " + fmt.Sprintf(pubsubXML, "set", "1", "<create node='urn:n'/>") + "\nalice/a < <iq type='result' id='1'/>")
	for i := range 1000 {
		p.actor("bob/b").send(fmt.Sprintf(pubsubXML, "set", fmt.Sprint("s", i), fmt.Sprintf("<subscribe node='urn:n' jid='bob@localhost/%d'/>", i)))
	}
	p.act("bob/b < <iq type='result' id='s9'/>")
	for _, i := range []int{10, 500, 999} {
		p.act("bob/b < <iq type='error' id='s" + fmt.Sprint(i) + "'><error type='wait'><too-many-subscriptions xmlns='http://jabber.org/protocol/pubsub#errors'/></error></iq>")
	}
	var l strings.Builder
	for i := range 600 {
		fmt.Fprintf(&l, "<affiliation jid='p%d@elsewhere.example' affiliation='member'/>", i)
	}
	p.actor("alice/a").send("<iq type='set' id='2' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='urn:n'>" + l.String() + "</affiliations></pubsub></iq>")
	p.act("alice/a < " + fmt.Sprintf(pubsubFull, "2", "resource-constraint"))
}

// TestEventsEndNobody: whoever publishes more than a subscriber reads costs
// him events, not his session, and the server little.
func TestEventsEndNobody(t *testing.T) {
	p := newPlay(t)
	p.act(`login alice/a
		login bob/b sm
		bob/b > <presence/>
		bob/b < <presence from='bob@localhost/b'/>`)
	p.act("alice/a > " + fmt.Sprintf(pubsubXML, "set", "1", "<create node='urn:n'/>") + "\nalice/a < <iq type='result' id='1'/>")
	p.act("bob/b > " + fmt.Sprintf(pubsubXML, "set", "2", "<subscribe node='urn:n' jid='bob@localhost'/>") + "\nbob/b < <iq type='result' id='2'/>")
	p.act("cut bob/b")
	for i := range 100 {
		p.actor("alice/a").send(fmt.Sprintf(pubsubXML, "set", fmt.Sprint("p", i), "<publish node='urn:n'><item id='a'><x xmlns='urn:x'>"+strings.Repeat("x", 100<<10)+"</x></item></publish>"))
	}
	p.act("alice/a < <iq type='result' id='p99'/>")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if held := m.HeapInuse >> 20; held > 64 {
		t.Error("holds", held, "MiB")
	}
	p.act("login bob/b resume h=1\nbob/b < <message type='headline' from='pubsub.localhost'/>")
}
