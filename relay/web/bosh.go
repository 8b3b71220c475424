// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/frame"
)

// The namespaces of XEP-0124 and XEP-0206.
const (
	nsBind  = "http://jabber.org/protocol/httpbind"
	nsXBOSH = "urn:xmpp:xbosh"
)

// bosh is the table of BOSH sessions. There are not more of them than guests:
// each is one (relay's gate).
type bosh struct {
	s *relay.Server

	mu    sync.Mutex
	talks map[string]*talk
}

func newBosh(s *relay.Server) *bosh { return &bosh{s: s, talks: map[string]*talk{}} }

// serve answers one request (XEP-0124 §5).
func (b *bosh) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // no cookie is looked at
	switch r.Method {
	case http.MethodPost:
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		h.Set("Access-Control-Allow-Headers", "Content-Type")
		h.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		h.Set("Allow", "POST, OPTIONS")
		http.Error(w, "this is for BOSH", http.StatusMethodNotAllowed)
		return
	}
	h.Set("Content-Type", "text/xml; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(b.reply(w, r))
}

// read takes a body; a long one only of somebody who has logged in.
func (b *bosh) read(r io.Reader) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(r, strangerBody))
	if err != nil || len(raw) < strangerBody {
		return raw, err
	}
	tag := bytes.Clone(bytes.TrimRight(raw[:bytes.IndexByte(raw, '>')+1], "/>"))
	el, err := xmpp.Parse(append(tag, "/>"...), "")
	if err != nil {
		return nil, err
	}
	if t := b.talk(el.Get("sid")); t == nil || !t.loggedIn() {
		return nil, errLong
	}
	rest, err := io.ReadAll(io.LimitReader(r, int64(xmpp.AfterAuth.Bytes)))
	if err == nil && len(rest) == xmpp.AfterAuth.Bytes {
		err = errLong
	}
	return append(raw, rest...), err
}

const strangerBody = 16 << 10

var errLong = errors.New("the body is too long")

// terminate is XEP-0124 §17.2.
func terminate(condition string) []byte {
	return []byte("<body xmlns='" + nsBind + "' type='terminate' condition='" + condition + "'/>")
}

func (b *bosh) reply(w http.ResponseWriter, r *http.Request) []byte {
	raw, err := b.read(r.Body)
	if err != nil {
		return terminate("bad-request")
	}
	el, err := xmpp.Parse(raw, "")
	if err != nil || !el.Is(nsBind, "body") {
		return terminate("bad-request")
	}
	rid, err := strconv.ParseUint(el.Get("rid"), 10, 53) // XEP-0124 §4
	v := visitOf(r)
	if err != nil || rid == 0 || v == nil {
		return terminate("bad-request")
	}
	t := b.talk(el.Get("sid"))
	switch {
	case t == nil && el.Get("sid") != "":
		return terminate("item-not-found")
	case t == nil:
		if t = b.begin(v, el, rid); t == nil {
			return terminate("policy-violation")
		}
	}
	words := t.words(el)
	late := http.NewResponseController(w)
	_ = late.SetWriteDeadline(time.Now().Add(waitMax + requestTime))
	_ = late.SetReadDeadline(time.Now().Add(waitMax + requestTime))
	if t.loggedIn() {
		v.g.Welcome()
	}
	stop := context.AfterFunc(r.Context(), func() { t.mu.Lock(); t.news.Broadcast(); t.mu.Unlock() })
	defer stop()
	said, ok := t.hear(rid, words, func() bool { return r.Context().Err() != nil })
	if !ok {
		t.fail()
		return terminate("item-not-found") // XEP-0124 §14.1
	}
	return said
}

func (b *bosh) talk(sid string) *talk {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.talks[sid]
}

// begin makes a session (XEP-0124 §7, XEP-0206 §"Initiating a BOSH Session").
func (b *bosh) begin(v *visit, el *xmpp.Element, rid uint64) *talk {
	g, no := b.s.Enter(v.ctx, v.RemoteAddr())
	if no != nil {
		return nil
	}
	sid := relay.NewID()
	t := newTalk(sid, b.s.Domain(), v.LocalAddr(), v.RemoteAddr(), func() {
		b.mu.Lock()
		delete(b.talks, sid)
		b.mu.Unlock()
	})
	t.next, t.hold, t.wait = rid, holdMax, waitMax
	if n, err := strconv.Atoi(el.Get("hold")); err == nil && n >= 0 {
		t.hold = min(n, holdMax)
	}
	if n, err := strconv.Atoi(el.Get("wait")); err == nil && n > 0 {
		t.wait = min(time.Duration(n)*time.Second, waitMax)
	}
	open := []byte(" xmlns:xmpp='" + nsXBOSH + "' xmpp:version='1.0' xmpp:restartlogic='true' ver='1.11'")
	for _, a := range [][2]string{
		{"sid", sid}, {"from", b.s.Domain()}, {"wait", strconv.Itoa(int(t.wait / time.Second))}, {"hold", strconv.Itoa(t.hold)},
		{"requests", strconv.Itoa(requests)}, {"inactivity", strconv.Itoa(int(inactivity / time.Second))},
	} {
		open = xmpp.AppendAttr(open, a[0], a[1])
	}
	t.opening = string(open)
	b.mu.Lock()
	b.talks[sid] = t
	b.mu.Unlock()
	go g.Stream(v.ctx, t, false)
	return t
}

// words are what a body holds: the start of a stream, elements, its end.
func (t *talk) words(el *xmpp.Element) (all []word) {
	t.mu.Lock()
	first := len(t.recent) == 0
	t.mu.Unlock()
	if restart := attr(el, nsXBOSH, "restart"); first || restart == "true" || restart == "1" {
		open := xmpp.El(frame.NS, "open", "to", el.Get("to"), "version", attr(el, nsXBOSH, "version"), "xml:lang", el.Get("xml:lang"))
		if open.Get("to") == "" && !first {
			open.Set("to", t.domain) // a restart need not say it
		}
		if open.Get("version") == "" {
			open.Set("version", "1.0")
		}
		all = append(all, word{b: frame.Header(open), header: true})
	}
	for _, k := range el.Children() {
		all = append(all, word{b: k.Bytes()})
	}
	if el.Get("type") == "terminate" {
		all = append(all, word{b: []byte("</stream:stream>"), close: true})
	}
	return all
}

func attr(el *xmpp.Element, space, local string) string {
	for _, a := range el.Attr {
		if a.Name == (xmpp.Name{Space: space, Local: local}) {
			return a.Value
		}
	}
	return ""
}

// fail ends a session whose client broke the rules: its stream is lost.
func (t *talk) fail() {
	t.mu.Lock()
	t.lost = true
	t.settle()
	t.mu.Unlock()
	t.end()
}
