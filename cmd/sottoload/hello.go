// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/xdg-go/scram"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// A guest is a client that counts, inside TLS, what a log-in costs in bytes and
// in round trips: flights of its own that it must wait behind.
type guest struct {
	conn  *tls.Conn
	user  string
	dec   *xmpp.Decoder
	trips int
	bytes int
}

func (g *guest) Read(b []byte) (int, error) {
	n, err := g.conn.Read(b)
	g.bytes += n
	return n, err
}

// visit brings a guest as far as TLS.
func (p *peer) visit(ctx context.Context, user string) (*guest, error) {
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return nil, err
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(nc, streamHead+"<starttls xmlns='"+xmpp.NSTLS+"'/>"); err != nil {
		return nil, err
	}
	dec := xmpp.NewDecoder(nc, xmpp.AfterAuth)
	if _, err := dec.Header(); err != nil {
		return nil, err
	}
	for st := (xmpp.Stanza{}); st.Name.Local != "proceed"; {
		if err := dec.Next(&st); err != nil {
			return nil, err
		}
	}
	g := &guest{conn: tls.Client(nc, p.tls()), user: user}
	g.dec = xmpp.NewDecoder(g, xmpp.AfterAuth)
	return g, g.conn.Handshake()
}

const streamHead = "<?xml version='1.0'?><stream:stream to='" + domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

// turn sends a flight and waits for the last word of the answer, by name.
func (g *guest) turn(flight, last string) (*xmpp.Element, error) {
	g.trips++
	g.bytes += len(flight)
	if _, err := io.WriteString(g.conn, flight); err != nil {
		return nil, err
	}
	return g.hear(last)
}

// head opens a stream, perhaps with more in the flight, and waits for features.
func (g *guest) head(more, last string) (*xmpp.Element, error) {
	g.trips++
	flight := streamHead + more
	g.bytes += len(flight)
	if _, err := io.WriteString(g.conn, flight); err != nil {
		return nil, err
	}
	g.dec.Restart()
	if _, err := g.dec.Header(); err != nil {
		return nil, err
	}
	return g.hear(last)
}

func (g *guest) hear(last string) (*xmpp.Element, error) {
	var st xmpp.Stanza
	for {
		if err := g.dec.Next(&st); err != nil {
			return nil, fmt.Errorf("waiting for %s: %w", last, err)
		}
		el, err := st.Element()
		if err != nil {
			return nil, err
		}
		switch el.Name.Local {
		case last:
			return el.Clone(), nil
		case "failure", "failed", "error":
			return nil, fmt.Errorf("waiting for %s: %s", last, el.Bytes())
		}
	}
}

// classic logs in by RFC 6120 §6: header, SCRAM, header again.
func (g *guest) classic() error {
	if _, err := g.head("", "features"); err != nil {
		return err
	}
	cl, err := scram.SHA256.NewClient(g.user, password, "")
	if err != nil {
		return err
	}
	conv := cl.NewConversation()
	first, err := conv.Step("")
	if err != nil {
		return err
	}
	el, err := g.turn("<auth xmlns='"+xmpp.NSSASL+"' mechanism='SCRAM-SHA-256'>"+xmpp.Encode64([]byte(first))+"</auth>", "challenge")
	if err != nil {
		return err
	}
	said, err := xmpp.Decode64(el.Text())
	if err != nil {
		return err
	}
	proof, err := conv.Step(string(said))
	if err != nil {
		return err
	}
	if _, err = g.turn("<response xmlns='"+xmpp.NSSASL+"'>"+xmpp.Encode64([]byte(proof))+"</response>", "success"); err != nil {
		return err
	}
	_, err = g.head("", "features")
	return err
}

// settle binds, with copies and acks switched on in one flight; it gives the
// name of the session for resumption.
func (g *guest) settle(resource string) (string, error) {
	if _, err := g.turn("<iq type='set' id='b'><bind xmlns='"+xmpp.NSBind+"'><resource>"+resource+"</resource></bind></iq>", "iq"); err != nil {
		return "", err
	}
	el, err := g.turn("<iq type='set' id='c'><enable xmlns='"+xmpp.NSCarbons+"'/></iq><enable xmlns='"+xmpp.NSSM+"' resume='true'/>", "enabled")
	return el.Get("id"), err
}

// quick logs in by a token, binds or resumes, all in one flight (XEP-0484,
// XEP-0386).
func (g *guest) quick(t *xmpp.Token, agent, resume string) (string, error) {
	cs := g.conn.ConnectionState()
	binding, ok := xmpp.BindingOf(t.Mechanism)
	if !ok {
		return "", errors.New("no such token: " + t.Mechanism)
	}
	first := append([]byte(g.user+"\x00"), t.Proof("Initiator", xmpp.Bindings(&cs, cs.PeerCertificates[0])[binding])...)
	how := "<bind xmlns='" + xmpp.NSBind2 + "'><tag>load</tag><enable xmlns='" + xmpp.NSCarbons + "'/><enable xmlns='" + xmpp.NSSM + "' resume='true'/></bind>"
	if resume != "" {
		how = "<resume xmlns='" + xmpp.NSSM + "' previd='" + resume + "' h='0'/>" + how
	}
	_, err := g.head("<authenticate xmlns='"+xmpp.NSSASL2+"' mechanism='"+t.Mechanism+"'><initial-response>"+xmpp.Encode64(first)+
		"</initial-response><user-agent id='"+agent+"'/><fast xmlns='"+xmpp.NSFast+"'/>"+how+"</authenticate>", "features")
	if err != nil {
		return "", err
	}
	el, err := g.hear("success")
	switch {
	case err != nil:
		return "", err
	case resume == "":
		_, err = g.hear("features")
	case el.Child(xmpp.NSSM, "resumed") == nil: // no features follow it (XEP-0198 §9)
		err = errors.New("not resumed")
	}
	return el.Child(xmpp.NSBind2, "bound").Child(xmpp.NSSM, "enabled").Get("id"), err
}

// leave has somebody write to who is away, and waits until the server has it.
func (p *peer) leave(ctx context.Context, to string) error {
	g, err := p.visit(ctx, "user2")
	if err != nil {
		return err
	}
	defer g.conn.Close()
	if err := g.classic(); err != nil {
		return err
	}
	if _, err := g.settle("desk"); err != nil {
		return err
	}
	_, err = g.turn("<message to='"+to+"@"+domain+"' type='chat' id='w'><body>the kettle is on</body></message><r xmlns='"+xmpp.NSSM+"'/>", "a")
	return err
}

// A road is one way to log in.
type road struct {
	name, user string
	login      func(g *guest, resume string) (id string, err error)
}

// measureHello counts the bytes, both ways, and the round trips from TLS on to
// where a message can be sent and is acked, to where a waiting one has come,
// and to where a session is back after its socket was lost.
func measureHello(ctx context.Context, _ *commands, p *peer) ([]figure, error) {
	if err := p.register(users(3)...); err != nil {
		return nil, err
	}
	classic := road{"by the classic road", "user1", func(g *guest, resume string) (string, error) {
		if err := g.classic(); err != nil {
			return "", err
		}
		if resume == "" {
			return g.settle("phone")
		}
		_, err := g.turn("<resume xmlns='"+xmpp.NSSM+"' previd='"+resume+"' h='0'/>", "resumed")
		return resume, err
	}}
	best := road{"by the shortest road", "user0", classic.login}
	if p.status != nil {
		t, err := p.token(ctx, "user0", "3c2e16a8-6d2c-4f3c-9b8e-0d8a9a2f6c11")
		if err != nil {
			return nil, err
		}
		best.login = func(g *guest, resume string) (string, error) {
			return g.quick(t, "3c2e16a8-6d2c-4f3c-9b8e-0d8a9a2f6c11", resume)
		}
	}
	var all []figure
	for _, r := range []road{best, classic} {
		got, err := p.follow(ctx, r)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.name, err)
		}
		all = append(all, got...)
	}
	return all, nil
}

// token is what a device of ours got when it logged in with its password.
func (p *peer) token(ctx context.Context, user, agent string) (*xmpp.Token, error) {
	c, w, err := dial.Dial(ctx, dial.Login{Addr: p.addr, JID: xmpp.JID{Local: user, Domain: domain}, Password: password,
		TLS: p.tls(), AgentID: agent, Tag: "load", SM: true})
	if err != nil {
		return nil, err
	}
	c.Drop()
	if w.Token == nil {
		return nil, errors.New("no token")
	}
	return w.Token, nil
}

func (p *peer) follow(ctx context.Context, r road) (all []figure, err error) {
	if err := p.leave(ctx, r.user); err != nil {
		return nil, err
	}
	g, err := p.visit(ctx, r.user)
	if err != nil {
		return nil, err
	}
	count := func(what string, g *guest) {
		all = append(all, figure{"round trips after TLS, " + what + " " + r.name, "", float64(g.trips), true},
			figure{"bytes after TLS, " + what + " " + r.name, "B", float64(g.bytes), true})
	}
	id, err := r.login(g, "")
	if err != nil {
		return nil, err
	}
	count("until a message can be sent,", g)
	if _, err := g.turn("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>", "message"); err != nil {
		return nil, err
	}
	count("until a waiting one has come,", g)
	g.conn.NetConn().Close()
	if g, err = p.visit(ctx, r.user); err != nil {
		return nil, err
	}
	defer g.conn.Close()
	if _, err := r.login(g, id); err != nil {
		return nil, err
	}
	count("until a lost session is back,", g)
	return all, nil
}
