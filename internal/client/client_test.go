// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	real "sotto/internal/town"
	"sotto/xmpp"
)

func TestMain(m *testing.M) {
	retryFirst, retryLast = 20*time.Millisecond, 50*time.Millisecond
	os.Exit(m.Run())
}

// town is a real town with the people of a test.
type town struct {
	*real.Town
	t *testing.T
}

func newTown(t *testing.T, users ...string) *town { return &town{real.New(t, users...), t} }

func (o *town) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

// person is a client with its events gathered.
type person struct {
	*Client
	t     *testing.T
	store vault.Store
	stop  context.CancelFunc
	ended chan error

	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func (o *town) person(user string, store vault.Store) *person {
	o.t.Helper()
	p := &person{t: o.t, store: store, more: make(chan struct{}, 1), ended: make(chan error, 1)}
	var err error
	p.Client, err = Open(Options{
		Account: xmpp.MustJID(user + "@localhost"), Password: "secret-" + user, Addr: o.Addr,
		TLS: &tls.Config{RootCAs: o.Roots}, AgentID: fmt.Sprintf("%s-%p", user, store), Device: "test", Store: store,
		Log:     slog.New(slog.NewTextHandler(o.t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnEvent: p.take,
	})
	o.must(err)
	return p
}

func (p *person) take(e Event) {
	p.mu.Lock()
	p.events = append(p.events, e)
	p.mu.Unlock()
	select {
	case p.more <- struct{}{}:
	default:
	}
}

// come goes online and waits until all is ready.
func (p *person) come() *person {
	p.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	go func() { p.ended <- p.Run(ctx) }()
	p.t.Cleanup(p.leave)
	p.wait("ready", func(e Event) bool { return e.Kind == Ready })
	return p
}

// leave goes offline; the device's data stays in its store.
func (p *person) leave() {
	if p.stop == nil {
		return
	}
	p.stop()
	p.stop = nil
	if err := <-p.ended; err != nil {
		p.t.Error(err)
	}
}

// wait consumes events up to the one that is asked for.
func (p *person) wait(what string, is func(Event) bool) Event {
	p.t.Helper()
	late := time.After(20 * time.Second)
	for {
		p.mu.Lock()
		for i, e := range p.events {
			if is(e) {
				p.events = append(p.events[:i:i], p.events[i+1:]...)
				p.mu.Unlock()
				return e
			}
		}
		p.mu.Unlock()
		select {
		case <-p.more:
		case <-late:
			p.mu.Lock()
			defer p.mu.Unlock()
			p.t.Fatalf("%s waits for %s in vain; has %+v", p.Self(), what, p.events)
		}
	}
}

func (p *person) reads(body string) *Message {
	p.t.Helper()
	return p.wait("message "+body, func(e Event) bool { return e.Kind == Incoming && e.Message.Body == body }).Message
}

func (p *person) ticks(m *Message, s State) {
	p.t.Helper()
	p.wait(s.String(), func(e Event) bool { return e.Kind == Changed && e.Message.ID == m.ID && e.Message.State == s })
}

func (p *person) sends(to, body string) *Message {
	p.t.Helper()
	m, err := p.Send(xmpp.MustJID(to+"@localhost"), body)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// TestTicks: the whole life of a message between two who are there, and back.
func TestTicks(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	m := a.sends("bob", "hello <bob> & 🌍")
	a.ticks(m, Sent)
	got := b.reads("hello <bob> & 🌍")
	if got.Trust != "first-use" || got.Device != a.Device() {
		t.Errorf("%+v", got)
	}
	a.ticks(m, Delivered)
	if err := b.Seen("alice@localhost"); err != nil {
		t.Fatal(err)
	}
	a.ticks(m, Read)
	back := b.sends("alice", "hello alice")
	a.reads("hello alice")
	b.ticks(back, Delivered)
	n1, err := a.SafetyNumber("bob@localhost")
	n2, err2 := b.SafetyNumber("alice@localhost")
	if n1 != n2 || len(n1) != 60 || err != nil || err2 != nil {
		t.Error(n1, n2, err, err2)
	}
}

// TestAway: Alice writes while Bob is away and leaves; Bob reads; the ticks wait for Alice.
func TestAway(t *testing.T) {
	o := newTown(t, "alice", "bob")
	bobs := vault.NewMemory()
	o.person("bob", bobs).come().leave()
	alices := vault.NewMemory()
	a := o.person("alice", alices).come()
	var sent []*Message
	for i := range 20 {
		sent = append(sent, a.sends("bob", fmt.Sprint("away ", i)))
	}
	for _, m := range sent {
		a.ticks(m, Sent)
	}
	a.leave()
	b := o.person("bob", bobs).come()
	for i := range 20 {
		b.reads(fmt.Sprint("away ", i))
	}
	if err := b.Seen("alice@localhost"); err != nil {
		t.Fatal(err)
	}
	a = o.person("alice", alices).come()
	a.ticks(sent[19], Read)
	all, err := a.History("bob@localhost", 100)
	if err != nil || len(all) != 20 {
		t.Fatal(len(all), err)
	}
	for _, m := range all {
		if m.State != Read {
			t.Errorf("%+v", m)
		}
	}
}

// TestQueued: what is written without a network goes out when there is one, once.
func TestQueued(t *testing.T) {
	o := newTown(t, "alice", "bob")
	b := o.person("bob", vault.NewMemory()).come()
	alices := vault.NewMemory()
	a := o.person("alice", alices)
	m := a.sends("bob", "written on the train")
	if m.State != Queued {
		t.Error(m.State)
	}
	a = o.person("alice", alices) // the program was closed in between
	a.come()
	a.ticks(m, Delivered)
	b.reads("written on the train")
	a.sends("bob", "end")
	b.reads("end")
	if all, err := b.History("alice@localhost", 9); err != nil || len(all) != 2 {
		t.Error(all, err)
	}
}

// TestDevices: each device of the receiver reads, and the sender's other device has the talk too.
func TestDevices(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b1 := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	a.sends("bob", "to one")
	b1.reads("to one")
	b2 := o.person("bob", vault.NewMemory()).come()
	a2 := o.person("alice", vault.NewMemory()).come()
	m := a.sends("bob", "to both")
	b1.reads("to both")
	b2.reads("to both")
	own := a2.wait("copy", func(e Event) bool { return e.Kind == Outgoing && e.Message.Body == "to both" })
	if own.Message.Chat != "bob@localhost" || !own.Message.Out {
		t.Errorf("%+v", own.Message)
	}
	a.ticks(m, Delivered)
}

// TestRepair: Bob's sessions are gone; what he cannot read is sent once more, unasked by people.
func TestRepair(t *testing.T) {
	o := newTown(t, "alice", "bob")
	bobs := vault.NewMemory()
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", bobs).come()
	a.sends("bob", "one")
	b.reads("one")
	b.sends("alice", "two")
	a.reads("two")
	if err := b.keys.Forget(omemo.Address{User: "alice@localhost", Device: a.Device()}); err != nil {
		t.Fatal(err)
	}
	m := a.sends("bob", "three")
	m4 := a.sends("bob", "four")
	b.reads("three")
	b.reads("four")
	a.ticks(m, Delivered)
	a.ticks(m4, Delivered)
	a.sends("bob", "five")
	b.reads("five")
	all, err := b.History("alice@localhost", 99)
	if err != nil || len(all) != 5 {
		t.Error(all, err)
	}
}

// TestServerRestart: sessions go on, nothing is lost or doubled.
func TestServerRestart(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	a.sends("bob", "before")
	b.reads("before")
	for i := range 3 {
		o.Close()
		m := a.sends("bob", fmt.Sprint("while down ", i))
		o.Open()
		b.reads(fmt.Sprint("while down ", i))
		a.ticks(m, Delivered)
	}
	if all, err := b.History("alice@localhost", 99); err != nil || len(all) != 4 {
		t.Error(all, err)
	}
}

// TestNobody: people without keys, and people who are not there, give the same plain answer.
func TestNobody(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a := o.person("alice", vault.NewMemory()).come()
	for _, to := range []string{"bob", "nobody"} {
		m := a.sends(to, "hello?")
		e := a.wait("failure", func(e Event) bool { return e.Kind == Changed && e.Message.ID == m.ID })
		if e.Message.State != Failed || !strings.Contains(e.Why, "no device") {
			t.Errorf("%+v", e.Message)
		}
	}
}

// TestPeople: asking, answering, here and gone, last seen.
func TestPeople(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	o.must(a.Add(context.Background(), "bob@localhost", "Bob"))
	b.wait("question", func(e Event) bool { return e.Kind == Asked && e.Chat == "alice@localhost" })
	o.must(b.Add(context.Background(), "alice@localhost", ""))
	a.wait("bob here", func(Event) bool {
		return is(a, "bob@localhost", func(c Contact) bool { return c.Online && c.Sub == "both" })
	})
	b.wait("alice here", func(Event) bool {
		return is(b, "alice@localhost", func(c Contact) bool { return c.Online && !c.Wants })
	})
	b.Type("alice@localhost", true)
	a.wait("typing", func(e Event) bool { return e.Kind == Typing && e.Chat == "bob@localhost" })
	o.must(a.Remove(context.Background(), "bob@localhost"))
	b.wait("alice gone", func(Event) bool { return is(b, "alice@localhost", func(c Contact) bool { return !c.Online }) })
}

func is(p *person, jid string, want func(Contact) bool) bool {
	for _, c := range p.Contacts() {
		if c.JID == jid {
			return want(c)
		}
	}
	return false
}

// TestControls: text that no XML can carry arrives, with its letters.
func TestControls(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", vault.NewMemory()).come(), o.person("bob", vault.NewMemory()).come()
	m := a.sends("bob", "a\x1b[31mred\x00\xff\uffff\r\nend\ttab")
	b.reads("a\ufffd[31mred\ufffd\ufffd\ufffd\r\nend\ttab")
	a.ticks(m, Delivered)
}
