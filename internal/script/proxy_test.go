// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"sotto/relay/proxy"
	"sotto/xmpp"
)

const bytestreams = "<query xmlns='http://jabber.org/protocol/bytestreams'"

// proxied is a play with a proxy.
func proxied(t *testing.T, wait time.Duration) (p *play, addr string) {
	p = newPlay(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	p.close()
	p.proxy = proxy.Options{Addr: "localhost:7777", Wait: wait}
	p.open()
	go p.relay.Ports["proxy"](l)
	p.act("login alice/a\nlogin bob/b\nlogin carol/c")
	return p, l.Addr().String()
}

func name(sid string) string {
	return proxy.Name(sid, xmpp.MustJID("alice@localhost/a"), xmpp.MustJID("bob@localhost/b"))
}

// come connects as an end of a stream; x/net speaks SOCKS5 for us.
func (p *play) come(addr, sid string) net.Conn {
	p.t.Helper()
	c, err := p.knockAt(addr, sid)
	p.must(err)
	return c
}

func (p *play) knockAt(addr, sid string) (net.Conn, error) {
	c, err := net.Dial("tcp", addr)
	p.must(err)
	p.t.Cleanup(func() { c.Close() })
	p.must(c.SetDeadline(time.Now().Add(3 * patience)))
	want, got := name(sid), make([]byte, 2+47)
	_, err = io.WriteString(c, "\x05\x02\x02\x00")
	p.must(err)
	if _, err = io.ReadFull(c, got[:2]); err != nil || got[0] != 5 || got[1] != 0 {
		return nil, fmt.Errorf("greeted with % x: %w", got[:2], err)
	}
	_, err = io.WriteString(c, "\x05\x01\x00\x03\x28"+want+"\x00\x00")
	p.must(err)
	if _, err = io.ReadFull(c, got[2:]); err != nil || got[3] != 0 || string(got[7:47]) != want {
		return nil, fmt.Errorf("answered with % x: %w", got[2:], err)
	}
	return c, nil
}

func (p *play) activate(who, sid, answer string) {
	p.act(who + " > <iq type='set' id='" + sid + "' to='proxy.localhost'>" + bytestreams + " sid='" + sid + "'><activate>bob@localhost/b</activate></query></iq>\n" +
		who + " < <iq id='" + sid + "' from='proxy.localhost' " + answer + "</iq>")
}

// soon asks until the server has seen what happened to its sockets.
func (p *play) soon(sid, want string) {
	a := p.actor("alice/a")
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		a.send("<iq type='set' id='soon' to='proxy.localhost'>" + bytestreams + " sid='" + sid + "'><activate>bob@localhost/b</activate></query></iq>")
		p.until(a, parse("<iq id='soon'/>"))
		if p.matches(parse(want), a.last) {
			return
		} else if time.Now().After(end) {
			p.t.Fatalf("at last: %s", a.last.Bytes())
		}
	}
}

func refusedWith(cond string) string {
	return "type='error'><error type='*'><" + cond + " xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
}

// TestBytestream: two who cannot reach each other pass bytes both ways, when
// one of ours who began it says so, and nobody else (XEP-0065 §6.3).
func TestBytestream(t *testing.T) {
	p, addr := proxied(t, 0)
	p.act("alice/a > <iq type='get' id='i' to='proxy.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>\n" +
		"alice/a < <iq type='result' id='i'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='proxy' type='bytestreams'/><feature var='http://jabber.org/protocol/bytestreams'/></query></iq>\n" +
		"alice/a > <iq type='get' id='h' to='proxy.localhost'>" + bytestreams + " sid='s'/></iq>\n" +
		"alice/a < <iq type='result' id='h'>" + bytestreams + "><streamhost jid='proxy.localhost' host='localhost' port='7777'/></query></iq>")
	p.activate("alice/a", "s", refusedWith("item-not-found"))
	bob := p.come(addr, "s")
	p.activate("alice/a", "s", refusedWith("not-allowed"))
	alice := p.come(addr, "s")
	if _, err := p.knockAt(addr, "s"); err == nil {
		t.Error("a third one got in")
	}
	p.activate("carol/c", "s", refusedWith("item-not-found"))
	p.activate("alice/a", "s", "type='result'>")
	p.activate("alice/a", "s", refusedWith("not-allowed"))
	there, back := make([]byte, 300<<10), make([]byte, 100<<10)
	_, _ = rand.Read(there)
	_, _ = rand.Read(back)
	go func() {
		_, _ = alice.Write(there)
		_ = alice.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, err := io.ReadAll(bob) // one way ends, the other goes on
	if err != nil || !bytes.Equal(got, there) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	go func() {
		_, _ = bob.Write(back)
		bob.Close()
	}()
	if got, err = io.ReadAll(alice); err != nil || !bytes.Equal(got, back) {
		t.Fatalf("%d bytes back, %v", len(got), err)
	}
	p.soon("s", "<iq type='error'><error type='*'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
}

// TestBytestreamHostile: no noise, no waiting and no crowd lasts.
func TestBytestreamHostile(t *testing.T) {
	p, addr := proxied(t, 300*time.Millisecond)
	long := append([]byte("\x05\x01\x00\x05\x01\x00\x03\x28"), bytes.Repeat([]byte("z"), 42)...)
	for i, say := range [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), []byte("\x04\x01\x00\x50\x7f\x00\x00\x01x\x00"), []byte("\x05\x01\x02"), []byte("\x05\x00"), nil,
		[]byte("\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x00\x50"), []byte("\x05\x01\x00\x05\x03\x00\x03\x28"), long} {
		c, err := net.Dial("tcp", addr)
		p.must(err)
		p.must(c.SetDeadline(time.Now().Add(3 * patience)))
		_, err = c.Write(say)
		p.must(err)
		b, _ := io.ReadAll(c) // ends, with a reset perhaps
		if len(b) > 2 || len(b) == 2 && b[1] != 0xff && b[1] != 0 {
			t.Errorf("%d: answered % x", i, b)
		}
		c.Close()
	}
	// One end alone, two that nobody joins, and two who say nothing.
	one, two, three := p.come(addr, "alone"), p.come(addr, "quiet"), p.come(addr, "quiet")
	p.activate("alice/a", "quiet", "type='result'>")
	for _, c := range []net.Conn{one, two, three} {
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
	}
	p.activate("alice/a", "alone", refusedWith("item-not-found"))
}

// TestBytestreamMany: one account has so many streams at a time.
func TestBytestreamMany(t *testing.T) {
	p, addr := proxied(t, 0)
	var last [2]net.Conn
	for i := range 9 {
		sid := fmt.Sprint("m", i)
		ends := [2]net.Conn{p.come(addr, sid), p.come(addr, sid)}
		if i == 8 {
			p.activate("alice/a", sid, refusedWith("resource-constraint"))
			last[0].Close()
			last[1].Close()
			p.soon(sid, "<iq type='result'/>")
			return
		}
		p.activate("alice/a", sid, "type='result'>")
		last = ends
	}
}
