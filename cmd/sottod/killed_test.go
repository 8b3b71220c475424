// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/xmpp"
)

// A process is the real server, which can be killed.
type process struct {
	t    *testing.T
	bin  string
	conf string
	data string
	addr string
	cmd  *exec.Cmd
}

func newProcess(t *testing.T) *process {
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, bin: filepath.Join(dir, "sottod"), conf: filepath.Join(dir, "c.toml"), data: filepath.Join(dir, "data"), addr: l.Addr().String()}
	l.Close()
	if out, err := exec.Command("go", "build", "-o", p.bin, ".").CombinedOutput(); err != nil {
		t.Fatal(string(out), err)
	}
	text := fmt.Sprintf("data = %q\nlisten = [%q]\nlisten_tls = []\nstranger_words = 0\nclient_rate = 0\nlog = \"warn\"\n", p.data, p.addr)
	if err := os.WriteFile(p.conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, u := range []string{"alice", "bob"} {
		c := exec.Command(p.bin, "--config", p.conf, "user", "add", u)
		c.Stdin = strings.NewReader("secret-" + u + "\n")
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatal(string(out), err)
		}
	}
	p.start()
	t.Cleanup(p.kill)
	return p
}

func (p *process) start() {
	p.cmd = exec.Command(p.bin, "--config", p.conf, "run")
	p.cmd.Stderr = p.t.Output()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; {
		if nc, err := net.Dial("tcp", p.addr); err == nil {
			nc.Close()
			return
		}
		if time.Now().After(end) {
			p.t.Fatal("the server does not open its port")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	_ = p.cmd.Wait()
}

// A reader notes what came, in the order in which it came.
type reader struct {
	mu    sync.Mutex
	texts []string
	order []string       // the same, and how the connection was
	wire  map[string]int // how often each message was on the wire
	ready chan struct{}
	anew  int // logins that could not go on with the old session
}

func (p *process) person(user string, r *reader) *client.Client {
	ca, err := os.ReadFile(filepath.Join(p.data, "tls", "ca.pem"))
	if err != nil {
		p.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	c, err := client.Open(client.Options{
		Account: xmpp.MustJID(user + "@localhost"), Password: "secret-" + user, Addr: p.addr,
		TLS: &tls.Config{RootCAs: roots}, AgentID: "phone of " + user, Store: vault.NewMemory(),
		OnEvent: r.heard, Wire: r.saw,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	p.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			p.t.Error(err)
		}
	})
	select {
	case <-r.ready:
	case <-time.After(20 * time.Second):
		p.t.Fatal(user, "does not get in")
	}
	return c
}

func (r *reader) heard(e client.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case client.Online, client.Offline:
		r.order = append(r.order, string(e.Kind))
	case client.Incoming:
		r.texts = append(r.texts, e.Message.Body)
	case client.Ready:
		r.anew++
		select {
		case <-r.ready:
		default:
			close(r.ready)
		}
	}
}

func (r *reader) saw(sent bool, el *xmpp.Element) {
	if sent || el.Name.Local != "message" || el.Get("from") == "" || el.Child(xmpp.NSReceipts, "request") == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wire[el.Get("id")]++
	r.order = append(r.order, el.Get("id"))
}

func (r *reader) got() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.texts)
}

// runs shows what was on the wire, in its order, as runs of numbers.
func (r *reader) runs(ids map[string]int) string {
	var b strings.Builder
	r.mu.Lock()
	defer r.mu.Unlock()
	last := -1
	for _, id := range r.order {
		n, ok := ids[id]
		switch {
		case !ok:
			fmt.Fprintf(&b, "%d %s ", last, id)
		case n != last+1:
			fmt.Fprintf(&b, "%d, %d-", last, n)
		}
		if ok {
			last = n
		}
	}
	fmt.Fprint(&b, last)
	return b.String()
}

func newReader() *reader { return &reader{wire: map[string]int{}, ready: make(chan struct{})} }

// TestKilledInTheMiddle: the server is killed with -9 again and again while
// alice writes and bob reads. Each message arrives, once, in order (DESIGN §1
// P1, P2), and is once on the wire: sessions go on where they were.
func TestKilledInTheMiddle(t *testing.T) {
	rounds := 4
	if os.Getenv("SOTTO_LONG") != "" {
		rounds = 15
	}
	p := newProcess(t)
	ra, rb := newReader(), newReader()
	a := p.person("alice", ra)
	p.person("bob", rb)
	ids := map[string]int{}
	done := make(chan struct{})
	sent := make(chan int)
	go func() {
		n := 0
		for tick := time.NewTicker(3 * time.Millisecond); ; n++ {
			select {
			case <-done:
				tick.Stop()
				sent <- n
				return
			case <-tick.C:
				m, err := a.Send(xmpp.MustJID("bob@localhost"), fmt.Sprint("message ", n))
				if err != nil {
					t.Error(err)
				}
				ids[m.ID] = n
			}
		}
	}()
	for range rounds {
		before := rb.got()
		p.until("bob reads on", func() bool { return rb.got() > before+10 })
		time.Sleep(rand.N(60 * time.Millisecond)) // somewhere in the middle
		p.kill()
		p.start()
	}
	close(done)
	n := <-sent
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(rb.runs(ids))
			t.Logf("%d sent, %d here, %d wait at alice's; new sessions: alice %d, bob %d", n, rb.got(), a.Waiting(), ra.anew, rb.anew)
		}
	})
	p.until("all have arrived", func() bool { return rb.got() >= n && a.Waiting() == 0 })
	rb.mu.Lock()
	defer rb.mu.Unlock()
	for i, text := range rb.texts {
		if want := fmt.Sprint("message ", i); text != want {
			t.Fatalf("place %d of %d has %q", i, n, text)
		}
	}
	twins := 0
	for _, k := range rb.wire {
		if k > 1 {
			twins++
		}
	}
	if twins > 0 {
		t.Errorf("%d of %d messages were on the wire more than once", twins, n)
	}
}

func (p *process) until(what string, is func() bool) {
	p.t.Helper()
	for end := time.Now().Add(60 * time.Second); !is(); {
		if time.Now().After(end) {
			p.t.Fatal("in vain: ", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
