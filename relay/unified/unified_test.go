// SPDX-License-Identifier: Apache-2.0

package unified_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/unified"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

const patience = 5 * time.Second

// A phone is a client that hands pushes on to apps.
type phone struct {
	t    *testing.T
	o    *town.Town
	c    *xmpp.Conn
	in   chan *xmpp.Element
	out  chan string
	over chan struct{}
}

func enter(t *testing.T, o *town.Town, user string) *phone {
	t.Helper()
	c, _, err := dial.Dial(context.Background(), dial.Login{Addr: o.Addr, JID: xmpp.MustJID(user + "@localhost"),
		Password: "secret-" + user, TLS: &tls.Config{RootCAs: o.Roots}, AgentID: "agent-" + user})
	if err != nil {
		t.Fatal(err)
	}
	p := &phone{t: t, o: o, c: c, in: make(chan *xmpp.Element, 64), out: make(chan string, 64), over: make(chan struct{})}
	go func() {
		defer close(p.over)
		_ = c.Run(context.Background(), func(s *xmpp.Stanza) error {
			el, err := s.Element()
			if err == nil && el.Is(xmpp.NSClient, "iq") {
				p.in <- el.Clone()
			}
			return err
		}, func(w *xmpp.Writer) error {
			for {
				select {
				case s := <-p.out:
					w.Bytes([]byte(s))
				default:
					return nil
				}
			}
		})
	}()
	t.Cleanup(p.leave)
	p.send("<iq type='get' id='here' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.next()
	return p
}

func (p *phone) leave() {
	p.c.Drop()
	<-p.over
}

func (p *phone) send(s string) {
	p.out <- s
	p.c.Wake()
}

func (p *phone) next() *xmpp.Element {
	p.t.Helper()
	select {
	case el := <-p.in:
		return el
	case <-time.After(patience):
		p.t.Fatal("nothing came")
	}
	return nil
}

func hash(b byte) string { return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, 32)) }

func (p *phone) register() string {
	p.t.Helper()
	p.send(fmt.Sprintf("<iq type='set' id='r' to='up.localhost'><register xmlns='%s' application='%s' instance='%s'/></iq>", unified.NS, hash(1), hash(2)))
	el := p.next().Child(unified.NS, "registered")
	until, err := time.Parse(time.RFC3339, el.Get("expiration"))
	if err != nil || time.Until(until) < 24*time.Hour {
		p.t.Fatalf("%s", el.Bytes())
	}
	return el.Get("endpoint")
}

// wrapped has the form of an encrypted push.
func wrapped() []byte {
	b := make([]byte, 200)
	_, _ = rand.Read(b)
	binary.BigEndian.PutUint32(b[16:], 4096)
	b[20], b[21] = 65, 4
	return b
}

type said struct {
	code int
	head http.Header
	text string
}

func (p *phone) push(method, url string, body []byte, encoding string) chan said {
	c := make(chan said, 1)
	go func() {
		req, _ := http.NewRequest(method, url, bytes.NewReader(body))
		req.Header.Set("TTL", "60")
		if encoding != "" {
			req.Header.Set("Content-Encoding", encoding)
		}
		h := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.o.Roots}, DisableKeepAlives: true}, Timeout: 3 * patience}
		res, err := h.Do(req)
		if err != nil {
			c <- said{text: err.Error()}
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		c <- said{res.StatusCode, res.Header, string(b)}
	}()
	return c
}

func (p *phone) expect(c chan said, code int) said {
	p.t.Helper()
	got := <-c
	if got.code != code {
		p.t.Fatalf("%d %s, want %d", got.code, got.text, code)
	}
	return got
}

// TestPush: what is posted to an endpoint comes to its client as it is, and the
// sender is told when it has been taken (RFC 8030 §5).
func TestPush(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	url, body := p.register(), wrapped()
	if !strings.HasPrefix(url, o.URL+"/up/") || strings.Contains(url, "alice") {
		t.Fatal(url)
	}
	c := p.push("POST", url, body, "aes128gcm")
	el := p.next()
	push := el.Child(unified.NS, "push")
	if el.Get("from") != "up.localhost" || el.Get("type") != "set" || push.Get("application") != hash(1) || push.Get("instance") != hash(2) ||
		push.Text() != base64.StdEncoding.EncodeToString(body) {
		t.Fatalf("%s", el.Bytes())
	}
	p.send("<iq type='result' id='" + el.Get("id") + "' to='up.localhost'/>")
	got := p.expect(c, http.StatusCreated)
	if got.head.Get("TTL") != "0" {
		t.Error(got.head)
	}
	p.expect(p.push("GET", got.head.Get("Location"), nil, ""), http.StatusGone)
	if got := p.expect(p.push("GET", url, nil, ""), http.StatusOK); got.text != `{"unifiedpush":{"version":1}}` {
		t.Error(got.text)
	}
	// What passes is no end; what does not is.
	c = p.push("POST", url, body, "aes128gcm")
	p.send("<iq type='error' id='" + p.next().Get("id") + "' to='up.localhost'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	p.expect(c, http.StatusServiceUnavailable)
	c = p.push("POST", url, body, "aes128gcm")
	p.send("<iq type='error' id='" + p.next().Get("id") + "' to='up.localhost'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	p.expect(c, http.StatusNotFound)
	p.expect(p.push("POST", url, body, "aes128gcm"), http.StatusNotFound)
}

// TestEndpoint: an endpoint outlives the server, not its time nor its account;
// one that was made elsewhere is none.
func TestEndpoint(t *testing.T) {
	o := town.New(t, "alice", "bob")
	p := enter(t, o, "alice")
	url, body := p.register(), wrapped()
	p.leave()
	o.Close()
	o.Open()
	p.expect(p.push("POST", url, body, "aes128gcm"), http.StatusServiceUnavailable)
	p = enter(t, o, "alice")
	c := p.push("POST", url, body, "aes128gcm")
	// The answer of somebody else is none.
	el, q := p.next(), enter(t, o, "bob")
	q.send("<iq type='error' id='" + el.Get("id") + "' to='up.localhost'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq><iq type='get' id='b' to='up.localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	if q.next().Get("id") != "b" {
		t.Fatal("no answer")
	}
	p.send("<iq type='result' id='" + el.Get("id") + "' to='up.localhost'/>")
	p.expect(c, http.StatusCreated)
	for _, bad := range []string{o.URL + "/up/", o.URL + "/up/AAAA", url[:len(url)-2] + "AA", url + "A", o.URL + "/up/" + strings.Repeat("A", 7000)} {
		p.expect(p.push("POST", bad, body, "aes128gcm"), http.StatusNotFound)
	}
	other := town.New(t, "alice")
	foreign := enter(t, other, "alice").register()
	p.expect(p.push("POST", o.URL+strings.TrimPrefix(foreign, other.URL), body, "aes128gcm"), http.StatusNotFound)
	bobs := q.register()
	if err := o.Relay.DeleteUser("bob"); err != nil {
		t.Fatal(err)
	}
	p.expect(p.push("POST", bobs, body, "aes128gcm"), http.StatusNotFound)
	o.Pass(8 * 24 * time.Hour)
	p.expect(p.push("POST", url, body, "aes128gcm"), http.StatusNotFound)
}

// TestHostile: what is too long, empty or readable is refused, and floods are
// told to come later.
func TestHostile(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	url, body := p.register(), wrapped()
	p.expect(p.push("POST", url, make([]byte, 4097), "aes128gcm"), http.StatusRequestEntityTooLarge)
	p.expect(p.push("POST", url, nil, "aes128gcm"), http.StatusBadRequest)
	p.expect(p.push("POST", url, []byte("hello"), ""), http.StatusUnsupportedMediaType)
	p.expect(p.push("POST", url, []byte(strings.Repeat("hello ", 40)), "aes128gcm"), http.StatusUnsupportedMediaType)
	p.expect(p.push("POST", url, body, ""), http.StatusUnsupportedMediaType)
	p.expect(p.push("PUT", url, body, "aes128gcm"), http.StatusMethodNotAllowed)
	p.expect(p.push("OPTIONS", url, nil, ""), http.StatusNoContent)
	// Eight wait for the client, the ninth is not held.
	var all []chan said
	var ids []string
	for range 8 {
		all = append(all, p.push("POST", url, body, "aes128gcm"))
		ids = append(ids, p.next().Get("id"))
	}
	if got := p.expect(p.push("POST", url, body, "aes128gcm"), http.StatusTooManyRequests); got.head.Get("Retry-After") == "" {
		t.Error(got.head)
	}
	for i, c := range all {
		p.send("<iq type='result' id='" + ids[i] + "' to='up.localhost'/>")
		p.expect(c, http.StatusCreated)
	}
	// So many at once, then one now and then.
	refused := 0
	for range 60 {
		c := p.push("POST", url, body, "aes128gcm")
		select {
		case el := <-p.in:
			p.send("<iq type='result' id='" + el.Get("id") + "' to='up.localhost'/>")
			p.expect(c, http.StatusCreated)
		case got := <-c:
			if got.code != http.StatusTooManyRequests {
				t.Fatal(got)
			}
			refused++
		}
	}
	if refused == 0 {
		t.Error("nobody was refused")
	}
}
