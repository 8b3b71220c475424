// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/internal/town"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// bugs are what went wrong in other servers and clients, by class: each row
// does here what hurt there.
var bugs = []struct {
	class string
	peers string // where it was found
	check func(t *testing.T)
}{
	{"entities that expand", "CVE-2011-1753 ejabberd, -1755 jabberd2, -1757 DJabberd, -2205 Prosody", laughs},
	{"the same by another parser", "CVE-2022-0217 Prosody: util.xml behind WebSocket", laughsElsewhere},
	{"strangers' XML grows in memory", "CVE-2026-43507 Prosody", strangersXML},
	{"strangers' sockets stay in memory", "CVE-2026-43506 Prosody; Openfire, discourse 86364", strangersSockets},
	{"a login without an end", "Openfire, discourse 86364: pings keep a socket that never logs in", TestSlowLogin},
	{"no limits by default", "CVE-2021-32918 Prosody", defaultLimits},
	{"compression bombs", "CVE-2014-2741 to -2746, several servers", compression},
	{"compression instead of TLS", "CVE-2014-8760 ejabberd", beforeTLS},
	{"plain text behind STARTTLS", "CVE-2011-0411 and kin; NO STARTTLS 2021", injected},
	{"stanzas inside stanzas", "CVE-2022-22784 Zoom; CVE-2022-25235, -25236 expat", smuggled},
	{"a parser that does not round-trip", "CVE-2020-29509 to -29511, -2022-28131, -2022-30633 Go encoding/xml", parsers},
	{"copies from strangers", "CVE-2017-5589 to -5604, CVE-2019-16235 Dino, CVE-2020-26547 Monal", clientSpoofs},
	{"stamps of others", "CVE-2017-5589 and kin; XEP-0359 §6", plays("forged-stamps", "carbons")},
	{"contacts pushed by strangers", "CVE-2015-8688 Gajim, CVE-2016-9928 MCabber", rosterSpoof},
	{"answers of somebody else", "CVE-2013-6483 Pidgin, CVE-2014-0364 Smack, CVE-2024-46957 Mellium", answerSpoof},
	{"certificates of another name", "CVE-2022-24968 Mellium, CVE-2022-26491 Pidgin: TXT records", otherName},
	{"nonces that can be guessed", "CVE-2022-48195 mellium/sasl; RFC 5802 §5.1", TestWrongSCRAM},
	{"logins that are replayed", "RFC 5802 §9", TestReplayedSCRAM},
	{"accounts found by their salts", "user enumeration in SCRAM servers that make a new salt at each start; RFC 5802 §9", steadySalts},
	{"another host after login", "CVE-2018-10847 Prosody", hostChange},
	{"one logs in, another is in", "ejabberd 26.07: PLAIN", otherIdentity},
	{"capabilities that are not theirs", "ejabberd 26.07: poisoned caps cache", poisonedCaps},
	{"pages that are not theirs", "ejabberd 26.07: SQL in RSM", plays("mam-hostile", "pubsub-hostile")},
	{"commands of nobody", "ejabberd 26.09: BOSH, s2s and ad-hoc commands", commandsOfNobody},
	{"links that prove nothing", "CVE-2016-1232, -0756, CVE-2021-32919 Prosody; XSF 2012-08-21, CVE-2012-3525", unprovedLinks},
	{"people of other servers act here", "ejabberd 26.09: access across hosts", plays("link-hostile", "link-pubsub")},
	{"secrets compared byte by byte", "CVE-2021-32921 Prosody", comparisons},
	{"relays for everybody", "CVE-2021-32917 Prosody: proxy65", openRelay},
	{"lists of rooms for outsiders", "CVE-2021-37601 Prosody; ejabberd 21.07", plays("rooms-private", "rooms-hostile")},
	{"occupants' names made up", "ejabberd 25.04: several occupant-ids", occupantID},
	{"admins by half a name", "CVE-2020-8086 Prosody mod_auth_ldap kin", foreignAdmin},
	{"paths out of the folder", "CVE-2023-32315, CVE-2019-18394 Openfire", paths},
	{"names out of a subject", "CVE-2025-59154 Openfire: the CN of an X.509 subject, by a pattern", subjectNames},
	{"nodes that are not open", "CVE-2019-1000021 slixmpp", plays("pep-access", "pep-defaults")},
	{"one stanza ends the server", "CVE-2011-4320 ejabberd: pubsub", onePanic},
	{"times that are none", "CVE-2013-6477 Pidgin", farFuture},
	{"somebody in the middle", "jabber.ru 2023", channelBinding},
	{"addresses that we are told to call", "CVE-2021-34425 Zoom", plays("push-hostile")},
	{"sessions of others, counters beyond", "XEP-0198 §5: queues without bound, h beyond what was sent", plays("too-high", "resume-too-high", "foreign-resume")},
	{"acked is in memory only", "Prosody 0.12.3, ejabberd 23.01: 20 of 20 acked, 0 of 20 after kill -9", plays("mam-crash", "presence-crash", "restart-keeps", "directed-crash")},
	{"lost in a dead socket", "ejabberd#1151, #3228, #668; MongooseIM#4280; ChatSecure-iOS#361", plays("resume-live", "resume-no-twins", "enable-early", "message-away")},
}

// TestKnownBugClasses: none of them is ours.
func TestKnownBugClasses(t *testing.T) {
	for _, b := range bugs {
		t.Run(strings.ReplaceAll(b.class, " ", "_"), func(t *testing.T) {
			t.Log(b.peers)
			b.check(t)
		})
	}
}

func plays(names ...string) func(t *testing.T) {
	return func(t *testing.T) {
		for _, name := range names {
			b, err := os.ReadFile("../../testdata/script/" + name + ".txt")
			if err != nil {
				t.Fatal(err)
			}
			newPlay(t).script(string(b))
		}
	}
}

const bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'>]>"

// laughs: at each step of a stream the first sign of a DTD ends it.
func laughs(t *testing.T) {
	s := rudeStage(t, nil)
	before := heap()
	for _, far := range []int{atOnce, opened, secured, asked, inside} {
		for _, x := range []string{bomb + "<message to='bob@localhost'><body>&c;</body></message>", "<message to='bob@localhost'><body>&c;</body></message>",
			"<!ELEMENT x ANY>", "<?xml-stylesheet href='x'?>", "<!-- x -->", "<message><![INCLUDE[x]]></message>"} {
			if far == atOnce || far == secured {
				x = strings.Replace(x, "<message to='bob@localhost'>", hello, 1)
			}
			r := s.rude(t, "", far)
			r.got = nil
			if _, err := io.WriteString(r, x); err != nil {
				t.Fatal(err)
			}
			if got := r.rest(); !strings.Contains(got, "<stream:error>") || strings.Contains(got, "aaaa") {
				t.Errorf("step %d, %.40s: %s", far, x, got)
			}
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d KiB stay", grown>>10)
	}
	if n := s.store.Mailbox("bob", "").Len(); n != 0 {
		t.Error("something was delivered")
	}
}

// laughsElsewhere: all entries have one parser.
func laughsElsewhere(t *testing.T) {
	o := town.New(t, "alice")
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	for _, x := range []string{bomb + "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>",
		"<!-- x --><open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>", "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='&lol;'/>"} {
		ws, res, err := websocket.Dial(t.Context(), o.URL+"/ws", &websocket.DialOptions{Subprotocols: []string{"xmpp"}, HTTPClient: c, CompressionMode: websocket.CompressionContextTakeover})
		if err != nil {
			t.Fatal(err)
		}
		if res.Header.Get("Sec-WebSocket-Extensions") != "" {
			t.Error("frames may be compressed:", res.Header)
		}
		if err := ws.Write(t.Context(), websocket.MessageText, []byte(x)); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithTimeout(t.Context(), patience)
		for said := ""; ; {
			_, b, err := ws.Read(ctx)
			if said += string(b); err != nil {
				if strings.Contains(said, "<mechanism>") || ctx.Err() != nil {
					t.Errorf("%.30s: %s %v", x, said, err)
				}
				break
			}
		}
		stop()
		body := strings.Replace(x, "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'", "<body xmlns='http://jabber.org/protocol/httpbind' rid='1' wait='1' hold='1'", 1)
		got, err := c.Post(o.URL+"/http-bind", "text/xml", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(got.Body)
		got.Body.Close()
		if strings.Contains(string(b), "sid=") {
			t.Errorf("BOSH took %.30s: %s", x, b)
		}
	}
}

// strangersXML: before login little is taken, and little is kept of it.
func strangersXML(t *testing.T) {
	s := rudeStage(t, nil)
	declared := ""
	for i := range 17 {
		declared += fmt.Sprintf(" xmlns:n%d='urn:n%d'", i, i)
	}
	for _, x := range []string{strings.Repeat("<a>", 9), "<a>" + strings.Repeat("<b/>", 33), "<a" + attributes(33) + "/>", "<a" + declared + "/>", "<a>" + strings.Repeat("x", 11<<10)} {
		r := s.rude(t, "", asked)
		r.got = nil
		_, _ = io.WriteString(r, x)
		if got := r.rest(); !strings.Contains(got, "policy-violation") {
			t.Errorf("%.40s: %s", x, got)
		}
	}
	const crowd, size = 60, 9 << 10
	quiet := make([]*rude, crowd)
	for i := range quiet {
		quiet[i] = s.rude(t, "", asked)
	}
	before := heap()
	part := "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><x>" + strings.Repeat("<a b='c'/>", size/10-10)
	for _, r := range quiet {
		if _, err := io.WriteString(r, part); err != nil {
			t.Fatal(err)
		}
	}
	quiet[0].say("</wrong>", "</stream:stream>") // all of it was read by then, or nearly
	if grown := heap() - before; grown > 4*crowd*size {
		t.Errorf("%d KiB for %d KiB that strangers sent", grown>>10, crowd*size>>10)
	}
	runtime.KeepAlive(quiet)
}

// strangersSockets: who comes and goes leaves nothing.
func strangersSockets(t *testing.T) {
	s := rudeStage(t, nil)
	round := func(n int) {
		for i := range n {
			nc, err := net.Dial("tcp", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(nc, half[i%len(half)])
			_ = nc.(*net.TCPConn).SetLinger(0)
			nc.Close()
		}
	}
	round(200)
	before, routines := settled(t, 1<<62, 1<<30)
	round(1500)
	if after, now := settled(t, before+2<<20, routines+20); after > before+2<<20 || now > routines+20 {
		t.Errorf("%d KiB more, %d goroutines more", (after-before)>>10, now-routines)
	}
}

// settled waits until memory and goroutines are down, or gives up.
func settled(t *testing.T, most int64, routines int) (int64, int) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		h, n := heap(), runtime.NumGoroutine()
		if h <= most && n <= routines || time.Now().After(end) {
			return h, n
		}
	}
}

// defaultLimits: a server that nobody configured has them all.
func defaultLimits(t *testing.T) {
	s := rudeStage(t, func(s *stage) { s.opt = relay.Options{} })
	alive := 0
	var all []net.Conn
	for range 300 {
		nc, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}, Timeout: patience}).Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		all = append(all, nc)
	}
	late := time.Now().Add(time.Second)
	waits := make(chan bool, len(all))
	for _, nc := range all {
		_ = nc.SetReadDeadline(late)
		go func() {
			_, err := nc.Read(make([]byte, 1))
			waits <- os.IsTimeout(err)
		}()
	}
	for range all {
		if <-waits {
			alive++
		}
	}
	if alive > 256 || alive < 200 {
		t.Error("sockets of one stranger:", alive)
	}
	r := s.rude(t, "", inside)
	r.say("<message to='bob@localhost' id='long'><body>"+strings.Repeat("x", 300<<10)+"</body></message>", "policy-violation") // and not kept
	if n := s.store.Mailbox("bob", "").Len(); n != 0 {
		t.Error("a long stanza was delivered")
	}
}

func compression(t *testing.T) {
	s := rudeStage(t, nil)
	for _, far := range []int{opened, asked, inside} {
		r := s.rude(t, "", far)
		if strings.Contains(string(r.got), "compress") {
			t.Errorf("offered: %s", r.got)
		}
		r.got = nil
		_, _ = io.WriteString(r, "<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>")
		if got := r.rest(); strings.Contains(got, "<compressed") {
			t.Error(got)
		}
	}
}

// beforeTLS: nothing but <starttls/> does anything.
func beforeTLS(t *testing.T) {
	s := rudeStage(t, nil)
	for _, x := range []string{"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>",
		"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + basic("alice", "password") + "</auth>",
		"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + basic("alice", "password") + "</initial-response></authenticate>",
		"<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", "<iq type='get' id='1'><query xmlns='jabber:iq:auth'/></iq>",
		"<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>x</username><password>secret1</password></query></iq>",
		"<message to='bob@localhost'><body>x</body></message>", "<presence/>", "<enable xmlns='urn:xmpp:sm:3'/>", "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>",
		"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<starttls xmlns='urn:x'/>", "<r xmlns='urn:xmpp:sm:3'/>"} {
		r := s.rude(t, "", opened)
		r.got = nil
		_, _ = io.WriteString(r, x)
		if got := r.rest(); !strings.Contains(got, "policy-violation") || strings.Contains(got, "success") || strings.Contains(got, "<proceed") {
			t.Errorf("%s: %s", x, got)
		}
	}
}

// injected: what was sent in one flight with <starttls/> is never read as if it
// had been protected.
func injected(t *testing.T) {
	s := rudeStage(t, nil)
	for _, x := range []string{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + basic("alice", "password") + "</auth>", hello, "<presence/>"} {
		r := s.rude(t, "", opened)
		r.got = nil
		_, _ = io.WriteString(r, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"+x)
		if got := r.rest(); strings.Contains(got, "<success") || strings.Contains(got, "<proceed") {
			t.Errorf("%s: %s", x, got)
		}
	}
}

// smuggled: what one client writes is one stanza for another, in all its bytes.
func smuggled(t *testing.T) {
	p := newPlay(t)
	p.script(`
login bob/b sm
bob/b > <presence/>
bob/b < <presence/>
login alice/a
alice/a > <message to='bob@localhost' id='s1' type='chat'><body>&lt;/body>&lt;/message>&lt;message from='carol@localhost'><![CDATA[</body></message><message from='carol@localhost' to='bob@localhost'>]]></body></message>
alice/a > <x:message xmlns:x='jabber:client' to='bob@localhost' id='s2' type='chat' xmlns:y='urn:y'><y:q y:a='1'/><x:body>prefixed</x:body></x:message>
alice/a > <message to='bob@localhost' id='s3' type='chat' xml:lang='de&#x27; from=&#x27;carol@localhost'><body>quoted</body></message>
alice/a > <message to='bob@localhost' id='s4' type='chat'><body xmlns='urn:other'>no body</body></message>
bob/b < <message from='alice@localhost/a' id='s1'><body>*</body></message>
bob/b first <message from='alice@localhost/a' id='s2'><body>prefixed</body><q xmlns='urn:y'/></message>
bob/b first <message from='alice@localhost/a' id='s3'><body>quoted</body></message>
bob/b first <message from='alice@localhost/a' id='s4'><body xmlns='urn:other'>no body</body></message>
`)
	s := rudeStage(t, nil)
	for _, x := range []string{"\xc3\x28", "\xc0\xbc/body>", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xef\xbf\xbe", "\x00", "\x0b"} {
		r := s.rude(t, "", inside)
		r.got = nil
		_, _ = io.WriteString(r, "<message to='bob@localhost' type='chat'><body>"+x+"</body></message>")
		if got := r.rest(); !strings.Contains(got, "<stream:error>") {
			t.Errorf("%q: %s", x, got)
		}
	}
	if n := s.store.Mailbox("bob", "").Len(); n != 0 {
		t.Error("bytes that are no text were delivered:", n)
	}
}

// parsers: no package that reads the network has another parser. Files that
// the operator imports are another thing.
func parsers(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "sotto/xmpp/...", "sotto/relay/...", "sotto/offline/...", "sotto/internal/client").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		n++
		if slices.Contains(f[1:], "encoding/xml") && f[0] != "sotto/relay/transfer" {
			t.Error(f[0], "imports encoding/xml")
		}
	}
	if n < 20 {
		t.Error("only", n, "packages were looked at")
	}
}

// clientSpoofs: a client believes copies and contacts of nobody but its own account.
func clientSpoofs(t *testing.T) {
	o := town.New(t, "alice", "bob", "eve")
	events := make(chan client.Event, 1000)
	c, err := client.Open(client.Options{Account: xmpp.MustJID("alice@localhost"), Password: "secret-alice", Addr: o.Addr, TLS: &tls.Config{RootCAs: o.Roots},
		AgentID: "d4565fa7-4d72-4749-b3d3-740edbf87770", Device: "d", Store: vault.NewMemory(), Log: slog.New(slog.DiscardHandler), OnEvent: func(e client.Event) { events <- e }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() { stop(); <-ended }()
	wait := func(kind client.EventKind) {
		for late := time.After(4 * patience); ; {
			select {
			case e := <-events:
				if e.Kind == client.Incoming || e.Kind == client.Outgoing {
					t.Errorf("a message that nobody wrote: %+v", e.Message)
				}
				if e.Kind == kind {
					return
				}
			case <-late:
				t.Fatal("no event ", kind)
			}
		}
	}
	wait(client.Ready)
	me := o.Relay.Sessions("alice")[0].JID()
	conn, _, err := dial.Dial(ctx, dial.Login{Addr: o.Addr, JID: xmpp.MustJID("eve@localhost"), Password: "secret-eve", TLS: &tls.Config{RootCAs: o.Roots}, Classic: true})
	if err != nil {
		t.Fatal(err)
	}
	inner := "<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' from='bob@localhost/b' to='alice@localhost' type='chat'><body>send money</body></message></forwarded>"
	out := "<message to='" + me.String() + "' type='chat'><received xmlns='urn:xmpp:carbons:2'>" + inner + "</received></message>" +
		"<message to='" + me.String() + "' type='chat'><sent xmlns='urn:xmpp:carbons:2'>" + strings.Replace(inner, "bob@localhost/b", "alice@localhost/a", 1) + "</sent></message>" +
		"<message to='" + me.String() + "'><result xmlns='urn:xmpp:mam:2' queryid='q1' id='1'>" + inner + "</result></message>" +
		"<iq type='set' id='push' to='" + me.String() + "'><query xmlns='jabber:iq:roster'><item jid='mallory@localhost' name='Bob' subscription='both'/></query></iq>" +
		"<presence to='alice@localhost' type='subscribe'/>"
	sent := false
	go conn.Run(ctx, func(*xmpp.Stanza) error { return nil }, func(w *xmpp.Writer) error {
		if !sent {
			w.Bytes([]byte(out))
		}
		sent = true
		return nil
	})
	defer conn.Drop()
	conn.Wake()
	wait(client.Asked) // the last thing that eve sent
	for _, k := range c.Contacts() {
		if k.JID == "mallory@localhost" {
			t.Error("eve pushed a contact")
		}
	}
}

func rosterSpoof(t *testing.T) {
	newPlay(t).script(`
login bob/b
bob/b > <iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>
bob/b < <iq type='result' id='r'/>
login alice/a
alice/a > <iq type='set' id='p' to='bob@localhost/b'><query xmlns='jabber:iq:roster'><item jid='eve@localhost' subscription='both'/></query></iq>
alice/a < <iq type='error' id='p'><error><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>
alice/a > <iq type='set' id='p2' to='bob@localhost'><query xmlns='jabber:iq:roster'><item jid='eve@localhost' subscription='both'/></query></iq>
alice/a < <iq type='error' id='p2'/>
bob/b <! <iq type='set'><query xmlns='jabber:iq:roster'/></iq>
bob/b > <iq type='get' id='r2'><query xmlns='jabber:iq:roster'/></iq>
bob/b < <iq type='result' id='r2'/>
bob/b <! <iq><query xmlns='jabber:iq:roster'><item jid='eve@localhost'/></query></iq>
`)
}

// answerSpoof: an answer has the address of who gave it, and the server's own
// questions are answered by whom they were put to.
func answerSpoof(t *testing.T) {
	newPlay(t).script(`
login bob/b
bob/b > <presence/>
login alice/a
login carol/c
bob/b > <iq type='get' id='q1' to='alice@localhost/a'><query xmlns='jabber:iq:version'/></iq>
alice/a < <iq type='get' id='q1' from='bob@localhost/b'/>
carol/c > <iq type='result' id='q1' to='bob@localhost/b' from='carol@localhost/c'><query xmlns='jabber:iq:version'><name>x</name></query></iq>
bob/b < <iq type='result' id='q1' from='carol@localhost/c'/>
bob/b <! <iq type='result' id='q1' from='alice@localhost/a'/>
carol/c > <iq type='result' id='q1' to='bob@localhost/b' from='alice@localhost/a'/>
gone carol/c invalid-from
`)
}

// otherName: a certificate is for the domain, whatever host is called.
func otherName(t *testing.T) {
	s := rudeStage(t, nil)
	_, _, err := dial.Dial(t.Context(), dial.Login{Addr: s.addr, JID: xmpp.MustJID("alice@example.org"), Password: "password", TLS: &tls.Config{RootCAs: s.roots}})
	if err == nil || !strings.Contains(err.Error(), "example.org") && !strings.Contains(err.Error(), "host-unknown") {
		t.Error(err)
	}
	grep(t, `LookupTXT`, 0, "../../xmpp", "../../relay", "../../internal/client", "../../cmd/sotto")
}

// grep counts matches in Go files that are no tests.
func grep(t *testing.T, pattern string, most int, dirs ...string) {
	t.Helper()
	re, n, files := regexp.MustCompile(pattern), 0, 0
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := os.ReadFile(path)
			files++
			for _, m := range re.FindAllString(string(b), -1) {
				if n++; n > most {
					t.Errorf("%s: %s", path, m)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files == 0 {
		t.Error("no files in", dirs)
	}
}

func hostChange(t *testing.T) {
	s := rudeStage(t, nil)
	r := s.rude(t, "", asked)
	r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic("alice", "password")+"</auth>", "<success")
	r.got = nil
	_, _ = io.WriteString(r, strings.Replace(hello, "localhost", "rooms.localhost", 1))
	if got := r.rest(); !strings.Contains(got, "host-unknown") {
		t.Error(got)
	}
}

func otherIdentity(t *testing.T) {
	s := rudeStage(t, nil)
	for _, plain := range []string{"bob\x00alice\x00password", "bob@localhost\x00alice\x00password", "\x00alice@localhost\x00password", "\x00bob/alice\x00password", "alice@elsewhere.example\x00alice\x00password"} {
		r := s.rude(t, "127.0.0.3", asked)
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic64(plain)+"</auth>", "</failure>")
	}
	r := s.rude(t, "127.0.0.3", asked)
	r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic64("alice@localhost\x00ALICE\x00password")+"</auth>", "<success")
	r.say(hello, "</stream:features>")
	r.say("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bob@localhost</resource></bind></iq>", "</iq>")
	if !strings.Contains(string(r.got), "<jid>alice@localhost/bob@localhost</jid>") {
		t.Errorf("%s", r.got)
	}
}

// poisonedCaps: what a client says of another's version counts for nobody else.
func poisonedCaps(t *testing.T) {
	newPlay(t).script(`
login alice/a
alice/a > <presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>
alice/a < <iq type='get'><query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#QgayPKawpkPSDYmwT/WM94uAlu0='/></iq>
alice/a reply <query xmlns='http://jabber.org/protocol/disco#info' node='urn:client#QgayPKawpkPSDYmwT/WM94uAlu0='><identity category='client' type='pc'/><feature var='urn:n+notify'/></query>
login bob/b
bob/b > <presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:client' ver='QgayPKawpkPSDYmwT/WM94uAlu0='/></presence>
bob/b < <iq type='get'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>
`)
}

// commandsOfNobody: before login nobody commands anything, by no road.
func commandsOfNobody(t *testing.T) {
	s := rudeStage(t, nil)
	r := s.rude(t, "", asked)
	r.got = nil
	_, _ = io.WriteString(r, "<iq type='set' id='1' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#add-user' action='execute'/></iq>")
	if got := r.rest(); !strings.Contains(got, "not-authorized") {
		t.Error(got)
	}
	o := town.New(t, "alice")
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}}, Timeout: patience}
	t.Cleanup(c.CloseIdleConnections)
	post := func(body string) string {
		got, err := c.Post(o.URL+"/http-bind", "text/xml", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		b, _ := io.ReadAll(got.Body)
		return string(b)
	}
	first := post("<body xmlns='http://jabber.org/protocol/httpbind' rid='100' to='localhost' wait='1' hold='1' ver='1.6' xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'/>")
	m := regexp.MustCompile(`sid='([^']+)'`).FindStringSubmatch(first)
	if m == nil {
		t.Fatal(first)
	}
	got := post("<body xmlns='http://jabber.org/protocol/httpbind' rid='101' sid='" + m[1] + "'><iq xmlns='jabber:client' type='set' id='1' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#add-user' action='execute'/></iq></body>")
	if strings.Contains(got, "type='result'") || !strings.Contains(got, "terminate") {
		t.Error(got)
	}
	plays("admin")(t)
}

// unprovedLinks: a server that proved nothing says nothing here.
func unprovedLinks(t *testing.T) {
	p := newPlay(t)
	p.script("links\nlogin alice/a\nalice/a > <presence/>\nalice/a < <presence from='alice@localhost/a'/>")
	p.line = "unproved links"
	for _, x := range []string{
		"<message from='bob@far.test' to='alice@localhost' id='forged'><body>x</body></message>",
		"<db:result from='far.test' to='localhost' type='valid'/><message from='bob@far.test' to='alice@localhost' id='forged'><body>x</body></message>",
		"<db:result from='far.test' to='localhost'>00000000</db:result>",
		"<db:verify from='far.test' to='localhost' id='x' type='valid'/><message from='bob@far.test' to='alice@localhost' id='forged'><body>x</body></message>",
		"<db:result from='localhost' to='localhost'>00000000</db:result>",
	} {
		nc, _ := p.foreign()
		if got := p.hears(nc, x+"</stream:stream>", "never"); strings.Contains(got, "type='valid'") || strings.Contains(got, "type=\"valid\"") {
			t.Errorf("%s\n\t%s", x, got)
		}
		nc.Close()
	}
	p.script("alice/a > <iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>\nalice/a < <iq type='result' id='p'/>\nalice/a <! <message id='forged'/>")
}

// comparisons: what proves who somebody is, is compared in constant time.
func comparisons(t *testing.T) {
	grep(t, `bytes\.Equal\(`, 0, "../../xmpp/scram.go", "../../xmpp/sasl.go", "../../xmpp/offer.go", "../../xmpp/peer", "../../relay/fast", "../../relay/account", "../../relay/link")
	n := 0
	for _, f := range []string{"../../xmpp/scram.go", "../../xmpp/peer"} {
		grepCount(t, `hmac\.Equal|subtle\.ConstantTime`, f, &n)
	}
	if n < 3 {
		t.Error("constant time is used", n, "times only")
	}
}

func grepCount(t *testing.T, pattern, path string, n *int) {
	t.Helper()
	err := filepath.WalkDir(path, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		*n += len(regexp.MustCompile(pattern).FindAll(b, -1))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// openRelay: files are for people of this server.
func openRelay(t *testing.T) {
	newPlay(t).script(`
links
login bob@far/b
bob@far/b > <iq type='get' id='u' to='localhost'><request xmlns='urn:xmpp:http:upload:0' filename='a.jpg' size='100' content-type='image/jpeg'/></iq>
bob@far/b < <iq type='error' id='u'/>
bob@far/b > <iq type='set' id='v' to='localhost'><query xmlns='http://jabber.org/protocol/bytestreams'/></iq>
bob@far/b < <iq type='error' id='v'/>
`)
}

func occupantID(t *testing.T) {
	newPlay(t).script(`
login alice/a
alice/a > <presence to='r@rooms.localhost/Alice'><x xmlns='http://jabber.org/protocol/muc'/><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/></presence>
alice/a < <presence from='r@rooms.localhost/Alice'><occupant-id xmlns='urn:xmpp:occupant-id:0' id='*'/></presence>
alice/a > <message to='r@rooms.localhost' type='groupchat' id='g'><body>x</body><occupant-id xmlns='urn:xmpp:occupant-id:0' id='forged'/><stanza-id xmlns='urn:xmpp:sid:0' by='r@rooms.localhost' id='forged'/></message>
alice/a < <message from='r@rooms.localhost/Alice' id='g'><occupant-id xmlns='urn:xmpp:occupant-id:0' id='*'/></message>
alice/a <! <presence><occupant-id id='forged' xmlns='urn:xmpp:occupant-id:0'/></presence>
alice/a <! <message><occupant-id id='forged' xmlns='urn:xmpp:occupant-id:0'/></message>
alice/a <! <message><stanza-id id='forged' xmlns='urn:xmpp:sid:0'/></message>
`)
}

// foreignAdmin: bob@far.test is not bob@localhost.
func foreignAdmin(t *testing.T) {
	newPlay(t).script(`
admin bob
links
login bob/b
bob/b > <iq type='set' id='1' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#get-registered-users-num'/></iq>
bob/b < <iq type='result' id='1'/>
login bob@far/b
bob@far/b > <iq type='set' id='1' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#get-registered-users-num'/></iq>
bob@far/b < <iq type='error' id='1'/>
bob@far/b > <iq type='set' id='2' to='bob@localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#get-registered-users-num'/></iq>
bob@far/b < <iq type='error' id='2'/>
`)
}

// paths: nothing is served that is no page or file of ours, however it is written.
func paths(t *testing.T) {
	o := town.New(t, "alice")
	host := strings.TrimPrefix(o.URL, "https://")
	for _, path := range []string{"/../../../../etc/passwd", "/..%2f..%2f..%2fetc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/%u002e%u002e/%u002e%u002e/etc/passwd",
		"/setup/setup-s/%u002e%u002e/%u002e%u002e/log.jsp", "/setup", "/admin", "/plugins/admin", "/upload/..%2f..%2froot", "/upload/%00", "/file/../root", "/chat/../../go.mod",
		"/chat/..%5c..%5cgo.mod", "/chat//etc/passwd", "/invite/..%2f..%2froot", "/.well-known/../admin.sock", "//etc/passwd", "/store/root", "/data"} {
		nc, err := tls.Dial("tcp", strings.Replace(host, "localhost", "127.0.0.1", 1), &tls.Config{RootCAs: o.Roots, ServerName: "localhost"})
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.SetDeadline(time.Now().Add(patience))
		fmt.Fprintf(nc, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		b, _ := io.ReadAll(res.Body)
		if res.StatusCode < 300 || strings.Contains(string(b), "root:") || strings.Contains(string(b), "module sotto") {
			t.Errorf("%s: %s %.200s", path, res.Status, b)
		}
		nc.Close()
	}
}

// onePanic: a bug of ours ends the session that met it, and no other.
func onePanic(t *testing.T) {
	p := newPlay(t)
	p.relay.HandleIQ("urn:boom", "boom", func(*relay.Request) (*xmpp.Element, error) { panic("boom") })
	p.script(`
login bob/b
bob/b > <presence/>
login alice/a
alice/a > <iq type='set' id='x'><boom xmlns='urn:boom'/></iq>
gone alice/a internal-server-error
bob/b > <iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>
bob/b < <iq type='result' id='p'/>
login alice/a
`)
}

// farFuture: times that no clock shows are refused, or kept as words.
func farFuture(t *testing.T) {
	newPlay(t).script(`
login alice/a
alice/a > <iq type='set' id='1'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='start'><value>99999-01-01T00:00:00Z</value></field></x></query></iq>
alice/a < <iq type='error' id='1'/>
alice/a > <iq type='set' id='2'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='end'><value>2026-13-45T99:00:00Z</value></field></x></query></iq>
alice/a < <iq type='error' id='2'/>
alice/a > <message to='bob@localhost' type='chat' id='m'><body>x</body><delay xmlns='urn:xmpp:delay' stamp='9999999-01-01T00:00:00Z'/></message>
mailbox bob 1
login bob/b
bob/b > <presence/>
bob/b < <message id='m'><delay xmlns='urn:xmpp:delay' from='localhost' stamp='*'/></message>
bob/b <! <message><delay xmlns='urn:xmpp:delay' stamp='9999999-01-01T00:00:00Z'/></message>
`)
}

// channelBinding: who sits in the middle of TLS cannot be the one that the
// password is proved to.
func channelBinding(t *testing.T) {
	s := rudeStage(t, nil)
	r := s.rude(t, "", asked)
	for _, w := range []string{"<mechanism>SCRAM-SHA-256-PLUS</mechanism>", "<channel-binding type='tls-exporter'/>", "<channel-binding type='tls-server-end-point'/>"} {
		if !strings.Contains(string(r.got), w) {
			t.Errorf("no %s in %s", w, r.got)
		}
	}
	r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"+basic64("y,,n=alice,r="+nonce)+"</auth>", "</failure>") // somebody hid it
	_, w, err := dial.Dial(t.Context(), dial.Login{Addr: s.addr, JID: xmpp.MustJID("alice@localhost"), Password: "password", TLS: &tls.Config{RootCAs: s.roots}})
	if err != nil || w.Mechanism != "SCRAM-SHA-256-PLUS" {
		t.Error(w, err)
	}
}

// steadySalts: a name that nobody has shows the same salt for ever, as one does
// that somebody has.
func steadySalts(t *testing.T) {
	s := rudeStage(t, nil)
	salt := func(name string) string {
		r := s.rude(t, "127.0.0.4", asked)
		defer r.Close()
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"+basic64("n,,n="+name+",r="+nonce)+"</auth>", "</challenge>")
		got := string(r.got)
		b, err := base64.StdEncoding.DecodeString(got[strings.LastIndex(got, "sasl'>")+6 : strings.Index(got, "</challenge>")])
		m := regexp.MustCompile(`s=([^,]+),i=(\d+)`).FindString(string(b))
		if err != nil || m == "" {
			t.Fatal(got, err)
		}
		return m
	}
	names := []string{"alice", "nobody", "somebody"}
	before := map[string]string{}
	for _, n := range names {
		before[n] = salt(n)
	}
	s.close()
	s.open()
	for _, n := range names {
		if now := salt(n); now != before[n] {
			t.Errorf("%s: %s, and %s after a restart", n, before[n], now)
		}
	}
	if before["nobody"] == before["somebody"] {
		t.Error("names without an account share a salt")
	}
}

// foreign is a server that calls itself far.test, inside TLS, and what it is offered.
func (p *play) foreign(certs ...tls.Certificate) (nc net.Conn, features string) {
	const head = "<stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams' from='far.test' to='localhost' version='1.0'>"
	raw, err := net.Dial("tcp", p.s2s)
	p.must(err)
	_ = raw.SetDeadline(time.Now().Add(patience))
	p.hears(raw, head, "</stream:features>")
	p.hears(raw, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed")
	nc = tls.Client(raw, &tls.Config{RootCAs: p.roots, ServerName: "localhost", Certificates: certs})
	return nc, p.hears(nc, head, "</stream:features>")
}

// hears says something and reads up to a word, or the end.
func (p *play) hears(nc net.Conn, x, until string) (got string) {
	_, err := io.WriteString(nc, x)
	p.must(err)
	for b := make([]byte, 4096); !strings.Contains(got, until); {
		n, err := nc.Read(b)
		if got += string(b[:n]); err != nil {
			break
		}
	}
	return got
}

// subjectNames: a certificate is for the names that stand in it as names
// (RFC 6120 §13.7.1.2), and for no others that can be read into it.
func subjectNames(t *testing.T) {
	p := newPlay(t)
	p.script("links")
	p.line = "names out of a subject"
	nc, features := p.foreign(p.far.cert)
	nc.Close()
	if !strings.Contains(features, "EXTERNAL") {
		t.Error("a good certificate is not known:", features)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p.must(err)
	for i, c := range []x509.Certificate{
		{Subject: pkix.Name{CommonName: "far.test"}},
		{Subject: pkix.Name{CommonName: "x, CN=far.test", Organization: []string{"CN=far.test"}}, DNSNames: []string{"evil.test"}},
		{Subject: pkix.Name{CommonName: "far.test"}, DNSNames: []string{"evil.test", "far.test.evil.test", "*.far.test"}},
		{Subject: pkix.Name{CommonName: "far.test"}, EmailAddresses: []string{"far.test@evil.test"}},
	} {
		c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(int64(i+2)), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		c.IsCA, c.BasicConstraintsValid = true, true
		der, err := x509.CreateCertificate(rand.Reader, &c, &c, key.Public(), key)
		p.must(err)
		x, err := x509.ParseCertificate(der)
		p.must(err)
		p.link.Roots.AddCert(x)
		nc, features := p.foreign(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
		if strings.Contains(features, "EXTERNAL") {
			t.Error(i, "is taken for far.test:", features)
		}
		if got := p.hears(nc, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth></stream:stream>", "never"); strings.Contains(got, "<success") {
			t.Error(i, "gets in:", got)
		}
		nc.Close()
	}
}
