// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"sotto/xmpp/wire"
)

// Setup is what every server socket needs.
type Setup struct {
	Domain   string
	TLS      *tls.Config
	Log      *slog.Logger
	Lookup   func(local string) (Credentials, error) // ErrNoUser: nobody; the peer never learns it
	Features func() []*Element                       // more features after login
	Deadline time.Duration                           // from accept to bound; 0: 30 s

	// Attempt says how long a login must wait, or that it is refused unseen;
	// Proved that its password was right; nil: no limits.
	Attempt func(addr net.Addr, local, device string) (wait time.Duration, ok bool)
	Proved  func(addr net.Addr, local, device string)
	// Barred says that an account is disabled; only who has proved to be its
	// owner is told. nil: none is.
	Barred func(local string) bool
	Secret []byte // makes what names without an account show; of the process when nil
	// Weak says whether an account, "" any, has no keys for SCRAM-SHA-256; then
	// that is not offered. Strengthen keeps keys that came since. nil: none has.
	Weak       func(local string) bool
	Strengthen func(local string, c Credentials) error
	// Tokens is the memory of FAST logins; nil: not offered.
	Tokens *Tokens
	// Door is how people get an account before login; nil: they do not.
	Door *Door

	once        sync.Once
	plain, alpn *tls.Config
}

// Hooks say what binding and resuming mean.
type Hooks struct {
	Bind   func(c *Conn, b BindRequest) (Bound, error)
	Resume func(c *Conn, account JID, previd string, h uint32) (uint32, error)
}

// BindRequest is what a client said about itself.
type BindRequest struct {
	Account                            JID
	Resource                           string // asked for (RFC 6120 §7.7)
	Tag, AgentID, Software, DeviceName string // XEP-0386, XEP-0388
	Carbons, CSIInactive, SM, SMResume bool
	Bind2                              bool
}

// Bound is the answer to a BindRequest.
type Bound struct {
	JID   JID
	SMID  string // empty: the session cannot be resumed
	SMMax int    // seconds
	Extra []*Element
}

// State says how far a socket has come; it never moves back.
type State uint8

// The states of a server socket.
const (
	Fresh   State = iota // accepted, nothing read
	Secured              // TLS is up (RFC 6120 §5)
	Authed               // SASL done (§6)
	Ready                // device known, stanzas flow (§7)
)

// An accept drives one server socket from Fresh to Ready.
type accept struct {
	c        *Conn
	setup    *Setup
	hooks    Hooks
	direct   bool
	state    State
	bindings map[string][]byte
	account  JID
	agent    BindRequest // of SASL2
	tries    int
	invite   string          // was shown before login (XEP-0445)
	hint     string          // who the client says that it is, before login
	opened   bool            // our header of this stream is out
	counted  bool            // stream management was enabled with bind
	mute     bool            // in a handshake: not a place for XML
	gone     <-chan struct{} // closed when the socket is given up
}

// triesMax is how many logins one socket may fail.
const triesMax = 3

// Accept drives a fresh server socket until stanzas flow. On an error, or when
// ctx ends, the stream error has been sent (that of ctx is its cause) and the
// socket is closed.
func Accept(ctx context.Context, nc net.Conn, direct bool, s *Setup, h Hooks) (*Conn, error) {
	a := &accept{c: newConn(wire.New(nc), s.Log, BeforeAuth), setup: s, hooks: h, direct: direct, gone: ctx.Done()}
	a.c.server = true
	limit := s.Deadline
	if limit == 0 {
		limit = 30 * time.Second
	}
	_ = nc.SetDeadline(time.Now().Add(limit)) // absolute: drops of bytes do not move it
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	err := a.drive()
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		return nil, a.farewell(err)
	}
	_ = a.c.nc.SetDeadline(time.Time{})
	a.c.dec.SetLimits(AfterAuth)
	a.expect(false, AfterAuth)
	return a.c, nil
}

// farewell says why the stream ends before it has begun, with a header of its
// own if need be (RFC 6120 §4.9.1.2).
func (a *accept) farewell(err error) error {
	defer a.c.nc.Close()
	var all *StreamError
	if errors.Is(err, os.ErrDeadlineExceeded) { // RFC 6120 §4.9.3.4
		err = &StreamError{Cond: StreamConnectionTimeout, Text: "the login took too long", Cause: err}
	}
	if !errors.As(err, &all) || a.mute {
		return err
	}
	var b []byte
	if !a.opened {
		b = a.setup.header("", JID{})
	}
	_ = a.c.nc.SetDeadline(time.Now().Add(2 * time.Second))
	_, _ = a.c.nc.Write(append(append(b, all.Bytes()...), "</stream:stream>"...))
	return err
}

// header is the start tag of our stream (RFC 6120 §4.7).
func (s *Setup) header(id string, to JID) []byte {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' xml:lang='en'"...)
	if id == "" {
		id = rand.Text()
	}
	b = AppendAttr(b, "id", id)
	b = AppendAttr(b, "from", s.Domain)
	if !to.IsZero() {
		b = AppendAttr(b, "to", to.String())
	}
	return append(b, '>')
}

func (a *accept) drive() error {
	if a.direct {
		if err := a.upgrade(); err != nil {
			return err
		}
		a.state = Secured
	} else if a.secured() {
		a.state = Secured
	}
	for a.state != Ready {
		if err := a.stream(); err != nil {
			return err
		}
		var err error
		switch a.state {
		case Fresh:
			err = a.beforeTLS()
		case Secured:
			err = a.beforeLogin()
		case Authed:
			err = a.beforeBind()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stream reads the client's header and answers with ours and the features.
func (a *accept) stream() error {
	a.opened = false
	a.expect(true, BeforeAuth)
	h, err := a.c.dec.Header()
	bad := err
	if a.hint = ""; h.From.Domain == a.setup.Domain {
		a.hint = h.From.Local
	}
	if bad == nil {
		bad = a.checkHeader(&h)
	}
	var all *StreamError
	if bad != nil && !errors.As(bad, &all) {
		return bad
	}
	a.c.id = rand.Text()
	b := a.setup.header(a.c.id, h.From)
	if bad == nil {
		b = append(b, "<stream:features>"...)
		for _, f := range a.features() {
			b = f.Append(b, NSClient)
		}
		b = append(b, "</stream:features>"...)
	}
	a.opened = true
	if _, err := a.c.nc.Write(b); err != nil {
		return err
	}
	return bad
}

// checkHeader is RFC 6120 §4.7; the domain cannot change on the way.
func (a *accept) checkHeader(h *Header) error {
	if h.To.Domain != a.setup.Domain || h.To.Local != "" {
		return &StreamError{Cond: StreamHostUnknown}
	}
	if h.Version == "" || h.Version[0] == '0' {
		return &StreamError{Cond: StreamUnsupportedVersion}
	}
	return nil
}

func (a *accept) features() []*Element {
	switch a.state {
	case Fresh:
		return []*Element{El(NSTLS, "starttls").Add(El(NSTLS, "required"))}
	case Secured:
		return a.loginFeatures()
	}
	return a.boundFeatures()
}

// boundFeatures are offered after login (RFC 6120 §7).
func (a *accept) boundFeatures() []*Element {
	f := []*Element{El(NSCSI, "csi")}
	if !a.counted {
		f = append(f, El(NSSM, "sm"))
	}
	if a.state != Ready {
		f = append(f, El(NSBind, "bind").Add(El(NSBind, "required")), El(NSSession, "session").Add(El(NSSession, "optional")))
	}
	if a.setup.Features != nil {
		f = append(f, a.setup.Features()...)
	}
	return f
}

// beforeTLS takes <starttls/> and nothing else; bytes sent behind it were not
// protected and end the stream (RFC 6120 §5.4.3.3). White space should not be
// there (§5.3.3), but some clients end the line; it is dropped.
func (a *accept) beforeTLS() error {
	if err := a.c.dec.Next(&a.c.st); err != nil {
		return err
	}
	if a.c.st.Name != (Name{NSTLS, "starttls"}) {
		return &StreamError{Cond: StreamPolicyViolation, Text: "only <starttls/> is taken before TLS"}
	}
	if a.c.dec.Ahead() {
		return &StreamError{Cond: StreamPolicyViolation, Text: "bytes behind <starttls/>"}
	}
	if _, err := a.c.nc.Write(El(NSTLS, "proceed").Bytes()); err != nil {
		return err
	}
	if err := a.upgrade(); err != nil {
		return err
	}
	a.state = Secured
	return nil
}

// beforeLogin takes a login, or registration where that is allowed.
func (a *accept) beforeLogin() error {
	for {
		if err := a.c.dec.Next(&a.c.st); err != nil {
			return err
		}
		st := &a.c.st
		switch {
		case st.Name == Name{NSSASL, "auth"}:
			done, err := a.saslOne()
			if done || err != nil {
				return err
			}
		case st.Name == Name{NSSASL2, "authenticate"}:
			done, err := a.saslTwo()
			if done || err != nil {
				return err
			}
		case a.setup.Door.asked(st):
			if el := a.setup.Door.Ask(a.c.Addr(), st, &a.invite); el != nil {
				if err := a.send(el); err != nil {
					return err
				}
			}
		case st.Name == Name{NSSM, "enable"}, st.Name == Name{NSSM, "resume"}:
			if err := a.tooEarly(); err != nil {
				return err
			}
		default:
			return &StreamError{Cond: StreamNotAuthorized} // RFC 6120 §4.9.3.12
		}
	}
}

// tooEarly refuses stream management before there is what it counts (XEP-0198
// §3, §5): the stream lives on.
func (a *accept) tooEarly() error {
	if a.tries++; a.tries > triesMax {
		return &StreamError{Cond: StreamPolicyViolation}
	}
	return a.send(El(NSSM, "failed").Add(El(NSStanzas, string(UnexpectedRequest))))
}

func (a *accept) send(el *Element) error {
	_, err := a.c.nc.Write(el.Bytes())
	return err
}

func (a *accept) next() (*Element, error) {
	if err := a.c.dec.Next(&a.c.st); err != nil {
		return nil, err
	}
	return a.c.st.Element()
}

// ALPN of direct TLS (XEP-0368 §4).
const ALPN = "xmpp-client"

// tlsConfig is the shared configuration of all sockets of a kind: one of its
// own for each socket would cost more memory than the rest of an idle session.
func (s *Setup) tlsConfig(direct bool) *tls.Config {
	s.once.Do(func() {
		s.plain = s.TLS.Clone()
		s.plain.MinVersion = max(s.plain.MinVersion, tls.VersionTLS12)
		s.alpn = s.plain.Clone()
		s.alpn.NextProtos = []string{ALPN}
	})
	if direct {
		return s.alpn
	}
	return s.plain
}

// shown is the certificate that our clients see; there is one domain, so it
// does not depend on what they ask for.
func (s *Setup) shown() *x509.Certificate {
	var crt *tls.Certificate
	if s.TLS.GetCertificate != nil {
		crt, _ = s.TLS.GetCertificate(&tls.ClientHelloInfo{ServerName: s.Domain})
	}
	if crt == nil && len(s.TLS.Certificates) > 0 {
		crt = &s.TLS.Certificates[0]
	}
	if crt == nil || len(crt.Certificate) == 0 {
		return nil
	}
	if crt.Leaf != nil {
		return crt.Leaf
	}
	x, _ := x509.ParseCertificate(crt.Certificate[0])
	return x
}

// upgrade makes the server's side of TLS.
func (a *accept) upgrade() error {
	w, _ := a.c.nc.(*wire.Conn)
	if w != nil {
		w.Frame()
	}
	t := tls.Server(a.c.nc, a.setup.tlsConfig(a.direct))
	a.mute = true
	if err := t.Handshake(); err != nil {
		return err
	}
	a.mute = false
	cs := t.ConnectionState()
	a.bindings = Bindings(&cs, a.setup.shown())
	a.c.nc = t
	a.c.dec.Reset(t)
	if w != nil {
		a.c.dec.wait = w.Wait
	}
	return nil
}
