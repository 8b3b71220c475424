// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
)

// strangers is how many may come from one address (relay.Limits).
const strangers = 256

// Sockets that say nothing count at the gate before their TLS; those beyond it
// are closed at once.
func TestCrowdOfSockets(t *testing.T) {
	o := town.New(t)
	o.Freeze() // nobody grows old enough to make room
	addr := strings.TrimPrefix(o.URL, "https://")
	var all []net.Conn
	for range strangers + 10 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		all = append(all, c)
	}
	for i, c := range all {
		late := time.Millisecond // nothing is said to those who are in
		if i >= strangers {
			late = patience
		}
		_ = c.SetReadDeadline(time.Now().Add(late))
		_, err := c.Read(make([]byte, 1))
		if in := errors.Is(err, os.ErrDeadlineExceeded); in != (i < strangers) {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
}

// BOSH sessions that do not log in count there, too, though all may come over
// one connection.
func TestCrowdOfTalks(t *testing.T) {
	o := town.New(t)
	o.Freeze() // nobody grows old enough to make room
	p := &poller{t: t, o: o, http: client(o)}
	made := 0
	for ; made <= strangers; made++ {
		if b := p.ask(1, "to='localhost' wait='1'", ""); b.Get("type") == "terminate" {
			if b.Get("condition") != "policy-violation" {
				t.Fatal(string(b.Bytes()))
			}
			break
		}
	}
	if made != strangers-1 { // the connection is one of them
		t.Fatal(made, "sessions from one address")
	}
}
