// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"context"
	"crypto/tls"
	"errors"
	"hash/fnv"
	"time"

	"sotto/xmpp"
)

// A Letter is a stanza that leaves for another server or a component.
type Letter struct {
	From, To xmpp.JID
	Kind     xmpp.Kind
	Type, ID string
	Body     []byte
	Hasty    bool   // worth nothing later
	Token    uint64 // see offline.Mail
}

// Domain is the name after the @ of every address here.
func (s *Server) Domain() string { return s.opt.Domain }

// Local says whether j is served here.
func (s *Server) Local(j xmpp.JID) bool { return j.Domain == s.domain.Domain }

// Elsewhere says whether j is of a domain that is not ours.
func (s *Server) Elsewhere(j xmpp.JID) bool { return !s.Hosted(j.Domain) }

// Hosted says whether a domain is ours: the server's own, or a host's.
func (s *Server) Hosted(domain string) bool {
	return domain == s.domain.Domain || s.hosts[domain] != nil
}

// Whose names the account that j is of, among sessions and budgets: people of
// other servers have names that no account here can have.
func (s *Server) Whose(j xmpp.JID) string {
	if s.Local(j) {
		return j.Local
	}
	return j.Local + "@" + j.Domain // also of a domain itself
}

// Clients lists the sessions of whoever j is; of other servers, those that show
// themselves to somebody here.
func (s *Server) Clients(j xmpp.JID) []*Session { return s.hub.of(s.Whose(j)) }

// OnArrival adds a hook for presence from other servers. Its session is one
// that is remembered if the receiver sees the sender, or shows himself to him.
func (s *Server) OnArrival(f PresenceHook) { s.arrivals = append(s.arrivals, f) }

// OnDeparted adds a hook for the end of such a session.
func (s *Server) OnDeparted(f func(x *Session)) { s.departed = append(s.departed, f) }

// foreigner stands for somebody of another server.
func (s *Server) foreigner(j xmpp.JID) *Session {
	user := s.Whose(j)
	for _, x := range s.hub.of(user) {
		if x.jid == j {
			return x
		}
	}
	return &Session{s: s, jid: j, full: j.String(), user: user, device: j.Resource, abroad: true}
}

// What is remembered of other servers' people at most; whoever is beyond that
// is not told what he did not ask for.
const (
	guestsMax = 50_000
	guestsOne = 20 // of one person
)

// note remembers a client of another server that shows itself.
func (s *Server) note(x *Session, st *xmpp.Stanza, el *xmpp.Element) *Session {
	if st.Type != "" || st.From.Resource == "" || !s.MaySee(st.From, st.To.Local) && !s.InRoster(st.To.Local, st.From) || s.Blocks(st.To.Local, st.From) {
		return x
	}
	if !s.hub.invite(x) {
		return x
	}
	x = s.foreigner(st.From)
	x.mu.Lock()
	x.presence = el.Clone()
	x.mu.Unlock()
	return x
}

// unnote forgets one that has gone.
func (s *Server) unnote(x *Session) {
	if !s.hub.drop(x) {
		return
	}
	s.hub.mu.Lock()
	s.hub.guests--
	s.hub.mu.Unlock()
	for _, f := range s.departed {
		f(x)
	}
}

// Lost forgets all people of a domain that cannot be reached any more.
func (s *Server) Lost(domain string) {
	var all []*Session
	s.hub.mu.RLock()
	for _, l := range s.hub.users {
		if l[0].abroad && l[0].jid.Domain == domain {
			all = append(all, l...)
		}
	}
	s.hub.mu.RUnlock()
	for _, x := range all {
		s.unnote(x)
	}
}

// invite adds a session of another server; false: there are too many.
func (h *hub) invite(x *Session) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	old := h.users[x.user]
	for _, y := range old {
		if y.jid == x.jid {
			return true
		}
	}
	if h.guests >= guestsMax || len(old) >= guestsOne {
		return false
	}
	h.guests++
	h.users[x.user] = append(old[:len(old):len(old)], x)
	return true
}

// depart sends what a client says to another server.
func (x *Session) depart(st *xmpp.Stanza, p *page) error {
	switch st.Kind {
	case xmpp.KindMessage:
		return x.s.message(x, st, p)
	case xmpp.KindPresence:
		return x.takePresence(st)
	}
	asks := st.Type == "get" || st.Type == "set"
	if st.ID == "" || !asks && st.Type != "result" && st.Type != "error" {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if err := x.s.blocked(x, st.To); err != nil && asks {
		return err
	}
	return x.s.send(x, st, st.To, p)
}

// send owes a stanza of a client to another server. What only we may say is
// taken out.
func (s *Server) send(x *Session, st *xmpp.Stanza, to xmpp.JID, p *page) error {
	if s.Away == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound) // RFC 6120 §10.4
	}
	l := &Letter{From: x.jid, To: to, Kind: st.Kind, Type: st.Type, ID: st.ID, Token: x.token(p, st, 3)}
	l.Hasty = st.Kind != xmpp.KindMessage || fleeing(st)
	l.Body = st.AppendAs(nil, x.jid, to, nil, func(space, local string, _ []byte) bool {
		return st.Kind == xmpp.KindMessage && space == xmpp.NSDelay && local == "delay"
	})
	t, err := s.Away(l)
	if err == nil && t != nil && !l.Hasty && p != nil {
		p.wait(t, st)
	}
	return refusal(err)
}

// leave sends what we, or a host of ours, have written; with an errand its
// sender's ack waits for it.
func (s *Server) leave(b []byte, e *Errand) error {
	if s.Away == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound)
	}
	st, err := xmpp.Scan(b)
	if err != nil {
		return err
	}
	l := &Letter{From: st.From, To: st.To, Kind: st.Kind, Type: st.Type, ID: st.ID, Body: b}
	lasting := st.Kind == xmpp.KindMessage && !fleeing(st) && st.Type != "headline"
	l.Hasty = !lasting && !(st.Kind == xmpp.KindPresence && st.Type != "" && st.Type != "unavailable" && st.Type != "probe")
	t, err := s.Away(l)
	if err == nil && t != nil && e != nil && !l.Hasty {
		e.Wait(t)
	}
	return refusal(err)
}

// twin is token for what another server may write again because an ack of ours
// was lost: only an id that its sender never gives twice will do (XEP-0359 §3.1).
func (x *Session) twin(st *xmpp.Stanza, salt byte) uint64 {
	var origin []byte
	st.Kids(func(space, local string, raw []byte) bool {
		if space == xmpp.NSSID && local == "origin-id" {
			origin = raw
		}
		return origin == nil
	})
	if origin == nil || st.ID == "" {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte{salt})
	h.Write([]byte(x.s.opt.Store.Mark("link twins", x.full+"\n"+st.To.String()+"\n"+st.ID+"\n"+string(origin)))) // nobody can aim at another's
	return h.Sum64() | 1
}

// Bounce tells the sender of something that left that it did not arrive.
func (s *Server) Bounce(body []byte, why *xmpp.StanzaError) {
	st, err := xmpp.Scan(body)
	if err != nil || st.Type == "error" || st.Kind == xmpp.KindIQ && st.Type == "result" {
		return // RFC 6120 §8.3.1
	}
	if st.Kind == xmpp.KindPresence && st.Type != "subscribe" && (st.Type != "" || st.To.Resource == "") {
		return // only who enters a room or asks to be a contact waits for an answer
	}
	el := xmpp.ErrorReply(st, why)
	switch h := s.hosts[st.From.Domain]; {
	case h != nil:
		if no, err := xmpp.StanzaOf(el); err == nil {
			_ = h(&Errand{Server: s, From: st.To, Stanza: no})
		}
	case st.Kind == xmpp.KindMessage && s.Local(st.From) && st.From.Local != "":
		if err := s.toSender(st.From, el); err != nil {
			s.opt.Log.Warn("failure not reported", "err", err)
		}
	case s.Local(st.From):
		for _, y := range s.hub.of(st.From.Local) {
			if y.jid == st.From || st.From.IsBare() && y.Available() {
				y.Push(el)
			}
		}
	}
}

// Inbound is what comes over one link with another server or a component: it
// is counted there, whoever it is from.
type Inbound struct{ x *Session }

// Inbound begins to count what comes on c.
func (s *Server) Inbound(c *xmpp.Conn) *Inbound {
	return &Inbound{&Session{s: s, conn: c, sm: &management{}}}
}

// Restart begins again at 0 (XEP-0198 §3).
func (in *Inbound) Restart() {
	in.x.mu.Lock()
	in.x.books.restart(0)
	in.x.mu.Unlock()
}

// Asked notes an <r/>.
func (in *Inbound) Asked() {
	in.x.mu.Lock()
	in.x.sm.ask(in.x.books.in)
	in.x.mu.Unlock()
	in.x.wake()
}

// Answer gives the <a/> that is due, or nil.
func (in *Inbound) Answer() []byte {
	in.x.mu.Lock()
	defer in.x.mu.Unlock()
	if !in.x.sm.due(in.x.books.safe) {
		return nil
	}
	in.x.sm.answered(in.x.books.safe)
	return ackBytes(in.x.books.safe)
}

// Take brings one stanza to where it is addressed; whoever calls it has looked
// whether the link may say that it is from there. An error goes back.
func (in *Inbound) Take(st *xmpp.Stanza) {
	s, x := in.x.s, in.x.s.foreigner(st.From)
	p := in.x.books.open(in.x)
	p.who = x
	defer p.close()
	err := refusal(s.arrive(x, st, p))
	if err == nil || st.Type == "error" || st.Type == "result" && st.Kind == xmpp.KindIQ {
		return
	}
	var one *xmpp.StanzaError
	if !errors.As(err, &one) {
		s.opt.Log.Error("unclassified error", "id", st.ID, "err", err) // our bug
		one = &xmpp.StanzaError{Type: xmpp.Cancel, Cond: xmpp.InternalError, Cause: err}
	}
	x.Push(xmpp.ErrorReply(st, one).Set("to", st.From.String()))
}

// arrive is handle for people of other servers.
func (s *Server) arrive(x *Session, st *xmpp.Stanza, p *page) error {
	for _, look := range s.looks {
		if err := look(x, st); err != nil {
			return err
		}
	}
	if !s.Local(st.To) {
		if found, err := s.host(x, st, p); found {
			return err
		}
		if s.opt.E2E && st.Kind == xmpp.KindMessage && readable(st) {
			return xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("this server takes only end-to-end encrypted messages")
		}
		return s.send(x, st, st.To, p) // between a component and others
	}
	switch st.Kind {
	case xmpp.KindMessage:
		return s.message(x, st, p)
	case xmpp.KindIQ:
		return s.iq(x, st)
	}
	el, err := st.Element()
	if err != nil || st.To.Local == "" {
		return err
	}
	if st.Type == "" || st.Type == "unavailable" {
		x = s.note(x, st, el)
	}
	for _, f := range s.arrivals {
		if err := f(x, st, el); err != nil {
			return err
		}
	}
	if st.Type == "unavailable" {
		s.unnote(x)
	}
	return nil
}

// copyAway is Copy for people of other servers: a device is a resource there.
func (e *Errand) copyAway(body []byte, to xmpp.JID, devices []string) (first error) {
	for _, d := range devices {
		full, err := to.Bare().With(d)
		if err == nil {
			err = e.Server.leave(addressTo(body, full), e)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

// elsewhere takes what is for other servers; without a way there, it refuses.
func (x *Session) elsewhere(st *xmpp.Stanza, p *page) error {
	if x.s.Away != nil {
		return x.depart(st, p)
	}
	if st.Type == "error" || st.Kind == xmpp.KindIQ && st.Type == "result" {
		return nil
	}
	if st.Kind == xmpp.KindPresence && st.Type != "subscribe" {
		return nil
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound) // RFC 6120 §10.4
}

// TLS is the server's configuration, with its certificates.
func (s *Server) TLS() *tls.Config { return s.opt.TLS }

// KeepMail is how long mail waits.
func (s *Server) KeepMail() time.Duration { return s.opt.KeepMail }

// Go runs f until the server shuts down, which waits for it; after that it runs
// nothing, and says so.
func (s *Server) Go(f func(ctx context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return false
	}
	s.conns.Add(1)
	go func() {
		defer s.conns.Done()
		f(s.life)
	}()
	return true
}

// Items lists the hosts, and the components that are there.
func (s *Server) Items() []Item {
	if s.Beside == nil {
		return s.items
	}
	return append(s.items[:len(s.items):len(s.items)], s.Beside()...)
}
