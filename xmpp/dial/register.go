// SPDX-License-Identifier: Apache-2.0

package dial

import (
	"context"
	"errors"
	"net"
	"time"

	"sotto/xmpp"
)

// What a server says to who asks for an account and cannot have one here.
var (
	ErrNoInvites = errors.New("the server takes no invitations")
	ErrClosed    = errors.New("the server makes accounts only for who is invited")
)

// Register makes the account of a Login, by an invitation or, where anybody
// may, without (XEP-0445 §4, XEP-0077 §3.1). It does not log in.
func Register(ctx context.Context, l Login, token string) error {
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return err
	}
	d := &dialer{Hand: xmpp.Take(nc, l.Log, xmpp.AfterAuth, false), l: &l}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	defer func() { d.Net().Close() }()
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	err = d.register(token)
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (d *dialer) register(token string) error {
	var err error
	if d.l.Direct {
		err = d.secure()
	} else {
		err = d.startTLS()
	}
	if err == nil {
		err = d.open()
	}
	if err != nil {
		return err
	}
	if token != "" {
		if d.features.Child(xmpp.NSRegToken, "register") == nil {
			return ErrNoInvites
		}
		err = d.question(xmpp.El(xmpp.NSPars, "preauth", "token", token))
	} else if d.features.Child(xmpp.NSRegFeature, "register") == nil {
		return ErrClosed
	}
	if err == nil {
		err = d.question(xmpp.El(xmpp.NSRegister, "query").Add(
			xmpp.El(xmpp.NSRegister, "username").WithText(d.l.JID.Local), xmpp.El(xmpp.NSRegister, "password").WithText(d.l.Password)))
	}
	if err != nil {
		return err
	}
	return d.Write([]byte("</stream:stream>"))
}

// question sets something before login.
func (d *dialer) question(payload *xmpp.Element) error {
	el, err := d.Ask(xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", payload.Name.Local, "to", d.l.JID.Domain).Add(payload))
	if err != nil {
		return err
	}
	if e := xmpp.StanzaErrorOf(el); e != nil {
		return e
	}
	return nil
}
