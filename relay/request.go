// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"sort"

	"sotto/xmpp"
)

// Where names the two places that answer disco: the domain and an account.
type Where int

// The places of Server.Disco.
const (
	OnServer Where = iota
	OnAccount
)

type place struct {
	identities []Identity
	features   map[string]bool
}

// Identity is one identity of a place (XEP-0030 §3.1).
type Identity struct{ Category, Type, Name string }

// A Request is one IQ of type get or set that the server itself answers.
type Request struct {
	Server   *Server
	Session  *Session // of the sender
	From, To xmpp.JID // To is zero, the domain or a bare account address
	Type, ID string
	Payload  *xmpp.Element
	Stanza   *xmpp.Stanza
}

// Account is the account that the request is about: the addressee's, or the
// sender's own when there is no addressee (RFC 6120 §10.3.3).
func (r *Request) Account() string {
	if r.To.IsZero() || r.ToServer() {
		return r.From.Local
	}
	return r.To.Local
}

// Own says whether the sender asks about his own account.
func (r *Request) Own() bool { return r.Account() == r.From.Local && !r.ToServer() }

// ToServer says whether the domain was asked.
func (r *Request) ToServer() bool { return !r.To.IsZero() && r.To.Local == "" }

// Handler answers a Request with the result's payload (nil = empty result).
type Handler func(*Request) (*xmpp.Element, error)

// PresenceHook sees each presence that a session sends.
type PresenceHook func(x *Session, p *xmpp.Stanza, el *xmpp.Element) error

// HandleIQ registers the answer to one payload.
func (s *Server) HandleIQ(space, local string, h func(*Request) (*xmpp.Element, error)) {
	s.handlers[xmpp.Name{Space: space, Local: local}] = h
}

// Disco adds features to a place.
func (s *Server) Disco(w Where, features ...string) {
	p := s.disco[w]
	if p.features == nil {
		p.features = map[string]bool{}
	}
	for _, f := range features {
		p.features[f] = true
	}
}

// Identity adds an identity to a place.
func (s *Server) Identity(w Where, category, typ, name string) {
	p := s.disco[w]
	p.identities = append(p.identities, Identity{category, typ, name})
}

// Features lists a place's features, sorted.
func (s *Server) Features(w Where) []string {
	var all []string
	for f := range s.disco[w].features {
		all = append(all, f)
	}
	sort.Strings(all)
	return all
}

// Identities lists a place's identities.
func (s *Server) Identities(w Where) []Identity { return s.disco[w].identities }

// StreamFeature adds features offered after login (RFC 6120 §4.3.2).
func (s *Server) StreamFeature(f func() []*xmpp.Element) { s.features = append(s.features, f) }

// OnPresence adds a hook for all presence that sessions send.
func (s *Server) OnPresence(f PresenceHook) { s.presence = append(s.presence, f) }

// OnGone adds a hook for the end of a session.
func (s *Server) OnGone(f func(x *Session)) { s.gone = append(s.gone, f) }

// OnDelete adds a hook for the end of an account.
func (s *Server) OnDelete(f func(user string)) { s.deleted = append(s.deleted, f) }

// Sessions lists an account's sessions, live and parked.
func (s *Server) Sessions(user string) []*Session { return s.hub.of(user) }

// Find gives the session of a full address, or nil.
func (s *Server) Find(j xmpp.JID) *Session { return s.hub.find(j.Local, j.Resource) }
