// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sotto/internal/town"
	"sotto/xmpp"
)

const nsBind = "http://jabber.org/protocol/httpbind"

// A poller is a client that has only requests.
type poller struct {
	t    *testing.T
	o    *town.Town
	http *http.Client
	sid  string
	rid  int
	got  []*xmpp.Element
}

func poll(t *testing.T, o *town.Town) *poller {
	t.Helper()
	p := &poller{t: t, o: o, http: client(o), rid: 1 << 50}
	b := p.post("to='localhost' ver='1.6' wait='2' hold='1' xml:lang='en' xmpp:version='1.0' xmlns:xmpp='urn:xmpp:xbosh'", "")
	if p.sid = b.Get("sid"); p.sid == "" || b.Get("requests") != "2" || b.Get("hold") != "1" || b.Get("wait") != "2" {
		t.Fatal("no session:", string(b.Bytes()))
	}
	p.hear(xmpp.NSStream, "features")
	return p
}

// ask sends a body with a number; what comes must be a body.
func (p *poller) ask(rid int, attrs, inside string) *xmpp.Element {
	p.t.Helper()
	if p.sid != "" {
		attrs += " sid='" + p.sid + "'"
	}
	return p.raw(fmt.Sprintf("<body xmlns='%s' rid='%d' %s>%s</body>", nsBind, rid, attrs, inside))
}

func (p *poller) raw(body string) *xmpp.Element {
	p.t.Helper()
	res, err := p.http.Post(p.o.URL+"/http-bind", "text/xml; charset=utf-8", strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		p.t.Fatal(res.Status, res.Header, err)
	}
	el, err := xmpp.Parse(b, "")
	if err != nil || !el.Is(nsBind, "body") {
		p.t.Fatalf("not a body: %q %v", b, err)
	}
	return el
}

func (p *poller) post(attrs, inside string) *xmpp.Element {
	p.t.Helper()
	p.rid++
	b := p.ask(p.rid, attrs, inside)
	if c := b.Get("condition"); c == "bad-request" {
		p.t.Fatal("not taken:", inside[:min(len(inside), 200)])
	}
	p.got = append(p.got, b.Children()...)
	return b
}

// hear asks until an element of that name has come.
func (p *poller) hear(space, local string) *xmpp.Element {
	p.t.Helper()
	for range 10 {
		for len(p.got) > 0 {
			el := p.got[0]
			p.got = p.got[1:]
			if el.Is(space, local) {
				return el
			}
		}
		if b := p.post("", ""); b.Get("type") == "terminate" {
			p.t.Fatalf("instead of %s: %s", local, b.Bytes())
		}
	}
	p.t.Fatal("no", local)
	return nil
}

func (p *poller) login(user string) *poller {
	p.t.Helper()
	p.post("", "<auth xmlns='"+xmpp.NSSASL+"' mechanism='PLAIN'>"+plain(user)+"</auth>")
	p.hear(xmpp.NSSASL, "success")
	p.post("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "")
	p.hear(xmpp.NSStream, "features")
	p.post("", "<iq xmlns='jabber:client' type='set' id='b'><bind xmlns='"+xmpp.NSBind+"'><resource>poll</resource></bind></iq>")
	if iq := p.hear(xmpp.NSClient, "iq"); iq.Get("type") != "result" {
		p.t.Fatal(string(iq.Bytes()))
	}
	p.post("", "<presence xmlns='jabber:client'/>")
	p.hear(xmpp.NSClient, "presence")
	return p
}

// XEP-0124, XEP-0206: two who have only requests talk; one ends in good order.
func TestBoshTalk(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := poll(t, o).login("alice"), poll(t, o).login("bob")
	a.post("", "<message xmlns='jabber:client' to='bob@localhost' type='chat' id='m1'>"+secret+"</message>"+
		"<message xmlns='jabber:client' to='bob@localhost' type='chat' id='m2'>"+secret+"</message>")
	for _, id := range []string{"m1", "m2"} {
		if m := b.hear(xmpp.NSClient, "message"); m.Get("id") != id || m.Child("eu.siacs.conversations.axolotl", "encrypted") == nil {
			t.Fatal("not the message:", string(m.Bytes()))
		}
	}
	if end := b.post("type='terminate'", "<presence xmlns='jabber:client' type='unavailable'/>"); end.Get("type") != "terminate" || end.Get("condition") != "" || len(end.Children()) > 0 {
		t.Fatal("not ended in good order:", string(end.Bytes()))
	}
	w := open(t, o).login("bob")
	a.post("", "<message xmlns='jabber:client' to='bob@localhost' type='chat' id='m3'>"+secret+"</message>")
	for w.hear(xmpp.NSClient, "message").Get("id") != "m3" {
	}
}

// XEP-0124 §14: a lost answer is given again, the same; requests are taken in
// the order of their numbers; none is taken twice.
func TestBoshAgain(t *testing.T) {
	o := town.New(t, "alice")
	p := poll(t, o).login("alice")
	ping := func(id string) string {
		return "<iq xmlns='jabber:client' type='get' id='" + id + "'><ping xmlns='urn:xmpp:ping'/></iq>"
	}
	one := p.post("", ping("1"))
	for range 3 {
		if again := p.ask(p.rid, "", ping("1")); !bytes.Equal(again.Bytes(), one.Bytes()) {
			t.Fatalf("another answer: %s, not %s", again.Bytes(), one.Bytes())
		}
	}
	if iq := p.hear(xmpp.NSClient, "iq"); iq.Get("id") != "1" {
		t.Fatalf("not 1 but %s", iq.Bytes())
	}
	late := make(chan *xmpp.Element)
	rid := p.rid
	go func() { late <- p.ask(rid+2, "", ping("3")) }()
	first := p.ask(rid+1, "", ping("2"))
	p.rid += 2
	p.got = append(p.got, first.Children()...)
	p.got = append(p.got, (<-late).Children()...)
	for _, id := range []string{"2", "3"} {
		if iq := p.hear(xmpp.NSClient, "iq"); iq.Get("id") != id {
			t.Fatalf("not %s but %s", id, iq.Bytes())
		}
	}
	if b := p.ask(p.rid+3, "", ""); b.Get("type") != "terminate" || b.Get("condition") != "item-not-found" {
		t.Fatal("a number beyond the window:", string(b.Bytes()))
	}
	if b := p.ask(p.rid+1, "", ""); b.Get("condition") != "item-not-found" {
		t.Fatal("the session goes on after that:", string(b.Bytes()))
	}
}

// Requests that are none, and strangers who want too much.
func TestBoshHostile(t *testing.T) {
	o := town.New(t, "alice")
	p := poll(t, o)
	long := strings.Repeat("x", 400<<10)
	for _, row := range []struct{ what, body, cond, spec string }{
		{"nothing", "", "bad-request", "XEP-0124 §17.2"},
		{"no XML", "hello", "bad-request", "XEP-0124 §17.2"},
		{"no body", "<presence xmlns='jabber:client'/>", "bad-request", "XEP-0124 §17.2"},
		{"two", "<body xmlns='" + nsBind + "' rid='1'/><body/>", "bad-request", "XEP-0124 §17.2"},
		{"no number", "<body xmlns='" + nsBind + "'/>", "bad-request", "XEP-0124 §4"},
		{"a huge number", "<body xmlns='" + nsBind + "' rid='9007199254740993'/>", "bad-request", "XEP-0124 §4"},
		{"a guess", "<body xmlns='" + nsBind + "' rid='1' sid='AAAA'/>", "item-not-found", "XEP-0124 §17.2"},
		{"a DTD", "<!DOCTYPE x><body xmlns='" + nsBind + "' rid='1'/>", "bad-request", "RFC 6120 §11.1"},
		{"a long stranger", "<body xmlns='" + nsBind + "' rid='1'>" + long + "</body>", "bad-request", "DESIGN §6"},
		{"a long stranger's session", "<body xmlns='" + nsBind + "' rid='2' sid='" + p.sid + "'>" + long + "</body>", "bad-request", "DESIGN §6"},
	} {
		if b := p.raw(row.body); b.Get("type") != "terminate" || b.Get("condition") != row.cond {
			t.Errorf("%s: %s, not %s (%s)", row.what, b.Bytes(), row.cond, row.spec)
		}
	}
	p.post("xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "") // before login
	b := p.post("", "")
	for _, el := range p.got {
		if el.Is(xmpp.NSStream, "error") {
			b = nil
		}
	}
	if b != nil && b.Get("type") != "terminate" {
		t.Error("a restart before login:", string(b.Bytes()))
	}
	q := poll(t, o)
	end := q.post("", "<message xmlns='jabber:client'/>")
	if end.Get("condition") != "remote-stream-error" || end.Child(xmpp.NSStream, "error").Child(xmpp.NSStreams, "not-authorized") == nil {
		t.Error("a stanza before login:", string(end.Bytes()))
	}
	if res, err := client(o).Get(o.URL + "/http-bind"); err != nil || res.StatusCode != 405 {
		t.Error("GET:", err)
	}
	in := poll(t, o).login("alice")
	in.post("", "<message xmlns='jabber:client' id='long' to='bob@localhost'><body>"+strings.Repeat("x", 265<<10)+"</body></message>")
	if m := in.hear(xmpp.NSClient, "message"); m.Get("id") != "long" || xmpp.StanzaErrorOf(m).Cond != xmpp.PolicyViolation {
		t.Error("a stanza that is too long:", string(m.Bytes()))
	}
}

// Whatever is posted, the answer is a body, and there are not more sessions
// than strangers may have.
func FuzzBosh(f *testing.F) {
	o := town.New(f)
	h := client(o)
	f.Add("rid='1' to='localhost' wait='1' hold='1'", "")
	f.Add("rid='1' to='localhost' wait='-1' hold='99999999999999999999'", "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
	f.Add("rid='7' sid='x' type='terminate'", "<presence xmlns='jabber:client'/>")
	f.Add("rid='9007199254740991' xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh'", "<a><b/></a>")
	f.Add("rid='1' to='elsewhere' type='terminate'", "</body><body>")
	f.Fuzz(func(t *testing.T, attrs, inside string) {
		body := "<body xmlns='" + nsBind + "' wait='1' " + attrs + ">" + inside + "</body>"
		res, err := h.Post(o.URL+"/http-bind", "text/xml", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res.Status, err)
		}
		if el, err := xmpp.Parse(b, ""); err != nil || !el.Is(nsBind, "body") {
			t.Fatalf("not a body: %q %v", b, err)
		}
	})
}
