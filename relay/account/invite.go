// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// An Invite lets somebody in, once.
type Invite struct {
	By      string // who invites; "" is the operator
	User    string // the name that the account must have; "" leaves it open
	Account bool   // may be used to make an account
	New     bool   `json:",omitempty"` // and for that only (XEP-0401 §5.4)
	Alone   bool   `json:",omitempty"` // the guest becomes no contact of who invites
	Until   time.Time
}

// invitesMax bounds those that are open, and those of one person.
const (
	invitesMax = 5000
	invitesOne = 20
)

var (
	errNoInvite = errors.New("no such invitation")
	// ErrInvites says that too many are open.
	ErrInvites = errors.New("too many invitations are open; wait until some are used or too old")
)

func (i *Invite) over(now time.Time) bool { return !now.Before(i.Until) }

// Invites are records of nobody: an account named "" cannot be.
const nobody = ""

// NewInvite makes an invitation and returns its token.
func NewInvite(s *offline.Store, i Invite, now time.Time) (token string, err error) {
	if i.By != "" {
		if _, err := s.Account(i.By); err != nil {
			return "", err
		}
	}
	if i.User != "" {
		switch _, err := s.Account(i.User); {
		case err == nil:
			return "", offline.ErrExists
		case !errors.Is(err, offline.ErrNoAccount):
			return "", err
		}
		if !usable(i.User) {
			return "", ErrName
		}
	}
	token = relay.NewID()
	b, err := json.Marshal(i)
	if err != nil {
		return "", err
	}
	return token, s.Update(nobody, func(r *offline.Records) error {
		all, own := 0, 0
		r.Each("invite", func(key string, v []byte) bool {
			var o Invite
			if json.Unmarshal(v, &o) != nil || o.over(now.Add(-keepOver)) {
				r.Delete("invite", key)
				return true
			}
			all++
			if o.By == i.By {
				own++
			}
			return true
		})
		if all >= invitesMax || i.By != "" && own >= invitesOne {
			return ErrInvites
		}
		r.Put("invite", token, b)
		return nil
	})
}

// keepOver is how long an old invitation stays, for who showed it in time.
const keepOver = time.Hour

func find(s *offline.Store, token string) (i Invite, err error) {
	err = s.View(nobody, func(r *offline.Records) error { return read(r, token, &i) })
	return i, err
}

func read(r *offline.Records, token string, i *Invite) error {
	b := r.Get("invite", token)
	if token == "" || b == nil {
		return errNoInvite
	}
	return json.Unmarshal(b, i)
}

// take uses an invitation up.
func take(s *offline.Store, token string) (i Invite, err error) {
	err = s.Update(nobody, func(r *offline.Records) error {
		err := read(r, token, &i)
		if err == nil {
			r.Delete("invite", token)
		}
		return err
	})
	return i, err
}

func giveBack(s *offline.Store, token string, i Invite) error {
	b, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return s.Update(nobody, func(r *offline.Records) error {
		r.Put("invite", token, b)
		return nil
	})
}

// reserved says whether a name is kept for somebody who is invited.
func reserved(s *offline.Store, user string, now time.Time) (yes bool) {
	err := s.View(nobody, func(r *offline.Records) error {
		r.Each("invite", func(_ string, v []byte) bool {
			var i Invite
			yes = json.Unmarshal(v, &i) == nil && i.User == user && !i.over(now)
			return !yes
		})
		return nil
	})
	return yes || err != nil
}

// Spend uses up the invitation by which somebody asks to see owner's presence
// (XEP-0379 §3.5); false: it is none of his, and the request is as any other.
func (d *Door) Spend(owner, token string) bool {
	i, err := find(d.store, token)
	if err != nil || i.By != owner || i.over(d.s.Now()) {
		return false
	}
	_, err = take(d.store, token)
	return err == nil
}

// forget takes back what somebody invites to who is leaving.
func forget(s *offline.Store, user string) error {
	return s.Update(nobody, func(r *offline.Records) error {
		r.Each("invite", func(token string, v []byte) bool {
			var i Invite
			if json.Unmarshal(v, &i) == nil && i.By == user {
				r.Delete("invite", token)
			}
			return true
		})
		return nil
	})
}

// life is how long what people invite to is good.
const life = 7 * 24 * time.Hour

// invite is XEP-0401 §5.1.
func (d *Door) invite(r *relay.Request, _ *xmpp.Element) (*xmpp.Element, bool, error) {
	answer, err := d.invited(Invite{By: r.From.Local, Account: d.open || d.Guest, Until: d.s.Now().Add(life)})
	return answer, true, err
}

// mayCreate says who may promise accounts: admins, and all where people may invite.
func (d *Door) mayCreate(r *relay.Request) bool {
	return d.s.Local(r.From) && (d.open || d.Guest || d.s.Admin(r.From.Local))
}

// create is XEP-0401 §5.4.
func (d *Door) create(r *relay.Request, form *xmpp.Element) (*xmpp.Element, bool, error) {
	if form == nil {
		return xmpp.El(xmpp.NSData, "x", "type", "form").Add(
			xmpp.El(xmpp.NSData, "title").WithText("Invite somebody to an account here"),
			xmpp.El(xmpp.NSData, "field", "var", "username", "type", "text-single", "label", "The name of the account; empty: the guest chooses"),
			xmpp.El(xmpp.NSData, "field", "var", "roster-subscription", "type", "boolean", "label", "The guest becomes your contact").
				Add(xmpp.El(xmpp.NSData, "value").WithText("1"))), false, nil
	}
	i := Invite{By: r.From.Local, Account: true, New: true, Alone: true, Until: d.s.Now().Add(life)}
	for _, f := range form.Children() {
		switch v := strings.TrimSpace(f.Child(xmpp.NSData, "value").Text()); f.Get("var") {
		case "username":
			i.User = v
		case "roster-subscription":
			i.Alone = v != "1" && v != "true"
		}
	}
	if i.User != "" && reserved(d.store, i.User, d.s.Now()) {
		return nil, true, relay.Sorry("this name is promised to somebody")
	}
	answer, err := d.invited(i)
	if errors.Is(err, offline.ErrExists) || errors.Is(err, ErrName) {
		err = relay.Sorry(err.Error())
	}
	return answer, true, err
}

// invited makes an invitation and says where it is.
func (d *Door) invited(i Invite) (*xmpp.Element, error) {
	token, err := NewInvite(d.store, i, d.s.Now())
	if errors.Is(err, ErrInvites) {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say(err.Error())
	}
	if err != nil {
		return nil, err
	}
	x := xmpp.El(xmpp.NSData, "x", "type", "result")
	field := func(name, typ, value string) {
		x.Add(xmpp.El(xmpp.NSData, "field", "var", name, "type", typ).Add(xmpp.El(xmpp.NSData, "value").WithText(value)))
	}
	field("FORM_TYPE", "hidden", "urn:xmpp:invite#invitation")
	field("uri", "text-single", Link(i, token, d.s.Domain()))
	if at := Landing(d.s.URL(), token); at != "" {
		field("landing-url", "text-single", at)
	}
	field("expire", "text-single", i.Until.UTC().Format("2006-01-02T15:04:05Z"))
	return x, nil
}

// Link is what is handed on (XEP-0445 §2, XEP-0379 §3.2).
func Link(i Invite, token, domain string) string {
	at := func(local string) string { return "xmpp:" + url.PathEscape(local) + "@" + domain }
	switch {
	case i.User != "":
		return at(i.User) + "?register;preauth=" + token
	case i.By == "" || i.New:
		return "xmpp:" + domain + "?register;preauth=" + token
	case i.Account:
		return at(i.By) + "?roster;preauth=" + token + ";ibr=y"
	}
	return at(i.By) + "?roster;preauth=" + token
}

// Landing is the page of an invitation; "" when we have no HTTPS.
func Landing(web, token string) string {
	if web == "" {
		return ""
	}
	return web + "/invite/" + token
}
