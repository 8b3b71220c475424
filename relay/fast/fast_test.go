// SPDX-License-Identifier: Apache-2.0

package fast_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

type phone struct {
	t *testing.T
	o *town.Town
	l dial.Login
}

func newPhone(t *testing.T, o *town.Town, agent string) *phone {
	return &phone{t, o, dial.Login{
		Addr: o.Addr, JID: xmpp.MustJID("alice@localhost"), Password: "secret-alice", TLS: &tls.Config{RootCAs: o.Roots},
		AgentID: agent, SM: true,
	}}
}

// in logs in and keeps what came of it; the stream is cut again.
func (p *phone) in() *dial.Welcome {
	p.t.Helper()
	c, w, err := dial.Dial(context.Background(), p.l)
	if err != nil {
		p.t.Fatal(err)
	}
	c.Drop()
	if w.Token != nil {
		p.l.Token = w.Token
	}
	return w
}

// refused says that the token is not good any more, but the password is.
func (p *phone) refused(why string) {
	p.t.Helper()
	if w := p.in(); !w.TokenRefused || w.Mechanism[:2] == "HT" {
		p.t.Errorf("%s: logged in by %s", why, w.Mechanism)
	}
}

// XEP-0484: a token logs its own device in by its own mechanism, no other.
func TestToken(t *testing.T) {
	o := town.New(t, "alice")
	p := newPhone(t, o, "phone")
	if w := p.in(); p.l.Token == nil || w.Mechanism != "SCRAM-SHA-256-PLUS" {
		t.Fatal("no token", w.Mechanism)
	}
	if w := p.in(); w.Mechanism != "HT-SHA-256-EXPR" || w.TokenRefused || w.Token != nil {
		t.Fatal(w.Mechanism, w.TokenRefused, w.Token)
	}
	good := *p.l.Token
	for name, change := range map[string]func(l *dial.Login){
		"another mechanism": func(l *dial.Login) { l.Token.Mechanism = "HT-SHA-256-NONE" },
		"another binding":   func(l *dial.Login) { l.Token.Mechanism = "HT-SHA-256-ENDP" },
		"another secret":    func(l *dial.Login) { l.Token.Secret += "x" },
		"another device":    func(l *dial.Login) { l.AgentID = "laptop" },
	} {
		q := newPhone(t, o, "phone")
		tok := good
		q.l.Token = &tok
		change(&q.l)
		q.refused(name)
		if q.l.AgentID == "phone" { // it got a new one, which does not end the old one until it is used
			r := newPhone(t, o, "phone")
			tok := good
			r.l.Token = &tok
			if w := r.in(); w.TokenRefused {
				t.Error(name, "ended the good token")
			}
		}
	}
}

// A token ends with its time, with the password, and with the use of a newer one.
func TestTokenEnds(t *testing.T) {
	o := town.New(t, "alice")
	p := newPhone(t, o, "phone")
	p.in()
	first := *p.l.Token
	o.Pass(25 * time.Hour)
	if w := p.in(); w.Token == nil || w.TokenRefused {
		t.Fatal("a token of yesterday is not replaced")
	}
	second := *p.l.Token
	p.l.Token = &first
	if w := p.in(); w.TokenRefused {
		t.Fatal("the old token ended before the new one was used")
	}
	newest := *p.l.Token // the second was never used, and this one replaced it
	p.l.Token = &second
	p.refused("a token that was replaced unused")
	p.l.Token = &newest
	p.refused("a token that was replaced unused, by the login before")
	third := *p.l.Token
	if w := p.in(); w.TokenRefused {
		t.Fatal("the newest token is refused")
	}
	p.l.Token = &first
	p.refused("the first, after a newer one was used")
	p.l.Token = &third
	p.in()
	o.SetPassword("alice", "another secret")
	if _, _, err := dial.Dial(context.Background(), p.l); err == nil {
		t.Fatal("logged in with the old password's token")
	} else if auth := (*xmpp.AuthError)(nil); !errors.As(err, &auth) {
		t.Fatal(err)
	}
	p.l.Password = "another secret"
	p.refused("the old password's token")
	o.Pass(22 * 24 * time.Hour)
	p.refused("a token of three weeks ago")
}

// flights counts how often the direction changes on a connection.
type flights struct {
	mu   sync.Mutex
	last byte
	n    int
}

func (f *flights) copy(who byte, dst io.WriteCloser, src io.Reader) {
	b := make([]byte, 64<<10)
	for {
		n, err := src.Read(b)
		if n > 0 {
			f.mu.Lock()
			if f.last != who {
				f.last, f.n = who, f.n+1
			}
			f.mu.Unlock()
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			dst.Close()
			return
		}
	}
}

// TestOneRoundTrip: with a token, a device is back in its old session one
// round trip after TLS: hello, hello, login, welcome.
func TestOneRoundTrip(t *testing.T) {
	o := town.New(t, "alice")
	p := newPhone(t, o, "phone")
	p.l.Addr, p.l.Direct = o.Direct(), true
	w := p.in()
	p.l.ResumeID = w.SMID
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f := &flights{}
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", p.l.Addr)
		if err != nil {
			near.Close()
			return
		}
		go f.copy('s', near, far)
		f.copy('c', far, near)
	}()
	via := p.l
	via.Addr = l.Addr().String()
	c, w, err := dial.Dial(context.Background(), via)
	if err != nil {
		t.Fatal(err)
	}
	f.mu.Lock()
	n := f.n
	f.mu.Unlock()
	c.Drop()
	if !w.Resumed || w.Mechanism != "HT-SHA-256-EXPR" {
		t.Fatal("resumed:", w.Resumed, "by", w.Mechanism)
	}
	if n != 4 { // client's hello, server's hello, client's login, server's welcome
		t.Fatalf("%d flights, two of them TLS's own", n)
	}
}
