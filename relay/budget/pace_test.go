// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/all"
	"sotto/relay/budget"
)

// TestPace: who sends too much is read more slowly, loses nothing, and slows
// nobody else.
func TestPace(t *testing.T) {
	const rate = 64 << 10
	o := town.NewWith(t, all.Options{Budget: budget.Options{Rate: rate}}, "alice", "bob")
	a, b := login(t, o, "alice"), login(t, o, "bob")
	start := time.Now()
	if !a.settled("first") || time.Since(start) > time.Second {
		t.Error("slowed from the beginning:", time.Since(start))
	}
	for _, c := range []struct {
		what string
		n    int
		size int
		most float64 // seconds that it takes without haste
	}{
		{"bytes", 7, 60 << 10, 7*60<<10/rate - 4},
		{"messages", 430, 10, 30.0 / 20},
	} {
		start = time.Now()
		for i := range c.n {
			a.say(fmt.Sprintf("<message to='bob@localhost' type='chat' id='%s%d'><encrypted xmlns='urn:xmpp:omemo:2'>%s</encrypted></message>", c.what, i, strings.Repeat("x", c.size)))
		}
		for n := range 5 {
			at := time.Now()
			if !b.settled(fmt.Sprint(c.what, "bob", n)) || time.Since(at) > 500*time.Millisecond {
				t.Errorf("%s: somebody else waits %s", c.what, time.Since(at))
			}
		}
		if !a.settled(c.what) {
			t.Error("refused")
		}
		if d := time.Since(start).Seconds(); d < c.most*0.7 || d > c.most+15 {
			t.Errorf("%s: %f s instead of about %f", c.what, d, c.most)
		}
	}
	if n := o.Store.Mailbox("bob", o.Relay.Sessions("bob")[0].Device()).Len(); n > 437 {
		t.Error(n, "wait")
	}
}

// TestQuestions: nobody asks all accounts for what strangers may see.
func TestQuestions(t *testing.T) {
	o := town.NewWith(t, all.Options{Budget: budget.Options{Burst: burst}}, "alice", "bob")
	a := login(t, o, "alice")
	a.settled("here")
	o.Freeze()
	refused := 0
	for i := range 510 {
		id := fmt.Sprint("q", i)
		a.say(fmt.Sprintf("<iq type='get' id='%s' to='user%d@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:n'/></pubsub></iq>", id, i))
		late := time.After(20 * time.Second)
		for answered := false; !answered; {
			select {
			case el := <-a.in:
				if answered = el.Get("id") == id; answered && el.Child("", "error").Child("", "policy-violation") != nil {
					refused++
				}
			case <-late:
				t.Fatal("no answer")
			}
		}
	}
	if refused < 5 || refused > 20 {
		t.Error(refused, "of 510 questions to strangers were refused")
	}
}
