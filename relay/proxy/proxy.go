// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"crypto/sha1"
	"encoding/hex"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"sotto/relay"
	"sotto/xmpp"
)

// NS is XEP-0065's namespace.
const NS = "http://jabber.org/protocol/bytestreams"

// Options are an operator's choices; zero values are defaults.
type Options struct {
	Addr string        // how clients reach the port; empty: there is none
	Rate int           // bytes a second of one stream, both ways together; default 1 MiB
	Wait time.Duration // how long a connection waits for its other half, or for bytes; default a minute
}

// What one account, and what all of them, may have.
const (
	ownMax   = 8
	pairsMax = 512
)

type proxy struct {
	// fixed: set by Add, read-only after.
	s          *relay.Server
	o          Options
	host, port string
	jid        string

	// shared: guarded by mu.
	mu    sync.Mutex
	pairs map[string]*pair // by what both ends ask for
	users map[string]int   // running streams
}

// A pair is two connections that belong together. The first one to come waits.
type pair struct {
	// guarded by the proxy's mu.
	ends []*end
	user string // who began it; "" while it waits

	// shared: safe from anywhere, by type.
	start, over chan struct{}
	speed       *rate.Limiter
	moved       atomic.Int64 // when bytes came last
	done        atomic.Int32 // how many ways have ended in good order
}

// An end is one connection.
type end struct {
	net.Conn
	g *relay.Guest
}

// Add registers the family. What must be sealed cannot be seen to be so in a
// stream of bytes: then there is no proxy.
func Add(s *relay.Server, o Options) error {
	if o.Addr == "" || s.E2E() {
		return nil
	}
	host, port, err := net.SplitHostPort(o.Addr)
	if err != nil {
		return err
	}
	if o.Rate == 0 {
		o.Rate = 1 << 20
	}
	if o.Wait == 0 {
		o.Wait = time.Minute
	}
	p := &proxy{s: s, o: o, host: host, port: port, jid: "proxy." + s.Domain(), pairs: map[string]*pair{}, users: map[string]int{}}
	s.Host(p.jid, "Bytestreams", p.visit)
	s.Ports["proxy"] = p.serve
	return nil
}

// visit answers at proxy. and the domain.
func (p *proxy) visit(e *relay.Errand) error {
	q, err := e.Asked(func() *xmpp.Element { return relay.Info("proxy", "bytestreams", "Bytestreams", NS) })
	if q == nil {
		return err
	}
	var res *xmpp.Element
	switch {
	case !q.Is(NS, "query"):
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	case !p.s.Local(e.From): // §4: who may not begin a stream
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	case e.Stanza.Type == "get":
		res = xmpp.El(NS, "query", "sid", q.Get("sid")).Add(xmpp.El(NS, "streamhost", "jid", p.jid, "host", p.host, "port", p.port))
	default:
		if err := p.activate(e.From, q); err != nil {
			return err
		}
	}
	e.Answer(xmpp.ResultOf(e.Stanza, res))
	return nil
}

// Name is what both ends ask the proxy for (§6.3.2).
func Name(sid string, from, to xmpp.JID) string {
	sum := sha1.Sum([]byte(sid + from.String() + to.String()))
	return hex.EncodeToString(sum[:])
}

// activate lets the bytes flow (§6.3.5).
func (p *proxy) activate(from xmpp.JID, q *xmpp.Element) error {
	to, err := xmpp.ParseJID(q.Child(NS, "activate").Text())
	if err != nil || q.Get("sid") == "" {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	name := Name(q.Get("sid"), from, to)
	if p.pairs[name] == nil {
		name = Name(q.Get("sid"), from.Bare(), to)
	}
	two := p.pairs[name]
	switch {
	case two == nil:
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	case len(two.ends) < 2 || two.user != "":
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	case p.users[from.Local] >= ownMax:
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	}
	two.user = from.Local
	p.users[two.user]++
	close(two.start)
	return nil
}

// join gives a connection its place; nil: there is none.
func (p *proxy) join(name string, e *end) *pair {
	p.mu.Lock()
	defer p.mu.Unlock()
	two := p.pairs[name]
	if two == nil && len(p.pairs) < pairsMax {
		two = &pair{start: make(chan struct{}), over: make(chan struct{}), speed: rate.NewLimiter(rate.Limit(p.o.Rate), max(p.o.Rate, piece))}
		p.pairs[name] = two
	}
	if two == nil || len(two.ends) == 2 {
		return nil
	}
	two.ends = append(two.ends, e)
	return two
}

// leave ends a pair with the first of its connections that goes.
func (p *proxy) leave(name string, two *pair) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range two.ends {
		e.Close()
	}
	if p.pairs[name] != two {
		return
	}
	delete(p.pairs, name)
	close(two.over)
	if two.user != "" {
		if p.users[two.user]--; p.users[two.user] == 0 {
			delete(p.users, two.user)
		}
	}
}

// other is the far end; there is one when the pair has started.
func (two *pair) other(e *end) *end {
	if two.ends[0] == e {
		return two.ends[1]
	}
	return two.ends[0]
}
