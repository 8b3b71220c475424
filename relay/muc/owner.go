// SPDX-License-Identifier: Apache-2.0

package muc

import (
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
	was := *old
	was.Whois = now.Whois
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
