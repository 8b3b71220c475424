// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/net/idna"

	"sotto/xmpp"
)

// Dial makes a stream on which our stanzas flow. The socket is closed on an
// error.
func (t *Trust) Dial(ctx context.Context, nc net.Conn, direct bool, us, them string) (*Stream, error) {
	s, err := t.call(ctx, nc, direct, us, them, (*Stream).admit)
	if err != nil {
		nc.Close()
		return nil, fmt.Errorf("stream to %s: %w", them, err)
	}
	return s, nil
}

// Verify asks the server of a domain whether a key is its own (XEP-0220 §2.3).
func (t *Trust) Verify(ctx context.Context, nc net.Conn, direct bool, us, them, id, key string) (valid bool, err error) {
	defer nc.Close()
	_, err = t.call(ctx, nc, direct, us, them, func(s *Stream, t *Trust) error {
		if !s.Proven && !t.Lax {
			return errors.New("its certificate proves nothing")
		}
		if err := s.Write(word("verify", us, them, id, "", key)); err != nil {
			return err
		}
		el, err := s.Read()
		if err != nil {
			return err
		}
		if !el.Is(xmpp.NSDialback, "verify") || el.Get("id") != id || el.Get("from") != them || el.Get("to") != us {
			return errors.New("no answer to a key but " + el.Name.Local)
		}
		valid = el.Get("type") == "valid"
		return nil
	})
	return valid, err
}

// call goes as far as the features inside TLS, then does the rest.
func (t *Trust) call(ctx context.Context, nc net.Conn, direct bool, us, them string, rest func(*Stream, *Trust) error) (*Stream, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s := &Stream{Hand: xmpp.Take(nc, t.Log, xmpp.BeforeAuth, false), Us: us, Them: them}
	s.Speak(xmpp.NSServer)
	if !direct {
		if err := s.startTLS(); err != nil {
			return nil, err
		}
	}
	if err := s.secure(t, direct); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, err
	}
	if err := rest(s, t); err != nil {
		return nil, err
	}
	s.Limits(xmpp.AfterAuth)
	return s, nil
}

// open starts the stream and reads the features.
func (s *Stream) open() error {
	if err := s.Write(header(s.Us, s.Them, "")); err != nil {
		return err
	}
	h, err := s.Header()
	if err != nil {
		return err
	}
	s.ID = h.ID
	s.features, err = s.Features()
	return err
}

// startTLS is RFC 6120 §5; there is no stream without.
func (s *Stream) startTLS() error {
	if err := s.open(); err != nil {
		return err
	}
	if s.features.Child(xmpp.NSTLS, "starttls") == nil {
		return errors.New("it does not offer TLS")
	}
	el, err := s.Ask(xmpp.El(xmpp.NSTLS, "starttls"))
	if err == nil && !el.Is(xmpp.NSTLS, "proceed") {
		err = errors.New("it refused TLS")
	}
	return err
}

// secure makes TLS and looks whether they are who they say.
func (s *Stream) secure(t *Trust, direct bool) error {
	host, err := idna.Lookup.ToASCII(s.Them)
	if err != nil {
		return err
	}
	conf := &tls.Config{
		MinVersion: max(t.TLS.MinVersion, tls.VersionTLS12), ServerName: host,
		InsecureSkipVerify: true, // what it proves is looked at below: dialback may do without
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return t.certificate(s.Us)
		},
	}
	if direct {
		conf.NextProtos = []string{ALPN}
	}
	c := tls.Client(s.Net(), conf)
	if err := c.Handshake(); err != nil {
		return err
	}
	err = t.proves(c, s.Them)
	s.Proven = err == nil
	if err != nil && !t.Lax {
		return err
	}
	return s.Secure(c)
}

// admit proves who we are: by our certificate (RFC 6120 §13.8, XEP-0178 §3),
// or else by dialback; then what makes the stream better is switched on.
func (s *Stream) admit(t *Trust) error {
	if s.Proven && s.features.Child("urn:xmpp:features:bidi", "bidi") != nil { // XEP-0288 §2.2
		s.Bidi = true
		if err := s.Send(xmpp.El(xmpp.NSBidi, "bidi")); err != nil {
			return err
		}
	}
	in, err := s.external()
	if err != nil {
		return err
	}
	if !in {
		if err := s.dialback(t); err != nil {
			return err
		}
	}
	if s.SM = s.features.Child(xmpp.NSSM, "sm") != nil; !s.SM {
		return nil
	}
	return s.Send(xmpp.El(xmpp.NSSM, "enable")) // the answer comes among their stanzas
}

func (s *Stream) external() (in bool, err error) {
	offered := false
	for _, m := range s.features.Child(xmpp.NSSASL, "mechanisms").Children() {
		offered = offered || m.Text() == "EXTERNAL"
	}
	if !offered {
		return false, nil
	}
	el, err := s.Ask(xmpp.El(xmpp.NSSASL, "auth", "mechanism", "EXTERNAL").WithText(base64.StdEncoding.EncodeToString([]byte(s.Us))))
	if err == nil && el.Is(xmpp.NSSASL, "challenge") {
		el, err = s.Ask(xmpp.El(xmpp.NSSASL, "response").WithText(base64.StdEncoding.EncodeToString([]byte(s.Us))))
	}
	if err != nil || !el.Is(xmpp.NSSASL, "success") {
		return false, err
	}
	return true, s.open()
}

// dialback gives them a key and waits until they have asked our server
// (XEP-0220 §2.1).
func (s *Stream) dialback(t *Trust) error {
	s.Dialback = true
	if err := s.Write(word("result", s.Us, s.Them, "", "", t.Key(s.Us, s.Them, s.ID))); err != nil {
		return err
	}
	el, err := s.Read()
	if err != nil {
		return err
	}
	if !el.Is(xmpp.NSDialback, "result") || el.Get("type") != "valid" || el.Get("from") != s.Them || el.Get("to") != s.Us {
		return errors.New("it did not believe us: " + el.Get("type"))
	}
	return nil
}
