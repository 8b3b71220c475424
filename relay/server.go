// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// Options is what a Server needs; the zero values of the rest are defaults.
type Options struct {
	Domain   string
	Store    *offline.Store
	TLS      *tls.Config
	Log      *slog.Logger
	E2E      bool          // refuse readable content (DESIGN §1 P4)
	Park     time.Duration // how long a lost session may be resumed; default 10 min
	KeepMail time.Duration // how long mail waits; default 30 days
	Keep     bool          // whole histories, as mode = "keep" says
	History  time.Duration // how long; 0: for ever
	Deadline time.Duration // from accept to bound; default 30 s
	Stanza   time.Duration // from the first byte of a stanza to its last; default 2 min
	Limits   Limits        // before login
	Door     *xmpp.Door    // how people get accounts; nil: they do not
	URL      string        // of our HTTPS, without a slash at the end; empty: there is none
	Now      func() time.Time
}

// A Server is one domain: its sessions, its features and its listeners.
type Server struct {
	// fixed: set before Serve, read-only after.
	opt      Options
	domain   xmpp.JID
	setup    *xmpp.Setup
	handlers map[xmpp.Name]Handler
	forAll   map[xmpp.Name]bool
	arrivals []PresenceHook
	departed []func(x *Session)
	hosts    map[string]Host
	items    []Item
	disco    map[Where]*place
	presence []PresenceHook
	looks    []func(x *Session, st *xmpp.Stanza) error
	dress    []func(x *Session, el *xmpp.Element)
	gone     []func(x *Session)
	deleted  []func(user string)
	created  []func(user string)
	revived  []func(x *Session)
	features []func() []*xmpp.Element
	bound    []func(x *Session) []*xmpp.Element
	http     *http.ServeMux

	owed      []func(user string, devices []string, m *offline.Mail, ring bool)
	nudged    []func(user string)
	stop      []func()
	questions questions
	published []func(user, node string)
	commands  []Command
	parts     []Part

	// Ports serve what is more than clients; features add them by name.
	Ports map[string]func(l net.Listener) error
	// Beside lists entities that come and go; nil: there are none.
	Beside func() []Item
	// Links says how those with other servers and components are, for the operator; nil: there are none.
	Links func() []string
	// Away takes what is for another server or a component (relay/link); nil: there is no way.
	Away func(l *Letter) (*offline.Ticket, error)
	// Undelivered is told of mail that was not fetched in time; true: it was somebody's for elsewhere.
	Undelivered func(owner string, m *offline.Mail) bool
	// Befriend makes two people here contacts of each other (RFC 6121 §3).
	Befriend func(a, b string)
	// Invited says whether a token lets somebody see owner's presence, and uses it up (XEP-0379).
	Invited func(owner, token string) bool
	// Shelf is what relay/pubsub keeps; without it there is none.
	Shelf Shelf
	// Blocks says whether user refuses j (XEP-0191 §3).
	Blocks func(user string, j xmpp.JID) bool
	// Archives says whether messages with j go into user's history (XEP-0441 §2).
	Archives func(user string, j xmpp.JID) bool
	// Roster is user's list, as RFC 6121 §2.1.4 shows it.
	Roster func(user string) (*xmpp.Element, error)
	// Admin says whether an account may run the server (XEP-0133).
	Admin func(user string) bool
	// Muted says whether user wants to hear nothing of a room (XEP-0492 §2.1).
	Muted func(user string, room xmpp.JID) bool
	// Hold says where a message waits whose sender the receiver does not know:
	// in a mailbox that no device reads, or Nowhere; "": it is delivered.
	Hold func(x *Session, st *xmpp.Stanza, to xmpp.JID, fleeing bool) (box string, err error)
	// Held is told when it waits there.
	Held func(user string, from xmpp.JID)
	// Shares says whether user and j are in a private group together.
	Shares func(user string, j xmpp.JID) bool
	// Tell says something to those who run the server.
	Tell func(words string)
	// InRoster says whether user has j on the list.
	InRoster func(user string, j xmpp.JID) bool
	// MaySee says whether watcher may see user's presence (RFC 6121 §3).
	MaySee func(watcher xmpp.JID, user string) bool

	// Watchers lists who may see user's presence, Watched whom user sees.
	Watchers, Watched func(user string) []xmpp.JID
	// Groups lists the roster groups that user has put somebody in (RFC 6121 §2.1.2.6).
	Groups func(user string, who xmpp.JID) []string

	// shared: safe from anywhere, by type.
	hub    *hub
	noted  noted
	feeble atomic.Int64 // accounts without keys for SCRAM-SHA-256, about
	gate   *gate
	conns  sync.WaitGroup
	life   context.Context // ends with Shutdown
	end    context.CancelFunc
	first  sync.Once
	mu     sync.Mutex
	open   map[net.Listener]struct{}
	shut   bool
}

// New makes a server over an open store. Features are added before Serve.
func New(o Options) (*Server, error) {
	host, err := xmpp.ParseJID(o.Domain)
	if err != nil || !host.Host().Bare().IsBare() || host.Local != "" {
		return nil, errors.New("the domain is not a valid address: " + o.Domain)
	}
	o.fill()
	s := &Server{
		opt: o, domain: host, hub: newHub(), gate: newGate(o.Limits, o.Now),
		handlers: map[xmpp.Name]Handler{}, forAll: map[xmpp.Name]bool{}, Ports: map[string]func(net.Listener) error{}, hosts: map[string]Host{}, open: map[net.Listener]struct{}{},
		disco: map[Where]*place{OnServer: {}, OnAccount: {}}, http: http.NewServeMux(),
		Blocks:   func(string, xmpp.JID) bool { return false },
		Archives: func(string, xmpp.JID) bool { return true },
		Muted:    func(string, xmpp.JID) bool { return false },
		InRoster: func(string, xmpp.JID) bool { return false },
		Admin:    func(string) bool { return false },
		Hold:     func(*Session, *xmpp.Stanza, xmpp.JID, bool) (string, error) { return "", nil },
		Shares:   func(string, xmpp.JID) bool { return false },
		Tell:     func(string) {},
		MaySee:   func(w xmpp.JID, user string) bool { return w.Local == user },

		Watchers: func(string) []xmpp.JID { return nil },
		Watched:  func(string) []xmpp.JID { return nil },
		Befriend: func(string, string) {},
		Invited:  func(string, string) bool { return false },
		Groups:   func(string, xmpp.JID) []string { return nil },
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.setup = &xmpp.Setup{
		Domain: o.Domain, TLS: o.TLS, Log: o.Log, Lookup: s.lookup, Deadline: o.Deadline,
		Attempt: s.attempt, Proved: s.proved, Barred: s.barred, Secret: []byte(o.Store.Mark("nobody")), Weak: s.weak, Strengthen: s.strengthen, Features: s.streamFeatures,
	}
	if o.Door != nil {
		s.setup.Door = &xmpp.Door{Open: o.Door.Open, Invited: o.Door.Invited, Ask: s.door}
	}
	s.HandleIQ(xmpp.NSCarbons, "enable", s.carbonsIQ(true))
	s.HandleIQ(xmpp.NSCarbons, "disable", s.carbonsIQ(false))
	s.Disco(OnServer, xmpp.NSCarbons, xmpp.NSSID)
	s.Disco(OnAccount, xmpp.NSSID)
	o.Store.OnExpire(s.bounceExpired)
	o.Store.Here(s.online)
	s.findWeak()
	return s, s.wakeParked()
}

func (o *Options) fill() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Park == 0 {
		o.Park = 10 * time.Minute
	}
	if o.KeepMail == 0 {
		o.KeepMail = 30 * 24 * time.Hour
	}
	if o.Stanza == 0 {
		o.Stanza = 2 * time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Tokens sets, before Serve, who keeps the tokens of FAST logins (XEP-0484).
func (s *Server) Tokens(t *xmpp.Tokens) { s.setup.Tokens = t }

// Store is the one durable thing behind the server.
func (s *Server) Store() *offline.Store { return s.opt.Store }

// Log is the server's log.
func (s *Server) Log() *slog.Logger { return s.opt.Log }

// Now is the server's clock.
func (s *Server) Now() time.Time { return s.opt.Now() }

// Serve accepts sockets until the listener closes. direct means TLS from the
// first byte (XEP-0368).
func (s *Server) Serve(ctx context.Context, l net.Listener, direct bool) error {
	return s.accept(ctx, l, func(nc net.Conn, g *Guest, no *xmpp.StreamError) {
		if no != nil {
			s.setup.TurnAway(nc, direct, no)
			return
		}
		go g.Stream(ctx, nc, direct)
	})
}

// ServeGuests accepts sockets that begin as something else than a stream; take
// must not block, and end the guest's stay.
func (s *Server) ServeGuests(ctx context.Context, l net.Listener, take func(net.Conn, *Guest)) error {
	return s.accept(ctx, l, func(nc net.Conn, g *Guest, no *xmpp.StreamError) {
		if no != nil {
			nc.Close()
			return
		}
		take(nc, g)
	})
}

func (s *Server) accept(ctx context.Context, l net.Listener, take func(net.Conn, *Guest, *xmpp.StreamError)) error {
	if !s.addListener(l) {
		return net.ErrClosed
	}
	s.first.Do(func() {
		if err := s.tellLost(); err != nil {
			s.opt.Log.Error("presence of before", "err", err)
		}
	})
	for {
		nc, err := l.Accept()
		if err != nil {
			if s.stopping() || errors.Is(err, net.ErrClosed) {
				return nil
			}
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				continue
			}
			if !s.breathe(ctx, err) {
				return err
			}
			continue
		}
		g, no := s.Enter(ctx, nc.RemoteAddr())
		take(nc, g, no)
	}
}

// breathe waits a moment after a failed accept: with no file left, trying
// again at once would only burn the processor.
func (s *Server) breathe(ctx context.Context, err error) bool {
	s.opt.Log.Warn("accept", "err", err)
	select {
	case <-ctx.Done():
		return false
	case <-time.After(50 * time.Millisecond):
		return true
	}
}

// Shutdown closes listeners and streams; mail that waits is on disk already.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.shut = true
	for l := range s.open {
		l.Close()
	}
	s.mu.Unlock()
	s.gate.close()
	for _, f := range s.stop {
		f()
	}
	s.end()
	for _, x := range s.hub.all() {
		x.closeConn(&xmpp.StreamError{Cond: "system-shutdown"})
	}
	done := make(chan struct{})
	go func() { s.conns.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shut
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		l.Close()
		return false
	}
	s.open[l] = struct{}{}
	return true
}

// attempt trusts a device that the account has had before, though we were
// started since.
func (s *Server) attempt(addr net.Addr, user, device string) (time.Duration, bool) {
	if device != "" && !s.hasDevice(user, "a:"+device) {
		device = ""
	}
	return s.gate.attempt(addr, user, device)
}

func (s *Server) hasDevice(user, device string) bool {
	l, err := s.opt.Store.Devices(user)
	return err == nil && slices.ContainsFunc(l, func(d offline.Device) bool { return d.ID == device })
}

func (s *Server) proved(addr net.Addr, user, device string) {
	if device != "" && !s.hasDevice(user, "a:"+device) {
		device = ""
	}
	s.gate.proved(addr, user, device)
}

// door takes a wish for an account, within what an address may ask for; who is
// invited is not counted.
func (s *Server) door(addr net.Addr, iq *xmpp.Stanza, invite *string) *xmpp.Element {
	if iq.Type == "set" && *invite == "" && iq.Has(xmpp.NSRegister, "query") && !s.gate.signup(addr) {
		return xmpp.ErrorReply(iq, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too many new accounts from this address; try again later"))
	}
	return s.opt.Door.Ask(addr, iq, invite)
}

func (s *Server) lookup(local string) (xmpp.Credentials, error) {
	a, err := s.opt.Store.Account(local)
	if errors.Is(err, offline.ErrNoAccount) {
		return xmpp.Credentials{}, xmpp.ErrNoUser
	}
	if err != nil {
		return xmpp.Credentials{}, err
	}
	return xmpp.Credentials{SHA1: xmpp.Verifier(a.SHA1), SHA256: xmpp.Verifier(a.SHA256)}, nil
}

func (s *Server) streamFeatures() []*xmpp.Element {
	var all []*xmpp.Element
	for _, f := range s.features {
		all = append(all, f()...)
	}
	return all
}

// weak says whether SCRAM-SHA-256 does not work for an account. While there are
// such accounts it is not offered to who does not say who comes; and a name
// that nobody has looks as if it were any account's.
func (s *Server) weak(user string) bool {
	if s.feeble.Load() == 0 {
		return false
	}
	a, err := s.opt.Store.Account(user)
	if user == "" || err != nil && !errors.Is(err, offline.ErrNoAccount) {
		return true
	}
	if err != nil {
		return s.opt.Store.Mark("weak", user) < "8"
	}
	return len(a.SHA256.StoredKey) == 0
}

// strengthen keeps keys that an account did not have.
func (s *Server) strengthen(user string, c xmpp.Credentials) error {
	return s.opt.Store.Strengthen(user, offline.Hash(c.SHA1), offline.Hash(c.SHA256))
}
