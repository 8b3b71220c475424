// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/peer"
)

// Options are the operator's choices; the zero value has no links at all.
type Options struct {
	Servers  string         // "" or off, listed, open
	Listed   []string       // domains, with Servers = listed
	Lax      bool           // dialback is proof enough, whatever the certificate
	Roots    *x509.CertPool // nil: the system's
	Resolver string         // address of a name server; empty: the system's
	Wait     time.Duration  // how long a message waits for a server; default 24 h
	Stop     time.Duration  // between two tries, at most; default 5 min
	Proof    time.Duration  // until another server has proved its domain; default 30 s

	Components map[string]string // secrets by domain (XEP-0114)
}

// The limits: no server and no stranger makes us hold more.
const (
	roadsMax    = 2000     // domains that something waits for, or a stream leads to
	waitingMax  = 10_000   // stanzas for one domain
	bytesMax    = 32 << 20 // of them, since the start
	streamsMax  = 2000     // that came in
	strangerMax = 128      // streams that have not proved anything, in all
	strangerOne = 8        // and from one address
	asksMax     = 32       // keys that are being confirmed at a time
	openedMax   = 100      // roads that one person here makes in a minute
	hasty       = 10 * time.Minute
)

// A pair is one of our domains and one of theirs.
type pair struct{ us, them string }

type links struct {
	s     *relay.Server
	o     Options
	trust *peer.Trust
	way   *way

	mu      sync.Mutex
	roads   map[pair]*road
	streams map[*stream]bool
	doors   map[string]int   // strangers by address
	opened  map[xmpp.JID]int // roads that people here made since the last look
	asks    chan struct{}    // places for keys that are being confirmed
}

// Add registers the family. With links the server has the ports s2s and
// s2s_tls, with components the port component.
func Add(s *relay.Server, o Options) {
	servers := o.Servers == "listed" || o.Servers == "open"
	if !servers && len(o.Components) == 0 {
		s.Undelivered = (&links{s: s}).undelivered // what waits since there were links
		return
	}
	if o.Wait == 0 {
		o.Wait = 24 * time.Hour
	}
	if o.Proof == 0 {
		o.Proof = 30 * time.Second
	}
	if o.Stop == 0 {
		o.Stop = 5 * time.Minute
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret) // never fails
	l := &links{
		s: s, o: o, way: newWay(o.Resolver), roads: map[pair]*road{}, streams: map[*stream]bool{}, doors: map[string]int{}, opened: map[xmpp.JID]int{},
		trust: &peer.Trust{TLS: s.TLS(), Roots: o.Roots, Lax: o.Lax, Secret: secret, Log: s.Log(), Now: time.Now},
		asks:  make(chan struct{}, asksMax),
	}
	s.Away, s.Undelivered = l.send, l.undelivered
	s.Beside, s.Links = l.items, l.lines
	s.Go(l.begin)
	if len(o.Components) > 0 {
		s.Ports["component"] = l.beside
	}
	if !servers {
		return
	}
	s.Ports["s2s"] = func(ln net.Listener) error { return l.serve(ln, false) }
	s.Ports["s2s_tls"] = func(ln net.Listener) error { return l.serve(ln, true) }
}

// may says whether a server may have links with us.
func (l *links) may(domain string) bool {
	return !l.serves(domain) && (l.o.Servers == "open" || l.o.Servers == "listed" && slices.Contains(l.o.Listed, domain))
}

// notes are the records of pairs that something may wait for.
const notes = "link notes"

func (p pair) owner() string { return "link " + p.us + " " + p.them }

func pairOf(owner string) (pair, bool) {
	f := strings.Split(owner, " ")
	if len(f) != 3 || f[0] != "link" {
		return pair{}, false
	}
	return pair{f[1], f[2]}, true
}

// begin goes on with what waited when the server stopped, and looks after the
// streams until it stops again.
func (l *links) begin(ctx context.Context) {
	var all []pair
	err := l.s.Store().View(notes, func(r *offline.Records) error {
		r.Each("link", func(owner string, _ []byte) bool {
			if p, ok := pairOf(owner); ok {
				all = append(all, p)
			}
			return true
		})
		return nil
	})
	if err != nil {
		l.s.Log().Error("what waits for other servers", "err", err)
	}
	for _, p := range all {
		r := l.road(p)
		if r != nil && p.us != peer.Beside && !l.may(p.them) { // not any more
			r.bounce(xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound).Say("this server does not talk with "+p.them), true)
		}
		if r != nil && r.box.Len() > 0 {
			r.mu.Lock()
			r.noted = true
			r.mu.Unlock()
			r.wake()
			continue
		}
		l.forget(p)
	}
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for n := 1; ; n++ {
		select {
		case <-ctx.Done():
			l.closeAll()
			return
		case <-tick.C:
			l.tend()
			if n%12 == 0 {
				l.mu.Lock()
				clear(l.opened)
				l.mu.Unlock()
			}
		}
	}
}

func (l *links) closeAll() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		s.conn.Close(&xmpp.StreamError{Cond: xmpp.StreamSystemShutdown})
	}
}

// tend ends streams on which nothing moves, and those whose other end does not
// answer.
func (l *links) tend() {
	now := time.Now()
	l.mu.Lock()
	var idle, dead, deaf []*stream
	for s := range l.streams {
		switch s.state(now) {
		case quiet:
			idle = append(idle, s)
		case silent:
			dead = append(dead, s)
		case mute:
			deaf = append(deaf, s)
		}
	}
	for p, r := range l.roads {
		if r.over(now) {
			delete(l.roads, p)
		}
	}
	l.mu.Unlock()
	for _, s := range idle {
		s.conn.Close(nil)
	}
	for _, s := range dead {
		s.conn.Drop()
	}
	for _, s := range deaf {
		s.mu.Lock()
		covers := s.covers
		s.mu.Unlock()
		l.s.Log().Warn("a component answers no pings: what was written counts as taken")
		_ = s.acked(covers, false) // it was sent: never too high
	}
}

// road finds or makes the road of a pair; nil: there are too many.
func (l *links) road(p pair) *road {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.roads[p]
	if r == nil && len(l.roads) < roadsMax {
		r = &road{l: l, pair: p, box: l.s.Store().Mailbox(p.owner(), ""), knock: make(chan struct{}, 1), used: time.Now()}
		l.roads[p] = r
	}
	return r
}

// roadFor is road, but one person does not make many.
func (l *links) roadFor(p pair, who xmpp.JID) *road {
	l.mu.Lock()
	if l.roads[p] == nil {
		if l.opened[who] >= openedMax {
			l.mu.Unlock()
			return nil
		}
		l.opened[who]++
	}
	l.mu.Unlock()
	return l.road(p)
}

// send owes a stanza to another server.
func (l *links) send(t *relay.Letter) (*offline.Ticket, error) {
	p := pair{t.From.Domain, t.To.Domain}
	if _, ok := l.secret(p.them); ok {
		p.us = peer.Beside
	} else if p.them == "" || !l.may(p.them) {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound).Say("this server does not talk with " + p.them)
	}
	r := l.roadFor(p, t.From.Bare())
	if r == nil {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too many other servers are waited for; try again later")
	}
	return r.send(t)
}

// undelivered tells the sender of mail that no server took in time.
func (l *links) undelivered(owner string, m *offline.Mail) bool {
	if _, ok := pairOf(owner); !ok {
		return false
	}
	l.s.Bounce(m.Body, xmpp.Refuse(xmpp.Wait, xmpp.RemoteServerTimeout).Say("the other server could not be reached in time"))
	return true
}

// note writes down, before anything is promised, for whom something may wait.
func (l *links) note(p pair) error {
	return l.s.Store().Update(notes, func(r *offline.Records) error {
		r.Put("link", p.owner(), []byte{1})
		return nil
	})
}

func (l *links) forget(p pair) {
	err := l.s.Store().Later(notes, func(r *offline.Records) error {
		r.Delete("link", p.owner())
		return nil
	})
	if err != nil {
		l.s.Log().Warn("link not forgotten", "err", err)
	}
}
