// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestNobodyOrSilent: a question to somebody who has not let us see him is
// answered as one to nobody, word for word and in the same time; so is a login
// with a wrong password (RFC 6121 §8.5.1, RFC 6120 §6.5.10).
func TestNobodyOrSilent(t *testing.T) {
	p := newPlay(t)
	var ahead atomic.Int64 // budgets for logins come back with time
	p.close()
	p.opt.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	p.open()
	p.act("login alice/a")
	a := p.actor("alice/a")
	for _, q := range []string{
		"<iq type='get' id='ID' to='WHO@localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><query xmlns='http://jabber.org/protocol/disco#items'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><query xmlns='jabber:iq:last'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><query xmlns='jabber:iq:version'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><vCard xmlns='vcard-temp'/></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><query xmlns='jabber:iq:roster'/></iq>",
		"<iq type='set' id='ID' to='WHO@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='n'><item/></publish></pubsub></iq>",
		"<iq type='get' id='ID' to='WHO@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='n'/></pubsub></iq>",
		"<iq type='get' id='ID' to='WHO@localhost/r'><ping xmlns='urn:xmpp:ping'/></iq>",
		"<presence id='ID' to='WHO@localhost' type='subscribe'/>",
		"<presence id='ID' to='WHO@localhost' type='probe'/>",
		"<presence id='ID' to='WHO@localhost'/>",
	} {
		n := 0
		ask := func(who string) (answer string) {
			n++
			id := fmt.Sprint(n)
			a.send(strings.NewReplacer("ID", id, "WHO", who).Replace(q))
			a.send("<iq type='get' id='end" + id + "' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
			for _, el := range p.until(a, parse("<iq type='result' id='end"+id+"'/>")) {
				answer += strings.NewReplacer("'"+id+"'", "'ID'", who+"@", "WHO@").Replace(string(el.Bytes()))
			}
			return answer
		}
		known, unknown := ask("bob"), ask("nobody")
		if known != unknown {
			t.Errorf("%s\nknown:   %s\nunknown: %s", q, known, unknown)
		}
		if strings.Contains(q, "<presence") {
			continue // the first of many writes the own roster
		}
		same(t, q, func() { ask("bob") }, func() { ask("nobody") })
	}
	for _, mech := range []string{"PLAIN", "SCRAM-SHA-256"} {
		login := func(who string) func() {
			r := p.rude(t, "", asked)
			return func() {
				if mech == "PLAIN" {
					r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic(who, "wrong")+"</auth>", "</failure>")
				} else {
					first := basic64("n,,n=" + who + ",r=rOprNGfwEbeRWgbNEkqO")
					r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"+first+"</auth>", "</challenge>")
				}
				r.Close()
			}
		}
		var of [2][]time.Duration
		for range 25 {
			ahead.Add(int64(time.Minute))
			for i, who := range []string{"bob", "nobody"} {
				f := login(who)
				runtime.GC() // not in the middle of what is measured
				start := time.Now()
				f()
				of[i] = append(of[i], time.Since(start))
			}
		}
		compare(t, mech, of, 2*time.Millisecond)
	}
}

// same runs two things in turn and compares how long they take.
func same(t *testing.T, what string, one, other func()) {
	t.Helper()
	var of [2][]time.Duration
	for range 200 {
		for i, f := range []func(){one, other} {
			start := time.Now()
			f()
			of[i] = append(of[i], time.Since(start))
		}
	}
	compare(t, what, of, 30*time.Microsecond)
}

// compare takes medians: a busy machine disturbs both.
func compare(t *testing.T, what string, of [2][]time.Duration, slack time.Duration) {
	t.Helper()
	var m [2]time.Duration
	for i := range of {
		slices.Sort(of[i])
		m[i] = of[i][len(of[i])/2]
	}
	if d := m[0] - m[1]; max(d, -d) > slack+m[0]/4 {
		t.Errorf("%s: known %v, unknown %v", what, m[0], m[1])
	}
	t.Logf("%-14.14s known %v, unknown %v", what[strings.LastIndex(what, "<")+1:], m[0], m[1])
}
