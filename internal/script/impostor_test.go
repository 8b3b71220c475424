// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"sotto/xmpp/peer"
)

// head is how another server begins a stream with us.
func head(from, to string) string {
	return "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' from='" +
		from + "' to='" + to + "' version='1.0'>"
}

// An impostor is a server that is not what it says.
type impostor struct {
	t *testing.T
	net.Conn
}

// impostor goes as far as TLS; cert may be nil.
func (p *play) impostor(t *testing.T, from, to string, cert *tls.Certificate) *impostor {
	nc, err := net.Dial("tcp", p.s2s)
	p.must(err)
	t.Cleanup(func() { nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(2 * patience))
	i := &impostor{t, nc}
	i.say(head(from, to), "</stream:features>")
	i.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed")
	conf := &tls.Config{InsecureSkipVerify: true}
	if cert != nil {
		conf.Certificates = []tls.Certificate{*cert}
	}
	i.Conn = tls.Client(nc, conf)
	return i
}

// say writes, and reads until the words come.
func (i *impostor) say(xml, until string) string {
	i.t.Helper()
	_, _ = i.Write([]byte(xml)) // what it says in between is what counts
	var got strings.Builder
	for b := make([]byte, 1); !strings.Contains(got.String(), until) || b[0] != '>'; {
		if _, err := i.Read(b); err != nil {
			i.t.Fatalf("%s did not come after %q: %v; %s", until, xml[:min(len(xml), 300)], err, got.String())
		}
		got.Write(b)
	}
	return got.String()
}

// ended says that the server has hung up.
func (i *impostor) ended() {
	i.t.Helper()
	if _, err := io.Copy(io.Discard, i); err != nil && strings.Contains(err.Error(), "timeout") {
		i.t.Error("the server still listens")
	}
}

const external = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>"

// Nobody speaks for a domain that is not his.
func TestImpostors(t *testing.T) {
	p := newPlay(t)
	p.line = t.Name()
	p.openFar()
	far, in := p.far.cert, time.Now().Add(time.Hour)
	other, old, unknown := p.far.issue(in, "evil.test"), p.far.issue(time.Now().Add(-time.Minute), "far.test"), newStageOf(t, "far.test").cert
	enter := func(i *impostor) {
		if f := i.say(head("far.test", "localhost"), "</stream:features>"); !strings.Contains(f, "EXTERNAL") {
			i.t.Fatal("EXTERNAL is not offered", f)
		}
		i.say(external, "<success")
		i.say(head("far.test", "localhost"), "</stream:features>")
	}
	for _, row := range []struct {
		name, spec string
		cert       *tls.Certificate
		from, to   string
		inside     bool // proved by EXTERNAL
		says, want string
		turns      string // the name inside TLS, if it is another
	}{
		{"another name inside TLS", "RFC 6120 §4.7.1", &other, "far.test", "localhost", false, "-", "<invalid-from", "evil.test"},
		{"no certificate", "RFC 6120 §13.8", nil, "far.test", "localhost", false, external, "<not-authorized", ""},
		{"a certificate for another domain", "RFC 6120 §13.7.2", &other, "far.test", "localhost", false, external, "<not-authorized", ""},
		{"one that has ended", "RFC 6120 §13.7.2", &old, "far.test", "localhost", false, external, "<not-authorized", ""},
		{"one of an unknown authority", "RFC 6120 §13.7.2", &unknown, "far.test", "localhost", false, external, "<not-authorized", ""},
		{"a name that is not in the header", "XEP-0178 §3", &far, "far.test", "localhost", false,
			strings.Replace(external, "=<", base64.StdEncoding.EncodeToString([]byte("evil.test"))+"<", 1), "<invalid-authzid", ""},
		{"a stanza before all proof", "RFC 6120 §4.9.3.12", &far, "far.test", "localhost", false, "<message from='x@far.test' to='bob@localhost'/>", "<not-authorized", ""},
		{"a domain that is not here", "RFC 6120 §4.9.3.6", &far, "far.test", "else.test", false, "", "<host-unknown", ""},
		{"our own name", "RFC 6120 §4.9.3.9", &far, "localhost", "localhost", false, "", "<policy-violation", ""},
		{"a user's name", "RFC 6120 §4.7.1", &far, "x@far.test", "localhost", false, "", "<improper-addressing", ""},
		{"dialback: a key that its server does not know", "XEP-0220 §2.2", nil, "far.test", "localhost", false, "<db:result from='far.test' to='localhost'>forged</db:result>", "type='invalid'", ""},
		{"dialback: for a domain that is not here", "XEP-0220 §2.2", nil, "far.test", "localhost", false, "<db:result from='far.test' to='else.test'>x</db:result>", "<item-not-found", ""},
		{"dialback: as our own domain", "XEP-0220 §2.2", nil, "far.test", "localhost", false, "<db:result from='localhost' to='localhost'>x</db:result>", "<not-allowed", ""},
		{"dialback: as another domain than the header's", "XEP-0220 §2.2", nil, "far.test", "localhost", false, "<db:result from='evil.test' to='localhost'>x</db:result>", "<not-allowed", ""},
		{"dialback: a domain without a server", "XEP-0220 §2.4", nil, "nowhere.test", "localhost", false, "<db:result from='nowhere.test' to='localhost'>x</db:result>", "<remote-server-not-found", ""},
		{"dialback: a key that is not ours", "XEP-0220 §2.3", nil, "far.test", "localhost", false, "<db:verify from='far.test' to='localhost' id='1'>x</db:verify>", "type='invalid'", ""},
		{"dialback: a name that is no address", "XEP-0220 §2.4", nil, "far.test", "localhost", false, "<db:result from='a b' to='localhost'>x</db:result>", "<bad-request", ""},
		{"keys without end", "XEP-0220 §2.3", nil, "far.test", "localhost", false, strings.Repeat("<db:verify from='far.test' to='localhost' id='1'>x</db:verify>", 3), "<policy-violation", ""},
		{"too much before all proof", "RFC 6120 §13.12", nil, "far.test", "localhost", false, "<auth>" + strings.Repeat("x", 20<<10), "<policy-violation", ""},
		{"inside: as another domain", "RFC 6120 §8.1.2.2", &far, "far.test", "localhost", true, "<message from='x@evil.test' to='bob@localhost'/>", "<invalid-from", ""},
		{"inside: as one of us", "RFC 6120 §8.1.2.2", &far, "far.test", "localhost", true, "<message from='alice@localhost' to='bob@localhost'/>", "<invalid-from", ""},
		{"inside: as a room of theirs", "RFC 6120 §8.1.2.2", &far, "far.test", "localhost", true, "<message from='x@rooms.far.test' to='bob@localhost'/>", "<invalid-from", ""},
		{"inside: to a domain of ours that this stream is not for", "RFC 6120 §8.1.1.2", &far, "far.test", "localhost", true, "<message from='x@far.test' to='tea@rooms.localhost'/>", "<host-unknown", ""},
		{"inside: to a third server", "RFC 6120 §8.1.1.2", &far, "far.test", "localhost", true, "<message from='x@far.test' to='x@evil.test'/>", "<host-unknown", ""},
		{"inside: from nobody", "RFC 6120 §8.1.2.2", &far, "far.test", "localhost", true, "<message to='bob@localhost'/>", "<improper-addressing", ""},
		{"inside: to nobody", "RFC 6120 §8.1.1.2", &far, "far.test", "localhost", true, "<message from='x@far.test'/>", "<improper-addressing", ""},
		{"inside: one more domain on the same stream", "XEP-0220 §2.4", &far, "far.test", "localhost", true, "<db:result from='evil.test' to='localhost'>x</db:result>", "<policy-violation", ""},
		{"inside: a stream of another kind", "RFC 6120 §4.9.3.24", &far, "far.test", "localhost", true, "<x xmlns='urn:x'/>", "<unsupported-stanza-type", ""},
		{"inside: a stanza without end", "RFC 6120 §13.12", &far, "far.test", "localhost", true, "<message from='x@far.test' to='bob@localhost'>" + strings.Repeat("<a>", 70), "<policy-violation", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.says == "" {
				nc, err := net.Dial("tcp", p.s2s)
				p.must(err)
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(2 * patience))
				(&impostor{t, nc}).say(head(row.from, row.to), row.want)
				return
			}
			i := p.impostor(t, row.from, row.to, row.cert)
			if row.turns != "" {
				i.say(head(row.turns, row.to), row.want)
				return
			}
			if row.inside {
				enter(i)
			} else {
				i.say(head(row.from, row.to), "</stream:features>")
			}
			i.say(row.says, row.want)
		})
	}
}

// RFC 6120 §4.9.3.4, §13.12: who proves nothing is soon gone, and there are never many.
func TestStrangersFromAfar(t *testing.T) {
	p := newPlay(t)
	p.line = t.Name()
	p.openFar()
	p.close()
	p.link.Proof = time.Second
	p.open()
	var all []*impostor
	for range 8 {
		nc, err := net.Dial("tcp", p.s2s)
		p.must(err)
		_ = nc.SetDeadline(time.Now().Add(2 * patience))
		all = append(all, &impostor{t, nc})
		all[len(all)-1].say(head("far.test", "localhost"), "</stream:features>")
	}
	nc, err := net.Dial("tcp", p.s2s)
	p.must(err)
	_ = nc.SetDeadline(time.Now().Add(2 * patience))
	(&impostor{t, nc}).ended() // at once: one address has eight
	for _, i := range all {
		i.say("", "<connection-timeout")
		i.ended()
	}
	p.impostor(t, "far.test", "localhost", nil).say(head("far.test", "localhost"), "</stream:features>") // there is room again
}

// RFC 6120 §13.7.2: nothing is said to a server that shows the wrong name.
func TestWrongServer(t *testing.T) {
	p := newPlay(t)
	p.line = t.Name()
	p.openFar()
	p.far.close()
	good := p.far.cert
	p.far.cert = p.far.issue(time.Now().Add(time.Hour), "evil.test")
	p.far.open()
	p.act(`
		login alice/a sm
		alice/a > <message to='bob@far.test' type='chat' id='m1'><body>secret</body></message><iq type='get' id='q' to='far.test'><ping xmlns='urn:xmpp:ping'/></iq>
		alice/a < <iq type='error' id='q' from='far.test'><error type='wait'><remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
		waits 1
	`)
	p.linked("to                far.test (from localhost): remote-server-timeout", "1 wait")
	p.far.close()
	p.far.cert = good
	p.far.open()
	p.act(`
		login bob@far/b
		bob@far/b > <presence/>
		bob@far/b < <message id='m1' from='alice@localhost/a'><body>secret</body></message>
		waits 0
	`)
	p.linked("to                far.test (from localhost): up since", "by certificate, both ways, 0 wait")
}

// linked says that one line for the operator has these words.
func (p *play) linked(words ...string) {
	p.t.Helper()
	all := p.relay.Links()
	if !slices.ContainsFunc(all, func(line string) bool {
		return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(line, w) })
	}) {
		p.t.Errorf("%q is not in %q", words, all)
	}
}

// XEP-0220 §2: a server without a certificate for clients is let in when the
// server of its domain, which shows a good one, vouches for it; and only then.
func TestVouched(t *testing.T) {
	p := newPlay(t)
	p.line = t.Name()
	p.openFar()
	for _, row := range []struct {
		name string
		cert tls.Certificate
		in   bool
	}{
		{"mini.test", p.far.issue(time.Now().Add(time.Hour), "mini.test"), true},
		{"mimi.test", p.far.issue(time.Now().Add(time.Hour), "evil.test"), false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		p.must(err)
		defer l.Close()
		p.dns.say("xmpp-server", row.name, l.Addr().String())
		roots := x509.NewCertPool()
		roots.AddCert(p.ca)
		trust := &peer.Trust{TLS: &tls.Config{Certificates: []tls.Certificate{row.cert}}, Roots: roots, Secret: []byte("x"), Log: slog.New(slog.DiscardHandler), Now: time.Now}
		door := &peer.Door{Trust: trust, Serves: func(d string) bool { return d == row.name }, May: func(string) bool { return true }, Deadline: patience}
		go func() {
			for {
				nc, err := l.Accept()
				if err != nil {
					return
				}
				go door.Accept(context.Background(), nc, false)
			}
		}()
		bare := *trust
		bare.TLS = &tls.Config{}
		nc, err := net.Dial("tcp", p.s2s)
		p.must(err)
		ctx, stop := context.WithTimeout(context.Background(), 2*patience)
		defer stop()
		s, err := bare.Dial(ctx, nc, false, row.name, "localhost")
		if (err == nil) != row.in || row.in && !s.Dialback {
			t.Errorf("%s: %v", row.name, err)
		}
		if err == nil {
			nc.Close()
		}
	}
}
