// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"container/list"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"sotto/xmpp"
)

// Limits bound what strangers can make us hold; zero values are defaults.
type Limits struct {
	Strangers  int            // sockets that are not logged in, in all; default 4096
	PerAddress int            // the same, from one address; default 256
	Sockets    int            // all of them; default: what the file limit leaves
	Trusted    []netip.Prefix // not counted by address: proxies, measuring tools
	Sessions   int            // of one account, parked ones as well; default 100
}

// filesKept are the files that sockets never get: the store's, and one for the
// socket that is being refused.
const filesKept = 128

func (l *Limits) fill() {
	if l.Sockets == 0 {
		l.Sockets = 1 << 20
		var r syscall.Rlimit
		if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &r) == nil && r.Cur < 1<<20 {
			l.Sockets = max(16, int(r.Cur)-filesKept)
		}
	}
	if l.Strangers == 0 {
		l.Strangers = 4096
	}
	l.Strangers = min(l.Strangers, max(16, l.Sockets/2))
	if l.PerAddress == 0 {
		l.PerAddress = 256
	}
	if l.Sessions == 0 {
		l.Sessions = 100
	}
}

// settling is how long a stranger cannot be pushed out by another: with less,
// a flood would leave nobody the time to log in.
const settling = 2 * time.Second

// A gate counts sockets and guesses, by address and by account, from accept to
// login. Afterwards the account's own limits hold.
type gate struct {
	lim Limits
	now func() time.Time

	mu        sync.Mutex
	shut      *xmpp.StreamError
	sockets   int
	strangers list.List // of *guest, the oldest first
	sources   map[netip.Prefix]*source
	accounts  map[string]*bucket // login attempts, by account
	known     map[pair]*bucket   // the same, of those who were here before
}

// A source is one address: an IPv4 address, or an IPv6 network of 64 bits,
// which one customer has for himself.
type source struct {
	friend                 bool      // somebody has logged in from here
	guests                 list.List // strangers from here, the oldest first
	knocks, tries, signups bucket
}

// A pair is an account with an address or a device of its own.
type pair struct {
	user, device string
	from         netip.Prefix
}

// A guest is one socket; evict ends it while it is a stranger.
type guest struct {
	src      *source // nil where addresses do not count
	evict    func(why error)
	since    time.Time
	all, own *list.Element // nil once it is logged in
}

func newGate(l Limits, now func() time.Time) *gate {
	l.fill()
	return &gate{
		lim: l, now: now, sources: map[netip.Prefix]*source{},
		accounts: map[string]*bucket{}, known: map[pair]*bucket{},
	}
}

var (
	errCrowded = &xmpp.StreamError{Cond: xmpp.StreamResourceConstraint, Text: "too many connections that do not log in; try again later"}
	errHasty   = &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "too many connections from this address; try again later"}
	errStop    = &xmpp.StreamError{Cond: xmpp.StreamSystemShutdown}
)

// enter lets a socket in, or says why not. Where it is full, the oldest
// stranger goes if it had its time; for somebody who comes from where people
// have logged in, any stranger from elsewhere.
func (g *gate) enter(addr net.Addr, evict func(why error)) (*guest, *xmpp.StreamError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		return nil, g.shut
	}
	now := g.now()
	v := &guest{evict: evict, since: now}
	friend := false
	if p, counted := g.place(addr); counted {
		v.src = g.source(p)
		friend = v.src.friend
		if v.src.knocks.take(knockBudget, now) > 0 {
			v.src.knocks.back()
			return nil, errHasty
		}
		if v.src.guests.Len() >= g.lim.PerAddress && !g.makeRoom(&v.src.guests, now, false) {
			return nil, errHasty
		}
	}
	if g.sockets >= g.lim.Sockets { // who goes has not closed his file yet
		g.makeRoom(&g.strangers, now, friend)
		return nil, errCrowded
	}
	if g.strangers.Len() >= g.lim.Strangers && !g.makeRoom(&g.strangers, now, friend) {
		return nil, errCrowded
	}
	g.sockets++
	v.all = g.strangers.PushBack(v)
	if v.src != nil {
		v.own = v.src.guests.PushBack(v)
	}
	return v, nil
}

// makeRoom sends the oldest guest of a list away.
func (g *gate) makeRoom(l *list.List, now time.Time, forFriend bool) bool {
	for e := l.Front(); e != nil; e = e.Next() {
		v := e.Value.(*guest)
		if now.Sub(v.since) >= settling || forFriend && (v.src == nil || !v.src.friend) {
			g.unlist(v)
			v.evict(errCrowded)
			return true
		}
		if !forFriend {
			return false
		}
	}
	return false
}

func (g *gate) unlist(v *guest) bool {
	if v.all == nil {
		return false
	}
	g.strangers.Remove(v.all)
	if v.own != nil {
		v.src.guests.Remove(v.own)
	}
	v.all, v.own = nil, nil
	return true
}

// welcome says that a guest has logged in: it is no stranger any more, and its
// address may knock once more.
func (g *gate) welcome(v *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unlist(v) && v.src != nil {
		v.src.friend = true
		v.src.knocks.back()
	}
}

// leave says that a guest's socket is closed.
func (g *gate) leave(v *guest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.unlist(v)
	g.sockets--
}

// close ends all strangers and lets nobody in any more.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = errStop
	for e := g.strangers.Front(); e != nil; e = e.Next() {
		e.Value.(*guest).evict(errStop)
	}
}

// place names the source of an address; false where it does not count.
func (g *gate) place(addr net.Addr) (netip.Prefix, bool) {
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return netip.Prefix{}, false // a socket in the file system
	}
	ip := ap.Addr().Unmap().WithZone("")
	for _, t := range g.lim.Trusted {
		if t.Contains(ip) {
			return netip.Prefix{}, false
		}
	}
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	return p, err == nil
}

// tableMax bounds each table of the gate.
const tableMax = 1 << 16

func (g *gate) source(p netip.Prefix) *source {
	s := g.sources[p]
	if s == nil {
		if len(g.sources) >= tableMax {
			g.sweep()
		}
		s = &source{}
		g.sources[p] = s
	}
	return s
}

// sweep forgets sources: first those who owe nothing, friends last.
func (g *gate) sweep() {
	now := g.now()
	for round := range 3 {
		for p, s := range g.sources {
			paid := s.knocks.empty(knockBudget, now) && s.tries.empty(tryBudget, now) && s.signups.empty(signupBudget, now)
			if s.guests.Len() == 0 && (!s.friend && (paid || round == 1) || round == 2) {
				delete(g.sources, p)
			}
		}
		if len(g.sources) < tableMax/2 {
			return
		}
	}
}

// A budget is so many at once, then one in each span.
type budget struct {
	free int
	each time.Duration
}

// Sockets that log in give their knock back, logins that succeed their try: a
// company behind one address is slowed by what fails there only.
var (
	knockBudget  = budget{500, 20 * time.Millisecond}
	tryBudget    = budget{50, 2 * time.Second} // of an address, for accounts that never logged in from it
	ownBudget    = budget{10, 8 * time.Second} // of an account
	signupBudget = budget{5, 10 * time.Minute}
)

// A bucket is what was used of a budget; it leaks. Unlike x/time/rate it takes
// back what turned out to be honest.
type bucket struct {
	used float64
	at   time.Time
}

// take uses one, and says how long it comes too early.
func (b *bucket) take(k budget, now time.Time) time.Duration {
	b.leak(k, now)
	b.used++
	return max(0, time.Duration((b.used-float64(k.free))*float64(k.each)))
}

func (b *bucket) leak(k budget, now time.Time) {
	b.used = max(0, b.used-float64(now.Sub(b.at))/float64(k.each))
	b.at = now
}

func (b *bucket) back() { b.used = max(0, b.used-1) }

func (b *bucket) empty(k budget, now time.Time) bool {
	b.leak(k, now)
	return b.used == 0
}

// longest is what a login waits at most; a guess that would have to wait for
// longer is refused unseen.
const longest = 8 * time.Second

// attempt uses a try of the account, and of the address; where the account has
// logged in before, from this address or with this device, a try of its own:
// so strangers who guess cannot lock a person out. Whether the account exists
// plays no part.
func (g *gate) attempt(addr net.Addr, user, device string) (wait time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	used, p, counted := g.own(addr, user, device)
	if used != nil {
		return afford(used.take(ownBudget, now), used)
	}
	used = bucketOf(g.accounts, user, now)
	wait = used.take(ownBudget, now)
	if !counted {
		return afford(wait, used)
	}
	s := g.source(p)
	return afford(max(wait, s.tries.take(tryBudget, now)), used, &s.tries)
}

func afford(wait time.Duration, used ...*bucket) (time.Duration, bool) {
	if wait <= longest {
		return wait, true
	}
	for _, b := range used {
		b.back()
	}
	return 0, false
}

// own is the bucket that no stranger can empty, or nil.
func (g *gate) own(addr net.Addr, user, device string) (own *bucket, p netip.Prefix, counted bool) {
	if device != "" {
		own = bucketOf(g.known, pair{user: user, device: device}, g.now())
	}
	if p, counted = g.place(addr); own == nil && counted {
		own = g.known[pair{user: user, from: p}]
	}
	return own, p, counted
}

// proved gives the try back: the password was right.
func (g *gate) proved(addr net.Addr, user, device string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	own, p, counted := g.own(addr, user, device)
	if own != nil {
		own.back()
		return
	}
	if b := g.accounts[user]; b != nil {
		b.back()
	}
	if s := g.sources[p]; counted && s != nil {
		s.tries.back()
	}
	if counted {
		bucketOf(g.known, pair{user: user, from: p}, g.now())
	}
}

// signup says whether an address may make one more account.
func (g *gate) signup(addr net.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	p, counted := g.place(addr)
	if !counted {
		return true
	}
	b := &g.source(p).signups
	if b.take(signupBudget, g.now()) > 0 {
		b.back()
		return false
	}
	return true
}

// bucketOf finds or makes a bucket; a table that is full forgets the paid.
func bucketOf[K comparable](m map[K]*bucket, key K, now time.Time) *bucket {
	b := m[key]
	if b != nil {
		return b
	}
	if len(m) >= tableMax {
		for k, b := range m {
			if b.empty(ownBudget, now) || len(m) >= tableMax {
				delete(m, k)
			}
		}
	}
	b = &bucket{at: now}
	m[key] = b
	return b
}
