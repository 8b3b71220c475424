// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// long is set in CI: the same tests with more of everything.
var long = os.Getenv("SOTTO_LONG") != ""

// half are the ways in which the flood's connections stop half way.
var half = []string{
	"",                     // connects and is silent
	hello[:40],             // half a header
	hello,                  // waits behind the features
	"\x16\x03\x01\x02\x00", // TLS without STARTTLS
	hello + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",                     // no handshake
	hello + "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\x16\x03\x01\x02\x00", // refused: bytes behind it
}

// A flood opens connections from many addresses and lets each hang until its
// place is needed for the next.
type flood struct {
	addr  string
	next  atomic.Int64
	total int64
}

func (f *flood) run(hold int) {
	var open []net.Conn
	for n := f.next.Add(1); n <= f.total; n = f.next.Add(1) {
		host := net.IPv4(127, 1+byte(n%3), byte(n/250%200), 1+byte(n%250))
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: host}, Timeout: patience}
		nc, err := d.Dial("tcp", f.addr)
		if err != nil {
			continue // refused is what we want
		}
		_ = nc.(*net.TCPConn).SetLinger(0)
		_, _ = io.WriteString(nc, half[n%int64(len(half))])
		if open = append(open, nc); len(open) > hold {
			open[0].Close()
			open = open[1:]
		}
	}
	for _, nc := range open {
		nc.Close()
	}
}

// TestHalfOpen: while connections that never log in come and hang (100,000 in CI),
// people log in and talk, and the server's memory stays small (DESIGN §1 P5).
func TestHalfOpen(t *testing.T) {
	s := rudeStage(t, func(s *stage) { s.opt.Limits = relay.Limits{Strangers: 2000} })
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	routines := runtime.NumGoroutine()
	s.must(talkOnce(s, -1)) // from here on 127.0.0.1 is where people are
	f := &flood{addr: s.addr, total: 5_000}
	if long {
		f.total = 100_000
	}
	var wg sync.WaitGroup
	begin := time.Now()
	for range 8 {
		wg.Go(func() { f.run(500) })
	}
	var slow []time.Duration
	var peak uint64
	for f.next.Load() < f.total {
		start := time.Now()
		if err := talkOnce(s, len(slow)); err != nil {
			t.Fatalf("talk %d during the flood, after %v: %v", len(slow), time.Since(start), err)
		}
		slow = append(slow, time.Since(start))
		runtime.ReadMemStats(&after)
		peak = max(peak, after.HeapInuse+after.StackInuse)
	}
	wg.Wait()
	took := time.Since(begin)
	worst := time.Duration(0)
	for _, d := range slow {
		worst = max(worst, d)
	}
	t.Logf("%d connections in %v; %d talks meanwhile, the slowest %v; %d MiB at most", f.total, took.Round(time.Millisecond), len(slow), worst.Round(time.Millisecond), peak>>20)
	if grown := int64(peak - before.HeapInuse - before.StackInuse); grown > 128<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	for end := time.Now().Add(2 * patience); runtime.NumGoroutine() > routines+20; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left of the flood", runtime.NumGoroutine()-routines)
		}
	}
}

// talkOnce logs alice and bob in, from addresses of their own, and passes one
// message.
func talkOnce(s *stage, n int) error {
	ctx, stop := context.WithTimeout(context.Background(), 2*patience)
	defer stop()
	got := make(chan string, 16)
	talk := func(user string, say string) (*xmpp.Conn, error) {
		c, _, err := dial.Dial(ctx, dial.Login{
			Addr: s.addr, JID: xmpp.MustJID(user + "@localhost"), Password: "password", Resource: "x",
			TLS: &tls.Config{RootCAs: s.roots}, Classic: true,
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", user, err)
		}
		go func() {
			_ = c.Run(ctx, func(st *xmpp.Stanza) error {
				switch {
				case st.Kind == xmpp.KindMessage:
					got <- st.ID
				case st.Kind == xmpp.KindIQ && st.Type == "get": // its ack: it has no stream management
					return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
				}
				return nil
			}, func(w *xmpp.Writer) error { w.Bytes([]byte(say)); say = ""; return nil })
		}()
		c.Wake()
		return c, nil
	}
	id := fmt.Sprint("m", n)
	bob, err := talk("bob", "<presence/>")
	if err != nil {
		return err
	}
	defer bob.Close(nil)
	alice, err := talk("alice", "<message to='bob@localhost/x' id='"+id+"'><body>hi</body></message>")
	if err != nil {
		return err
	}
	defer alice.Close(nil)
	for {
		select {
		case one := <-got:
			if one == id {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TestSlowLogin: bytes that drip in do not move the deadline (RFC 6120
// §4.9.3.4); it holds inside TLS, too.
func TestSlowLogin(t *testing.T) {
	s := rudeStage(t, func(s *stage) { s.opt.Deadline = 300 * time.Millisecond })
	for _, far := range []int{atOnce, opened, asked} {
		r := s.rude(t, "", far)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for _, c := range []byte("<iq" + strings.Repeat(" ", 3000)) {
				select {
				case <-stop:
					return
				case <-time.After(10 * time.Millisecond):
				}
				if _, err := r.Write([]byte{c}); err != nil {
					return
				}
			}
		}()
		r.hear("<connection-timeout xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>")
		close(stop)
		<-done
	}
}

// TestGuessing: a stream has three tries, and many streams have few: then
// guesses wait, or are refused unseen. Who is at home does not feel it, and
// nobody learns whether the account exists (RFC 6120 §6.4.5, DESIGN §6).
func TestGuessing(t *testing.T) {
	s := rudeStage(t, nil)
	s.must(talkOnce(s, 0))
	guess := func(user string) string {
		r := s.rude(t, "127.0.0.66", asked)
		one := "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + basic(user, "wrong") + "</auth>"
		_, _ = io.WriteString(r, strings.Repeat(one, 4))
		return r.rest()
	}
	for _, user := range []string{"alice", "nobody"} {
		for range 3 {
			got := guess(user)
			if strings.Count(got, "<not-authorized/>") != 3 || !strings.Contains(got, "<policy-violation") {
				t.Errorf("%s: %s", user, got)
			}
		}
		heard := make(chan string, 5)
		for range 5 { // at the same moment: one is free, one waits
			go func() { heard <- guess(user) }()
		}
		for range 3 {
			if got := <-heard; !strings.Contains(got, "<temporary-auth-failure/>") {
				t.Errorf("%s: %s", user, got)
			}
		}
	}
	start := time.Now()
	s.must(talkOnce(s, 1))
	if d := time.Since(start); d > patience {
		t.Error("alice waited for", d)
	}
}

// TestEndlessStanza: 1 GiB without '>' is cut off early, and so is a stanza
// that never ends: a long one is passed over, but not for ever.
func TestEndlessStanza(t *testing.T) {
	s := rudeStage(t, nil)
	for _, start := range []string{"<message to='", "<message to='bob@localhost'><body>", "<"} {
		r := s.rude(t, "", inside)
		sent, chunk := 0, strings.Repeat("x", 64<<10)
		var err error
		for err = error(nil); err == nil && sent < 1<<30; sent += len(chunk) {
			if sent == 0 {
				_, err = io.WriteString(r, start)
			}
			if err == nil {
				_, err = io.WriteString(r, chunk)
			}
		}
		if err == nil || sent > 64<<20 {
			t.Errorf("%s: took %d MiB", start, sent>>20)
		}
	}
}
