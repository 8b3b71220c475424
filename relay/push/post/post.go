// SPDX-License-Identifier: Apache-2.0

package post

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/SherClockHolmes/webpush-go"
)

// Options are an operator's choices.
type Options struct {
	Allow   []netip.Prefix // networks that may be called though they are not public
	Roots   *x509.CertPool // whose certificates count; nil: the system's
	Contact string         // https: or mailto: of who runs the server (RFC 8292 §2.1)
	Key     []byte         // of NewKey
	FCM     []byte         // the file of a Firebase service account; nil: none
	FCMURL  string         // of its API; empty: Google's
	Time    time.Duration  // for one wake; default 10 s
}

// A Post carries wakes; anybody may call it.
type Post struct {
	o        Options
	http     *http.Client
	key, pub string // VAPID, as base64url
	fcm      *fcm   // nil: off
}

// NewKey makes a key for Options.Key.
func NewKey() ([]byte, error) {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return k.Bytes(), nil
}

// New makes a Post.
func New(o Options) (*Post, error) {
	k, err := ecdh.P256().NewPrivateKey(o.Key)
	if err != nil {
		return nil, err
	}
	b64 := base64.RawURLEncoding
	p := &Post{o: o, http: client(o.Allow, o.Roots, cmp.Or(o.Time, wholeTime)), key: b64.EncodeToString(o.Key), pub: b64.EncodeToString(k.PublicKey().Bytes())}
	if o.FCM != nil {
		p.fcm, err = newFCM(o.FCM, o.FCMURL, p.http)
	}
	return p, err
}

// Key is the public key that a browser wants to know (RFC 8292 §3.2).
func (p *Post) Key() string { return p.pub }

// FCM says whether there is a Firebase account.
func (p *Post) FCM() bool { return p.fcm != nil }

// A Target is where a device is woken: by an Endpoint, with keys or without, or
// by a Firebase token.
type Target struct{ Endpoint, P256dh, Auth, Token string }

// Place names the service that is called.
func (t *Target) Place() string {
	u, err := url.Parse(t.Endpoint)
	if err != nil {
		return ""
	}
	return u.Host
}

// endpointMax bounds endpoints and tokens.
const endpointMax = 1024

// Check says what is wrong with a target.
func (p *Post) Check(t *Target) error {
	switch {
	case len(t.Endpoint) > endpointMax || len(t.Token) > endpointMax:
		return errors.New("the endpoint is too long")
	case t.Token != "" && t.Endpoint+t.P256dh+t.Auth != "":
		return errors.New("give an endpoint or a token")
	case t.Token != "" && p.fcm == nil:
		return errors.New("this server has no Firebase account")
	case t.Token != "":
		return nil
	}
	if err := p.checkURL(t.Endpoint); err != nil {
		return err
	}
	if t.P256dh == "" && t.Auth == "" {
		return nil
	}
	if _, err := ecdh.P256().NewPublicKey(bytesOf(t.P256dh)); err != nil {
		return errors.New("p256dh is no key (RFC 8291 §2.1)")
	}
	if len(bytesOf(t.Auth)) != 16 {
		return errors.New("auth is not 16 bytes (RFC 8291 §3.2)")
	}
	return nil
}

// checkURL is a first look: the address that counts is the one that is dialled.
func (p *Post) checkURL(s string) error {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" {
		return errors.New("the endpoint is no https address")
	}
	if port, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || port != 443 && port < 1024 || port > 65535) {
		return errors.New("the endpoint's port is not for https")
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && !mayCall(ip, p.o.Allow) {
		return errors.New("the endpoint is not a public address")
	}
	return nil
}

// bytesOf reads base64url, with padding or without.
func bytesOf(s string) []byte {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil
	}
	return b
}

// An Outcome is what came of a wake; the zero value is that it was taken.
type Outcome struct {
	Gone  bool          // the target is worth nothing any more
	Again bool          // it failed, and may be tried again
	Ours  bool          // it failed by our own fault
	After time.Duration // not before
}

// A kind is all there is to say in a wake.
type kind struct {
	word    string
	ttl     int // seconds
	urgency webpush.Urgency
}

// A call is worth nothing after a minute (RFC 8030 §5.2, §5.3). The words are of
// one length, and encrypted with as much padding.
var (
	mail = kind{"mail", 24 * 3600, webpush.UrgencyNormal}
	call = kind{"call", 60, webpush.UrgencyHigh}
)

// body is what a service worker or an app reads.
func (k *kind) body() []byte { return []byte(`{"wake":"` + k.word + `"}`) }

// recordSize is the length of each encrypted wake (RFC 8188 §2).
const recordSize = 256

// Send carries a wake; ring: it is a call.
func (p *Post) Send(ctx context.Context, t *Target, ring bool) Outcome {
	k := &mail
	if ring {
		k = &call
	}
	switch {
	case t.Token != "":
		if p.fcm == nil {
			return Outcome{Again: true, Ours: true, After: time.Hour}
		}
		return p.fcm.send(ctx, t.Token, k)
	case p.Check(t) != nil:
		return Outcome{Gone: true}
	case t.P256dh == "":
		return p.plain(ctx, t.Endpoint, k)
	}
	res, err := webpush.SendNotificationWithContext(ctx, k.body(),
		&webpush.Subscription{Endpoint: t.Endpoint, Keys: webpush.Keys{
			Auth: base64.RawURLEncoding.EncodeToString(bytesOf(t.Auth)), P256dh: base64.RawURLEncoding.EncodeToString(bytesOf(t.P256dh))}},
		&webpush.Options{
			HTTPClient: p.http, RecordSize: recordSize, Subscriber: strings.TrimPrefix(p.o.Contact, "mailto:"), Topic: k.word, TTL: k.ttl,
			Urgency: k.urgency, VAPIDPublicKey: p.pub, VAPIDPrivateKey: p.key,
		})
	return judge(res, err)
}

// plain is for endpoints of UnifiedPush that came without keys.
func (p *Post) plain(ctx context.Context, endpoint string, k *kind) Outcome {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, bytes.NewReader(k.body()))
	if err != nil {
		return Outcome{Gone: true}
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("TTL", strconv.Itoa(k.ttl))
	req.Header.Set("Urgency", string(k.urgency))
	req.Header.Set("Topic", k.word)
	return judge(p.http.Do(req))
}

// judge reads an answer (RFC 8030 §5, §7.3).
func judge(res *http.Response, err error) Outcome {
	if err != nil {
		return Outcome{Again: true}
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, bodyMax)
	switch {
	case res.StatusCode/100 == 2:
		return Outcome{}
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		return Outcome{Gone: true}
	}
	return Outcome{Again: true, After: wait(res.Header.Get("Retry-After"), time.Now())}
}

// waitMax is how long we let a service put us off.
const waitMax = 24 * time.Hour

// wait reads Retry-After (RFC 9110 §10.2.3).
func wait(s string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(s, 10, 31); err == nil {
		return min(time.Duration(n)*time.Second, waitMax)
	}
	if at, err := http.ParseTime(s); err == nil {
		return min(max(0, at.Sub(now)), waitMax)
	}
	return 0
}
