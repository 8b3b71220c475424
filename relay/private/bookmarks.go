// SPDX-License-Identifier: Apache-2.0

package private

import (
	"sotto/xmpp"
)

// roomsMax bounds the bookmarks: none may push out another unseen.
const roomsMax = 200

// others is what a storage holds besides rooms: links (XEP-0048 §2).
func others(storage *xmpp.Element) *xmpp.Element {
	el := xmpp.El(xmpp.NSBookmarksOld, "storage")
	for _, k := range storage.Children() {
		if !k.Is(xmpp.NSBookmarksOld, "conference") {
			el.Add(k)
		}
	}
	return el
}

// rooms are the bookmarks on the shelf, their one place (XEP-0402 §3).
func (p *private) rooms(who xmpp.JID) (all []*xmpp.Element) {
	l, err := p.s.Shelf.Items(who.Local, xmpp.NSBookmarks, who)
	if err != nil {
		return nil
	}
	for _, i := range l {
		if i.Child(xmpp.NSBookmarks, "conference") != nil {
			all = append(all, i)
		}
	}
	return all
}

// storage shows them in the old form (XEP-0402 §5).
func (p *private) storage(who xmpp.JID) (*xmpp.Element, error) {
	el, err := p.read(who.Local, xmpp.Name{Space: xmpp.NSBookmarksOld, Local: "storage"})
	if err != nil {
		return nil, err
	}
	for _, i := range p.rooms(who) {
		c := i.Child(xmpp.NSBookmarks, "conference")
		k := xmpp.El(xmpp.NSBookmarksOld, "conference", "jid", i.Get("id"), "name", c.Get("name"), "autojoin", c.Get("autojoin"))
		for _, part := range []string{"nick", "password"} {
			if t := c.Child(xmpp.NSBookmarks, part).Text(); t != "" {
				k.Add(xmpp.El(xmpp.NSBookmarksOld, part).WithText(t))
			}
		}
		el.Add(k)
	}
	return el, nil
}

// conference is a room of the old form in the new one; what only the new one
// knows of it stays.
func conference(k, was *xmpp.Element) *xmpp.Element {
	c := xmpp.El(xmpp.NSBookmarks, "conference", "name", k.Get("name"), "autojoin", k.Get("autojoin"))
	for _, part := range []string{"nick", "password"} {
		if t := k.Child(xmpp.NSBookmarksOld, part).Text(); t != "" {
			c.Add(xmpp.El(xmpp.NSBookmarks, part).WithText(t))
		}
	}
	return c.Add(was.Child(xmpp.NSBookmarks, "conference").Child(xmpp.NSBookmarks, "extensions"))
}

// take puts the rooms of an old storage on the shelf. Only what changed is
// published (XEP-0402 §5.2).
func (p *private) take(who xmpp.JID, storage *xmpp.Element) error {
	want := map[string]*xmpp.Element{}
	var order []string
	for _, k := range storage.Children() {
		if !k.Is(xmpp.NSBookmarksOld, "conference") {
			continue
		}
		j, err := xmpp.ParseJID(k.Get("jid"))
		if err != nil {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("a bookmark has no valid address")
		}
		if want[j.String()] == nil {
			order = append(order, j.String())
		}
		want[j.String()] = k
	}
	if len(want) > roomsMax {
		return full()
	}
	is := map[string]*xmpp.Element{}
	for _, i := range p.rooms(who) {
		is[i.Get("id")] = i
	}
	for id := range is {
		if want[id] == nil {
			if err := p.s.Shelf.Drop(who.Local, xmpp.NSBookmarks, id); err != nil {
				return err
			}
		}
	}
	for _, id := range order {
		c := conference(want[id], is[id])
		if same(c, is[id].Child(xmpp.NSBookmarks, "conference")) {
			continue
		}
		if err := p.s.Shelf.Put(who.Local, xmpp.NSBookmarks, "", xmpp.El(xmpp.NSPubsub, "item", "id", id).Add(c)); err != nil {
			return err
		}
	}
	return nil
}

// same compares what the old form can say.
func same(a, b *xmpp.Element) bool {
	yes := func(s string) bool { return s == "1" || s == "true" }
	return b != nil && a.Get("name") == b.Get("name") && yes(a.Get("autojoin")) == yes(b.Get("autojoin")) &&
		a.Child(xmpp.NSBookmarks, "nick").Text() == b.Child(xmpp.NSBookmarks, "nick").Text() &&
		a.Child(xmpp.NSBookmarks, "password").Text() == b.Child(xmpp.NSBookmarks, "password").Text()
}

// mirror publishes the rooms in the old form, for clients that look for it on
// the shelf (XEP-0411 §3).
func (p *private) mirror(who xmpp.JID) error {
	el, err := p.storage(who)
	if err != nil {
		return err
	}
	is, err := p.s.Shelf.Items(who.Local, xmpp.NSBookmarksOld, who)
	if err == nil && len(is) > 0 {
		if k := is[len(is)-1].Child(xmpp.NSBookmarksOld, "storage"); k != nil && string(k.Bytes()) == string(el.Bytes()) {
			return nil
		}
	}
	return p.s.Shelf.Put(who.Local, xmpp.NSBookmarksOld, "", xmpp.El(xmpp.NSPubsub, "item", "id", "current").Add(el))
}

// published follows what people change on their shelf themselves.
func (p *private) published(user, node string) {
	who := xmpp.JID{Local: user, Domain: p.s.Domain()}
	var err error
	switch node {
	case xmpp.NSBookmarks:
		mu := p.mu.Of(user)
		mu.Lock()
		defer mu.Unlock()
		err = p.mirror(who)
	case xmpp.NSBookmarksOld:
		all, no := p.s.Shelf.Items(user, node, who)
		if no != nil || len(all) == 0 {
			return
		}
		if storage := all[len(all)-1].Child(xmpp.NSBookmarksOld, "storage"); storage != nil {
			err = p.set(who, []*xmpp.Element{storage})
		}
	}
	if err != nil {
		p.s.Log().Error("bookmarks", "node", node, "err", err)
	}
}
