// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"time"

	"sotto/xmpp"
)

// A Door lets other servers in.
type Door struct {
	*Trust
	Serves func(domain string) bool // one of ours
	May    func(domain string) bool // a server that may have a stream with us
	// Ask has a key of theirs confirmed by their server (XEP-0220 §2.2); it
	// blocks, and is called for servers that may.
	Ask      func(ctx context.Context, us, them, id, key string) (bool, error)
	Deadline time.Duration
}

// An entry is one socket on its way in.
type entry struct {
	*Stream
	d       *Door
	ctx     context.Context
	opened  bool // our header is out
	mute    bool // in a handshake
	in      bool // they have proved who they are
	refused error
}

// triesMax is how many proofs one socket may fail.
const triesMax = 3

// Accept drives a socket until the stanzas of a domain may come. On an error it
// has been told why, and is closed.
func (d *Door) Accept(ctx context.Context, nc net.Conn, direct bool) (*Stream, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Deadline)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(d.Deadline)) // absolute: drops of bytes do not move it
	e := &entry{Stream: &Stream{Hand: xmpp.Take(nc, d.Log, xmpp.BeforeAuth, true)}, d: d, ctx: ctx}
	e.Speak(xmpp.NSServer)
	if err := e.drive(direct); err != nil {
		return nil, e.farewell(err)
	}
	if !stop() {
		nc.Close()
		return nil, context.Cause(ctx)
	}
	_ = nc.SetDeadline(time.Time{})
	e.Limits(xmpp.AfterAuth)
	return e.Stream, nil
}

// farewell says why the stream ends before it has begun.
func (e *entry) farewell(err error) error {
	defer e.Net().Close()
	var all *xmpp.StreamError
	if errors.Is(err, os.ErrDeadlineExceeded) { // RFC 6120 §4.9.3.4
		all = &xmpp.StreamError{Cond: xmpp.StreamConnectionTimeout, Text: "the login took too long", Cause: err}
	}
	if all == nil && !errors.As(err, &all) || e.mute {
		return err
	}
	var b []byte
	if !e.opened {
		b = header(e.Us, e.Them, rand.Text())
	}
	_ = e.Net().SetDeadline(time.Now().Add(2 * time.Second))
	_ = e.Write(append(append(b, all.Bytes()...), "</stream:stream>"...))
	return err
}

func (e *entry) drive(direct bool) error {
	if !direct {
		if err := e.header(xmpp.El(xmpp.NSTLS, "starttls").Add(xmpp.El(xmpp.NSTLS, "required"))); err != nil {
			return err
		}
		el, err := e.Read()
		if err != nil {
			return err
		}
		if !el.Is(xmpp.NSTLS, "starttls") {
			return &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "only <starttls/> is taken before TLS"}
		}
		if err := e.Send(xmpp.El(xmpp.NSTLS, "proceed")); err != nil {
			return err
		}
	}
	if err := e.secure(direct); err != nil {
		return err
	}
	if err := e.header(); err != nil {
		return err
	}
	for tries := 0; !e.in; {
		el, err := e.Read()
		if err != nil {
			return err
		}
		no, err := e.take(el)
		if err != nil {
			return err
		}
		if no {
			tries++
		}
		if tries >= triesMax {
			return &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "too many failed logins", Cause: e.refused}
		}
	}
	return nil
}

// header reads theirs and answers with ours and the features.
func (e *entry) header(before ...*xmpp.Element) error {
	e.opened = false
	h, err := e.Header()
	if err != nil {
		return err
	}
	us, them := h.To.Domain, h.From.Domain
	switch {
	case e.Us != "" && (us != e.Us || e.Them != "" && them != e.Them): // not in the middle of a stream
		return &xmpp.StreamError{Cond: xmpp.StreamInvalidFrom}
	case h.To != h.To.Host() || h.From != h.From.Host():
		return &xmpp.StreamError{Cond: xmpp.StreamImproperAddressing}
	case !e.d.Serves(us):
		return &xmpp.StreamError{Cond: xmpp.StreamHostUnknown}
	case them != "" && (e.d.Serves(them) || !e.d.May(them)):
		return &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "this server does not talk with yours"}
	case h.Version == "" || h.Version[0] == '0':
		return &xmpp.StreamError{Cond: xmpp.StreamUnsupportedVersion}
	}
	e.Us, e.Them, e.ID = us, them, rand.Text()
	b := append(header(us, them, e.ID), "<stream:features>"...)
	if before == nil {
		before = e.offers()
	}
	for _, f := range before {
		b = f.Append(b, xmpp.NSClient)
	}
	e.opened = true
	return e.Write(append(b, "</stream:features>"...))
}

// offers are the features inside TLS.
func (e *entry) offers() (all []*xmpp.Element) {
	all = append(all, xmpp.El("urn:xmpp:features:dialback", "dialback").Add(xmpp.El("urn:xmpp:features:dialback", "errors")))
	if e.in {
		return append(all, xmpp.El(xmpp.NSSM, "sm"))
	}
	e.Proven = false
	if c, ok := e.Net().(*tls.Conn); ok && e.Them != "" {
		e.refused = e.d.proves(c, e.Them)
		e.Proven = e.refused == nil
	}
	if e.Proven {
		all = append(all, xmpp.El(xmpp.NSSASL, "mechanisms").Add(xmpp.El(xmpp.NSSASL, "mechanism").WithText("EXTERNAL")))
	}
	return append(all, xmpp.El("urn:xmpp:features:bidi", "bidi"), xmpp.El(xmpp.NSSM, "sm"))
}

// secure makes the called end's TLS; a certificate is asked for, and looked at
// when we know for which domain it should be.
func (e *entry) secure(direct bool) error {
	conf := e.d.TLS.Clone()
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.ClientAuth, conf.NextProtos = tls.RequestClientCert, nil
	if us := e.Us; us != "" {
		conf.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return e.d.certificate(us) }
	}
	if direct {
		conf.NextProtos = []string{ALPN}
	}
	c := tls.Server(e.Net(), conf)
	e.mute = true
	if err := c.Handshake(); err != nil {
		return err
	}
	e.mute = false
	return e.Secure(c)
}

// take is one step of their proof; no says that it was not good.
func (e *entry) take(el *xmpp.Element) (no bool, err error) {
	switch {
	case el.Is(xmpp.NSBidi, "bidi"):
		e.Bidi = true
		return false, nil
	case el.Is(xmpp.NSSASL, "auth"):
		return e.external(el)
	case el.Is(xmpp.NSDialback, "result") && el.Get("type") == "":
		return e.dialback(el)
	case el.Is(xmpp.NSDialback, "verify") && el.Get("type") == "":
		return true, e.Write(e.d.Answer(el)) // each costs a try: who asks has nothing else to say here
	}
	return false, &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized} // RFC 6120 §4.9.3.12
}

// external is RFC 6120 §13.8: the certificate says it already.
func (e *entry) external(el *xmpp.Element) (no bool, err error) {
	fail := func(cond string) (bool, error) {
		return true, e.Send(xmpp.El(xmpp.NSSASL, "failure").Add(xmpp.El(xmpp.NSSASL, cond)))
	}
	who := []byte(e.Them)
	if text := el.Text(); text != "" && text != "=" {
		if who, err = base64.StdEncoding.DecodeString(text); err != nil {
			return fail("incorrect-encoding")
		}
	}
	switch {
	case el.Get("mechanism") != "EXTERNAL":
		return fail("invalid-mechanism")
	case string(who) != e.Them:
		return fail("invalid-authzid")
	case !e.Proven:
		return fail("not-authorized")
	}
	if err := e.Send(xmpp.El(xmpp.NSSASL, "success")); err != nil {
		return false, err
	}
	e.in = true
	return false, e.header()
}

// dialback is XEP-0220 §2.2. Their server is asked only on a stream that comes
// from a domain which may talk with us, and never more often than a socket may
// fail.
func (e *entry) dialback(el *xmpp.Element) (no bool, err error) {
	us, them, key := el.Get("to"), el.Get("from"), el.Text()
	j, bad := xmpp.ParseJID(them)
	switch {
	case bad != nil || j.Domain != them || len(key) > 256:
		return true, e.Write(refused(us, them, xmpp.BadRequest))
	case !e.d.Serves(us) || us != e.Us:
		return true, e.Write(refused(us, them, xmpp.ItemNotFound))
	case e.Them != "" && e.Them != them || e.d.Serves(them) || !e.d.May(them):
		return true, e.Write(refused(us, them, xmpp.NotAllowed))
	}
	e.Them = them
	valid, err := e.d.Ask(e.ctx, us, them, e.ID, key)
	if err != nil {
		e.refused = err
		return true, e.Write(refused(us, them, xmpp.RemoteServerNotFound))
	}
	if !valid {
		return true, e.Write(word("result", us, them, "", "invalid", ""))
	}
	e.in, e.Dialback = true, true
	return false, e.Write(word("result", us, them, "", "valid", ""))
}
