// SPDX-License-Identifier: Apache-2.0

package services

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// NS is XEP-0215's namespace.
const NS = "urn:xmpp:extdisco:2"

// life is how long one may log in at a relay with what was given out.
const life = 10 * time.Minute

// Options are an operator's choices.
type Options struct {
	URIs   []string // stun:host:port, turns:host:port?transport=tcp (RFC 7064, RFC 7065)
	Secret string   // that the TURN servers know, too (coturn: static-auth-secret)
}

// A service is one address of a server.
type service struct {
	kind, host, port, transport string
}

type services struct {
	s      *relay.Server
	all    []service
	secret string
}

// Add registers the family; without addresses there is nothing to tell.
func Add(s *relay.Server, o Options) error {
	all, err := o.read()
	if err != nil || len(all) == 0 {
		return err
	}
	v := &services{s: s, all: all, secret: o.Secret}
	s.HandleIQ(NS, "services", v.list)
	s.HandleIQ(NS, "credentials", v.credentials)
	s.Disco(relay.OnServer, NS)
	return nil
}

// Check says what is wrong with the options.
func (o Options) Check() error {
	_, err := o.read()
	return err
}

func (o Options) read() (all []service, err error) {
	for _, uri := range o.URIs {
		one, err := parse(uri)
		if err != nil {
			return nil, err
		}
		if one.relays() && o.Secret == "" {
			return nil, fmt.Errorf("%s: a TURN server needs a secret that it knows, too", uri)
		}
		all = append(all, one)
	}
	return all, nil
}

// parse reads an address as RFC 7064 §3.1 and RFC 7065 §3.1 write it.
func parse(uri string) (one service, err error) {
	kind, rest, _ := strings.Cut(uri, ":")
	rest, query, asked := strings.Cut(rest, "?")
	one = service{kind: kind, port: "3478", transport: "udp"}
	switch kind {
	case "stuns", "turns":
		one.port, one.transport = "5349", "tcp"
	case "stun", "turn":
	default:
		return one, fmt.Errorf("%q: an address begins with stun, stuns, turn or turns and a colon", uri)
	}
	if asked {
		t, ok := strings.CutPrefix(query, "transport=")
		if !ok || t != "udp" && t != "tcp" {
			return one, fmt.Errorf("%q: after ? stands transport=udp or transport=tcp", uri)
		}
		one.transport = t
	}
	one.host = strings.Trim(rest, "[]")
	if h, p, err := net.SplitHostPort(rest); err == nil {
		one.host, one.port = h, p
	}
	n, err := strconv.ParseUint(one.port, 10, 16)
	if err != nil || n == 0 || one.host == "" || strings.ContainsAny(one.host, "/@ ") || strings.Contains(one.host, ":") && net.ParseIP(one.host) == nil {
		return one, errors.New(uri + " is no host and port")
	}
	return one, nil
}

// relays says whether one must log in there.
func (o *service) relays() bool { return o.kind == "turn" || o.kind == "turns" }

// list is XEP-0215 §3.1 and §3.2, with credentials at once.
func (v *services) list(r *relay.Request) (*xmpp.Element, error) {
	if err := v.may(r); err != nil {
		return nil, err
	}
	kind := r.Payload.Get("type")
	el := xmpp.El(NS, "services")
	if kind != "" {
		el.Set("type", kind)
	}
	for i := range v.all {
		if kind == "" || v.all[i].kind == kind {
			el.Add(v.element(&v.all[i], r))
		}
	}
	return el, nil
}

// credentials is XEP-0215 §3.3.
func (v *services) credentials(r *relay.Request) (*xmpp.Element, error) {
	if err := v.may(r); err != nil {
		return nil, err
	}
	want := r.Payload.Child(NS, "service")
	if want.Get("host") == "" || want.Get("type") == "" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	el := xmpp.El(NS, "credentials")
	for i := range v.all {
		one := &v.all[i]
		if one.host == want.Get("host") && one.kind == want.Get("type") && (want.Get("port") == "" || want.Get("port") == one.port) {
			el.Add(v.element(one, r))
		}
	}
	if len(el.Children()) == 0 {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return el, nil
}

func (v *services) may(r *relay.Request) error {
	switch {
	case !r.ToServer():
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	case r.Type != "get":
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return nil
}

func (v *services) element(one *service, r *relay.Request) *xmpp.Element {
	el := xmpp.El(NS, "service", "type", one.kind, "host", one.host, "port", one.port, "transport", one.transport)
	if !one.relays() {
		return el
	}
	end := v.s.Now().Add(life)
	user, password := Credentials(v.secret, v.s.Store().Mark("turn", r.From.Local), end)
	return el.Set("username", user).Set("password", password).Set("expires", end.UTC().Format(time.RFC3339))
}

// Credentials are what a TURN server takes that knows the secret: the time at
// which they end and who it is, and what only one who knows the secret can
// make of that.
func Credentials(secret, who string, end time.Time) (user, password string) {
	user = strconv.FormatInt(end.Unix(), 10) + ":" + who
	m := hmac.New(sha1.New, []byte(secret))
	m.Write([]byte(user))
	return user, base64.StdEncoding.EncodeToString(m.Sum(nil))
}
