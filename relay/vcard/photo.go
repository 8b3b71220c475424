// SPDX-License-Identifier: Apache-2.0

package vcard

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strconv"
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// A picture is an avatar, checked.
type picture struct {
	id, typ string
	b64     string
	size    int
}

func decode(text string) ([]byte, error) {
	return base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
}

// readPhoto reads a vCard's PHOTO; nil when there is none (XEP-0153 §3.1).
func readPhoto(el *xmpp.Element) (*picture, error) {
	text := el.Child(xmpp.NSVCard, "BINVAL").Text()
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	if len(text) > 2*photoMax {
		return nil, tooLarge()
	}
	b, err := decode(text)
	if err != nil || len(b) == 0 {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).Say("the picture is not base64")
	}
	if len(b) > photoMax {
		return nil, tooLarge()
	}
	sum := sha1.Sum(b)
	p := &picture{
		id: hex.EncodeToString(sum[:]), typ: el.Child(xmpp.NSVCard, "TYPE").Text(),
		b64: base64.StdEncoding.EncodeToString(b), size: len(b),
	}
	if p.typ == "" || len(p.typ) > 64 {
		p.typ = "image/png" // XEP-0084 §4.2.1: the one that all must know
	}
	return p, nil
}

// own is the account's picture as its shelf has it.
func (v *vcard) own(user string, asker xmpp.JID) *picture {
	meta, err := v.s.Shelf.Items(user, xmpp.NSAvatar, asker)
	if err != nil || len(meta) == 0 {
		return nil
	}
	var info *xmpp.Element
	for _, i := range meta[len(meta)-1].Child(xmpp.NSAvatar, "metadata").Children() {
		if i.Is(xmpp.NSAvatar, "info") && i.Get("url") == "" { // XEP-0398 §3.1
			info = i
			break
		}
	}
	data, err := v.s.Shelf.Items(user, xmpp.NSAvatarData, asker)
	if err != nil || info == nil {
		return nil
	}
	for _, i := range data {
		if !strings.EqualFold(i.Get("id"), info.Get("id")) {
			continue
		}
		b, err := decode(i.Child(xmpp.NSAvatarData, "data").Text())
		if err != nil {
			return nil
		}
		sum := sha1.Sum(b)
		p := &picture{id: hex.EncodeToString(sum[:]), typ: info.Get("type"), size: len(b)}
		if !strings.EqualFold(p.id, info.Get("id")) {
			return nil
		}
		p.b64 = base64.StdEncoding.EncodeToString(b)
		return p
	}
	return nil
}

// photo shows it in the old form.
func (v *vcard) photo(user string, asker xmpp.JID) *xmpp.Element {
	p := v.own(user, asker)
	if p == nil {
		return nil
	}
	return xmpp.El(xmpp.NSVCard, "PHOTO").Add(
		xmpp.El(xmpp.NSVCard, "TYPE").WithText(p.typ), xmpp.El(xmpp.NSVCard, "BINVAL").WithText(p.b64))
}

// setPicture publishes what came with a vCard: first the data, then the word of
// it (XEP-0398 §3.2); a vCard without one takes it away (XEP-0084 §4.2.2).
func (v *vcard) setPicture(user string, p *picture) error {
	old := v.own(user, xmpp.JID{Local: user, Domain: v.s.Domain()})
	if old == nil && p == nil || old != nil && p != nil && old.id == p.id {
		return nil
	}
	item, meta := xmpp.El(xmpp.NSPubsub, "item", "id", "current"), xmpp.El(xmpp.NSAvatar, "metadata")
	if p != nil {
		item.Set("id", p.id)
		data := xmpp.El(xmpp.NSPubsub, "item", "id", p.id).Add(xmpp.El(xmpp.NSAvatarData, "data").WithText(p.b64))
		if err := v.s.Shelf.Put(user, xmpp.NSAvatarData, "open", data); err != nil {
			return err
		}
		meta.Add(xmpp.El(xmpp.NSAvatar, "info", "id", p.id, "type", p.typ, "bytes", strconv.Itoa(p.size)))
	}
	if err := v.s.Shelf.Put(user, xmpp.NSAvatar, "open", item.Add(meta)); err != nil {
		return err
	}
	return v.picture(user)
}

// picture notes the hash of the picture that there is now, and shows it in the
// presence of all who are online (XEP-0153 §3.2).
func (v *vcard) picture(user string) error {
	hash := ""
	if p := v.own(user, xmpp.JID{Local: user, Domain: v.s.Domain()}); p != nil {
		hash = p.id
	}
	changed := false
	err := v.s.Store().Update(user, func(rec *offline.Records) error {
		old := rec.Get("vcard", keyHash)
		changed = string(old) != hash
		if changed {
			rec.Put("vcard", keyHash, []byte(hash))
		}
		return nil
	})
	if err != nil || !changed {
		return err
	}
	for _, x := range v.s.Sessions(user) {
		v.shyMu.Lock()
		shy := v.shy[x]
		v.shyMu.Unlock()
		if shy {
			continue
		}
		if err := x.Refresh(func(el *xmpp.Element) { show(el, hash) }); err != nil {
			return err
		}
	}
	return nil
}

// dress puts the picture's hash into presence (XEP-0398 §4). An empty photo is
// the client's wish to show none.
func (v *vcard) dress(x *relay.Session, el *xmpp.Element) {
	said := el.Child(xmpp.NSVCardUpdate, "x").Child(xmpp.NSVCardUpdate, "photo")
	shy := said != nil && said.Text() == ""
	v.shyMu.Lock()
	if shy {
		v.shy[x] = true
	} else {
		delete(v.shy, x)
	}
	v.shyMu.Unlock()
	if shy {
		return
	}
	var hash []byte
	err := v.s.Store().View(x.User(), func(rec *offline.Records) error {
		hash = rec.Get("vcard", keyHash)
		return nil
	})
	if err != nil {
		v.s.Log().Error("picture's hash", "err", err)
		return
	}
	if hash != nil || said != nil {
		show(el, string(hash))
	}
}

// show replaces what a presence says of the picture.
func show(el *xmpp.Element, hash string) {
	x := el.Child(xmpp.NSVCardUpdate, "x")
	if x == nil {
		x = xmpp.El(xmpp.NSVCardUpdate, "x")
		el.Add(x)
	}
	x.Nodes, x.Attr = nil, nil
	x.Add(xmpp.El(xmpp.NSVCardUpdate, "photo").WithText(hash))
}
