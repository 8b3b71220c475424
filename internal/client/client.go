// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// Options say who we are and where the server is.
type Options struct {
	Account  xmpp.JID // bare
	Password string
	Addr     string                                                      // host:port
	Direct   bool                                                        // TLS from the first byte (XEP-0368)
	Find     func(context.Context) (addr string, direct bool, err error) // asked before each connection; nil: Addr and Direct
	TLS      *tls.Config
	AgentID  string // this device's name to the server (XEP-0388 §2.3)
	Device   string // what people call this device
	Quiet    bool   // not present, and so without new mail, until Appear
	Store    vault.Store
	Log      *slog.Logger
	OnEvent  func(Event)                       // called from our goroutines; must not block for long
	Wire     func(sent bool, el *xmpp.Element) // sees every element of the stream; for those who look for faults
}

// Client is one device. Its methods may be called by anyone.
type Client struct {
	// fixed: set before use.
	opt  Options
	self string // our bare address
	keys *omemo.Account
	book *book

	// shared: safe from anywhere, by type or under mu.
	work    chan struct{} // capacity 1: "look for chores"
	mu      sync.Mutex
	session *session // the stream management session; outlives sockets
	people  map[string]*Contact
	online  bool
	quiet   bool                 // present to nobody
	entered bool                 // this session's login is complete
	said    map[string]said      // typing notices of ours, by chat
	fresh   map[string]time.Time // device lists that this session has fetched
	stale   map[string]bool      // device lists that have changed meanwhile
}

// Open opens a device's data; it does not use the network.
func Open(o Options) (*Client, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.OnEvent == nil {
		o.OnEvent = func(Event) {}
	}
	if o.Wire == nil {
		o.Wire = func(bool, *xmpp.Element) {}
	}
	if o.Find == nil {
		o.Find = func(context.Context) (string, bool, error) { return o.Addr, o.Direct, nil }
	}
	self := o.Account.Bare().String()
	keys, err := omemo.Open(o.Store, self, time.Now)
	if err != nil {
		return nil, err
	}
	c := &Client{
		opt: o, self: self, keys: keys, work: make(chan struct{}, 1), session: newSession(), quiet: o.Quiet,
		people: map[string]*Contact{}, said: map[string]said{}, fresh: map[string]time.Time{}, stale: map[string]bool{},
	}
	if c.book, err = openBook(o.Store); err != nil {
		return nil, err
	}
	return c, c.loadPeople()
}

// Self is our bare address.
func (c *Client) Self() string { return c.self }

// Device is our device's number.
func (c *Client) Device() uint32 { return c.keys.Self().Device }

// Online says whether the stream is up.
func (c *Client) Online() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.online
}

// Try is how Run asks again after a lost connection; tests shorten it.
var (
	retryFirst = 500 * time.Millisecond
	retryLast  = 30 * time.Second
)

// Run keeps a stream up until the context ends. A refused login ends it too:
// asking again would not help.
func (c *Client) Run(ctx context.Context) error {
	wait := retryFirst
	for {
		err := c.once(ctx, func() { wait = retryFirst })
		var auth *xmpp.AuthError
		var all *xmpp.StreamError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &auth):
			return err
		case errors.As(err, &all) && all.Cond == xmpp.StreamConflict:
			return fmt.Errorf("another program has taken this device's place: %w", err)
		}
		c.emit(Event{Kind: Offline, Why: reason(err)})
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait/2 + rand.N(wait)):
		}
		wait = min(2*wait, retryLast)
	}
}

func reason(err error) string {
	if err == nil {
		return "connection closed"
	}
	return err.Error()
}

// once logs in and works until the stream ends.
func (c *Client) once(ctx context.Context, up func()) error {
	s := c.session
	addr, direct, err := c.opt.Find(ctx)
	if err != nil {
		return err
	}
	conn, w, err := dial.Dial(ctx, c.login(s, addr, direct))
	if err != nil {
		return err
	}
	up()
	c.keepToken(w)
	if !w.Resumed {
		s = newSession()
	}
	if err := s.attach(conn, w); err != nil {
		conn.Drop()
		return err
	}
	c.mu.Lock()
	c.session, c.online = s, true
	clear(c.said)
	if !w.Resumed {
		clear(c.fresh)
		c.entered = false
	}
	c.mu.Unlock()
	if !w.Resumed {
		c.book.resend()
	}
	if err := c.settle(s); err != nil {
		conn.Drop()
		return err
	}
	c.emit(Event{Kind: Online})
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.chores(ctx, s, w.Resumed)
	}()
	leave := context.AfterFunc(ctx, func() { // in good order: our count first (XEP-0198 §5)
		s.owe()
		conn.Close(nil)
	})
	fill := func(w *xmpp.Writer) error { return s.fill(w, c.opt.Wire) }
	err = conn.Run(context.WithoutCancel(ctx), func(st *xmpp.Stanza) error { return c.handle(s, st) }, fill)
	leave()
	cancel()
	s.detach()
	<-done
	c.mu.Lock()
	c.online = false
	c.mu.Unlock()
	return err
}

func (c *Client) login(s *session, addr string, direct bool) dial.Login {
	h, id := s.resumption()
	return dial.Login{
		Addr: addr, JID: c.opt.Account, Password: c.opt.Password, TLS: c.opt.TLS, Direct: direct,
		Tag: "sotto", AgentID: c.opt.AgentID, Software: "sotto", Device: c.opt.Device,
		Token: c.token(), SM: true, ResumeID: id, ResumeH: h, Carbons: true, Log: c.opt.Log,
	}
}

// token is what the server gave us instead of the password (XEP-0484).
func (c *Client) token() *xmpp.Token {
	v, err := c.opt.Store.Get(kindMeta, "token")
	t := new(xmpp.Token)
	if err != nil || v == nil || json.Unmarshal(v, t) != nil || !time.Now().Before(t.Expiry) {
		return nil
	}
	return t
}

// keepToken notes a new token, or that the old one is not good any more.
func (c *Client) keepToken(w *dial.Welcome) {
	change := vault.Change{Kind: kindMeta, Name: "token"}
	switch {
	case w.Token != nil:
		change.Value = marshal(w.Token)
	case !w.TokenRefused:
		return
	}
	if err := c.opt.Store.Commit(change); err != nil {
		c.opt.Log.Error("keep token", "err", err)
	}
}

// nudge tells the chores goroutine to look again.
func (c *Client) nudge() {
	select {
	case c.work <- struct{}{}:
	default:
	}
}

func (c *Client) emit(e Event) {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	c.opt.OnEvent(e)
}
