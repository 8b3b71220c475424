// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// showForm is §10.2: the settings as they are.
func (r *room) showForm(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	if r.rankOf(e.From) < owner {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	return xmpp.El(xmpp.NSMUCOwner, "query").Add(r.form()), nil
}

// ownerSet takes the settings (§10.1, §10.2) or the end of the room (§10.9).
func (r *room) ownerSet(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	if r.rankOf(e.From) < owner {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	if d := q.Child(xmpp.NSMUCOwner, "destroy"); d != nil {
		why := xmpp.El(xmpp.NSMUCUser, "destroy", "jid", d.Get("jid"))
		if t := d.Child(xmpp.NSMUCOwner, "reason").Text(); t != "" {
			why.Add(xmpp.El(xmpp.NSMUCUser, "reason").WithText(t))
		}
		if t := d.Child(xmpp.NSMUCOwner, "password").Text(); t != "" {
			why.Add(xmpp.El(xmpp.NSMUCUser, "password").WithText(t))
		}
		r.destroy(why)
		return nil, nil
	}
	f := q.Child(xmpp.NSData, "x")
	switch f.Get("type") {
	case "cancel": // §10.1.3
		if r.locked {
			r.destroy(nil)
		}
		return nil, nil
	case "submit":
		return nil, r.configure(e, f)
	}
	return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
}

// configure takes a form; an empty one accepts the defaults (§10.1.2).
func (r *room) configure(e *relay.Errand, f *xmpp.Element) error {
	next := r.conf
	if err := next.read(f); err != nil {
		return err
	}
	people, err := r.listed(e, f)
	if err != nil {
		return err
	}
	if err := r.keeps(people); err != nil {
		return err
	}
	old := r.conf
	r.conf = next
	opened := r.locked
	r.locked = false
	r.forget(next.History)
	r.saveConfig()
	for _, c := range people {
		r.setRank(c.who, c.rank, c.n)
	}
	if !old.MembersOnly && next.MembersOnly { // §10.2.1
		for _, o := range r.nicks {
			if r.rankOf(o.who) < member {
				r.expel(o, "322", news{})
			}
		}
	}
	if !opened {
		r.announce(r.differences(&old)...)
	}
	return nil
}

// differences are the status codes of §10.2.1.
func (r *room) differences(old *config) []string {
	var codes []string
	now := r.conf
	if old.Whois != now.Whois {
		if now.Whois == "anyone" {
			codes = append(codes, "172")
		} else {
			codes = append(codes, "173")
		}
	}
	if old.Logged != now.Logged && r.v.s.Keeps() {
		if now.Logged {
			codes = append(codes, "170")
		} else {
			codes = append(codes, "171")
		}
	}
	was := *old
	was.Whois, was.Logged = now.Whois, now.Logged
	if was != now || codes == nil {
		codes = append(codes, "104")
	}
	return codes
}

// listed reads the fields that name admins and owners.
func (r *room) listed(e *relay.Errand, f *xmpp.Element) (all []change, err error) {
	named := map[xmpp.JID]rank{}
	for _, g := range []struct {
		name string
		rank rank
	}{{"muc#roomconfig_roomadmins", admin}, {"muc#roomconfig_roomowners", owner}} {
		k := fieldOf(f, g.name)
		if k == nil {
			continue
		}
		for _, v := range values(k) {
			if v == "" {
				continue
			}
			j, err := xmpp.ParseJID(v)
			if err != nil {
				return nil, xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
			}
			named[j.Bare()] = g.rank
		}
		for who, a := range r.ranks {
			if _, ok := named[who]; a.Rank == g.rank && !ok {
				named[who] = stranger
			}
		}
	}
	for who, a := range named {
		if r.ranks[who].Rank == a {
			continue
		}
		if err := mayRank(owner, r.ranks[who].Rank, a, who == e.From.Bare()); err != nil {
			return nil, err
		}
		all = append(all, change{who: who, rank: a})
	}
	return all, nil
}

const cardMax = 96 << 10

// card is the room's own vCard, with its picture (XEP-0486 §3.1).
func (r *room) card(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	var b []byte
	err := r.v.s.Store().View(roomOwner(r.name), func(rec *offline.Records) error {
		b = rec.Get("card", "")
		return nil
	})
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return xmpp.Parse(b, xmpp.NSClient)
}

// setCard is for owners; the others are told that the room looks different.
func (r *room) setCard(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	if r.rankOf(e.From) < owner {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	b := q.Bytes()
	if len(b) > cardMax {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("the vCard is too large")
	}
	r.photo = ""
	if v := q.Child(xmpp.NSVCard, "PHOTO").Child(xmpp.NSVCard, "BINVAL"); v != nil {
		raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(v.Text()), ""))
		if err != nil {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).Say("the picture is not in Base64")
		}
		sum := sha1.Sum(raw)
		r.photo = hex.EncodeToString(sum[:])
	}
	r.v.later(roomOwner(r.name), func(rec *offline.Records) { rec.Put("card", "", b) })
	r.saveConfig()
	r.announce("104")
	for _, to := range r.seats {
		r.offer(to, r.look())
	}
	return nil, nil
}

// look says which picture the room has (XEP-0486 §3.3).
func (r *room) look() *xmpp.Element {
	photo := xmpp.El(xmpp.NSVCardUpdate, "photo").WithText(r.photo)
	return xmpp.El(xmpp.NSClient, "presence", "from", r.jid.String()).Add(xmpp.El(xmpp.NSVCardUpdate, "x").Add(photo))
}
