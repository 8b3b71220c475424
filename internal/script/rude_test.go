// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sotto/relay/account"
)

const hello = "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"

// How far a rude client goes before it becomes rude.
const (
	atOnce  = iota // first bytes of all
	opened         // behind the header
	secured        // inside TLS, before the header
	asked          // inside TLS, behind the header
	inside         // logged in and bound
)

// A rude client writes what it likes and reads until the server hangs up.
type rude struct {
	t *testing.T
	net.Conn
	got []byte
}

func (s *stage) rude(t *testing.T, from string, far int) *rude {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	nc, err := d.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	r := &rude{t: t, Conn: nc}
	_ = nc.SetDeadline(time.Now().Add(6 * patience))
	if far >= opened {
		r.say(hello, "</stream:features>")
	}
	if far >= secured {
		r.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed")
		r.Conn, r.got = tls.Client(nc, &tls.Config{RootCAs: s.roots, ServerName: "localhost"}), nil
	}
	if far >= asked {
		r.say(hello, "</stream:features>")
	}
	if far >= inside {
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic("alice", "password")+"</auth>", "<success")
		r.say(hello, "</stream:features>")
		r.say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>deaf</resource></bind></iq>", "</iq>")
	}
	return r
}

func basic(user, password string) string { return basic64("\x00" + user + "\x00" + password) }

func basic64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// say writes and waits until it has read a word.
func (r *rude) say(what, until string) {
	r.t.Helper()
	r.got = nil
	if _, err := io.WriteString(r, what); err != nil {
		r.t.Fatal(err)
	}
	r.hear(until)
}

func (r *rude) hear(until string) {
	r.t.Helper()
	b := make([]byte, 4096)
	for !bytes.Contains(r.got, []byte(until)) {
		n, err := r.Read(b)
		r.got = append(r.got, b[:n]...)
		if err != nil {
			r.t.Fatalf("%v; waiting for %s behind %s", err, until, r.got)
		}
	}
}

// rest reads until the server hangs up, which it must.
func (r *rude) rest() string {
	r.t.Helper()
	b, err := io.ReadAll(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("the server does not hang up; it said %s", b)
	}
	return string(append(r.got, b...))
}

func rudeStage(t *testing.T, change func(s *stage)) *stage {
	s := newStage(t)
	if change != nil {
		s.close()
		change(s)
		s.open()
	}
	for _, user := range []string{"alice", "bob"} {
		s.must(account.Create(s.store, user, "password"))
	}
	return s
}

// TestRude sends what no client should. Each line ends with a stream error that
// says what was wrong, inside a stream of ours, and a socket that is closed.
func TestRude(t *testing.T) {
	s := rudeStage(t, nil)
	open := func(what string) string { return "<stream:stream to='localhost' version='1.0' " + what + ">" }
	const good = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
	for _, c := range []struct {
		name string
		far  int
		say  string
		want string
		spec string
	}{
		{"garbage", atOnce, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not-well-formed", "RFC 6120 §4.9.3.13"},
		{"TLS hello on the plain port", atOnce, "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1", "not-well-formed", "RFC 6120 §4.9.3.13"},
		{"wrong stream namespace", atOnce, open("xmlns='jabber:client' xmlns:stream='urn:x'"), "invalid-namespace", "RFC 6120 §4.9.3.10"},
		{"wrong content namespace", atOnce, open("xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams'"), "invalid-namespace", "RFC 6120 §4.8.3"},
		{"no content namespace", atOnce, open("xmlns:stream='http://etherx.jabber.org/streams'"), "invalid-namespace", "RFC 6120 §4.8.3"},
		{"unknown stream prefix", atOnce, open("xmlns='jabber:client'"), "bad-namespace-prefix", "RFC 6120 §4.9.3.2"},
		{"no stream", atOnce, "<message xmlns='jabber:client'/>", "bad-format", "RFC 6120 §4.9.3.1"},
		{"another domain", atOnce, "<stream:stream to='example.org' version='1.0' " + good + ">", "host-unknown", "RFC 6120 §4.9.3.6"},
		{"no version", atOnce, "<stream:stream to='localhost' " + good + ">", "unsupported-version", "RFC 6120 §4.9.3.25"},
		{"UTF-16", atOnce, "<?xml version='1.0' encoding='utf-16'?>" + hello, "unsupported-encoding", "RFC 6120 §11.6"},
		{"DTD", atOnce, "<!DOCTYPE s [<!ENTITY a 'aaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>" + hello, "restricted-xml", "RFC 6120 §11.1"},
		{"endless header", atOnce, "<stream:stream x='" + strings.Repeat("x", 1<<16), "policy-violation", "RFC 6120 §4.9.3.14"},
		{"login before TLS", opened, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>", "policy-violation", "RFC 6120 §5.3.1"},
		{"stanza before TLS", opened, "<message to='bob@localhost'><body>hi</body></message>", "policy-violation", "RFC 6120 §5.3.1"},
		{"bytes behind starttls", opened, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><presence/>", "policy-violation", "RFC 6120 §5.4.3.3"},
		{"garbage inside TLS", secured, "\x00\x01\x02", "not-well-formed", "RFC 6120 §4.9.3.13"},
		{"message before login", asked, "<message to='bob@localhost'><body>hi</body></message>", "not-authorized", "RFC 6120 §4.9.3.12"},
		{"question before login", asked, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>", "not-authorized", "RFC 6120 §4.9.3.12"},
		{"depth before login", asked, strings.Repeat("<a>", 9), "policy-violation", "RFC 6120 §4.9.3.14"},
		{"long login", asked, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + strings.Repeat("A", 11<<10), "policy-violation", "RFC 6120 §4.9.3.14"},
		{"unknown prefix", inside, "<x:message to='bob@localhost'/>", "bad-namespace-prefix", "RFC 6120 §4.9.3.2"},
		{"prefix of an attribute", inside, "<message p:x='1' to='bob@localhost'/>", "bad-namespace-prefix", "Namespaces in XML §5"},
		{"stanza of servers", inside, "<message xmlns='jabber:server' to='bob@localhost'/>", "unsupported-stanza-type", "RFC 6120 §4.9.3.24"},
		{"unknown element", inside, "<hug to='bob@localhost'/>", "unsupported-stanza-type", "RFC 6120 §4.9.3.24"},
		{"entity", inside, "<message to='bob@localhost'><body>&lol;</body></message>", "restricted-xml", "RFC 6120 §11.1"},
		{"DTD later", inside, "<!DOCTYPE x [<!ENTITY a 'b'>]>", "restricted-xml", "RFC 6120 §11.1"},
		{"comment", inside, "<message to='bob@localhost'><!-- --></message>", "restricted-xml", "RFC 6120 §11.1"},
		{"instruction", inside, "<?php x?>", "restricted-xml", "RFC 6120 §11.1"},
		{"bad UTF-8", inside, "<message to='bob@localhost'><body>\xc3\x28</body></message>", "unsupported-encoding", "RFC 6120 §11.6"},
		{"too long UTF-8", inside, "<message to='bob@localhost'><body>\xc0\xbc</body></message>", "unsupported-encoding", "RFC 6120 §11.6"},
		{"control character", inside, "<message to='bob@localhost'><body>\x08</body></message>", "not-well-formed", "XML §2.2"},
		{"wrong end", inside, "<message to='bob@localhost'><body></message></body>", "not-well-formed", "XML §3"},
		{"text between stanzas", inside, "hello <presence/>", "bad-format", "RFC 6120 §4.9.3.1"},
		{"foreign from", inside, "<presence from='bob@localhost/x'/>", "invalid-from", "RFC 6120 §8.1.2.1"},
		{"depth", inside, "<message to='bob@localhost'>" + strings.Repeat("<a>", 64), "policy-violation", "RFC 6120 §4.9.3.14"},
		{"many attributes", inside, "<message to='bob@localhost'" + attributes(65) + "/>", "policy-violation", "RFC 6120 §4.9.3.14"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := s.rude(t, "", c.far)
			r.got = nil
			if _, err := io.WriteString(r, c.say); err != nil {
				t.Fatal(err)
			}
			got := r.rest()
			if !strings.Contains(got, "<stream:error><"+c.want+" xmlns='urn:ietf:params:xml:ns:xmpp-streams'") {
				t.Errorf("%s (%s): %s", c.name, c.spec, got)
			}
			header := c.far == atOnce || c.far == secured
			if strings.Contains(got, "<stream:stream") != header || !strings.HasSuffix(got, "</stream:stream>") {
				t.Errorf("the error is not inside a stream (RFC 6120 §4.9.1.2): %s", got)
			}
		})
	}
	if n := s.store.Mailbox("bob", "").Len(); n != 0 {
		t.Error("something of it was delivered:", n)
	}
}

// TestLineEnd: a client that ends its line behind <starttls/>, as go-sendxmpp
// does, gets its TLS (RFC 6120 §5.3.3 asks clients not to).
func TestLineEnd(t *testing.T) {
	s := rudeStage(t, nil)
	r := s.rude(t, "", opened)
	r.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>\r\n", "<proceed")
	r.Conn, r.got = tls.Client(r.Conn, &tls.Config{RootCAs: s.roots, ServerName: "localhost"}), nil
	r.say(hello, "<mechanism>")
}

// TestPoliteShutdown: a client that answers the end of the stream, when the
// server stops, resumes later: it was not the one that ended it (XEP-0198 §5).
func TestPoliteShutdown(t *testing.T) {
	s := rudeStage(t, nil)
	r := s.rude(t, "", inside)
	r.say("<enable xmlns='urn:xmpp:sm:3' resume='true'/>", "<enabled")
	r.hear("/>")
	_, id, _ := strings.Cut(string(r.got), "id='")
	id, _, _ = strings.Cut(id, "'")
	stopped := make(chan struct{})
	go func() { s.close(); close(stopped) }()
	r.hear("</stream:stream>")
	if _, err := io.WriteString(r, "</stream:stream>"); err != nil {
		t.Fatal(err)
	}
	r.rest()
	<-stopped
	s.open()
	r = s.rude(t, "", asked)
	r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic("alice", "password")+"</auth>", "<success")
	r.say(hello, "</stream:features>")
	r.say("<resume xmlns='urn:xmpp:sm:3' previd='"+id+"' h='0'/>", "<resumed")
}

// TestEagerLogin: who logs in with the first flight is told only what that road
// has (XEP-0484 §"Initial authentication"), and may go on by it when refused.
func TestEagerLogin(t *testing.T) {
	s := rudeStage(t, nil)
	login := func(password string) string {
		return "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + basic("alice", password) + "</initial-response></authenticate>"
	}
	r := s.rude(t, "", secured)
	r.say(hello+login("wrong"), "</failure>")
	if got := string(r.got); strings.Contains(got, "<mechanisms") || !strings.Contains(got, "<mechanism>SCRAM-SHA-256-PLUS<") || !strings.Contains(got, "urn:xmpp:sasl-cb:0") {
		t.Error("told", got)
	}
	r.say(login("password"), "</stream:features>")
	r = s.rude(t, "", asked)
	if got := string(r.got); !strings.Contains(got, "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>") || !strings.Contains(got, "iq-register") {
		t.Error("who waits is told", got)
	}
}

func attributes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " a%d='x'", i)
	}
	return b.String()
}
