// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"errors"
	"slices"
	"sync"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/mam"
)

type archive struct {
	s *relay.Server

	mu    sync.Mutex
	known map[string]mam.Choice // of accounts
	turns int                   // counts changes
}

// Add registers the family.
func Add(s *relay.Server) {
	a := &archive{s: s, known: map[string]mam.Choice{}}
	s.Archives = a.archives
	s.OnDelete(a.forget)
	s.HandleIQ(xmpp.NSMAM, "query", a.query)
	s.HandleIQ(xmpp.NSMAM, "metadata", a.metadata)
	s.HandleIQ(xmpp.NSMAM, "prefs", a.prefs)
	s.Disco(relay.OnAccount, xmpp.NSMAM, xmpp.NSMAM+"#extended")
	if s.Reads() {
		s.Disco(relay.OnAccount, mam.NSText)
	}
	s.Disco(relay.OnServer, xmpp.NSPolicy, xmpp.NSMAM) // profanity looks only there for the account's archive
	s.DiscoForm(relay.OnServer, a.policy())
	s.OnBind(func(x *relay.Session) []*xmpp.Element {
		el, err := a.ends(x)
		if err != nil {
			s.Log().Warn("archive not read", "err", err)
			return nil
		}
		return []*xmpp.Element{el}
	})
}

// own refuses whoever asks for an archive that is not his (XEP-0313 §8.1).
func own(r *relay.Request) error {
	switch {
	case r.ToServer(): // the domain has none
		return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
	case !r.Own():
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	return nil
}

// search looks in what the mode keeps. What is on its way to the device as mail
// is not given once more: Converse.js decrypts both, and the second one fails.
func (a *archive) search(x *relay.Session, f mam.Find) (offline.Found, error) {
	var r offline.Found
	var err error
	if a.s.Keeps() {
		r, err = a.s.Store().History(x.User(), offline.Find(f))
	} else {
		r, err = a.s.Store().Waiting(x.User(), x.Device(), x.Written(), offline.Find(f))
	}
	if errors.Is(err, offline.ErrGone) { // XEP-0313 §4.3.2: an id that is not there
		err = xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return r, err
}

// query is XEP-0313 §4: the results, then the answer.
func (a *archive) query(r *relay.Request) (*xmpp.Element, error) {
	if err := own(r); err != nil {
		return nil, err
	}
	if r.Type == "get" {
		return mam.Form(a.s.Reads()), nil
	}
	q, err := mam.Parse(r.Payload)
	if err != nil {
		return nil, err
	}
	if len(q.Text) > 0 && !a.s.Reads() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
	}
	if r.Session.Stuffed() {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("read, and ack, what you asked for before")
	}
	found, err := a.search(r.Session, q.Find)
	if err != nil {
		return nil, err
	}
	bare := r.From.Bare().String()
	results := make([]*xmpp.Element, 0, len(found.Mail))
	for i := range found.Mail {
		m := &found.Mail[i]
		el, err := original(m, r.From.Bare())
		if err != nil {
			return nil, err
		}
		results = append(results, q.Result(bare, r.From, relay.NewID(), m.Archive, m.At, el))
	}
	if q.Flip {
		slices.Reverse(results)
	}
	for _, el := range results {
		r.Session.Push(el)
	}
	return q.Fin(mam.Page{
		Complete: found.Complete, First: found.First, Last: found.Last, Count: found.Count, Index: found.Index,
	}), nil
}

// original is the message as it was sent: a copy (XEP-0280) is unwrapped.
func original(m *offline.Mail, own xmpp.JID) (*xmpp.Element, error) {
	el, err := relay.Opened(m, own)
	if err != nil || el.Get("from") != own.String() {
		return el, err
	}
	for _, word := range []string{"sent", "received"} {
		inner := el.Child(xmpp.NSCarbons, word).Child(xmpp.NSForward, "forwarded").Child(xmpp.NSClient, "message")
		if inner != nil {
			return inner, nil
		}
	}
	return el, nil
}

// metadata is XEP-0313 §5.
func (a *archive) metadata(r *relay.Request) (*xmpp.Element, error) {
	if err := own(r); err != nil {
		return nil, err
	}
	if r.Type != "get" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return a.ends(r.Session)
}

func (a *archive) ends(x *relay.Session) (*xmpp.Element, error) {
	var ends [2]*mam.End
	for i := range ends {
		r, err := a.search(x, mam.Find{Max: 1, Last: i == 1})
		if err != nil {
			return nil, err
		}
		if len(r.Mail) > 0 {
			ends[i] = &mam.End{ID: r.Mail[0].Archive, At: r.Mail[0].At}
		}
	}
	return mam.Metadata(ends[0], ends[1]), nil
}
