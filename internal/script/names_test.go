// SPDX-License-Identifier: Apache-2.0

package script

import (
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A nameServer answers for the servers of a play: each domain has one SRV
// record, at 127.0.0.1. A port of 0 says that there is no service.
type nameServer struct {
	net.PacketConn
	mu    sync.Mutex
	ports map[string]uint16 // by service and domain, as _xmpp-server._tcp.far.test.
	mute  bool              // it is not well
}

func newNames(t *testing.T) *nameServer {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{PacketConn: pc, ports: map[string]uint16{}}
	t.Cleanup(func() { pc.Close() })
	go n.serve()
	return n
}

// say publishes where a domain is served.
func (n *nameServer) say(service, domain string, addr string) {
	_, port, _ := net.SplitHostPort(addr)
	p, err := net.LookupPort("tcp", port)
	if err != nil {
		panic(err)
	}
	n.mu.Lock()
	n.ports["_"+service+"._tcp."+domain+"."] = uint16(p)
	n.mu.Unlock()
}

func (n *nameServer) sick(yes bool) {
	n.mu.Lock()
	n.mute = yes
	n.mu.Unlock()
}

func (n *nameServer) serve() {
	buf := make([]byte, 1500)
	for {
		k, from, err := n.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:k]) != nil || len(m.Questions) != 1 {
			continue
		}
		n.answer(&m)
		if out, err := m.Pack(); err == nil {
			_, _ = n.WriteTo(out, from)
		}
	}
}

func (n *nameServer) answer(m *dnsmessage.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	q := m.Questions[0]
	m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
	head := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: dnsmessage.ClassINET, TTL: 1}
	name := strings.ToLower(q.Name.String())
	port, ok := n.ports[name]
	switch {
	case n.mute:
		m.RCode = dnsmessage.RCodeServerFailure
	case ok && q.Type == dnsmessage.TypeSRV:
		target := dnsmessage.MustNewName("host.play.test.")
		if port == 0 {
			target = dnsmessage.MustNewName(".")
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.SRVResource{Target: target, Port: port}})
	case name == "host.play.test." && q.Type == dnsmessage.TypeA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}})
	case name == "host.play.test.":
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
}
