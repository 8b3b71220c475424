// SPDX-License-Identifier: Apache-2.0

package unified

import (
	"crypto/cipher"
	"encoding/base64"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sotto/relay"
	"sotto/xmpp"
)

// NS is the namespace of the draft that Conversations speaks.
const NS = "http://gultsch.de/xmpp/drafts/unified-push"

type unified struct {
	// fixed: set by Add, read-only after.
	s    *relay.Server
	seal cipher.AEAD
	host string

	// shared: guarded by mu.
	mu      sync.Mutex
	open    map[string]*pending // pushes that a client has not answered, by the id of the IQ
	busy    map[string]int      // of them, by account
	limits  map[string]*rate.Limiter
	revoked map[endpoint]struct{}
}

// pending is a push on its way.
type pending struct {
	to   xmpp.JID
	done chan answer // capacity 1
}

// answer is what a client said of a push.
type answer uint8

const (
	taken answer = iota
	refused
	gone // the app is not there any more
)

// Add registers the family, if the server has HTTPS.
func Add(s *relay.Server) {
	if s.URL() == "" {
		return
	}
	seal, err := sealer(s.Store())
	if err != nil {
		s.Log().Error("UnifiedPush is off", "err", err)
		return
	}
	u := &unified{
		s: s, seal: seal, host: "up." + s.Domain(), open: map[string]*pending{}, busy: map[string]int{},
		limits: map[string]*rate.Limiter{}, revoked: map[endpoint]struct{}{},
	}
	s.Host(u.host, "UnifiedPush", u.visit)
	s.HandleHTTP("/up/", u.serve)
}

// visit takes what is addressed to the provider.
func (u *unified) visit(e *relay.Errand) error {
	if st := e.Stanza; st.Kind == xmpp.KindIQ && st.Type != "get" && st.Type != "set" {
		el, err := st.Element()
		if err == nil {
			u.answered(e.From, st, el)
		}
		return err
	}
	q, err := e.Asked(func() *xmpp.Element { return relay.Info("component", "generic", "UnifiedPush", NS) })
	switch {
	case q == nil:
		return err
	case e.Stanza.Type != "set" || !q.Is(NS, "register"):
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	res, err := u.register(e.From, q)
	if err != nil {
		return err
	}
	e.Answer(xmpp.ResultOf(e.Stanza, res))
	return nil
}

// register makes an endpoint for one app, for people here only.
func (u *unified) register(from xmpp.JID, q *xmpp.Element) (*xmpp.Element, error) {
	if !u.s.Local(from) || from.Local == "" || from.Resource == "" {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	e := endpoint{until: u.s.Now().Add(life).Truncate(time.Second), to: from}
	for name, into := range map[string]*[32]byte{"application": &e.app, "instance": &e.inst} {
		b, err := base64.StdEncoding.DecodeString(q.Get(name))
		if err != nil || len(b) != len(into) {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).Say("the " + name + " must be a hash of 32 bytes")
		}
		copy(into[:], b)
	}
	return xmpp.El(NS, "registered", "expiration", e.until.UTC().Format(time.RFC3339),
		"endpoint", u.s.URL()+"/up/"+e.token(u.seal)), nil
}

// The limits of pushes.
const (
	pendingMax = 1024
	pendingOwn = 8               // of one account
	burst      = 60              // of one account, then one each
	each       = 5 * time.Second // a phone that is woken more often has no battery left
	revokedMax = 10_000
	limitsMax  = 10_000
)

// send gives a push to the client; the function ends what it began.
func (u *unified) send(e *endpoint, body []byte) (p *pending, end func(), busy bool) {
	id, user := relay.NewID(), e.to.Local
	y := u.s.Find(e.to)
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) >= pendingMax || u.busy[user] >= pendingOwn || !u.limit(user).Allow() {
		return nil, nil, true
	}
	el := xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", id, "from", u.host, "to", e.to.String()).Add(
		xmpp.El(NS, "push", "application", base64.StdEncoding.EncodeToString(e.app[:]), "instance", base64.StdEncoding.EncodeToString(e.inst[:])).
			WithText(base64.StdEncoding.EncodeToString(body)))
	if y == nil || !u.s.Reached(user, y.Device()) || !y.Offer(el) {
		return nil, nil, false
	}
	p = &pending{e.to, make(chan answer, 1)}
	u.open[id] = p
	u.busy[user]++
	return p, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		delete(u.open, id)
		if u.busy[user]--; u.busy[user] == 0 {
			delete(u.busy, user)
		}
	}, false
}

func (u *unified) limit(user string) *rate.Limiter {
	l := u.limits[user]
	if l == nil {
		if len(u.limits) >= limitsMax {
			clear(u.limits)
		}
		l = rate.NewLimiter(rate.Every(each), burst)
		u.limits[user] = l
	}
	return l
}

// answered takes what a client says of a push.
func (u *unified) answered(from xmpp.JID, st *xmpp.Stanza, el *xmpp.Element) {
	a := taken
	if st.Type == "error" {
		a = refused
		if no := xmpp.StanzaErrorOf(el); no != nil && (no.Cond == xmpp.ItemNotFound || no.Cond == xmpp.FeatureNotImplemented) {
			a = gone
		}
	}
	u.mu.Lock()
	p := u.open[st.ID]
	u.mu.Unlock()
	if p == nil || p.to != from {
		return
	}
	select {
	case p.done <- a:
	default:
	}
}

// revoke notes that an endpoint is no more, until a restart; then its client
// says so again.
func (u *unified) revoke(e *endpoint) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.revoked) >= revokedMax {
		clear(u.revoked)
	}
	u.revoked[*e] = struct{}{}
}

func (u *unified) isRevoked(e *endpoint) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, is := u.revoked[*e]
	return is
}
