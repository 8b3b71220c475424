// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"net"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// names is a name server on a loopback port that knows these services.
func names(t *testing.T, records map[string][]dnsmessage.SRVResource) *net.Resolver {
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	go func() {
		b := make([]byte, 4096)
		for {
			n, from, err := pc.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:n]) != nil || len(m.Questions) != 1 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RecursionAvailable, m.Additionals = true, true, nil
			found := records[q.Name.String()]
			if len(found) == 0 {
				m.RCode = dnsmessage.RCodeNameError
			}
			for _, r := range found {
				m.Answers = append(m.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeSRV, Class: dnsmessage.ClassINET, TTL: 60}, Body: &r,
				})
			}
			if out, err := m.Pack(); err == nil {
				_, _ = pc.WriteTo(out, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", pc.LocalAddr().String())
	}}
}

func TestLookUp(t *testing.T) {
	srv := func(target string, port, priority uint16) dnsmessage.SRVResource {
		return dnsmessage.SRVResource{Target: dnsmessage.MustNewName(target), Port: port, Priority: priority}
	}
	dns := names(t, map[string][]dnsmessage.SRVResource{
		"_xmpps-client._tcp.both.test.": {srv("tls.both.test.", 443, 5)},
		"_xmpp-client._tcp.both.test.":  {srv("second.both.test.", 5222, 20), srv("first.both.test.", 5222, 10)},
		"_xmpp-client._tcp.old.test.":   {srv("xmpp.old.test.", 5000, 0)},
		"_xmpps-client._tcp.old.test.":  {srv(".", 0, 0)}, // not offered
	})
	for _, row := range []struct {
		domain string
		want   []target
		spec   string
	}{
		{"both.test", []target{{"tls.both.test:443", true}, {"first.both.test:5222", false}, {"second.both.test:5222", false}}, "XEP-0368 §3"},
		{"old.test", []target{{"xmpp.old.test:5000", false}}, "RFC 2782: a dot is no service"},
		{"none.test", []target{{"none.test:5222", false}}, "RFC 6120 §3.2.2"},
		{"localhost", []target{{"localhost:5222", false}}, "RFC 6761 §6.3"},
		{"127.0.0.1", []target{{"127.0.0.1:5222", false}}, "RFC 6120 §3.2"},
	} {
		if got := lookUp(t.Context(), dns, row.domain); !slices.Equal(got, row.want) {
			t.Errorf("%s gives %v, not %v (%s)", row.domain, got, row.want, row.spec)
		}
	}
}
