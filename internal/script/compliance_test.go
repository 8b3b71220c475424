// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"sotto/relay"
	"sotto/relay/web"
	"sotto/xmpp"
)

// A judge asks what Conversations' compliance tester asks, as its tester does:
// over a stream of its own, over HTTPS and over direct TLS.
type judge struct {
	*play
	offer  *xmpp.Element // features before login
	after  *xmpp.Element // and after it
	web    *http.Client
	direct string // the address of direct TLS
}

// TestCompliance re-makes the tests of Conversations' compliance suite, by
// their names there.
func TestCompliance(t *testing.T) {
	j := newJudge(t)
	for _, c := range []struct {
		name, spec string
		passes     func(j *judge) bool
	}{
		{"abuse-contact", "XEP-0157 §3", (*judge).contact},
		{"xep0156", "XEP-0156 §3", (*judge).alternatives},
		{"xep0398", "XEP-0398 §3", onAccount("urn:xmpp:pep-vcard-conversion:0")},
		{"xep0191", "XEP-0191 §3.1", onDomain("urn:xmpp:blocking")},
		{"xep0411", "XEP-0411 §3", onAccount("urn:xmpp:bookmarks-conversion:0")},
		{"xep0352", "XEP-0352 §3.1", offered("urn:xmpp:csi:0", "csi")},
		{"xep0115", "XEP-0115 §6.3", offered(xmpp.NSCaps, "c")},
		{"xep0363", "XEP-0363 §3", service("urn:xmpp:http:upload:0")},
		{"xep0363_cors", "XEP-0363 §11", (*judge).cors},
		{"xep0065", "XEP-0065 §4", service("http://jabber.org/protocol/bytestreams")},
		{"xep0077", "XEP-0077 §8", func(j *judge) bool { return j.offer.Child(xmpp.NSRegFeature, "register") != nil }},
		{"xep0313", "XEP-0313 §6", onAccount("urn:xmpp:mam:2")},
		{"xep0313muc", "XEP-0313 §6.2", room("urn:xmpp:mam:2")},
		{"xep0280", "XEP-0280 §2", onDomain("urn:xmpp:carbons:2")},
		{"xep0045", "XEP-0045 §6.1", service("http://jabber.org/protocol/muc")},
		{"xep0384", "XEP-0384 §5.3", (*judge).omemo},
		{"xep0160", "XEP-0160 §4", onDomain("msgoffline")},
		{"xep0163", "XEP-0163 §6.1", (*judge).pep},
		{"xep0357", "XEP-0357 §4", onAccount("urn:xmpp:push:0")},
		{"roster_versioning", "RFC 6121 §2.6.1", offered("urn:xmpp:features:rosterver", "ver")},
		{"xep0198", "XEP-0198 §2", offered(xmpp.NSSM, "sm")},
		{"vcard_muc", "XEP-0153 §3", room("vcard-temp")},
		{"xep0368", "XEP-0368 §3", (*judge).directTLS},
		{"stun", "XEP-0215 §3.1", calls("stun")},
		{"turn", "XEP-0215 §3.1", calls("turn")},
	} {
		t.Run(c.name, func(t *testing.T) {
			j.t = t
			if !c.passes(j) {
				t.Error(c.spec)
			}
		})
	}
}

// calls says whether people are told of a server of that kind.
func calls(kind string) func(j *judge) bool {
	return func(j *judge) bool {
		a := j.ask("get", "localhost", "<services xmlns='urn:xmpp:extdisco:2'/>")
		for _, k := range a.Child("urn:xmpp:extdisco:2", "services").Children() {
			if k.Get("type") == kind && k.Get("host") != "" {
				return true
			}
		}
		return false
	}
}

func newJudge(t *testing.T) *judge {
	j := &judge{play: newPlay(t)}
	pages, err := net.Listen("tcp", "127.0.0.1:0")
	j.must(err)
	direct, err := net.Listen("tcp", "127.0.0.1:0")
	j.must(err)
	j.close()
	j.proxy.Addr = "localhost:7777" // nobody is asked there
	j.opt.Keep = true               // xep0313muc: rooms have an archive where the server keeps histories
	j.opt.URL = "https://" + strings.Replace(pages.Addr().String(), "127.0.0.1", "localhost", 1)
	j.open()
	go web.Serve(context.Background(), j.relay, pages, &tls.Config{Certificates: []tls.Certificate{j.cert}})
	go j.relay.Serve(context.Background(), direct, true)
	j.direct = direct.Addr().String()
	j.web = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: j.roots}}}
	t.Cleanup(j.web.CloseIdleConnections)
	j.offer, j.after = j.features(asked), j.features(inside)
	j.act("login alice/judge\nalice/judge > <presence/>")
	return j
}

// features are those of a stream that has come so far.
func (j *judge) features(far int) *xmpp.Element {
	r := j.rude(j.t, "", min(far, asked))
	if far == inside {
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic("alice", "password")+"</auth>", "<success")
		r.say(hello, "</stream:features>")
	}
	_, got, _ := strings.Cut(string(r.got), "<stream:features")
	r.Close()
	return parse("<stream:features xmlns:stream='http://etherx.jabber.org/streams'" + got)
}

// ask gives the answer to a question, or nil when it was refused.
func (j *judge) ask(typ, to, payload string) *xmpp.Element {
	j.t.Helper()
	a, id := j.actor("alice/judge"), relay.NewID()
	j.line = payload
	a.send(fmt.Sprintf("<iq type='%s' id='%s' to='%s'>%s</iq>", typ, id, to, payload))
	j.until(a, parse("<iq id='"+id+"'/>"))
	if a.last.Get("type") != "result" {
		j.t.Logf("%s: %s", to, a.last.Bytes())
		return nil
	}
	return a.last
}

func (j *judge) info(of string) *xmpp.Element {
	return j.ask("get", of, "<query xmlns='"+xmpp.NSDiscoInfo+"'/>").Child(xmpp.NSDiscoInfo, "query")
}

// has says whether a place tells of a feature.
func (j *judge) has(of, feature string) bool {
	return slices.ContainsFunc(j.info(of).Children(), func(k *xmpp.Element) bool { return k.Get("var") == feature })
}

func onAccount(feature string) func(*judge) bool {
	return func(j *judge) bool { return j.has("alice@localhost", feature) }
}

func onDomain(feature string) func(*judge) bool {
	return func(j *judge) bool { return j.has("localhost", feature) }
}

func offered(space, local string) func(*judge) bool {
	return func(j *judge) bool { return j.after.Child(space, local) != nil }
}

// place is where a service is: an item of the domain, or the domain itself.
func (j *judge) place(feature string) string {
	for _, it := range j.ask("get", "localhost", "<query xmlns='"+xmpp.NSDiscoItems+"'/>").Child(xmpp.NSDiscoItems, "query").Children() {
		if j.has(it.Get("jid"), feature) {
			return it.Get("jid")
		}
	}
	if j.has("localhost", feature) {
		return "localhost"
	}
	return ""
}

func service(feature string) func(*judge) bool {
	return func(j *judge) bool { return j.place(feature) != "" }
}

// room says whether a new room has a feature.
func room(feature string) func(*judge) bool {
	return func(j *judge) bool {
		at := strings.ToLower(relay.NewID()) + "@" + j.place("http://jabber.org/protocol/muc")
		j.act("alice/judge > <presence to='" + at + "/test'><x xmlns='http://jabber.org/protocol/muc'/></presence>\n" +
			"alice/judge < <presence from='" + at + "/test'/>")
		const owner = "http://jabber.org/protocol/muc#owner"
		j.ask("set", at, "<query xmlns='"+owner+"'><x xmlns='jabber:x:data' type='submit'/></query>")
		has := j.has(at, feature)
		return j.ask("set", at, "<query xmlns='"+owner+"'><destroy/></query>") != nil && has
	}
}

func (j *judge) contact() bool {
	for _, form := range j.info("localhost").Children() {
		for _, f := range form.Children() {
			if f.Get("var") == "abuse-addresses" && len(f.Children()) > 0 {
				return true
			}
		}
	}
	return false
}

func (j *judge) pep() bool {
	return slices.ContainsFunc(j.info("alice@localhost").Children(), func(k *xmpp.Element) bool {
		return k.Get("category") == "pubsub" && k.Get("type") == "pep"
	})
}

// omemo publishes for everybody, and looks whether it is so; then it wants
// another access model, and must be told that it is not so (XEP-0060 §7.1.5).
func (j *judge) omemo() bool {
	const space, node = "http://jabber.org/protocol/pubsub", "eu.siacs.conversations.axolotl.x1"
	if !j.pep() || !j.has("alice@localhost", space+"#publish-options") {
		return false
	}
	publish := func(access string) bool {
		return j.ask("set", "alice@localhost", "<pubsub xmlns='"+space+"'><publish node='"+node+"'><item id='current'><bundle xmlns='eu.siacs.conversations.axolotl'/></item></publish>"+
			"<publish-options><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>"+space+"#publish-options</value></field>"+
			"<field var='pubsub#access_model'><value>"+access+"</value></field></x></publish-options></pubsub>") != nil
	}
	if !publish("open") || publish("presence") {
		return false
	}
	last := j.actor("alice/judge").last
	if last.Child(xmpp.NSClient, "error").Child(space+"#errors", "precondition-not-met") == nil {
		return false
	}
	form := j.ask("get", "alice@localhost", "<pubsub xmlns='"+space+"#owner'><configure node='"+node+"'/></pubsub>")
	var access string
	for _, f := range form.Child(space+"#owner", "pubsub").Child(space+"#owner", "configure").Child("jabber:x:data", "x").Children() {
		if f.Get("var") == "pubsub#access_model" {
			access = f.Child("jabber:x:data", "value").Text()
		}
	}
	return j.ask("set", "alice@localhost", "<pubsub xmlns='"+space+"#owner'><delete node='"+node+"'/></pubsub>") != nil && access == "open"
}

// cors: a page of another site may upload.
func (j *judge) cors() bool {
	slot := j.ask("get", j.place("urn:xmpp:http:upload:0"), "<request xmlns='urn:xmpp:http:upload:0' filename='hello.png' size='1234' content-type='image/png'/>")
	put := slot.Child("urn:xmpp:http:upload:0", "slot").Child("urn:xmpp:http:upload:0", "put").Get("url")
	res := j.fetch("OPTIONS", put, http.Header{"Origin": {"https://compliance.conversations.im"},
		"Access-Control-Request-Method": {"PUT"}, "Access-Control-Request-Headers": {"content-type"}})
	h := res.Header
	return h.Get("Access-Control-Allow-Origin") == "*" && strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") &&
		strings.Contains(h.Get("Access-Control-Allow-Headers"), "Content-Type")
}

func (j *judge) fetch(method, at string, h http.Header) *http.Response {
	req, err := http.NewRequest(method, at, nil)
	j.must(err)
	req.Header = h
	res, err := j.web.Do(req)
	if err != nil {
		j.t.Fatal(err)
	}
	j.t.Cleanup(func() { res.Body.Close() })
	return res
}

// alternatives reads both documents and knocks at each door that they name.
func (j *judge) alternatives() bool {
	type link struct {
		Rel  string `xml:"rel,attr"`
		Href string `xml:"href,attr"`
	}
	for _, name := range []string{"host-meta", "host-meta.json"} {
		res := j.fetch("GET", j.opt.URL+"/.well-known/"+name, nil)
		b, err := io.ReadAll(res.Body)
		j.must(err)
		var doc struct{ Link, Links []link }
		if name == "host-meta" {
			err = xml.Unmarshal(b, &doc)
		} else {
			err = json.Unmarshal(b, &doc)
		}
		all := append(doc.Link, doc.Links...)
		if err != nil || res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "*" || len(all) != 2 {
			j.t.Log(name, err, res.Status, res.Header, string(b))
			return false
		}
		for _, l := range all {
			if !j.opens(l.Rel, l.Href) {
				j.t.Log(l)
				return false
			}
		}
	}
	return true
}

func (j *judge) opens(rel, at string) bool {
	u, err := url.Parse(at)
	j.must(err)
	switch rel {
	case "urn:xmpp:alt-connections:websocket":
		u.Scheme = strings.Replace(u.Scheme, "ws", "http", 1)
		// The suite's own key is longer than RFC 6455 §4.2.1 lets a server take.
		res := j.fetch("GET", u.String(), http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"},
			"Sec-Websocket-Protocol": {"xmpp"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {basic64("a key of 16 byte")}})
		return res.StatusCode == http.StatusSwitchingProtocols
	case "urn:xmpp:alt-connections:xbosh":
		res := j.fetch("OPTIONS", at, http.Header{"Origin": {"null"}})
		return res.StatusCode <= 299 && res.Header.Get("Access-Control-Allow-Origin") == "*"
	}
	return false
}

// directTLS wants a stream, on the port of its own and on that of HTTPS.
func (j *judge) directTLS() bool {
	for _, at := range []string{j.direct, strings.TrimPrefix(j.opt.URL, "https://")} {
		c, err := tls.Dial("tcp", at, &tls.Config{RootCAs: j.roots, ServerName: "localhost", NextProtos: []string{"xmpp-client"}})
		if err != nil {
			j.t.Log(at, err)
			return false
		}
		defer c.Close()
		if p := c.ConnectionState().NegotiatedProtocol; p != "xmpp-client" {
			j.t.Logf("%s speaks %q", at, p)
			return false
		}
		got := j.says(c, "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xml:lang='en' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>", "<stream:stream")
		if !strings.HasPrefix(got, "<?xml") {
			j.t.Log(at, got)
			return false
		}
	}
	return true
}
