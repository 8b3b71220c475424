// SPDX-License-Identifier: Apache-2.0

package script

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sotto/offline"
	"sotto/relay/account"
	"sotto/relay/link"
)

// crash is as a kill -9: what is on disk at this moment is all there is.
func (s *stage) crash() {
	for n := range 32 { // the commits that are on their way, in every shard
		s.must(s.store.Update(fmt.Sprint("nobody ", n), func(*offline.Records) error { return nil }))
	}
	left := s.t.TempDir()
	s.must(os.CopyFS(left, os.DirFS(s.dir)))
	for again := ""; ; left = again { // a moment: while nothing is written
		again = s.t.TempDir()
		s.must(os.CopyFS(again, os.DirFS(s.dir)))
		if s.print(left) == s.print(again) {
			break
		}
	}
	s.close()
	s.dir = left
	s.open()
}

// print is the same for folders with the same files.
func (s *stage) print(dir string) string {
	h := sha256.New()
	s.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		h.Write(append([]byte(d.Name()), b...))
		return err
	}))
	return string(h.Sum(nil))
}

// listenLinks opens the port for other servers, again where it was.
func (s *stage) listenLinks() {
	l, err := net.Listen("tcp", s.s2s)
	for end := time.Now().Add(patience); err != nil && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		l, err = net.Listen("tcp", s.s2s) // somebody calls from this port just now
	}
	s.must(err)
	s.s2s = l.Addr().String()
	go s.relay.Ports["s2s"](l)
}

// links are the directions of plays with two servers.
func (p *play) links(f []string) {
	switch {
	case f[0] == "links": // another server, far.test, with accounts bob and carol
		p.openFar()
	case f[0] == "waits": // so many stanzas for far.test
		p.waits(f[1])
	case f[1] == "close" && p.other != nil:
		p.other.close()
	case f[1] == "open" && p.other != nil:
		p.other.open()
	case f[1] == "close":
		p.far.close()
	case f[1] == "open":
		p.far.open()
	case f[1] == "restart":
		p.far.close()
		p.far.open()
	case f[1] == "crash":
		p.far.crash()
	case f[1] == "direct": // names say that it begins with TLS
		l, err := net.Listen("tcp", "127.0.0.1:0")
		p.must(err)
		go p.far.relay.Ports["s2s_tls"](l)
		p.dns.say("xmpps-server", "far.test", l.Addr().String())
		p.dns.say("xmpp-server", "far.test", "127.0.0.1:0")
	case f[1] == "nowhere": // names say that there is no such server
		p.dns.say("xmpp-server", "far.test", "127.0.0.1:0")
	case f[1] == "unknown": // names say nothing
		p.dns.sick(true)
	default:
		p.fail("no such direction")
	}
}

func (p *play) openFar() {
	p.dns = newNames(p.t)
	p.far = newStageOf(p.t, "far.test")
	for _, user := range []string{"bob", "carol"} {
		p.must(account.Create(p.far.store, user, "password"))
	}
	roots := x509.NewCertPool()
	for _, s := range []*stage{p.stage, p.far} {
		roots.AddCert(s.ca)
	}
	for _, s := range []*stage{p.stage, p.far} {
		s.close()
		s.link = link.Options{Servers: "open", Roots: roots, Resolver: p.dns.LocalAddr().String(), Stop: 50 * time.Millisecond}
		s.open()
		p.dns.say("xmpp-server", s.domain, s.s2s)
		p.dns.say("xmpp-server", "rooms."+s.domain, s.s2s)
		p.dns.say("xmpp-server", "pubsub."+s.domain, s.s2s)
	}
}

func (p *play) waits(count string) {
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got := strconv.Itoa(p.store.Mailbox("link "+p.domain+" "+p.far.domain, "").Len())
		if got == count {
			return
		}
		if time.Now().After(end) {
			p.fail("%s wait there", got)
		}
	}
}
