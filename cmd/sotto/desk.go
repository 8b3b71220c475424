// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/xmpp"
)

// A desk is a device at work: the vault is open, and requests are carried out,
// our own and those of other processes.
type desk struct {
	// fixed: set before use.
	p      *profile
	vault  *vault.Disk
	client *client.Client
	socket net.Listener
	stop   context.CancelFunc
	work   sync.WaitGroup     // what close waits for
	also   func(client.Event) // hears all events too; may be nil; set before start

	// shared: safe from anywhere, by type or under mu.
	ready chan struct{} // closed when the login is complete for the first time
	ended chan struct{} // closed when the client has given up; why says why
	mu    sync.Mutex
	feeds []*feed
	state client.Event // how the connection is: ready or offline
	why   error
}

const (
	recordKind = "sotto"
	password   = "password"
)

// openDesk opens the vault of a profile that has logged in.
func openDesk(ctx context.Context, p *profile, wire func(bool, *xmpp.Element)) (*desk, error) {
	if p.Agent == "" {
		return nil, p.stranger()
	}
	v, err := p.unlock(ctx, "")
	if err != nil {
		return nil, err
	}
	word, err := v.Get(recordKind, password)
	if err == nil && word == nil {
		err = p.stranger()
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	d, err := newDesk(p, v, string(word), wire)
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return d, nil
}

func (p *profile) stranger() error {
	return &failure{Code: exitUser, What: p.who.String() + " has not logged in on this machine", Hint: p.as + " login"}
}

func newDesk(p *profile, v *vault.Disk, word string, wire func(bool, *xmpp.Element)) (*desk, error) {
	conf, err := p.trust()
	if err != nil {
		return nil, err
	}
	d := &desk{p: p, vault: v, ready: make(chan struct{}), ended: make(chan struct{})}
	d.client, err = client.Open(client.Options{
		Account: p.who, Password: word, Find: p.find, TLS: conf, AgentID: p.Agent, Device: p.Device, Quiet: true,
		Store: v, Log: slog.Default(), OnEvent: d.heard, Wire: wire,
	})
	return d, err
}

// start connects and lets other processes in.
func (d *desk) start() {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.work.Go(func() {
		err := d.client.Run(ctx)
		d.mu.Lock()
		d.why = err
		d.mu.Unlock()
		close(d.ended)
	})
	l, err := listenSocket(d.p.file(socketName))
	if err != nil {
		slog.Warn("other commands must wait until this one ends", "err", err)
		return
	}
	d.socket = l
	d.work.Go(func() { d.serve(ctx, l) })
}

// linger is how long the end of a command waits for the server to take what
// is due, as receipts.
const linger = 3 * time.Second

// close takes leave of the server and gives the vault back. It says how many
// messages are still queued.
func (d *desk) close() (queued int, err error) {
	if d.socket != nil {
		d.socket.Close()
	}
	for end := time.Now().Add(linger); d.client.Online() && d.client.Waiting() > 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	d.stop()
	d.work.Wait()
	queued, err = d.client.Unsent()
	return queued, errors.Join(err, d.vault.Close())
}

// heard gets every event of the client and hands it on; it never blocks.
func (d *desk) heard(e client.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch e.Kind {
	case client.Offline:
		d.state = e
	case client.Online:
		d.state = client.Event{}
		select {
		case <-d.ready: // a session that goes on needs no second login
			d.state = client.Event{Kind: client.Ready, At: e.At}
		default:
		}
	case client.Ready:
		if d.state.Kind != client.Ready {
			d.state = e
		}
		select {
		case <-d.ready:
		default:
			close(d.ready)
		}
	}
	for _, f := range d.feeds {
		f.put(e)
	}
	if d.also != nil {
		d.also(e)
	}
}

// A feed is one reader of the events. It holds what its reader has not taken:
// the client never waits for a slow terminal.
type feed struct {
	d    *desk
	more chan struct{} // capacity 1: "look again"

	mu     sync.Mutex
	events []client.Event
}

// listen opens a feed; it begins with how the connection is.
func (d *desk) listen() *feed {
	f := &feed{d: d, more: make(chan struct{}, 1)}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.feeds = append(d.feeds, f)
	if d.state.Kind != "" {
		f.put(d.state)
	}
	return f
}

func (f *feed) close() {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.feeds = slices.DeleteFunc(f.d.feeds, func(g *feed) bool { return g == f })
}

func (f *feed) put(e client.Event) {
	f.mu.Lock()
	f.events = append(f.events, e)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default:
	}
}

// next waits for an event. It ends with the context, or when the client has
// given up for good.
func (f *feed) next(ctx context.Context) (client.Event, error) {
	for {
		f.mu.Lock()
		if len(f.events) > 0 {
			e := f.events[0]
			f.events = f.events[1:]
			f.mu.Unlock()
			return e, nil
		}
		f.mu.Unlock()
		select {
		case <-f.more:
		case <-ctx.Done():
			return client.Event{}, ctx.Err()
		case <-f.d.ended:
			return client.Event{}, f.d.gaveUp()
		}
	}
}

// connected waits until the login is complete, or the connection is back.
func (d *desk) connected(ctx context.Context) error {
	f := d.listen()
	defer f.close()
	select {
	case <-d.ready:
	case <-d.ended:
		return d.gaveUp()
	case <-ctx.Done():
		return d.unreachable(ctx)
	}
	for !d.client.Online() {
		if _, err := f.next(ctx); err != nil {
			return d.unreachable(ctx)
		}
	}
	return nil
}

// gaveUp is why the client does not try any more.
func (d *desk) gaveUp() error {
	d.mu.Lock()
	err := d.why
	d.mu.Unlock()
	var auth *xmpp.AuthError
	switch {
	case errors.As(err, &auth):
		return &failure{Code: exitUser, What: "the server refuses the login of " + d.p.who.String() + " (" + auth.Cond + ")", Hint: d.p.as + " login   with the right password"}
	case err != nil:
		return &failure{Code: exitNetwork, What: err.Error()}
	}
	return errMoved // this process is on its way out
}

// unreachable says why a command had no connection in its time.
func (d *desk) unreachable(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return &failure{Code: exitNetwork, What: "no connection to the server: " + d.reason(), Hint: hintFor(d.p, d.reason())}
}

func (d *desk) reason() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Why == "" {
		return "it does not answer"
	}
	return d.state.Why
}

// do carries out one request.
func (d *desk) do(ctx context.Context, r *request, say func(answer) error) error {
	if !r.Until.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, r.Until)
		defer stop()
	}
	if r.Verb == "listen" || r.Verb == "contacts" || r.Verb == "history" || r.Verb == "send" && r.Wait > client.Sent {
		d.client.Appear() // who only sends does not flash up as online
	}
	switch r.Verb {
	case "send":
		return d.send(ctx, r, say)
	case "listen":
		return d.follow(ctx, r, say)
	case "contacts":
		return d.contacts(ctx, say)
	case "add":
		return d.add(ctx, r, say)
	case "remove":
		return d.remove(ctx, r, say)
	case "devices":
		return d.devices(ctx, r, say)
	case "verify":
		return d.verify(ctx, r, say)
	case "distrust":
		return d.distrust(r, say)
	case "history":
		return d.history(ctx, r, say)
	}
	return fmt.Errorf("the running sotto does not know %q; it is another version", r.Verb)
}
