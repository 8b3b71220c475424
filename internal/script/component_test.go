// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"net"
	"strings"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

func (s *stage) listenComponents() {
	l, err := net.Listen("tcp", s.side)
	s.must(err)
	s.side = l.Addr().String()
	go s.relay.Ports["component"](l)
}

// components are the directions of plays with components.
func (p *play) components(f []string) {
	if f[0] == "components" { // bot.localhost, and one that is called as an account is
		p.close()
		p.link.Components = map[string]string{"bot.localhost": "sesame", "alice": "open"}
		p.open()
		return
	}
	c, err := knockAside(p.side, f[1], f[2])
	if len(f) > 3 { // refused with that condition
		if err == nil || !strings.Contains(err.Error(), f[3]) {
			p.fail("%v", err)
		}
		return
	}
	if err != nil {
		p.fail("%v", err)
	}
	ctx, cut := context.WithCancel(context.Background())
	a := &actor{name: f[1], conn: c, w: &dial.Welcome{}, in: make(chan *xmpp.Element, 20000), done: make(chan error, 1), cut: cut}
	p.actors[f[1]] = a
	p.t.Cleanup(cut)
	go a.run(ctx)
}

// knockAside is the component's end of XEP-0114 §3.
func knockAside(addr, name, secret string) (*xmpp.Conn, error) {
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	h := xmpp.Take(nc, nil, xmpp.AfterAuth, false)
	h.Speak(xmpp.NSComponent)
	if err := h.Write([]byte("<stream:stream xmlns='jabber:component:accept' xmlns:stream='http://etherx.jabber.org/streams' to='" + name + "'>")); err != nil {
		return nil, err
	}
	head, err := h.Header()
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(head.ID + secret))
	el, err := h.Ask(xmpp.El(xmpp.NSClient, "handshake").WithText(hex.EncodeToString(sum[:])))
	if err == nil && el.Name.Local != "handshake" {
		err = errors.New("no handshake")
	}
	return h.Flow(xmpp.JID{}, false), err
}
