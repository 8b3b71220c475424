// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha1"
	"encoding/base64"
	"maps"
	"slices"
	"sort"
	"strings"

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
	forms      []*xmpp.Element
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
	After    func() // set by a handler: what follows the answer
}

// Account is the account that the request is about: the addressee's, or the
// sender's own when there is no addressee (RFC 6120 §10.3.3).
func (r *Request) Account() string {
	if r.To.IsZero() || r.ToServer() {
		return r.Server.Whose(r.From)
	}
	return r.To.Local
}

// Own says whether the sender asks about his own account.
func (r *Request) Own() bool { return r.Account() == r.Server.Whose(r.From) && !r.ToServer() }

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

// ForAll says that people of other servers may ask this, too; all else is for
// those who have logged in here.
func (s *Server) ForAll(space string, locals ...string) {
	for _, l := range locals {
		s.forAll[xmpp.Name{Space: space, Local: l}] = true
	}
}

// Answers lists what payloads the server answers.
func (s *Server) Answers() []xmpp.Name { return slices.Collect(maps.Keys(s.handlers)) }

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

// DiscoForm adds a form to what a place says of itself (XEP-0128 §2).
func (s *Server) DiscoForm(w Where, x *xmpp.Element) {
	s.disco[w].forms = append(s.disco[w].forms, x)
}

// Forms lists a place's forms.
func (s *Server) Forms(w Where) []*xmpp.Element { return s.disco[w].forms }

// Identities lists a place's identities.
func (s *Server) Identities(w Where) []Identity { return s.disco[w].identities }

// OnBind adds what is said in the answer to a bind (XEP-0386 §4).
func (s *Server) OnBind(f func(x *Session) []*xmpp.Element) { s.bound = append(s.bound, f) }

// StreamFeature adds features offered after login (RFC 6120 §4.3.2).
func (s *Server) StreamFeature(f func() []*xmpp.Element) { s.features = append(s.features, f) }

// OnPresence adds a hook for all presence that sessions send.
func (s *Server) OnPresence(f PresenceHook) { s.presence = append(s.presence, f) }

// OnDress adds a hook that completes available presence before anybody sees it.
func (s *Server) OnDress(f func(x *Session, el *xmpp.Element)) { s.dress = append(s.dress, f) }

// Refresh shows the session's presence again, as edit changes it.
func (x *Session) Refresh(edit func(el *xmpp.Element)) error {
	for {
		x.mu.Lock()
		old := x.presence
		x.mu.Unlock()
		if old == nil {
			return nil
		}
		el := old.Clone()
		edit(el)
		st, err := xmpp.StanzaOf(el)
		if err != nil {
			return err
		}
		x.mu.Lock()
		same := x.presence == old
		if same {
			x.presence = el.Clone()
			old = x.presence
		}
		x.mu.Unlock()
		if !same {
			continue
		}
		for _, f := range x.s.presence {
			if err := f(x, st, el); err != nil {
				return err
			}
		}
		x.remember()
		x.mu.Lock()
		done := x.presence == old
		x.mu.Unlock()
		if done { // else the client changed it meanwhile: the last one shown must be that
			return nil
		}
	}
}

// OnStanza adds a look at each stanza that a session sends, before it goes
// anywhere; an error refuses it.
func (s *Server) OnStanza(f func(x *Session, st *xmpp.Stanza) error) { s.looks = append(s.looks, f) }

// OnGone adds a hook for the end of a session.
func (s *Server) OnGone(f func(x *Session)) { s.gone = append(s.gone, f) }

// OnRevive adds a hook for a session that is resumed after a crash.
func (s *Server) OnRevive(f func(x *Session)) { s.revived = append(s.revived, f) }

// OnDelete adds a hook for the end of an account.
func (s *Server) OnDelete(f func(user string)) { s.deleted = append(s.deleted, f) }

// Sessions lists an account's sessions, live and parked.
func (s *Server) Sessions(user string) []*Session { return s.hub.of(user) }

// Find gives the session of a full address, or nil. For people of other
// servers there is always one.
func (s *Server) Find(j xmpp.JID) *Session {
	switch {
	case s.Local(j):
		return s.hub.find(j.Local, j.Resource)
	case s.Elsewhere(j):
		return s.foreigner(j)
	}
	return nil
}

// iq answers or forwards one IQ (RFC 6120 §8.2.3, §10.3, §10.5).
func (s *Server) iq(x *Session, st *xmpp.Stanza) error {
	switch st.Type {
	case "get", "set":
		if st.ID == "" {
			return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
	case "result", "error":
	default:
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	asks := st.Type == "get" || st.Type == "set"
	if st.HasTo && st.To.Local != "" && st.To.Resource != "" {
		return s.iqToDevice(x, st, asks)
	}
	if !asks {
		x.answered(st)
		return nil
	}
	return s.iqToServer(x, st)
}

// iqToDevice is RFC 6121 §8.5.3: only that device may answer.
func (s *Server) iqToDevice(x *Session, st *xmpp.Stanza, asks bool) error {
	if err := s.blocked(x, st.To); err != nil && asks {
		return err
	}
	y := s.hub.find(st.To.Local, st.To.Resource)
	if y == nil || asks && s.Blocks(st.To.Local, x.jid) || asks && y.user != x.user && st.Has(xmpp.NSRoster, "query") { // only we push lists (RFC 6121 §2.1.6)
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	b := st.AppendAs(nil, x.jid, st.To, nil, nil)
	if y == x {
		x.push(b, "", false)
	} else if !y.offer(b, "", false) {
		return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too much waits for that device")
	}
	return nil
}

func (s *Server) iqToServer(x *Session, st *xmpp.Stanza) error {
	el, err := st.Element()
	if err != nil {
		return err
	}
	kids := el.Children()
	if len(kids) != 1 {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // RFC 6120 §8.2.3 rule 4
	}
	h := s.handlers[kids[0].Name]
	if h == nil || st.To.Local == "" && st.To.Resource != "" || x.abroad && !s.forAll[kids[0].Name] {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if err := s.reachable(x, st.To); err != nil {
		return err
	}
	r := &Request{
		Server: s, Session: x, From: x.jid, To: st.To, Type: st.Type, ID: st.ID,
		Payload: kids[0], Stanza: st,
	}
	payload, err := h(r)
	if err != nil {
		return err
	}
	res := xmpp.El(xmpp.NSClient, "iq", "type", "result", "id", st.ID, "to", x.jid.String())
	if st.HasTo {
		res.Set("from", st.To.String())
	}
	if payload != nil {
		res.Add(payload)
	}
	x.Push(res)
	if r.After != nil {
		r.After()
	}
	return nil
}

// Do asks what the server answers to the owner of an account; no client of his
// plays a part.
func (s *Server) Do(user, typ string, q *xmpp.Element) (*xmpp.Element, error) {
	h := s.handlers[q.Name]
	if h == nil {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	from := s.jidOf(user)
	st, err := xmpp.StanzaOf(xmpp.El(xmpp.NSClient, "iq", "type", typ, "id", NewID(), "from", from.String(), "to", from.String()).Add(q))
	if err != nil {
		return nil, err
	}
	return h(&Request{Server: s, From: from, To: from, Type: typ, ID: st.ID, Payload: q, Stanza: st})
}

// reachable refuses what a block forbids (XEP-0191 §3.2). An account that does
// not exist goes on to the handlers: they find nothing that the asker may see,
// and answer as for one that does not know him (RFC 6121 §8.5.1).
func (s *Server) reachable(x *Session, to xmpp.JID) error {
	if to.Local == "" || to.Local == x.user {
		return nil
	}
	if err := s.blocked(x, to); err != nil {
		return err
	}
	if s.Blocks(to.Local, x.jid) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	return nil
}

// blocked refuses what a user sends to somebody he blocks (XEP-0191 §3.2).
func (s *Server) blocked(x *Session, to xmpp.JID) error {
	if x.abroad || s.Whose(to) == x.user || !s.Blocks(x.user, to) {
		return nil
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.NotAcceptable).With(xmpp.El(xmpp.NSBlockErr, "blocked"))
}

// asksMax bounds the server's open questions to one client.
const asksMax = 32

// Ask sends an IQ to the session's client and calls then with the answer, in
// the reader of that session. Nothing is called when no answer comes.
func (x *Session) Ask(el *xmpp.Element, then func(*xmpp.Stanza)) {
	id := NewID()
	el.Set("id", id).Set("to", x.jid.String())
	if el.Get("from") == "" {
		el.Set("from", x.s.opt.Domain)
	}
	x.mu.Lock()
	room := len(x.asks) < asksMax
	if room {
		if x.asks == nil {
			x.asks = map[string]func(*xmpp.Stanza){}
		}
		x.asks[id] = then
	}
	x.mu.Unlock()
	if room {
		x.Push(el)
	}
}

// answered matches a client's answer to our question by its unguessable id.
func (x *Session) answered(st *xmpp.Stanza) {
	if x.ponged(st.ID) || st.HasTo && x.s.heard(x.jid, st) {
		return
	}
	x.mu.Lock()
	then := x.asks[st.ID]
	delete(x.asks, st.ID)
	x.mu.Unlock()
	if then != nil {
		then(st)
	}
}

// CapsHash is the verification string of a disco#info answer (XEP-0115 §5.1).
func CapsHash(q *xmpp.Element) string {
	var ids, features, forms []string
	for _, k := range q.Children() {
		switch {
		case k.Is(xmpp.NSDiscoInfo, "identity"):
			ids = append(ids, k.Get("category")+"/"+k.Get("type")+"/"+k.Get("xml:lang")+"/"+k.Get("name")+"<")
		case k.Is(xmpp.NSDiscoInfo, "feature"):
			features = append(features, k.Get("var")+"<")
		case k.Is(xmpp.NSData, "x"):
			forms = append(forms, form(k))
		}
	}
	for _, l := range [][]string{ids, features, forms} {
		slices.Sort(l)
	}
	sum := sha1.Sum([]byte(strings.Join(ids, "") + strings.Join(features, "") + strings.Join(forms, "")))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func form(x *xmpp.Element) string {
	var typ string
	var fields []string
	for _, f := range x.Children() {
		if !f.Is(xmpp.NSData, "field") {
			continue
		}
		var values []string
		for _, v := range f.Children() {
			values = append(values, v.Text()+"<")
		}
		slices.Sort(values)
		if f.Get("var") == "FORM_TYPE" {
			typ = strings.Join(values, "")
			continue
		}
		fields = append(fields, f.Get("var")+"<"+strings.Join(values, ""))
	}
	slices.Sort(fields)
	return typ + strings.Join(fields, "")
}
