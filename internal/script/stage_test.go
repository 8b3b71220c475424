// SPDX-License-Identifier: Apache-2.0

package script

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"log/slog"
	"math/big"
	"net"
	"testing"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/all"
	"sotto/relay/budget"
	"sotto/relay/info"
	"sotto/relay/link"
	"sotto/relay/proxy"
	"sotto/relay/push"
	"sotto/relay/services"
)

// A stage is a server with its data folder.
type stage struct {
	t       *testing.T
	domain  string
	dir     string
	cert    tls.Certificate
	ca      *x509.Certificate
	signs   *ecdsa.PrivateKey // of the authority
	roots   *x509.CertPool
	opt     relay.Options
	closed  bool // an account needs an invitation
	mailMax int  // of a mailbox; 0: the default
	push    push.Options
	proxy   proxy.Options

	strangers budget.Options
	link      link.Options // how it talks with other servers
	s2s       string       // where they find it
	side      string       // where components do

	store *offline.Store
	relay *relay.Server
	addr  string
}

func newStage(t *testing.T) *stage { return newStageOf(t, "localhost") }

func newStageOf(t *testing.T, domain string) *stage {
	s := &stage{t: t, domain: domain, dir: t.TempDir(), s2s: "127.0.0.1:0", side: "127.0.0.1:0", push: push.Options{Slack: 200 * time.Millisecond, Retry: 50 * time.Millisecond, Grace: 100 * time.Millisecond}}
	s.certificate()
	s.open()
	t.Cleanup(s.close)
	return s
}

// certificate makes an authority of the stage's own and a certificate by it.
func (s *stage) certificate() {
	var err error
	s.signs, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority of " + s.domain},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, s.signs.Public(), s.signs)
	s.must(err)
	s.ca, err = x509.ParseCertificate(der)
	s.must(err)
	s.roots = x509.NewCertPool()
	s.roots.AddCert(s.ca)
	s.cert = s.issue(time.Now().Add(time.Hour), s.domain, "rooms."+s.domain, "pubsub."+s.domain)
}

// issue gives a certificate of the stage's authority.
func (s *stage) issue(until time.Time, names ...string) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	s.must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names,
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, leaf, s.ca, key.Public(), s.signs)
	s.must(err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (s *stage) open() {
	log := slog.New(slog.DiscardHandler)
	var err error
	s.store, err = offline.Open(s.dir, offline.Options{Shards: 2, Log: log, MailboxMax: s.mailMax})
	s.must(err)
	o := s.opt
	o.Domain, o.Store, o.Log = s.domain, s.store, log
	o.URL = cmp.Or(o.URL, "https://localhost:5443") // nobody listens: plays only ask
	o.TLS = &tls.Config{Certificates: []tls.Certificate{s.cert}}
	door := account.NewDoor(s.store, !s.closed)
	o.Door = door.Door()
	s.relay, err = relay.New(o)
	s.must(err)
	s.must(all.Add(s.relay, all.Options{Door: door, Budget: s.strangers, Link: s.link, Push: s.push, Proxy: s.proxy, Calls: someServices, Info: info.Options{
		Contact: []string{"mailto:operator@localhost"}, Status: []string{"https://status.localhost/chat.json"}}}))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	s.must(err)
	s.addr = l.Addr().String()
	go s.relay.Serve(context.Background(), l, false)
	if s.link.Servers != "" {
		s.listenLinks()
	}
	if len(s.link.Components) > 0 {
		s.listenComponents()
	}
}

var someServices = services.Options{Secret: "secret", URIs: []string{"stun:stun.localhost", "turn:turn.localhost:3479", "turns:turn.localhost"}}

func (s *stage) close() {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	if err := s.relay.Shutdown(ctx); err != nil {
		s.t.Error("shutdown:", err)
	}
	if err := s.store.Close(); err != nil {
		s.t.Error("close:", err)
	}
}

func (s *stage) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}
