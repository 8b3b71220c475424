// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"encoding/binary"
	"hash/fnv"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// A Host answers for a domain beside the server's own: rooms, a publish and
// subscribe service. An error goes back to the sender. It must not keep the
// errand's stanza.
type Host func(e *Errand) error

// An Errand is one stanza on its way to a Host.
type Errand struct {
	Server *Server
	From   xmpp.JID // full
	Stanza *xmpp.Stanza
	page   *page
	blank  []byte // what Copy owed last
}

// Host gives a domain to h. It shows among the server's items (XEP-0030 §4).
func (s *Server) Host(domain string, name string, h Host) {
	s.hosts[domain] = h
	s.items = append(s.items, Item{domain, name})
}

// An Item is one entity that the domain lists (XEP-0030 §4).
type Item struct{ JID, Name string }

// host sends a stanza to another domain of ours; found is false when there is none.
func (s *Server) host(x *Session, st *xmpp.Stanza, p *page) (found bool, err error) {
	h := s.hosts[st.To.Domain]
	if h == nil {
		return false, nil
	}
	if s.opt.E2E && st.Kind == xmpp.KindMessage && readable(st) {
		return true, xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("this server takes only end-to-end encrypted messages")
	}
	if st.Kind == xmpp.KindPresence && st.Type == "" && len(s.dress) > 0 && !x.abroad {
		if st, err = s.dressed(x, st); err != nil {
			return true, err
		}
	}
	keep := st.Kind == xmpp.KindMessage && !x.abroad && s.kept(st, x.user, st.To)
	if keep {
		if err := s.opt.Store.Takes(x.user); err != nil {
			return true, err
		}
	}
	err = h(&Errand{Server: s, From: x.jid, Stanza: st, page: p})
	if keep && err == nil {
		s.keepSent(x, st, s.ownCopy(x, st, st.To, p), p)
	}
	return true, err
}

// dressed is a presence with what the server adds.
func (s *Server) dressed(x *Session, st *xmpp.Stanza) (*xmpp.Stanza, error) {
	el, err := st.Element()
	if err != nil {
		return nil, err
	}
	for _, f := range s.dress {
		f(x, el)
	}
	return xmpp.StanzaOf(el)
}

// Answer sends the sender what he asked for, or was told.
func (e *Errand) Answer(el *xmpp.Element) {
	el.Set("to", e.From.String())
	if e.From == e.Server.domain {
		e.Server.heardOf(e.Stanza.To, el)
		return
	}
	if y := e.Server.Find(e.From); y != nil {
		y.Push(el)
	}
}

// Deliver owes a message to the devices of an account, as its address says
// (RFC 6121 §8.5). The sender's ack waits until the mail is safe.
func (e *Errand) Deliver(el *xmpp.Element, to xmpp.JID) error {
	s := e.Server
	if !s.Local(to) {
		return s.leave(el.Set("to", to.String()).Bytes(), e)
	}
	boxes, err := s.boxes(nil, to.Local)
	if err != nil {
		return err
	}
	way := plan(letter{typ: "chat", full: to.Resource}, boxes)
	if way.Refuse || way.Mail == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	m := &offline.Mail{From: el.Get("from"), ID: el.Get("id")}
	m.Body = el.Set("to", to.String()).Bytes()
	if el.Get("type") != "groupchat" {
		if st, err := xmpp.StanzaOf(el); err == nil && lasting(st) {
			m.Kept = s.kept(st, to.Local, st.From)
			m.Archive = s.archiveID(m.Kept, to.Local, 0)
			m.Body = s.stamped(st, st.From, to, to.Bare(), m.Archive)
		}
	}
	return s.mail(e.Stanza, to.Local, way, m, e.page)
}

// Copy owes a written message that has no address yet to devices of an
// account. It lies there with an empty one, the same bytes for all who get it,
// and each device reads its own. The sender may send the same stanza again after a crash: each mailbox knows it.
func (e *Errand) Copy(body []byte, from string, to xmpp.JID, devices ...string) error {
	if !e.Server.Local(to) {
		return e.copyAway(body, to, devices)
	}
	m := &offline.Mail{From: from, ID: e.Stanza.ID, Body: e.unaddressed(body)}
	if t := e.page.x.token(e.page, e.Stanza, 2); t != 0 {
		h := fnv.New64a()
		h.Write(binary.BigEndian.AppendUint64([]byte(to.Local), t))
		m.Token = h.Sum64() | 1
	}
	light, _ := airyMessage(e.Stanza)
	way := Plan{Mail: devices, Direct: true, Light: light, Urgency: urgency(e.Stanza, light)}
	way.Light = light || e.Server.hub.resting(to.Local) && e.Server.Muted(to.Local, e.Stanza.To.Bare())
	return e.Server.mail(e.Stanza, to.Local, way, m, e.page)
}

// Pass hands a written message that is worth nothing later to one session.
func (e *Errand) Pass(body []byte, to xmpp.JID) {
	if y := e.Server.Find(to); y != nil {
		light, _ := airyMessage(e.Stanza)
		y.offer(addressTo(body, to), "", light)
	}
}

// Hand gives one session a stanza that another client sends through a host;
// false: it is gone, or too much waits for it.
func (e *Errand) Hand(el *xmpp.Element, to xmpp.JID) bool {
	y := e.Server.Find(to)
	return y != nil && y.offer(el.Set("to", to.String()).Bytes(), slotOf(el), light(el))
}

// AskAccount asks what an account answers to everybody, for somebody who does
// not know whose it is.
func (e *Errand) AskAccount(q *xmpp.Element, user xmpp.JID) (*xmpp.Element, error) {
	h, x := e.Server.handlers[q.Name], e.Server.Find(e.From)
	if h == nil || x == nil {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	return h(&Request{Server: e.Server, Session: x, From: e.From, To: user.Bare(), Type: "get", ID: e.Stanza.ID, Payload: q, Stanza: e.Stanza})
}

// addressTo writes the address into the start tag of a message.
// Info is what a host without people says of itself (XEP-0030 §3.1).
func Info(category, kind, name string, features ...string) *xmpp.Element {
	q := xmpp.El(xmpp.NSDiscoInfo, "query").Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", category, "type", kind, "name", name))
	for _, f := range append([]string{xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSPing}, features...) {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f))
	}
	return q
}

// Asked answers what every host without people is asked (XEP-0030, XEP-0199),
// and gives back what only this one can answer; nil: nothing is left to do.
func (e *Errand) Asked(info func() *xmpp.Element) (*xmpp.Element, error) {
	st := e.Stanza
	if st.Kind != xmpp.KindIQ || st.Type != "get" && st.Type != "set" {
		return nil, nil
	}
	el, err := st.Element()
	if err != nil {
		return nil, err
	}
	q, get := el.Child("", ""), st.Type == "get"
	switch {
	case st.To.Local != "" || st.To.Resource != "":
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	case get && q.Is(xmpp.NSDiscoInfo, "query") && q.Get("node") == "":
		e.Answer(xmpp.ResultOf(st, info()))
	case get && q.Is(xmpp.NSDiscoItems, "query"):
		e.Answer(xmpp.ResultOf(st, xmpp.El(xmpp.NSDiscoItems, "query")))
	case get && q.Is(xmpp.NSPing, "ping"):
		e.Answer(xmpp.ResultOf(st, nil))
	case q == nil:
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	default:
		return q, nil
	}
	return nil, nil
}

// Wait keeps the sender's ack back until what a host wrote down is safe.
func (e *Errand) Wait(t *offline.Ticket) {
	if e.page != nil {
		e.page.wait(t, e.Stanza)
	}
}

// Fleeing says whether the stanza is a message worth nothing later.
func (e *Errand) Fleeing() bool { return fleeing(e.Stanza) }

// Everybody lists all sessions, live and parked.
func (s *Server) Everybody() []*Session { return s.hub.all() }

// HandleHTTP gives a path of our HTTPS to h, by the patterns of http.ServeMux.
func (s *Server) HandleHTTP(pattern string, h http.HandlerFunc) { s.http.HandleFunc(pattern, h) }

// HTTP answers requests.
func (s *Server) HTTP() http.Handler { return s.http }

// A Policy is what the operator chose to do with messages.
type Policy struct {
	Keep, E2E     bool          // whole histories; nothing readable is taken
	Leave         bool          // people may delete their account
	Mail, History time.Duration // how long; a history of 0 is for ever
}

// Policy tells it.
func (s *Server) Policy() Policy {
	return Policy{s.opt.Keep, s.opt.E2E, s.opt.Door != nil && s.opt.Door.Open, s.opt.KeepMail, s.opt.History}
}

// Keeps says whether there are histories.
func (s *Server) Keeps() bool { return s.opt.Keep }

// Reads says whether there are histories with words in them that we can read.
func (s *Server) Reads() bool { return s.opt.Keep && !s.opt.E2E }

// URL is where clients reach HTTP; empty: they cannot.
func (s *Server) URL() string { return s.opt.URL }

// E2E says whether readable content is refused (DESIGN §1 P4).
func (s *Server) E2E() bool { return s.opt.E2E }

// A Guest is one socket, or what stands for one, from accept to its end. It
// counts in the gate, and may be sent away until it has logged in.
type Guest struct {
	s    *Server
	v    *guest
	life context.Context
	once sync.Once
}

// Enter lets a guest in, or says why not.
func (s *Server) Enter(ctx context.Context, addr net.Addr) (*Guest, *xmpp.StreamError) {
	life, evict := context.WithCancelCause(ctx)
	v, no := s.gate.enter(addr, evict)
	if no != nil {
		evict(no)
		return nil, no
	}
	s.conns.Add(1)
	return &Guest{s: s, v: v, life: life}, nil
}

// Life ends when the guest is sent away.
func (g *Guest) Life() context.Context { return g.life }

// Leave ends a guest's stay; it may be called again.
func (g *Guest) Leave() {
	g.once.Do(func() {
		g.v.evict(nil)
		g.s.gate.leave(g.v)
		g.s.conns.Done()
	})
}

// Welcome says that the guest has proved to be somebody's: it is not sent away
// for strangers any more.
func (g *Guest) Welcome() { g.s.gate.welcome(g.v) }

// Stream serves a stream up to its login; then the session goes on by itself.
func (g *Guest) Stream(ctx context.Context, nc net.Conn, direct bool) {
	s := g.s
	in := &login{s: s}
	c, err := xmpp.Accept(g.life, nc, direct, s.setup, xmpp.Hooks{Bind: in.bind, Resume: in.resume})
	g.v.evict(nil)
	if err != nil {
		s.opt.Log.Debug("login", "conn", nc.RemoteAddr().String(), "err", err)
		if in.x != nil {
			in.x.lost(in.turn, false)
		}
		g.Leave()
		return
	}
	s.gate.welcome(g.v)
	go g.stay(ctx, in.x, c, in.turn) // on a stack that no login has made large
}

func (g *Guest) stay(ctx context.Context, x *Session, c *xmpp.Conn, turn int) {
	defer g.Leave()
	x.run(ctx, c, turn)
}

// A Shelf holds the small things that people publish about themselves
// (XEP-0163); relay/pubsub is behind it. Its errors are the owner's to see.
type Shelf struct {
	// Items are those of a node, the oldest first, as far as asker may see them.
	Items func(user, node string, asker xmpp.JID) ([]*xmpp.Element, error)
	// Put publishes for the account; a node that it makes has this access model, "" is the usual one.
	Put func(user, node, access string, item *xmpp.Element) error
	// Drop takes an item back.
	Drop func(user, node, id string) error
	// Info answers disco#info about a node of an account, List disco#items.
	Info func(r *Request) (*xmpp.Element, error)
	List func(r *Request) ([]*xmpp.Element, error)
}

// OnPublish adds a hook for what people change on their shelves themselves.
func (s *Server) OnPublish(f func(user, node string)) { s.published = append(s.published, f) }

// Published tells of such a change; it is durable.
func (s *Server) Published(user, node string) {
	for _, f := range s.published {
		f(user, node)
	}
}

// Locks are one lock for each account, more or less: 64 in all.
type Locks [64]sync.Mutex

// Of is the account's lock.
func (l *Locks) Of(user string) *sync.Mutex {
	h := fnv.New32a()
	h.Write([]byte(user))
	return &l[h.Sum32()%64]
}

type guestKey struct{}

// WithGuest says, to who answers an HTTP request, on whose connection it came.
func WithGuest(ctx context.Context, g *Guest) context.Context {
	return context.WithValue(ctx, guestKey{}, g)
}

// GuestOf is the guest of an HTTP request, or nil.
func GuestOf(ctx context.Context) *Guest {
	g, _ := ctx.Value(guestKey{}).(*Guest)
	return g
}

// A Command is something that people do by forms (XEP-0050). Run gets what was
// filled in, nil at first, and gives the next form or, when done, what came of
// it. Nothing is remembered between the steps.
type Command struct {
	Node, Name string
	May        func(r *Request) bool // nil: all people here
	Run        func(r *Request, form *xmpp.Element) (answer *xmpp.Element, done bool, err error)
}

// Sorry says, in the answer to a command, why it was not done (XEP-0050 §3.2).
type Sorry string

func (s Sorry) Error() string { return string(s) }

// Command adds one to the server.
func (s *Server) Command(c Command) { s.commands = append(s.commands, c) }

// FindCommand gives one, whoever may use it.
func (s *Server) FindCommand(node string) (Command, bool) {
	i := slices.IndexFunc(s.commands, func(c Command) bool { return c.Node == node })
	if i < 0 {
		return Command{}, false
	}
	return s.commands[i], true
}

// Commands are those that the asker may use.
func (s *Server) Commands(r *Request) (all []Command) {
	for _, c := range s.commands {
		if r.Session != nil && r.Session.abroad {
			break
		}
		if c.May == nil || c.May(r) {
			all = append(all, c)
		}
	}
	return all
}
