// SPDX-License-Identifier: Apache-2.0

package budget_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/all"
	"sotto/relay/budget"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

const burst = 5

// person is one client; what comes is handed out by id.
type person struct {
	t    *testing.T
	conn *xmpp.Conn
	out  chan []byte
	in   chan *xmpp.Element
	n    int
}

func login(t *testing.T, o *town.Town, user string) *person {
	t.Helper()
	c, _, err := dial.Dial(context.Background(), dial.Login{
		Addr: o.Addr, JID: xmpp.MustJID(user + "@localhost"), Password: "secret-" + user,
		TLS: &tls.Config{RootCAs: o.Roots}, AgentID: "phone of " + user,
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, conn: c, out: make(chan []byte, 1000), in: make(chan *xmpp.Element, 1000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.Run(context.Background(), func(st *xmpp.Stanza) error {
			el, err := st.Element()
			if err == nil {
				p.in <- el
			}
			return err
		}, func(w *xmpp.Writer) error {
			for {
				select {
				case b := <-p.out:
					w.Bytes(b)
				default:
					return nil
				}
			}
		})
	}()
	t.Cleanup(func() { c.Close(nil); <-done })
	p.say("<presence/>")
	return p
}

func (p *person) say(xml string) {
	p.out <- []byte(xml)
	p.conn.Wake()
}

// writes sends one sealed message and says whether it was taken: the answer to
// a ping behind it, or an error before that.
func (p *person) writes(to string) bool {
	p.t.Helper()
	p.n++
	id := fmt.Sprintf("%s%d", to, p.n)
	p.say("<message to='" + to + "@localhost' type='chat' id='" + id + "'><encrypted xmlns='urn:xmpp:omemo:2'/><store xmlns='urn:xmpp:hints'/></message>")
	return p.settled(id)
}

func (p *person) settled(id string) bool {
	p.t.Helper()
	p.say("<iq type='get' to='localhost' id='after-" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>")
	late := time.After(20 * time.Second)
	for {
		select {
		case el := <-p.in:
			if el.Get("id") == id && el.Get("type") == "error" {
				if e := xmpp.StanzaErrorOf(el); e.Cond != xmpp.PolicyViolation || e.Type != xmpp.Wait || e.Text == "" {
					p.t.Fatalf("refused with %+v", e)
				}
				return false
			}
			if el.Get("id") == "after-"+id {
				return true
			}
		case <-late:
			p.t.Fatal("no answer")
		}
	}
}

// TestStranger: a few words, then one a second; others are not affected, and
// who has been answered is no stranger any more.
func TestStranger(t *testing.T) {
	o := town.NewWith(t, all.Options{Budget: budget.Options{Burst: burst}}, "alice", "bob", "carol")
	a, b := login(t, o, "alice"), login(t, o, "bob")
	for i := range burst {
		if !a.writes("bob") {
			t.Fatal("refused after", i)
		}
	}
	if a.writes("bob") || a.writes("carol") {
		t.Fatal("a stranger may flood")
	}
	if !b.writes("alice") { // and so bob knows her
		t.Fatal("bob pays for alice")
	}
	for range 3 * burst {
		if !a.writes("bob") {
			t.Fatal("who was answered is refused")
		}
	}
	if a.writes("carol") {
		t.Fatal("an answer of bob's opens carol's door")
	}
	o.Pass(2 * time.Second)
	if !a.writes("carol") {
		t.Fatal("time does not help")
	}
}

// TestContact: who may see somebody's presence may write to him.
func TestContact(t *testing.T) {
	o := town.NewWith(t, all.Options{Budget: budget.Options{Burst: burst}}, "alice", "bob")
	a, b := login(t, o, "alice"), login(t, o, "bob")
	b.say("<presence to='alice@localhost' type='subscribed'/>") // ahead of time (RFC 6121 §3.4)
	b.settled("pre")
	a.say("<presence to='bob@localhost' type='subscribe'/>")
	a.settled("ask")
	b.say("<presence to='alice@localhost' type='subscribed'/>")
	b.settled("yes")
	for i := range 3 * burst {
		if !a.writes("bob") {
			t.Fatal("a contact is refused after", i)
		}
	}
}

// TestRequests: nobody can ask everybody to be his contact.
func TestRequests(t *testing.T) {
	o := town.NewWith(t, all.Options{Budget: budget.Options{Burst: burst}}, "alice")
	a := login(t, o, "alice")
	taken := 0
	for i := range 40 {
		id := fmt.Sprintf("ask%d", i)
		a.say(fmt.Sprintf("<presence to='user%d@localhost' type='subscribe' id='%s'/>", i, id))
		if a.settled(id) {
			taken++
		}
	}
	if taken < 10 || taken > 25 {
		t.Fatal(taken, "requests of 40 were taken")
	}
}
