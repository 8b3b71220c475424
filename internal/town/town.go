// SPDX-License-Identifier: Apache-2.0

// Package town is a real server on a loopback port, for tests of what talks to one.
//
// Promise: Close and Open again keep the address and all data.
//
// Spec:     none.
// Runs:     the server's goroutines, until the test ends.
// Touches:  a temporary folder, two ports.
// Imports:  sotto/relay and its features, sotto/offline.
package town

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/all"
	"sotto/relay/web"
)

// Town is the server of the domain localhost.
type Town struct {
	t    testing.TB
	cert tls.Certificate
	open bool

	choices all.Options
	late    atomic.Int64 // nanoseconds that the clock is ahead
	still   atomic.Int64 // the time at which it stands, unless 0
	Dir     string       // the data folder
	Addr    string       // for STARTTLS
	URL     string       // of its HTTPS
	Roots   *x509.CertPool
	CA      []byte // Roots, as PEM
	Store   *offline.Store
	Relay   *relay.Server
}

// New opens a server with accounts; the password of alice is secret-alice.
func New(t testing.TB, users ...string) *Town { return NewWith(t, all.Options{}, users...) }

// NewWith is New with an operator's choices.
func NewWith(t testing.TB, choices all.Options, users ...string) *Town {
	o := &Town{t: t, choices: choices, Dir: t.TempDir(), Addr: "127.0.0.1:0", Roots: x509.NewCertPool()}
	o.certify()
	o.Open()
	for _, u := range users {
		o.must(account.Create(o.Store, u, "secret-"+u))
	}
	t.Cleanup(o.Close)
	return o
}

func (o *Town) must(err error) {
	o.t.Helper()
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *Town) certify() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	o.must(err)
	c := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	o.must(err)
	o.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	o.Roots.AppendCertsFromPEM(o.CA)
	o.cert = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Open starts the server, again on the same port.
func (o *Town) Open() {
	o.t.Helper()
	log := slog.New(slog.DiscardHandler)
	var err error
	o.Store, err = offline.Open(o.Dir, offline.Options{Shards: 2, Log: log})
	o.must(err)
	h, err := net.Listen("tcp", cmp.Or(strings.TrimPrefix(o.URL, "https://"), "127.0.0.1:0"))
	o.must(err)
	o.URL = "https://localhost:" + strconv.Itoa(h.Addr().(*net.TCPAddr).Port)
	// Without tickets TLS says nothing by itself, and flights can be counted.
	conf := &tls.Config{Certificates: []tls.Certificate{o.cert}, SessionTicketsDisabled: true}
	o.choices.Door = account.NewDoor(o.Store, false)
	o.Relay, err = relay.New(relay.Options{Domain: "localhost", Store: o.Store, Log: log, E2E: true, TLS: conf, URL: o.URL,
		Now: o.now, Door: o.choices.Door.Door()})
	o.must(err)
	o.must(all.Add(o.Relay, o.choices))
	l, err := net.Listen("tcp", o.Addr)
	o.must(err)
	o.Addr = l.Addr().String()
	go o.Relay.Serve(context.Background(), l, false)
	go web.Serve(context.Background(), o.Relay, h, conf)
	o.open = true
}

func (o *Town) now() time.Time {
	if at := o.still.Load(); at != 0 {
		return time.Unix(0, at)
	}
	return time.Now().Add(time.Duration(o.late.Load()))
}

// Freeze stops the server's clock.
func (o *Town) Freeze() { o.still.Store(o.now().UnixNano()) }

// Pass lets time pass for the server.
func (o *Town) Pass(d time.Duration) { o.late.Add(int64(d)) }

// Invite makes an invitation and gives its link and its page.
func (o *Town) Invite(i account.Invite) (link, page string) {
	o.t.Helper()
	token, err := account.NewInvite(o.Store, i, o.now())
	o.must(err)
	return account.Link(i, token, "localhost"), account.Landing(o.URL, token)
}

// Direct opens a second port, with TLS from the first byte.
func (o *Town) Direct() (addr string) {
	o.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	o.must(err)
	go o.Relay.Serve(context.Background(), l, true)
	return l.Addr().String()
}

// SetPassword changes a password, as an admin does.
func (o *Town) SetPassword(user, password string) {
	o.t.Helper()
	o.must(account.SetPassword(o.Store, user, password))
}

// Close stops the server; closed twice is closed.
func (o *Town) Close() {
	if !o.open {
		return
	}
	o.open = false
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	if err := o.Relay.Shutdown(ctx); err != nil {
		o.t.Error(err)
	}
	if err := o.Store.Close(); err != nil {
		o.t.Error(err)
	}
}
