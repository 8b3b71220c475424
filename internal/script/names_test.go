// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"net"
	"net/netip"
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
	ports map[string]place // by service and domain, as _xmpp-server._tcp.far.test.
	mute  bool             // it is not well
}

// A place is a port and the last number of an address 127.0.0.x.
type place struct {
	port uint16
	host byte
}

func newNames(t *testing.T) *nameServer { return newNamesAt(t, "127.0.0.1:0") }

func newNamesAt(t *testing.T, addr string) *nameServer {
	pc, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{PacketConn: pc, ports: map[string]place{}}
	t.Cleanup(func() { pc.Close() })
	go n.serve()
	return n
}

// say publishes where a domain is served.
func (n *nameServer) say(service, domain string, addr string) {
	a := netip.MustParseAddrPort(addr)
	n.mu.Lock()
	n.ports["_"+service+"._tcp."+domain+"."] = place{a.Port(), a.Addr().As4()[3]}
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
	at, ok := n.ports[name]
	var host byte
	_, err := fmt.Sscanf(name, "host%d.play.example.", &host)
	switch {
	case n.mute:
		m.RCode = dnsmessage.RCodeServerFailure
	case ok && q.Type == dnsmessage.TypeSRV:
		target := dnsmessage.MustNewName(fmt.Sprintf("host%d.play.example.", at.host))
		if at.port == 0 {
			target = dnsmessage.MustNewName(".")
		}
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.SRVResource{Target: target, Port: at.port}})
	case err == nil && q.Type == dnsmessage.TypeA:
		m.Answers = append(m.Answers, dnsmessage.Resource{Header: head, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, host}}})
	case err == nil: // no other kind of address
	default:
		m.RCode = dnsmessage.RCodeNameError
	}
}
