// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"sotto/xmpp"
)

// A clock that only the test moves.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func testGate(l Limits) (*gate, *clock) {
	c := &clock{time.Unix(1e9, 0)}
	return newGate(l, c.now), c
}

func from(ip string) net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(ip), 4711))
}

// A crowd is what enters one after the other; it notes who was sent away.
type crowd struct {
	g    *gate
	gone []int
	n    int
}

func (c *crowd) enter(ip string) (*guest, *xmpp.StreamError) {
	n := c.n
	c.n++
	return c.g.enter(from(ip), func(error) { c.gone = append(c.gone, n) })
}

// Where it is full the oldest stranger goes, but not before it had its time;
// who has logged in is not touched.
func TestOldestStrangerGoes(t *testing.T) {
	g, now := testGate(Limits{Strangers: 3, PerAddress: 2, Sockets: 100})
	c := crowd{g: g}
	for i := range 3 {
		if _, no := c.enter(fmt.Sprintf("192.0.2.%d", i)); no != nil {
			t.Fatal(no)
		}
	}
	if _, no := c.enter("192.0.2.9"); no != errCrowded {
		t.Fatal("pushed out somebody who has just come", no)
	}
	now.t = now.t.Add(settling)
	v, no := c.enter("192.0.2.9")
	if no != nil || fmt.Sprint(c.gone) != "[0]" {
		t.Fatal(no, c.gone)
	}
	g.welcome(v)
	for i := range 4 {
		now.t = now.t.Add(settling)
		if _, no := c.enter(fmt.Sprintf("198.51.100.%d", i)); no != nil {
			t.Fatal(no)
		}
	}
	if fmt.Sprint(c.gone) != "[0 1 2 5]" { // 4 has logged in
		t.Fatal(c.gone)
	}
}

// In a flood that leaves nobody the time to settle, somebody who comes from
// where people have logged in gets a place, at the cost of the oldest stranger
// from elsewhere.
func TestFriendsGetIn(t *testing.T) {
	g, _ := testGate(Limits{Strangers: 16, PerAddress: 4, Sockets: 100})
	c := crowd{g: g}
	v, _ := c.enter("198.51.100.1")
	g.welcome(v)
	for i := range 40 {
		_, _ = c.enter(fmt.Sprintf("192.0.2.%d", i))
	}
	for i := range 4 {
		if _, no := c.enter("198.51.100.1"); no != nil {
			t.Fatal(i, no)
		}
	}
	if fmt.Sprint(c.gone) != "[1 2 3 4]" {
		t.Fatal(c.gone)
	}
	if _, no := c.enter("198.51.100.1"); no != errHasty {
		t.Fatal(no)
	}
}

// One address cannot take the places of the others.
func TestOneAddress(t *testing.T) {
	g, now := testGate(Limits{Strangers: 10, PerAddress: 2, Sockets: 100, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	c := crowd{g: g}
	_, _ = c.enter("203.0.113.1")
	now.t = now.t.Add(settling)
	for range 5 {
		_, _ = c.enter("192.0.2.1")
		now.t = now.t.Add(settling)
	}
	if fmt.Sprint(c.gone) != "[1 2 3]" {
		t.Fatal(c.gone)
	}
	for _, ip := range []string{"2001:db8::1", "2001:db8::2", "2001:db8::3"} { // one network, one customer
		_, _ = c.enter(ip)
		now.t = now.t.Add(settling)
	}
	if fmt.Sprint(c.gone) != "[1 2 3 6]" {
		t.Fatal(c.gone)
	}
	for range 5 {
		if _, no := c.enter("127.0.0.1"); no != nil {
			t.Fatal(no)
		}
	}
	if len(c.gone) != 4 {
		t.Fatal("a trusted network was counted by address")
	}
}

// Sockets that log in may come as fast as they like; others run into the rate.
func TestKnocks(t *testing.T) {
	g, now := testGate(Limits{Strangers: 10, PerAddress: 10, Sockets: 100})
	c := crowd{g: g}
	for range 3 * knockBudget.free {
		v, no := c.enter("192.0.2.1")
		if no != nil {
			t.Fatal("honest address slowed down")
		}
		g.welcome(v)
		g.leave(v)
	}
	n := 0
	for range 3 * knockBudget.free {
		if v, no := c.enter("192.0.2.1"); no == nil {
			g.leave(v)
			n++
		}
	}
	if n != knockBudget.free {
		t.Fatal(n)
	}
	now.t = now.t.Add(10 * knockBudget.each)
	for range 10 {
		if _, no := c.enter("192.0.2.1"); no != nil {
			t.Fatal(no)
		}
	}
	if g.sockets != 10 {
		t.Fatal(g.sockets)
	}
}

// No file is left for strangers when the sockets are used up.
func TestSockets(t *testing.T) {
	g, now := testGate(Limits{Strangers: 16, PerAddress: 16, Sockets: 16})
	c := crowd{g: g}
	var all []*guest
	for i := range 16 {
		v, no := c.enter(fmt.Sprintf("192.0.2.%d", i))
		if no != nil {
			t.Fatal(i, no)
		}
		if i > 0 {
			g.welcome(v)
		}
		all = append(all, v)
	}
	now.t = now.t.Add(settling)
	if _, no := c.enter("192.0.2.99"); no != errCrowded || fmt.Sprint(c.gone) != "[0]" {
		t.Fatal(no, c.gone)
	}
	g.leave(all[0])
	if _, no := c.enter("192.0.2.99"); no != nil {
		t.Fatal(no)
	}
	g.close()
	if _, no := c.enter("192.0.2.98"); no != errStop || len(c.gone) != 2 {
		t.Fatal(no, c.gone)
	}
}

// A guesser waits, then is refused unseen; the person he is after, who was
// here before or has his own device, does not feel it (DESIGN §6).
func TestGuesses(t *testing.T) {
	g, now := testGate(Limits{})
	home, device := from("198.51.100.7"), "6b7a"
	g.proved(home, "alice", "")
	waits, refused := 0, 0
	for i := range 100 {
		w, ok := g.attempt(from(fmt.Sprintf("192.0.2.%d", i)), "alice", "")
		switch {
		case !ok:
			refused++
		case w > 0:
			waits++
		}
	}
	if waits != 1 || refused != 99-ownBudget.free {
		t.Fatal(waits, refused)
	}
	if w, ok := g.attempt(home, "alice", ""); w != 0 || !ok {
		t.Fatal("alice is locked out at home")
	}
	if w, ok := g.attempt(from("203.0.113.5"), "alice", device); w != 0 || !ok {
		t.Fatal("her device is locked out")
	}
	if _, ok := g.attempt(from("203.0.113.5"), "alice", ""); ok {
		t.Fatal("a stranger may go on")
	}
	now.t = now.t.Add(time.Minute)
	if _, ok := g.attempt(from("203.0.113.5"), "alice", ""); !ok {
		t.Fatal("nobody is locked out for ever")
	}
}

// Guesses over many accounts from one address wait for each other.
func TestSpraying(t *testing.T) {
	g, _ := testGate(Limits{})
	var last time.Duration
	n := 0
	for i := range 100 {
		w, ok := g.attempt(from("192.0.2.1"), fmt.Sprintf("user%d", i), "")
		if ok {
			n++
			last = max(last, w)
		}
	}
	if n != tryBudget.free+int(longest/tryBudget.each) || last != longest {
		t.Fatal(n, last)
	}
	for i := range 1000 { // right passwords cost nothing
		a := from("198.51.100.1")
		if w, ok := g.attempt(a, fmt.Sprintf("user%d", i), ""); !ok || w > 0 {
			t.Fatal(i, w, ok)
		}
		g.proved(a, fmt.Sprintf("user%d", i), "")
	}
}

func TestSignups(t *testing.T) {
	g, now := testGate(Limits{})
	n := 0
	for range 20 {
		if g.signup(from("192.0.2.1")) {
			n++
		}
	}
	now.t = now.t.Add(signupBudget.each)
	if n != signupBudget.free || !g.signup(from("192.0.2.1")) || !g.signup(from("192.0.2.2")) {
		t.Fatal(n)
	}
}

// The tables stay small under a flood of addresses and names.
func TestTablesAreBounded(t *testing.T) {
	g, _ := testGate(Limits{})
	for i := range tableMax + 5000 {
		a := from(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
		v, no := g.enter(a, func(error) {})
		if no == nil {
			g.leave(v)
		}
		g.attempt(a, fmt.Sprint(i), "")
		g.proved(a, fmt.Sprint(i), "")
	}
	if len(g.sources) > tableMax || len(g.accounts) > tableMax || len(g.known) > tableMax {
		t.Fatal(len(g.sources), len(g.accounts), len(g.known))
	}
}
