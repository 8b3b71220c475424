// SPDX-License-Identifier: Apache-2.0

package private

import (
	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// What one account may store.
const (
	keysMax  = 100
	valueMax = 64 << 10
	allMax   = 1 << 20
)

type private struct {
	s  *relay.Server
	mu relay.Locks // over each change of bookmarks, so that all roads show the same
}

// Add registers the family; relay/pubsub must have been added.
func Add(s *relay.Server) {
	p := &private{s: s}
	s.HandleIQ(xmpp.NSPrivate, "query", p.iq)
	s.Disco(relay.OnServer, xmpp.NSPrivate)
	s.Disco(relay.OnAccount, "urn:xmpp:bookmarks-conversion:0", xmpp.NSBookmarks+"#compat", xmpp.NSBookmarks+"#compat-pep")
	s.Disco(relay.OnAccount, "urn:xmpp:mds:server-assist:0")
	s.OnStanza(p.assist)
	s.OnPublish(p.published)
	s.Part(relay.Part{Out: p.out, In: p.in})
}

func (p *private) iq(r *relay.Request) (*xmpp.Element, error) {
	if !r.Own() {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) // XEP-0049 §2.3
	}
	kids := r.Payload.Children()
	if len(kids) == 0 || r.Type == "get" && len(kids) != 1 {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	for _, k := range kids {
		if k.Name.Space == xmpp.NSPrivate || k.Name.Space == xmpp.NSClient { // §2: a name space of its own
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
		}
	}
	if r.Type == "get" {
		k, err := p.get(r.From, kids[0])
		return xmpp.El(xmpp.NSPrivate, "query").Add(k), err
	}
	return nil, p.set(r.From, kids)
}

func bookmarks(k *xmpp.Element) bool { return k.Is(xmpp.NSBookmarksOld, "storage") }

func key(k *xmpp.Element) string { return k.Name.Space + " " + k.Name.Local }

// get is XEP-0049 §2.1: what is not there is empty.
func (p *private) get(who xmpp.JID, k *xmpp.Element) (*xmpp.Element, error) {
	if bookmarks(k) {
		return p.storage(who)
	}
	return p.read(who.Local, k.Name)
}

func (p *private) read(user string, n xmpp.Name) (*xmpp.Element, error) {
	el := xmpp.El(n.Space, n.Local)
	var raw []byte
	err := p.s.Store().View(user, func(rec *offline.Records) error {
		raw = rec.Get("private", key(el))
		return nil
	})
	if raw == nil || err != nil {
		return el, err
	}
	return xmpp.Parse(raw, xmpp.NSClient)
}

// set is XEP-0049 §2.2. Rooms have a place of their own; they go first, for more
// can be wrong with them.
func (p *private) set(who xmpp.JID, kids []*xmpp.Element) error {
	for _, k := range kids {
		if len(k.Bytes()) > valueMax {
			return full()
		}
	}
	mu := p.mu.Of(who.Local)
	mu.Lock()
	defer mu.Unlock()
	rooms := false
	for _, k := range kids {
		if !bookmarks(k) {
			continue
		}
		rooms = true
		if err := p.take(who, k); err != nil {
			return err
		}
	}
	err := p.s.Store().Update(who.Local, func(rec *offline.Records) error {
		sizes := map[string]int{}
		rec.Each("private", func(name string, v []byte) bool {
			sizes[name] = len(v)
			return true
		})
		for _, k := range kids {
			if bookmarks(k) {
				k = others(k)
			}
			b := k.Bytes()
			sizes[key(k)] = len(b)
			rec.Put("private", key(k), b)
		}
		all := 0
		for _, n := range sizes {
			all += n
		}
		if len(sizes) > keysMax || all > allMax {
			return full()
		}
		return nil
	})
	if err != nil || !rooms {
		return err
	}
	return p.mirror(who)
}

func full() error {
	return xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too much is stored")
}

// out is all of it (XEP-0227 §4.6); rooms are on the shelf, too.
func (p *private) out(user string) ([]*xmpp.Element, error) {
	q := xmpp.El(xmpp.NSPrivate, "query")
	err := p.s.Store().View(user, func(rec *offline.Records) (err error) {
		rec.Each("private", func(_ string, v []byte) bool {
			var el *xmpp.Element
			if el, err = xmpp.Parse(v, xmpp.NSClient); err == nil && len(el.Nodes) > 0 && !bookmarks(el) {
				q.Add(el)
			}
			return err == nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	rooms, err := p.storage(xmpp.JID{Local: user, Domain: p.s.Domain()})
	if err != nil {
		return nil, err
	}
	if len(rooms.Nodes) > 0 {
		q.Add(rooms)
	}
	if len(q.Nodes) == 0 {
		return nil, nil
	}
	return []*xmpp.Element{q}, nil
}

func (p *private) in(user string, el *xmpp.Element) (mine bool, err error) {
	kids := el.Children()
	if !el.Is(xmpp.NSPrivate, "query") || len(kids) == 0 {
		return el.Is(xmpp.NSPrivate, "query"), nil
	}
	return true, p.set(xmpp.JID{Local: user, Domain: p.s.Domain()}, kids)
}
