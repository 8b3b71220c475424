// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

type roster struct{ s *relay.Server }

// Add registers the family.
func Add(s *relay.Server) {
	r := &roster{s}
	s.HandleIQ(xmpp.NSRoster, "query", r.iq)
	s.OnStanza(r.size)
	s.OnPresence(r.presence)
	s.OnArrival(r.arrival)
	s.OnGone(r.gone)
	s.OnRevive(r.revive)
	s.MaySee = r.maySee
	s.Watchers = func(user string) []xmpp.JID { return r.contacts(user, func(i *item) bool { return i.From }) }
	s.Watched = func(user string) []xmpp.JID { return r.contacts(user, func(i *item) bool { return i.To }) }
	s.InRoster = r.listed
	s.Groups, s.Befriend, s.Roster = r.groups, r.befriend, r.whole
	s.Part(relay.Part{Out: r.out, In: r.in})
	s.StreamFeature(func() []*xmpp.Element {
		return []*xmpp.Element{xmpp.El(xmpp.NSRosterVer, "ver"), xmpp.El(xmpp.NSPreApprove, "sub")}
	})
}

// load reads one contact; a contact that is not there is an empty item.
func load(rec *offline.Records, jid string) (i item) {
	if b := rec.Get("roster", jid); b != nil {
		_ = json.Unmarshal(b, &i)
	}
	i.JID = jid
	return i
}

func save(rec *offline.Records, i *item) {
	if i.empty() {
		rec.Delete("roster", i.JID)
		return
	}
	b, err := json.Marshal(i)
	if err == nil {
		rec.Put("roster", i.JID, b)
	}
}

// bump gives the roster a new version (RFC 6121 §2.6).
func bump(rec *offline.Records) string {
	n, _ := strconv.ParseUint(string(rec.Get("rosterver", "")), 10, 64)
	v := strconv.FormatUint(n+1, 10)
	rec.Put("rosterver", "", []byte(v))
	return v
}

// items lists an account's contacts.
func (r *roster) items(user string) (all []item, ver string, err error) {
	err = r.s.Store().View(user, func(rec *offline.Records) error {
		ver = string(rec.Get("rosterver", ""))
		rec.Each("roster", func(_ string, v []byte) bool {
			var i item
			if json.Unmarshal(v, &i) == nil {
				all = append(all, i)
			}
			return true
		})
		return nil
	})
	return all, ver, err
}

// listed says whether somebody is on the list.
func (r *roster) listed(user string, who xmpp.JID) (ok bool) {
	err := r.s.Store().View(user, func(rec *offline.Records) error {
		i := load(rec, who.Bare().String())
		ok = i.Listed
		return nil
	})
	return err == nil && ok
}

// groups are those of one contact.
func (r *roster) groups(user string, who xmpp.JID) (all []string) {
	err := r.s.Store().View(user, func(rec *offline.Records) error {
		i := load(rec, who.Bare().String())
		all = i.Groups
		return nil
	})
	if err != nil {
		r.s.Log().Error("roster", "err", err)
	}
	return all
}

// edit changes one contact. push then shows the owner's clients how it is now;
// when to call it is for the caller to know.
func (r *roster) edit(user, jid string, f func(i *item) effect) (e effect, push func(), err error) {
	ver := ""
	err = r.s.Store().Update(user, func(rec *offline.Records) error {
		i := load(rec, jid)
		old := i
		e = f(&i)
		if err := fits(rec, &old, &i); err != nil {
			return err
		}
		save(rec, &i)
		if e.push {
			ver = bump(rec)
		}
		return nil
	})
	if err != nil || !e.push {
		return e, func() {}, err
	}
	return e, func() { r.show(user, jid, ver) }, nil
}

// show pushes a contact as it is: a later change may have been quicker.
func (r *roster) show(user, jid, ver string) {
	var i item
	err := r.s.Store().View(user, func(rec *offline.Records) error {
		i = load(rec, jid)
		return nil
	})
	switch {
	case err != nil:
		r.s.Log().Error("roster", "err", err)
	case i.Listed:
		r.push(user, i.element(), ver)
	}
}

func (i *item) element() *xmpp.Element {
	el := xmpp.El(xmpp.NSRoster, "item", "jid", i.JID, "name", i.Name, "subscription", i.subscription())
	if i.Ask {
		el.Set("ask", "subscribe")
	}
	if i.Approved {
		el.Set("approved", "true")
	}
	for _, g := range i.Groups {
		el.Add(xmpp.El(xmpp.NSRoster, "group").WithText(g))
	}
	return el
}

// push tells all interested sessions (RFC 6121 §2.1.6).
func (r *roster) push(user string, el *xmpp.Element, ver string) {
	for _, x := range r.s.Sessions(user) {
		if !x.Interested() {
			continue
		}
		iq := xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", relay.NewID(), "to", x.JID().String())
		x.Push(iq.Add(xmpp.El(xmpp.NSRoster, "query", "ver", ver).Add(el.Clone())))
	}
}

func (r *roster) iq(q *relay.Request) (*xmpp.Element, error) {
	if !q.Own() {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) // RFC 6121 §2.1.5
	}
	if q.Type == "get" {
		return r.get(q)
	}
	kids := q.Payload.Children()
	if len(kids) != 1 || !kids[0].Is(xmpp.NSRoster, "item") {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest) // §2.3.3
	}
	jid, err := xmpp.ParseJID(kids[0].Get("jid"))
	if err != nil || jid.Bare() == q.From.Bare() {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if kids[0].Get("subscription") == "remove" {
		return nil, r.remove(q.Session, jid.Bare())
	}
	return nil, r.set(q.From.Local, jid.String(), kids[0])
}

// get answers with the roster, or with nothing when the client has it already
// (RFC 6121 §2.6.3).
func (r *roster) get(q *relay.Request) (*xmpp.Element, error) {
	q.Session.SetInterested()
	el, err := r.whole(q.From.Local)
	if has := q.Payload.Get("ver"); has != "" && has == el.Get("ver") {
		return nil, err
	}
	return el, err
}

func (r *roster) whole(user string) (*xmpp.Element, error) {
	all, ver, err := r.items(user)
	if err != nil {
		return nil, err
	}
	if ver == "" {
		ver = "0"
	}
	el := xmpp.El(xmpp.NSRoster, "query", "ver", ver)
	for i := range all {
		if all[i].Listed {
			el.Add(all[i].element())
		}
	}
	return el, nil
}

func (r *roster) set(user, jid string, el *xmpp.Element) error {
	name, groups, err := parseItem(el)
	if err != nil {
		return err
	}
	_, push, err := r.edit(user, jid, func(i *item) effect {
		i.Name, i.Groups, i.Listed = name, groups, true
		return effect{push: true}
	})
	push()
	return err
}

// parseItem checks what a client wants to store (RFC 6121 §2.3.3).
func parseItem(el *xmpp.Element) (name string, groups []string, err error) {
	name = el.Get("name")
	seen := map[string]bool{}
	for _, k := range el.Children() {
		if !k.Is(xmpp.NSRoster, "group") {
			continue
		}
		g := k.Text()
		if seen[g] {
			return "", nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
		if strings.TrimSpace(g) == "" || len(g) > nameMax || len(groups) >= groupsMax {
			return "", nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
		}
		seen[g] = true
		groups = append(groups, g)
	}
	if len(name) > nameMax {
		return "", nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	return name, groups, nil
}

// remove ends both subscriptions and drops the contact (RFC 6121 §2.5).
func (r *roster) remove(x *relay.Session, jid xmpp.JID) error {
	var old item
	var ver string
	err := r.s.Store().Update(x.User(), func(rec *offline.Records) error {
		old = load(rec, jid.String())
		if !old.Listed {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		rec.Delete("roster", jid.String())
		ver = bump(rec)
		return nil
	})
	if err != nil {
		return err
	}
	gone := xmpp.El(xmpp.NSRoster, "item", "jid", jid.String(), "subscription", "remove")
	r.push(x.User(), gone, ver)
	from := x.JID().Bare()
	if old.To || old.Ask {
		r.deliver(subscription(from, jid, "unsubscribe"))
	}
	if old.From { // while he is still subscribed (§3.2.2)
		r.sendAll(x.User(), jid, "unavailable")
	}
	if old.From || old.In != "" {
		r.deliver(subscription(from, jid, "unsubscribed"))
	}
	return nil
}

func (r *roster) contacts(user string, want func(i *item) bool) (l []xmpp.JID) {
	all, _, err := r.items(user)
	if err != nil {
		r.s.Log().Error("roster", "err", err)
	}
	for i := range all {
		if j, err := xmpp.ParseJID(all[i].JID); err == nil && want(&all[i]) {
			l = append(l, j)
		}
	}
	return l
}

// out is the list with its open requests (XEP-0227 §4.4, §4.9).
func (r *roster) out(user string) ([]*xmpp.Element, error) {
	q, err := r.whole(user)
	if err != nil {
		return nil, err
	}
	all := []*xmpp.Element{q}
	l, _, err := r.items(user)
	for i := range l {
		if l[i].In != "" {
			all = append(all, xmpp.El(xmpp.NSClient, "presence", "type", "subscribe", "from", l[i].JID))
		}
	}
	return all, err
}

// in takes a list from another server as it is, and what was asked there.
func (r *roster) in(user string, el *xmpp.Element) (mine bool, err error) {
	asks := el.Name.Local == "presence" && el.Get("type") == "subscribe"
	if !asks && !el.Is(xmpp.NSRoster, "query") {
		return false, nil
	}
	list := el.Children()
	if asks {
		list = []*xmpp.Element{el}
	}
	own := xmpp.JID{Local: user, Domain: r.s.Domain()}
	var bad error
	err = r.s.Store().Update(user, func(rec *offline.Records) error {
		n := 0
		for _, k := range list {
			j, err := xmpp.ParseJID(k.Get("jid") + k.Get("from"))
			if err != nil || j.Bare() == own || n >= itemsMax {
				bad = fmt.Errorf("%q is left out", k.Get("jid")+k.Get("from"))
				continue
			}
			n++
			i := load(rec, j.Bare().String())
			if asks {
				i.In = string(xmpp.El(xmpp.NSClient, "presence", "type", "subscribe", "from", i.JID, "to", own.String()).Bytes())
			} else if err := i.take(k); err != nil {
				bad = fmt.Errorf("%s: %w", i.JID, err)
				continue
			}
			save(rec, &i)
		}
		bump(rec)
		return nil
	})
	return true, errors.Join(err, bad)
}

// take reads a contact as another server kept it.
func (i *item) take(el *xmpp.Element) (err error) {
	sub := el.Get("subscription")
	if i.Name, i.Groups, err = parseItem(el); err != nil {
		return err
	}
	i.To, i.From = sub == "to" || sub == "both", sub == "from" || sub == "both"
	i.Ask, i.Approved, i.Listed = el.Get("ask") == "subscribe" && !i.To, el.Get("approved") == "true" && !i.From, true
	if i.From {
		i.In = ""
	}
	return nil
}
