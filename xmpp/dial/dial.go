// SPDX-License-Identifier: Apache-2.0

package dial

import (
	"context"
	"crypto/hmac"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"time"

	"sotto/xmpp"
)

// Login is what a client needs to open a stream.
type Login struct {
	Addr                           string // host:port
	JID                            xmpp.JID
	Password                       string
	TLS                            *tls.Config
	Direct                         bool // TLS from the first byte (XEP-0368)
	Resource                       string
	Tag, AgentID, Software, Device string // XEP-0386, XEP-0388
	SM                             bool   // stream management with resumption
	ResumeID                       string
	ResumeH                        uint32
	Carbons                        bool
	ForceMech                      string
	Classic                        bool        // no SASL2
	Token                          *xmpp.Token // of an earlier Welcome: one round trip (XEP-0484)
	Log                            *slog.Logger
}

// Welcome is how a login ended.
type Welcome struct {
	JID          xmpp.JID
	SMID         string
	Resumed      bool
	ResumeFailed bool
	H            uint32 // what the server has of a resumed stream
	Mechanism    string
	Token        *xmpp.Token // for the next login; nil: the old one stays good
	TokenRefused bool        // the one that was used is not good any more
	Features     *xmpp.Element
	Bound        *xmpp.Element // of Bind 2; nil: there was none (XEP-0386 §4)
}

// A dialer drives the client's end to stanzas.
type dialer struct {
	*xmpp.Hand
	l        *Login
	jid      xmpp.JID // what the server gave us
	w        Welcome
	bindings map[string][]byte
	features *xmpp.Element
}

// Dial opens a stream; a wrong password is an *xmpp.AuthError.
func Dial(ctx context.Context, l Login) (*xmpp.Conn, *Welcome, error) {
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, nil, err
	}
	d := &dialer{Hand: xmpp.Take(nc, l.Log, xmpp.FromServer, false), l: &l}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	if err := d.drive(); err != nil {
		d.Net().Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	_ = d.Net().SetDeadline(time.Time{})
	d.w.JID = d.jid
	d.w.Features = d.features
	return d.Flow(d.jid, d.w.Resumed), &d.w, nil
}

func (d *dialer) drive() error {
	if d.l.Direct {
		if err := d.secure(); err != nil {
			return err
		}
	} else if err := d.startTLS(); err != nil {
		return err
	}
	if done, err := d.loginFast(); done || err != nil {
		return err
	}
	if d.features.Child(xmpp.NSSASL2, "authentication") != nil && !d.l.Classic {
		return d.loginTwo()
	}
	return d.loginOne()
}

// loginFast opens the stream, with the login in the same flight when we have
// a token; done says that we are in.
func (d *dialer) loginFast() (done bool, err error) {
	t := d.l.Token
	binding, ok := "", false
	if t != nil {
		binding, ok = xmpp.BindingOf(t.Mechanism)
	}
	if !ok || d.l.Classic || binding != "" && d.bindings[binding] == nil {
		return false, d.open()
	}
	first := append([]byte(d.l.JID.Local+"\x00"), t.Proof("Initiator", d.bindings[binding])...)
	el := d.authenticate(t.Mechanism, xmpp.Encode64(first)).Add(xmpp.El(xmpp.NSFast, "fast"))
	if err := d.openWith(el.Bytes()); err != nil {
		return false, err
	}
	d.w.Mechanism = t.Mechanism
	if el, err = d.Read(); err != nil {
		return false, err
	}
	if !el.Is(xmpp.NSSASL2, "success") {
		d.w.TokenRefused = true
		return false, nil // the password may be good (XEP-0484 §"Client responsibilities")
	}
	got, err := xmpp.Decode64(el.Child(xmpp.NSSASL2, "additional-data").Text())
	if err != nil || !hmac.Equal(got, t.Proof("Responder", d.bindings[binding])) {
		return false, &xmpp.AuthError{Cond: "not-authorized", Text: "the server did not prove that it knows the token"}
	}
	return true, d.taken(el)
}

func (d *dialer) startTLS() error {
	if err := d.open(); err != nil {
		return err
	}
	if d.features.Child(xmpp.NSTLS, "starttls") == nil {
		return errors.New("the server does not offer TLS")
	}
	el, err := d.Ask(xmpp.El(xmpp.NSTLS, "starttls"))
	if err != nil {
		return err
	}
	if !el.Is(xmpp.NSTLS, "proceed") {
		return errors.New("the server refused TLS")
	}
	return d.secure()
}

func (d *dialer) secure() error {
	conf := d.l.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	if conf.ServerName == "" {
		conf.ServerName = d.l.JID.Domain
	}
	if d.l.Direct {
		conf.NextProtos = []string{xmpp.ALPN}
	}
	t := tls.Client(d.Net(), conf)
	if err := t.Handshake(); err != nil {
		return err
	}
	cs := t.ConnectionState()
	d.bindings = xmpp.Bindings(&cs, cs.PeerCertificates[0])
	return d.Secure(t)
}

// open starts a stream and reads the features.
func (d *dialer) open() error { return d.openWith(nil) }

// openWith sends more behind the header, which the server reads later.
func (d *dialer) openWith(more []byte) error {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"...)
	if d.bindings != nil {
		b = xmpp.AppendAttr(b, "from", d.l.JID.Bare().String()) // only inside TLS (RFC 6120 §4.7.1)
	}
	b = append(xmpp.AppendAttr(b, "to", d.l.JID.Domain), '>')
	b = append(b, more...)
	if err := d.Write(b); err != nil {
		return err
	}
	if _, err := d.Header(); err != nil {
		return err
	}
	return d.readFeatures()
}

func (d *dialer) readFeatures() (err error) {
	d.features, err = d.Features()
	return err
}
