// SPDX-License-Identifier: Apache-2.0

package vcard

import (
	"sync"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// cardMax bounds a vCard beside its picture, photoMax a picture.
const (
	cardMax  = 32 << 10
	photoMax = 90 << 10 // as bytes; base64 makes them four thirds
)

type vcard struct {
	s  *relay.Server
	mu relay.Locks // over each change, so that both forms stay alike

	shyMu sync.Mutex
	shy   map[*relay.Session]bool // whose client wants no picture in its presence
}

// Add registers the family; relay/pubsub must have been added.
func Add(s *relay.Server) {
	v := &vcard{s: s, shy: map[*relay.Session]bool{}}
	s.HandleIQ(xmpp.NSVCard, "vCard", v.iq)
	s.ForAll(xmpp.NSVCard, "vCard")
	s.Disco(relay.OnServer, xmpp.NSVCard)
	s.Disco(relay.OnAccount, xmpp.NSVCard, "urn:xmpp:pep-vcard-conversion:0")
	s.OnDress(v.dress)
	s.OnPublish(v.published)
	s.OnGone(func(x *relay.Session) {
		v.shyMu.Lock()
		defer v.shyMu.Unlock()
		delete(v.shy, x)
	})
}

func (v *vcard) iq(r *relay.Request) (*xmpp.Element, error) {
	if r.ToServer() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	if r.Type == "get" {
		return v.get(r)
	}
	if !r.Own() {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) // XEP-0054 §3.2
	}
	return nil, v.set(r.From.Local, r.Payload)
}

// The records of kind "vcard".
const (
	keyCard  = "card"  // vcard-temp without its picture
	keyFrom4 = "from4" // the card was made of the new form, which has an access model
	keyHash  = "hash"  // of the picture; empty after one was taken away
)

// get is XEP-0054 §3.1. Who is not there and who shows nothing are alike.
func (v *vcard) get(r *relay.Request) (*xmpp.Element, error) {
	user := r.Account()
	var raw []byte
	from4 := false
	err := v.s.Store().View(user, func(rec *offline.Records) error {
		raw, from4 = rec.Get("vcard", keyCard), rec.Get("vcard", keyFrom4) != nil
		return nil
	})
	if err != nil {
		return nil, err
	}
	if from4 && !r.Own() {
		if _, err := v.s.Shelf.Items(user, xmpp.NSVCard4Node, r.From); err != nil {
			raw = nil
		}
	}
	card := xmpp.El(xmpp.NSVCard, "vCard")
	if raw != nil {
		if card, err = xmpp.Parse(raw, xmpp.NSClient); err != nil {
			return nil, err
		}
	}
	photo := v.photo(user, r.From)
	if raw == nil && photo == nil && !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return card.Add(photo), nil
}

// set takes a whole vCard (XEP-0054 §3.2): its picture goes to the shelf, its
// words to the new form, too.
func (v *vcard) set(user string, card *xmpp.Element) error {
	rest := xmpp.El(xmpp.NSVCard, "vCard")
	var photo *xmpp.Element
	for _, k := range card.Children() {
		if k.Is(xmpp.NSVCard, "PHOTO") && k.Child(xmpp.NSVCard, "EXTVAL") == nil {
			photo = k
			continue
		}
		rest.Add(k)
	}
	pic, err := readPhoto(photo)
	if err != nil {
		return err
	}
	b := rest.Bytes()
	if len(b) > cardMax {
		return tooLarge()
	}
	mu := v.mu.Of(user)
	mu.Lock()
	defer mu.Unlock()
	if err := v.setPicture(user, pic); err != nil {
		return err
	}
	err = v.s.Store().Update(user, func(rec *offline.Records) error {
		rec.Put("vcard", keyCard, b)
		rec.Delete("vcard", keyFrom4)
		return nil
	})
	if err != nil {
		return err
	}
	return v.s.Shelf.Put(user, xmpp.NSVCard4Node, "open", xmpp.El(xmpp.NSPubsub, "item", "id", "current").Add(toFour(rest)))
}

func tooLarge() error {
	return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("the vCard is too large")
}

// published follows what people change in the new form themselves.
func (v *vcard) published(user, node string) {
	mu := v.mu.Of(user)
	mu.Lock()
	defer mu.Unlock()
	var err error
	switch node {
	case xmpp.NSAvatar: // the data comes before, and alone says nothing (XEP-0398 §3.1)
		err = v.picture(user)
	case xmpp.NSVCard4Node:
		err = v.words(user)
	}
	if err != nil {
		v.s.Log().Error("vcard", "node", node, "err", err)
	}
}

// words makes the old form of a new one (XEP-0292 §4).
func (v *vcard) words(user string) error {
	all, err := v.s.Shelf.Items(user, xmpp.NSVCard4Node, xmpp.JID{Local: user, Domain: v.s.Domain()})
	var card *xmpp.Element
	if err == nil && len(all) > 0 {
		card = fromFour(all[len(all)-1].Child(xmpp.NSVCard4, "vcard"))
	}
	return v.s.Store().Update(user, func(rec *offline.Records) error {
		if card == nil {
			rec.Delete("vcard", keyCard)
			return nil
		}
		if b := card.Bytes(); len(b) <= cardMax {
			rec.Put("vcard", keyCard, b)
			rec.Put("vcard", keyFrom4, []byte{1})
		}
		return nil
	})
}
