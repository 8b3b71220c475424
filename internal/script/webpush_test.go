// SPDX-License-Identifier: Apache-2.0

package script

import (
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/offline"
)

// endpoints stand for the services of browsers and phones: what comes to /n is
// answered with the status n. Each call is kept as it came.
func endpoints(t *testing.T, p *play) (url string, calls chan string) {
	calls = make(chan string, 100)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		if r.URL.Path == "/hang" {
			<-r.Context().Done()
			return
		}
		status := http.StatusCreated
		fmt.Sscanf(r.URL.Path, "/%d", &status)
		if status == http.StatusTooManyRequests && len(r.URL.Query()) == 0 {
			w.Header().Set("Retry-After", "1")
		}
		calls <- string(b)
		w.WriteHeader(status)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	p.push.Post.Roots = x509.NewCertPool()
	p.push.Post.Roots.AddCert(s.Certificate())
	p.push.Post.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	p.close()
	p.open()
	return s.URL, calls
}

// keys are a browser's, as fields of a form.
func keys(t *testing.T) string {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("<field var='p256dh'><value>%s</value></field><field var='auth'><value>%s</value></field>",
		base64.RawURLEncoding.EncodeToString(k.PublicKey().Bytes()), base64.RawURLEncoding.EncodeToString(make([]byte, 16)))
}

// signed is the part of a call that is not readable as it is; its claims are.
var signed = regexp.MustCompile(`Authorization: vapid t=.*`)

func claims(s string) string {
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(s, ".")[1])
	return fmt.Sprint(string(b), err)
}

func register(node, endpoint, more string) string {
	return fmt.Sprintf("<enable xmlns='urn:xmpp:push:0' jid='push.localhost' node='%s'><x xmlns='jabber:x:data' type='submit'>"+
		"<field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"+
		"<field var='endpoint'><value>%s</value></field>%s</x></enable>", node, endpoint, more)
}

func call(t *testing.T, calls chan string) string {
	t.Helper()
	select {
	case c := <-calls:
		return c
	case <-time.After(patience):
		t.Fatal("nothing was called")
	}
	return ""
}

// registered waits until what bob has registered does, or does not, have a word.
func registered(t *testing.T, p *play, word string, want bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		all := ""
		p.must(p.store.View("bob", func(r *offline.Records) error {
			r.Each(offline.KindPush, func(_ string, v []byte) bool { all += string(v); return true })
			return nil
		}))
		if strings.Contains(all, word) == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v in %s", word, !want, all)
		}
	}
}

// TestWebPush: our own push service wakes a browser and a phone. No call says a
// name, and an endpoint that is no more is forgotten (RFC 8030 §7.3).
func TestWebPush(t *testing.T) {
	p := newPlay(t)
	url, calls := endpoints(t, p)
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	do("login bob/phone agent")
	do("bob/phone > <iq type='get' id='d' to='push.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	info := "<iq type='result' id='d'><query xmlns='http://jabber.org/protocol/disco#info'><identity category='pubsub' type='push'/><feature var='urn:xmpp:push:0'/><x xmlns='jabber:x:data' type='result'><field var='FORM_TYPE'><value>urn:sotto:push:0</value></field><field var='vapid'><value>%s</value></field></x></query></iq>"
	do("bob/phone < "+info, "$key")
	do("bob/phone > <presence/><iq type='set' id='1'>%s</iq><iq type='set' id='2'>%s</iq>", register("browser", url+"/201", keys(t)), register("up", url+"/410", ""))
	do("bob/phone < <iq type='result' id='1'/>")
	do("bob/phone < <iq type='result' id='2'/>")
	do("logout bob/phone")
	do("login alice/x")
	do("alice/x > <message to='bob@localhost' type='chat' id='m1'><body>tiger</body></message>")
	for range 2 {
		got := call(t, calls)
		for _, word := range []string{"alice", "bob", "tiger", "phone", "browser"} {
			if said := signed.ReplaceAllStringFunc(got, claims); strings.Contains(strings.ToLower(said), word) {
				t.Errorf("it says %s: %s", word, said)
			}
		}
		if browser := strings.Contains(got, "/201"); browser != strings.Contains(got, "Authorization: vapid t=") || browser == strings.Contains(got, `{"wake":"mail"}`) {
			t.Error(got)
		}
	}
	registered(t, p, "/410", false)
	registered(t, p, "/201", true)
	do("restart") // the key is the same
	do("login bob/phone agent")
	do("bob/phone > <iq type='get' id='d' to='push.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	do("bob/phone < "+info, p.names["$key"])
}

// TestPutOff: RFC 6585 §4. A service that asks us to wait is asked again after
// that time, and a few failures end nothing.
func TestPutOff(t *testing.T) {
	p := newPlay(t)
	url, calls := endpoints(t, p)
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	do("login bob/phone agent")
	do("bob/phone > <presence/><iq type='set' id='1'>%s</iq>", register("n", url+"/429", ""))
	do("bob/phone < <iq type='result' id='1'/>")
	do("logout bob/phone")
	do("login alice/x")
	do("alice/x > <message to='bob@localhost' type='chat'><body>x</body></message>")
	call(t, calls)
	first := time.Now()
	registered(t, p, `"Fails":1`, true)
	call(t, calls)
	if d := time.Since(first); d < 900*time.Millisecond {
		t.Error("asked again after", d)
	}
	registered(t, p, `"Fails":2`, true)
}

// TestDeadEndpoint: an endpoint that fails for good is forgotten in the end.
func TestDeadEndpoint(t *testing.T) {
	p := newPlay(t)
	p.push.Retry = time.Microsecond
	url, calls := endpoints(t, p)
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	do("login bob/phone agent")
	do("bob/phone > <presence/><iq type='set' id='1'>%s</iq>", register("n", url+"/500", ""))
	do("bob/phone < <iq type='result' id='1'/>")
	do("logout bob/phone")
	do("login alice/x")
	do("alice/x > <message to='bob@localhost' type='chat'><body>x</body></message>")
	for range 14 {
		call(t, calls)
	}
	registered(t, p, "/500", false)
}

// TestHangingEndpoints: who registers endpoints that never answer keeps nobody
// else's phone asleep, and not the server from ending.
func TestHangingEndpoints(t *testing.T) {
	p := newPlay(t)
	url, calls := endpoints(t, p)
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	do("login bob/phone agent")
	do("bob/phone > <presence/>")
	for i := range 4 {
		do("bob/phone > <iq type='set' id='%d'>%s</iq>", i, register(fmt.Sprint(i), url+"/hang", ""))
		do("bob/phone < <iq type='result' id='%d'/>", i)
	}
	do("login carol/phone agent")
	do("carol/phone > <presence/><iq type='set' id='1'>%s</iq>", register("n", url+"/201", keys(t)))
	do("carol/phone < <iq type='result' id='1'/>")
	do("logout bob/phone")
	do("logout carol/phone")
	do("login alice/x")
	do("alice/x > <message to='bob@localhost' type='chat'><body>x</body></message>")
	do("alice/x > <message to='carol@localhost' type='chat'><body>x</body></message>")
	call(t, calls)
	do("restart")
}
