// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/xdg-go/scram"

	"sotto/internal/town"
	"sotto/xmpp"
	"sotto/xmpp/dial"
	"sotto/xmpp/frame"
)

const patience = 5 * time.Second

// A page is a client in a browser.
type page struct {
	t    *testing.T
	o    *town.Town
	ws   *websocket.Conn
	last string
}

func client(o *town.Town) *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}}, Timeout: patience}
}

func open(t *testing.T, o *town.Town) *page {
	t.Helper()
	ws, _, err := websocket.Dial(context.Background(), o.URL+"/ws", &websocket.DialOptions{
		Subprotocols: []string{"xmpp"}, HTTPClient: client(o), HTTPHeader: http.Header{"Origin": {"https://elsewhere.example"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	ws.SetReadLimit(1 << 20)
	return &page{t: t, o: o, ws: ws}
}

func (p *page) say(x string) {
	p.t.Helper()
	if err := p.ws.Write(context.Background(), websocket.MessageText, []byte(x)); err != nil {
		p.t.Fatal(err)
	}
}

// next is the next frame, which must stand by itself (RFC 7395 §3.3.3).
func (p *page) next() (*xmpp.Element, error) {
	ctx, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	kind, b, err := p.ws.Read(ctx)
	if err != nil {
		return nil, err
	}
	p.last = string(b)
	if kind != websocket.MessageText {
		p.t.Fatalf("a binary frame: %q", b)
	}
	el, err := xmpp.Parse(b, "none")
	if err != nil || el.Name.Space == "none" {
		p.t.Fatalf("not one element with its namespace: %q %v", b, err)
	}
	return el, nil
}

// hear waits for a frame of that name.
func (p *page) hear(space, local string) *xmpp.Element {
	p.t.Helper()
	for {
		el, err := p.next()
		if err != nil {
			p.t.Fatalf("instead of %s: %v, last %s", local, err, p.last)
		}
		if el.Is(space, local) {
			return el
		}
		if el.Is(xmpp.NSStream, "error") || el.Is(frame.NS, "close") {
			p.t.Fatalf("instead of %s: %s", local, p.last)
		}
	}
}

const hello = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='localhost' version='1.0'/>"

func (p *page) hello() *xmpp.Element {
	p.t.Helper()
	p.say(hello)
	if h := p.hear(frame.NS, "open"); h.Get("from") != "localhost" || h.Get("version") != "1.0" || h.Get("id") == "" {
		p.t.Fatal("a strange header:", p.last)
	}
	return p.hear(xmpp.NSStream, "features")
}

func plain(user string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00secret-" + user))
}

// login is classic SASL with its restart (RFC 7395 §3.5).
func (p *page) login(user string) *page {
	p.t.Helper()
	p.hello()
	p.say("<auth xmlns='" + xmpp.NSSASL + "' mechanism='PLAIN'>" + plain(user) + "</auth>")
	p.hear(xmpp.NSSASL, "success")
	p.hello()
	p.say("<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='" + xmpp.NSBind + "'><resource>web</resource></bind></iq>")
	p.hear(xmpp.NSClient, "iq")
	p.say("<presence xmlns='jabber:client'/>")
	return p
}

const secret = "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/><payload>AA==</payload></encrypted>"

// RFC 7395: two pages talk; a stanza is a frame, and closing is answered.
func TestSocketTalk(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := open(t, o).login("alice"), open(t, o).login("bob")
	b.say("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
	for b.hear(xmpp.NSClient, "iq").Get("id") != "p" {
	}
	a.say("<message xmlns='jabber:client' to='bob@localhost' type='chat' id='m1'>" + secret + "</message>")
	if m := b.hear(xmpp.NSClient, "message"); m.Get("id") != "m1" || m.Child("eu.siacs.conversations.axolotl", "encrypted") == nil {
		t.Fatal("not the message:", b.last)
	}
	a.say("<close xmlns='" + frame.NS + "'/>")
	a.hear(frame.NS, "close")
	if _, err := a.next(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Fatal("the WebSocket is not closed in good order:", err)
	}
}

// XEP-0388, XEP-0386, XEP-0198 §5 over RFC 7395: one login with everything, and
// a resumption after the socket is gone.
func TestSocketResume(t *testing.T) {
	o := town.New(t, "alice", "bob")
	p := open(t, o)
	p.hello()
	if strings.Contains(p.last, "-PLUS") || strings.Contains(p.last, "<channel-binding ") {
		t.Fatal("a page cannot bind its login:", p.last)
	}
	in := scramTwo(t, p, "<bind xmlns='urn:xmpp:bind:0'><enable xmlns='urn:xmpp:sm:3' resume='true'/></bind>")
	sm := in.Child(xmpp.NSBind2, "bound").Child(xmpp.NSSM, "enabled").Get("id")
	if sm == "" {
		t.Fatal("no stream management:", p.last)
	}
	if f := p.hear(xmpp.NSStream, "features"); f.Child(xmpp.NSBind, "bind") != nil || f.Child(xmpp.NSSM, "sm") != nil || f.Child(xmpp.NSCSI, "csi") == nil {
		t.Fatal("what was done is offered again:", p.last)
	}
	p.say("<presence xmlns='jabber:client'/>")
	p.say("<r xmlns='urn:xmpp:sm:3'/>")
	p.hear(xmpp.NSSM, "a")
	_ = p.ws.CloseNow()
	b := open(t, o).login("bob")
	b.say("<message xmlns='jabber:client' to='alice@localhost' type='chat' id='m1'>" + secret + "</message>")
	q := open(t, o)
	q.hello()
	q.say("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>" + plain("alice") + "</initial-response>" +
		"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/><resume xmlns='urn:xmpp:sm:3' previd='" + sm + "' h='1'/></authenticate>")
	if q.hear(xmpp.NSSASL2, "success").Child(xmpp.NSSM, "resumed") == nil {
		t.Fatal("not resumed:", q.last)
	}
	if m := q.hear(xmpp.NSClient, "message"); m.Get("id") != "m1" {
		t.Fatal("not the message:", q.last)
	}
}

// scramTwo logs in by SASL2 and returns <success/>.
func scramTwo(t *testing.T, p *page, inline string) *xmpp.Element {
	t.Helper()
	c, err := scram.SHA256.NewClient("alice", "secret-alice", "")
	if err != nil {
		t.Fatal(err)
	}
	conv := c.NewConversation()
	step := func(in string) string {
		b, err := base64.StdEncoding.DecodeString(in)
		if err != nil {
			t.Fatal(err)
		}
		out, err := conv.Step(string(b))
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString([]byte(out))
	}
	p.say("<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>" + step("") + "</initial-response>" +
		"<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>" + inline + "</authenticate>")
	p.say("<response xmlns='urn:xmpp:sasl:2'>" + step(p.hear(xmpp.NSSASL2, "challenge").Text()) + "</response>")
	el := p.hear(xmpp.NSSASL2, "success")
	if step(el.Child(xmpp.NSSASL2, "additional-data").Text()); !conv.Valid() {
		t.Fatal("the server did not prove that it knows alice")
	}
	return el
}

// Frames that are no frames of XMPP end the stream with a reason, and nothing else.
func TestSocketHostile(t *testing.T) {
	o := town.New(t, "alice", "bob")
	long := strings.Repeat("x", 20<<10)
	for _, row := range []struct{ what, first, then, cond, spec string }{
		{"no open", "<presence xmlns='jabber:client'/>", "", "bad-format", "RFC 7395 §3.4"},
		{"a stream's header", "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>", "", "not-well-formed", "RFC 7395 §3.3"},
		{"a declaration", "<?xml version='1.0'?>" + hello, "", "restricted-xml", "RFC 7395 §3.3"},
		{"two in one", hello + hello, "", "not-well-formed", "RFC 7395 §3.3"},
		{"nothing", " ", "", "not-well-formed", "RFC 7395 §3.3"},
		{"another host", strings.Replace(hello, "localhost", "elsewhere", 1), "", "host-unknown", "RFC 7395 §3.4"},
		{"open with something in it", strings.Replace(hello, "/>", "><x/></open>", 1), "", "bad-format", "RFC 7395 §3.4"},
		{"a long stranger", hello, "<auth xmlns='" + xmpp.NSSASL + "' mechanism='PLAIN'>" + long + "</auth>", "policy-violation", "DESIGN §6"},
		{"a second open", hello, hello, "bad-format", "RFC 7395 §3.5"},
		{"half an element", hello, "<auth xmlns='" + xmpp.NSSASL + "' mechanism='PLAIN'>", "not-well-formed", "RFC 7395 §3.3"},
		{"an end tag", hello, "</stream:stream>", "not-well-formed", "RFC 7395 §3.6"},
		{"a stanza before login", hello, "<presence xmlns='jabber:client'/>", "not-authorized", "RFC 6120 §4.9.3.12"},
		{"starttls", hello, "<starttls xmlns='" + xmpp.NSTLS + "'/>", "not-authorized", "RFC 7395 §4"},
		{"a DTD", hello, "<!DOCTYPE x><auth/>", "restricted-xml", "RFC 6120 §11.1"},
		{"an entity", hello, "<auth xmlns='" + xmpp.NSSASL + "'>&x;</auth>", "restricted-xml", "RFC 6120 §11.1"},
	} {
		t.Run(row.what, func(t *testing.T) {
			p := open(t, o)
			p.say(row.first)
			if row.then != "" {
				p.hear(xmpp.NSStream, "features")
				p.say(row.then)
			}
			p.refused(row.cond)
		})
	}
	p := open(t, o).login("alice")
	p.say("<message xmlns='jabber:client' to='bob@localhost'>" + secret + "</message><presence xmlns='jabber:client'/>")
	p.refused("not-well-formed")
}

// refused waits for a stream error, then the end (RFC 7395 §3.6).
func (p *page) refused(cond string) {
	p.t.Helper()
	for {
		el, err := p.next()
		if err != nil {
			p.t.Fatal("instead of a stream error:", err)
		}
		if !el.Is(xmpp.NSStream, "error") {
			continue
		}
		if el.Child(xmpp.NSStreams, cond) == nil {
			p.t.Fatalf("not %s but %s", cond, p.last)
		}
		if el, err := p.next(); err != nil || !el.Is(frame.NS, "close") {
			p.t.Fatal("no <close/> but", p.last, err)
		}
		if _, err := p.next(); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			p.t.Fatal("the WebSocket is not closed in good order:", err)
		}
		return
	}
}

// RFC 7395 §3.2: binary frames are not XMPP.
func TestSocketBinary(t *testing.T) {
	p := open(t, town.New(t, "alice"))
	if err := p.ws.Write(context.Background(), websocket.MessageBinary, []byte(hello)); err != nil {
		t.Fatal(err)
	}
	p.refused("bad-format")
}

// A stanza that is too long is answered, as on any stream, and the next is taken.
func TestSocketLongStanza(t *testing.T) {
	p := open(t, town.New(t, "alice")).login("alice")
	p.say("<message xmlns='jabber:client' id='long' to='bob@localhost'><body>" + strings.Repeat("x", 300<<10) + "</body></message>")
	if m := p.hear(xmpp.NSClient, "message"); m.Get("id") != "long" || xmpp.StanzaErrorOf(m).Cond != xmpp.PolicyViolation {
		t.Fatal("not refused:", p.last)
	}
	p.say("<iq xmlns='jabber:client' type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
	for p.hear(xmpp.NSClient, "iq").Get("id") != "p" {
	}
}

// RFC 7395 §3.1: without the subprotocol there is no WebSocket.
func TestSocketSubprotocol(t *testing.T) {
	o := town.New(t, "alice")
	for _, all := range [][]string{nil, {"chat"}, {"xmpp2", "chat"}} {
		_, res, err := websocket.Dial(context.Background(), o.URL+"/ws", &websocket.DialOptions{Subprotocols: all, HTTPClient: client(o)})
		if err == nil || res == nil || res.StatusCode != http.StatusBadRequest {
			t.Error(all, err)
		}
	}
}

// XEP-0156 §3: both documents name the WebSocket, for pages of any site.
func TestHostMeta(t *testing.T) {
	o := town.New(t, "alice")
	want := "wss" + strings.TrimPrefix(o.URL, "https") + "/ws"
	get := func(path, kind string) []byte {
		res, err := client(o).Get(o.URL + "/.well-known/" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != kind || res.Header.Get("Access-Control-Allow-Origin") != "*" {
			t.Fatal(path, res.Status, res.Header, err)
		}
		return b
	}
	_, doc, _ := strings.Cut(string(get("host-meta", "application/xrd+xml")), "?>")
	xrd, err := xmpp.Parse([]byte(doc), "")
	if err != nil || xrd.Name != (xmpp.Name{Space: "http://docs.oasis-open.org/ns/xri/xrd-1.0", Local: "XRD"}) {
		t.Fatal(doc, err)
	}
	found := map[string]string{}
	for _, l := range xrd.Children() {
		found[l.Get("rel")] = l.Get("href")
	}
	var jrd struct{ Links []struct{ Rel, Href string } }
	if err := json.Unmarshal(get("host-meta.json", "application/json"), &jrd); err != nil {
		t.Fatal(err)
	}
	for _, l := range jrd.Links {
		if found[l.Rel] != l.Href {
			t.Error("the documents differ:", l)
		}
	}
	if len(jrd.Links) != len(found) || found["urn:xmpp:alt-connections:websocket"] != want {
		t.Error(found, jrd)
	}
}

// XEP-0368 §4: the same port speaks XMPP to a client that asks for it by ALPN.
func TestSharedPort(t *testing.T) {
	o := town.New(t, "alice")
	l := dial.Login{Addr: strings.TrimPrefix(o.URL, "https://"), JID: xmpp.MustJID("alice@localhost"), Password: "secret-alice",
		TLS: &tls.Config{RootCAs: o.Roots}, Direct: true, SM: true, AgentID: "x"}
	c, w, err := dial.Dial(context.Background(), l)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Drop()
	if w.Mechanism != "SCRAM-SHA-256-PLUS" {
		t.Error("the login is not bound to TLS:", w.Mechanism)
	}
}
