// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"sotto/offline"
	"sotto/relay/push"
)

// theService brings on who acts as a push service, and bob's phone, which
// registers with it.
func theService(p *play) func(format string, args ...any) {
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	do("login carol/push")
	do("carol/push > <presence/>")
	do("carol/push < <presence from='carol@localhost/push'/>")
	do("login bob/phone agent sm")
	do("bob/phone > <presence/><iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='carol@localhost/push' node='n'/></iq>")
	do("bob/phone < <iq type='result' id='e'/>")
	do("login alice/x")
	return do
}

// pushes waits until an account has so many registrations.
func (p *play) pushes(user, count string) {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		n := 0
		p.must(p.store.View(user, func(r *offline.Records) error {
			r.Each(offline.KindPush, func(_ string, v []byte) bool { n += strings.Count(string(v), `"JID":`); return true })
			return nil
		}))
		if strconv.Itoa(n) == count {
			return
		}
		if time.Now().After(end) {
			p.fail("%d are there", n)
		}
	}
}

// TestWakeAfterCrash: a device that was connected, and so not woken yet, when
// the server was killed is woken after the start if it does not come by itself;
// one that was woken already is not woken twice.
func TestWakeAfterCrash(t *testing.T) {
	p := newPlay(t)
	p.push.Slack = time.Hour
	p.push.Repeat = []time.Duration{time.Hour}
	p.close()
	p.open()
	do := theService(p)
	do("login alice/y agent sm")
	do("alice/y > <iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='carol@localhost/push' node='alice'/></iq>")
	do("alice/y < <iq type='result' id='e'/>")
	do("logout alice/y")
	do("login alice/x sm")
	do("alice/x > <message to='bob@localhost' type='chat'><received xmlns='urn:xmpp:receipts' id='9'/></message>")
	do("alice/x > <message to='bob@localhost' type='chat' id='m1'><body>hello</body></message>")
	do("bob/phone < <message id='m1'/>")
	do("alice/x > <message to='alice@localhost' type='chat' id='own'><body>for my other device</body></message>")
	do("carol/push < <iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='alice'/></pubsub></iq>")
	do("alice/x > <r xmlns='urn:xmpp:sm:3'/>")
	do("alice/x < <a xmlns='urn:xmpp:sm:3' h='3'/>")
	do("logout alice/x")
	do("cut bob/phone")
	do("mailbox bob/agent:phone 2")
	for i := range 2 {
		p.push.Grace = time.Millisecond
		do("crash")
		do("login carol/push")
		do("carol/push > <presence/>")
		do("carol/push < <presence from='carol@localhost/push'/>")
		if i == 0 {
			do("carol/push < <iq type='set' id='$w'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'/></pubsub></iq>")
			do("carol/push > <iq type='result' id='$w' to='localhost'/>")
		}
	}
	// What comes now is a call: had there been a second wake, it had come first.
	do("login alice/x")
	do("alice/x > <message to='bob@localhost' type='chat' id='c'><propose xmlns='urn:xmpp:jingle-message:0' id='c1'/></message>")
	do("carol/push < <iq type='set'/>")
	do("carol/push <! <iq type='set'/>")
}

// TestWakeAgain: a device that was woken and does not come is woken again.
func TestWakeAgain(t *testing.T) {
	p := newPlay(t)
	p.push = push.Options{Repeat: []time.Duration{20 * time.Millisecond, 20 * time.Millisecond, time.Hour}}
	p.close()
	p.open()
	do := theService(p)
	do("logout bob/phone")
	do("alice/x > <message to='bob@localhost' type='chat' id='m1'><body>hello</body></message>")
	for i := range 3 {
		do("carol/push < <iq type='set' id='$w%d'/>", i)
		do("carol/push > <iq type='result' id='$w%d' to='localhost'/>", i)
	}
	do("carol/push <! <iq type='set'/>")
}

// TestManyRegistrations: ten thousand registrations of one device, with as long
// options as are taken, are four.
func TestManyRegistrations(t *testing.T) {
	p := newPlay(t)
	do := theService(p)
	n := 1000
	if long {
		n = 10_000
	}
	field := func(size int) string {
		return "<field var='f'><value>" + strings.Repeat("x", size) + "</value></field>"
	}
	form := func(fields string) string {
		return "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>" + fields + "</x>"
	}
	for i := range n {
		do("bob/phone > <iq type='set' id='e%d'><enable xmlns='urn:xmpp:push:0' jid='carol@localhost/push' node='m%d'>%s</enable></iq>", i, i, form(field(1000)))
		if i%50 == 49 { // a commit each: no wait shall be long
			do("bob/phone < <iq type='result' id='e%d'/>", i)
			do("bob/phone > <a xmlns='urn:xmpp:sm:3' h='%d'/>", i) // and what is not acked is not without end
		}
	}
	for i, f := range []string{field(5000), strings.Repeat(field(1), 17), "<field var='f'>" + strings.Repeat("<value>1</value>", 9) + "</field>"} {
		do("bob/phone > <iq type='set' id='h%d'><enable xmlns='urn:xmpp:push:0' jid='carol@localhost/push' node='m'>%s</enable></iq>", i, form(f))
		do("bob/phone < <iq type='error' id='h%d'><error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>", i)
	}
	do("logout bob/phone")
	do("alice/x > <message to='bob@localhost' type='chat' id='m1'><body>hello</body></message>")
	for i := n - 4; i < n; i++ {
		do("carol/push < <iq type='set'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='m%d'/></pubsub></iq>", i)
	}
	do("carol/push <! <iq type='set'/>")
}

// TestFloodOfCalls: who calls all the time wakes a phone now and then only.
func TestFloodOfCalls(t *testing.T) {
	p := newPlay(t)
	do := theService(p)
	do("logout bob/phone")
	for i := range 200 {
		do("alice/x > <message to='bob@localhost' type='chat' id='c%d'><propose xmlns='urn:xmpp:jingle-message:0' id='%d'/></message>", i, i)
	}
	do("mailbox bob/agent:phone 200")
	do("carol/push < <iq type='set'/>")
	do("carol/push <! <iq type='set'/>")
}

// TestPushOff: where it is off, nobody can register.
func TestPushOff(t *testing.T) {
	p := newPlay(t)
	p.push.Off = true
	p.close()
	p.open()
	do := func(line string) { p.line = line; p.do(line) }
	do("login bob/x")
	do("bob/x > <iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='n'/></iq>")
	do("bob/x < <iq type='error' id='e'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	do("bob/x > <iq type='get' id='d' to='bob@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	do("bob/x < <iq type='result' id='d'/>")
	do("silent bob/x urn:xmpp:push:0")
}
