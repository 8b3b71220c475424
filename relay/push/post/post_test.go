// SPDX-License-Identifier: Apache-2.0

package post

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestWebPush: RFC 8030 §5, RFC 8291, RFC 8292. What comes is signed by our key,
// opens with the browser's, and says one word.
func TestWebPush(t *testing.T) {
	s, got := service(t, created)
	p := poster(t, Options{Allow: loopback, Roots: roots(s), Contact: "mailto:op@chat.example"})
	b := newBrowser(t)
	var sizes []int
	for _, ring := range []bool{false, true} {
		if out := p.Send(context.Background(), b.target(s.URL+"/send/x1"), ring); out != (Outcome{}) {
			t.Fatalf("%+v", out)
		}
		a := <-got
		vapid(t, p, a.header.Get("Authorization"), s.URL, "mailto:op@chat.example")
		word, ttl, urgency := "mail", "86400", "normal"
		if ring {
			word, ttl, urgency = "call", "60", "high"
		}
		for k, v := range map[string]string{"TTL": ttl, "Urgency": urgency, "Topic": word, "Content-Encoding": "aes128gcm"} {
			if a.header.Get(k) != v {
				t.Errorf("%s is %q, not %q", k, a.header.Get(k), v)
			}
		}
		if plain := b.open(t, a.body); plain != `{"wake":"`+word+`"}` {
			t.Errorf("it says %q", plain)
		}
		for k := range a.header {
			if !slices.Contains([]string{"Ttl", "Urgency", "Topic", "Content-Encoding", "Content-Type", "Content-Length", "Authorization", "User-Agent"}, k) {
				t.Errorf("a header %s: %s", k, a.header.Get(k))
			}
		}
		sizes = append(sizes, len(a.body))
	}
	if sizes[0] != sizes[1] {
		t.Error("the length tells a call:", sizes)
	}
}

// TestVector: RFC 8291 §5. What opens our wakes opens the RFC's.
func TestVector(t *testing.T) {
	k, err := ecdh.P256().NewPrivateKey(bytesOf("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
	must(t, err)
	b := &browser{k, bytesOf("BTBZMqHH6r4Tts7J_aSIgg")}
	body := bytesOf("DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN")
	if got := b.open(t, body); got != "When I grow up, I want to be a watermelon" {
		t.Errorf("%q", got)
	}
}

// TestUnifiedPush: an endpoint without keys gets the word as it is.
func TestUnifiedPush(t *testing.T) {
	s, got := service(t, created)
	p := poster(t, Options{Allow: loopback, Roots: roots(s)})
	if out := p.Send(context.Background(), &Target{Endpoint: s.URL + "/UP?up=1"}, false); out != (Outcome{}) {
		t.Fatalf("%+v", out)
	}
	a := <-got
	if string(a.body) != `{"wake":"mail"}` || a.method != "POST" || a.header.Get("TTL") != "86400" || a.header.Get("Urgency") != "normal" || a.header.Get("Authorization") != "" {
		t.Errorf("%s %v %s", a.method, a.header, a.body)
	}
}

// account makes a service account's file.
func account(t *testing.T, tokens string) (file []byte, key *rsa.PrivateKey) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	file, err = json.Marshal(map[string]string{
		"type": "service_account", "project_id": "chat-app", "private_key_id": "k1", "client_email": "push@chat-app.example",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": tokens,
	})
	must(t, err)
	return file, key
}

// TestFirebase: we sign in as the service account (RFC 7523 §2.1), once for
// many wakes, and each says one word.
func TestFirebase(t *testing.T) {
	tokens, signIns := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"good","token_type":"Bearer","expires_in":3600}`)
	})
	api, got := service(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/projects/chat-app/messages:send" {
			t.Error(r.URL.Path)
		}
		fmt.Fprint(w, `{"name":"projects/chat-app/messages/1"}`)
	})
	file, key := account(t, tokens.URL)
	p := poster(t, Options{Allow: loopback, Roots: roots(api, tokens), FCM: file, FCMURL: api.URL})
	for _, ring := range []bool{false, true} {
		if out := p.Send(context.Background(), &Target{Token: "tok:1"}, ring); out != (Outcome{}) {
			t.Fatalf("%+v", out)
		}
		a := <-got
		want := `{"message":{"token":"tok:1","data":{"wake":"mail"},"android":{"priority":"HIGH","ttl":"86400s","collapse_key":"mail"}}}`
		if ring {
			want = `{"message":{"token":"tok:1","data":{"wake":"call"},"android":{"priority":"HIGH","ttl":"60s","collapse_key":"call"}}}`
		}
		if string(a.body) != want || a.header.Get("Authorization") != "Bearer good" {
			t.Errorf("%s %s", a.header.Get("Authorization"), a.body)
		}
	}
	q, err := url.ParseQuery(string((<-signIns).body))
	must(t, err)
	if g := q.Get("grant_type"); g != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		t.Error(g)
	}
	head, claims := token(t, q.Get("assertion"), rs256(&key.PublicKey))
	if head["alg"] != "RS256" || head["kid"] != "k1" || claims["iss"] != "push@chat-app.example" || claims["aud"] != tokens.URL || claims["scope"] != scopeFCM {
		t.Errorf("%v %v", head, claims)
	}
	if len(signIns) > 0 {
		t.Error("signed in twice")
	}
}

// TestFirebaseRefuses: what is our fault ends nobody's registration; a token
// that is no more does.
func TestFirebaseRefuses(t *testing.T) {
	var status, signIn atomic.Int32
	tokens, _ := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(int(signIn.Load()))
		fmt.Fprint(w, `{"access_token":"good","token_type":"Bearer","expires_in":3600}`)
	})
	api, _ := service(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(int(status.Load())) })
	file, _ := account(t, tokens.URL)
	p := poster(t, Options{Allow: loopback, Roots: roots(api, tokens), FCM: file, FCMURL: api.URL})
	for _, row := range []struct {
		signIn, api int32
		want        Outcome
	}{
		{400, 200, Outcome{Again: true, Ours: true, After: oursWait}},
		{200, 401, Outcome{Again: true, Ours: true, After: oursWait}},
		{200, 403, Outcome{Again: true, Ours: true, After: oursWait}},
		{200, 404, Outcome{Gone: true}},
		{200, 503, Outcome{Again: true}},
	} {
		signIn.Store(row.signIn)
		status.Store(row.api)
		if out := p.Send(context.Background(), &Target{Token: "tok"}, false); out != row.want {
			t.Errorf("%d, %d: %+v", row.signIn, row.api, out)
		}
	}
	if _, err := New(Options{Key: bytesOf(p.key), FCM: []byte(`{"type":"authorized_user"}`)}); err == nil {
		t.Error("took a file that is no service account")
	}
}

// TestAnswers: RFC 8030 §5, §7.3; RFC 6585 §4; a redirection is not followed.
func TestAnswers(t *testing.T) {
	inner, reached := service(t, created)
	soon := time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)
	for _, row := range []struct {
		status   int
		header   [2]string
		gone     bool
		again    bool
		min, max time.Duration
	}{
		{status: 200}, {status: 201}, {status: 202}, {status: 204},
		{status: 404, gone: true}, {status: 410, gone: true},
		{status: 429, header: [2]string{"Retry-After", "120"}, again: true, min: 2 * time.Minute, max: 2 * time.Minute},
		{status: 503, header: [2]string{"Retry-After", soon}, again: true, min: 59 * time.Minute, max: time.Hour},
		{status: 503, header: [2]string{"Retry-After", "999999999"}, again: true, min: waitMax, max: waitMax},
		{status: 503, header: [2]string{"Retry-After", "-5"}, again: true},
		{status: 500, again: true}, {status: 403, again: true}, {status: 413, again: true},
		{status: 301, header: [2]string{"Location", inner.URL}, again: true},
		{status: 307, header: [2]string{"Location", inner.URL}, again: true},
		{status: 201, header: [2]string{"X-Long", strings.Repeat("x", headersMax+8<<10)}, again: true},
	} {
		s, _ := service(t, func(w http.ResponseWriter, _ *http.Request) {
			if row.header[0] != "" {
				w.Header().Set(row.header[0], row.header[1])
			}
			w.WriteHeader(row.status)
		})
		p := poster(t, Options{Allow: loopback, Roots: roots(s, inner)})
		out := p.Send(context.Background(), newBrowser(t).target(s.URL), false)
		if out.Gone != row.gone || out.Again != row.again || out.After < row.min || out.After > row.max {
			t.Errorf("%d %.40v: %+v", row.status, row.header, out)
		}
	}
	if len(reached) > 0 {
		t.Error("a redirection was followed")
	}
}

// TestEndless: a service that never answers, and one that never ends, cost their
// time and no more.
func TestEndless(t *testing.T) {
	life, end := context.WithCancel(context.Background())
	hangs := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-life.Done() }))
	var wrote atomic.Int64
	talks := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for b := make([]byte, 64<<10); r.Context().Err() == nil; {
			n, err := w.Write(b)
			if wrote.Add(int64(n)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(func() { end(); hangs.Close(); talks.Close() })
	p := poster(t, Options{Allow: loopback, Roots: roots(hangs, talks), Time: 200 * time.Millisecond})
	if out := p.Send(context.Background(), &Target{Endpoint: hangs.URL}, false); out != (Outcome{Again: true}) {
		t.Errorf("%+v", out)
	}
	if out := p.Send(context.Background(), &Target{Endpoint: talks.URL}, false); out != (Outcome{}) {
		t.Errorf("%+v", out)
	}
	if n := wrote.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken", n)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	p = poster(t, Options{Allow: loopback, Roots: roots(hangs), Time: time.Hour})
	if out := p.Send(ctx, &Target{Endpoint: hangs.URL}, false); out != (Outcome{Again: true}) {
		t.Errorf("%+v", out)
	}
}

// TestOnlyPublic: no name and no number leads to where only we can go.
func TestOnlyPublic(t *testing.T) {
	s, got := service(t, created)
	_, port, _ := net.SplitHostPort(s.Listener.Addr().String())
	p := poster(t, Options{Roots: roots(s)})
	if out := p.Send(context.Background(), &Target{Endpoint: "https://localhost:" + port}, false); out != (Outcome{Again: true}) {
		t.Errorf("by name: %+v", out)
	}
	if out := p.Send(context.Background(), &Target{Endpoint: s.URL}, false); out != (Outcome{Gone: true}) {
		t.Errorf("by number: %+v", out)
	}
	if len(got) > 0 {
		t.Error("loopback was called")
	}
	for a, may := range map[string]bool{
		"1.1.1.1": true, "2606:4700::1": true, "64:ff9b::101:101": true, "::ffff:1.1.1.1": true,
		"127.0.0.1": false, "10.1.2.3": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "0.0.0.0": false,
		"100.64.0.1": false, "198.18.0.1": false, "224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "192.0.0.8": false,
		"::1": false, "::": false, "fe80::1%eth0": false, "fc00::1": false, "fec0::1": false, "ff02::1": false, "::ffff:10.0.0.1": false,
		"64:ff9b::a00:1": false, "64:ff9b:1::1": false, "2002:a00:1::": false, "2001:0:1::1": false, "2001:db8::1": false, "::7f00:1": false,
	} {
		if mayCall(netip.MustParseAddr(a), nil) != may {
			t.Errorf("%s: %v", a, !may)
		}
	}
}

// TestCheck: what a client may register.
func TestCheck(t *testing.T) {
	p := poster(t, Options{})
	ok := newBrowser(t).target("https://push.example/x")
	for _, row := range []struct {
		name string
		t    Target
		good bool
	}{
		{"web push", *ok, true},
		{"padded keys", Target{Endpoint: ok.Endpoint, P256dh: ok.P256dh + "=", Auth: ok.Auth + "=="}, true},
		{"without keys", Target{Endpoint: "https://ntfy.example:8443/up?x=1"}, true},
		{"nothing", Target{}, false},
		{"plain", Target{Endpoint: "http://push.example/x"}, false},
		{"a file", Target{Endpoint: "file:///etc/passwd"}, false},
		{"a password", Target{Endpoint: "https://a:b@push.example/"}, false},
		{"loopback", Target{Endpoint: "https://127.0.0.1/"}, false},
		{"loopback, mapped", Target{Endpoint: "https://[::ffff:127.0.0.1]/"}, false},
		{"mail's port", Target{Endpoint: "https://push.example:25/"}, false},
		{"no port", Target{Endpoint: "https://push.example:99999999/"}, false},
		{"long", Target{Endpoint: "https://push.example/" + strings.Repeat("x", endpointMax)}, false},
		{"half of the keys", Target{Endpoint: ok.Endpoint, Auth: ok.Auth}, false},
		{"a key off the curve", Target{Endpoint: ok.Endpoint, P256dh: b64.EncodeToString(append([]byte{4}, make([]byte, 64)...)), Auth: ok.Auth}, false},
		{"a short secret", Target{Endpoint: ok.Endpoint, P256dh: ok.P256dh, Auth: "AAAA"}, false},
		{"Firebase, which is off", Target{Token: "x"}, false},
		{"both", Target{Endpoint: ok.Endpoint, Token: "x"}, false},
	} {
		if err := p.Check(&row.t); (err == nil) != row.good {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}
