// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"net"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// A Door lets people make accounts before login: anybody when it is open, else
// who has an invitation (XEP-0077, XEP-0445).
type Door struct {
	store *offline.Store
	open  bool
	Guest bool          // who is invited by people here, and not by the operator, gets an account, too
	s     *relay.Server // set by Add
}

// NewDoor makes a door over a store.
func NewDoor(s *offline.Store, open bool) *Door { return &Door{store: s, open: open} }

// Door is what the server needs of it.
func (d *Door) Door() *xmpp.Door { return &xmpp.Door{Open: d.open, Invited: true, Ask: d.ask} }

func (d *Door) ask(_ net.Addr, iq *xmpp.Stanza, invite *string) *xmpp.Element {
	el, err := iq.Element()
	if err != nil || iq.Type != "get" && iq.Type != "set" {
		return nil
	}
	if p := el.Child(xmpp.NSPars, "preauth"); p != nil {
		err = d.show(iq, p.Get("token"), invite)
	} else if err = d.mayEnter(*invite); err == nil {
		q := el.Child(xmpp.NSRegister, "query")
		if iq.Type == "get" {
			return xmpp.ResultOf(iq, xmpp.El(xmpp.NSRegister, "query").Add(
				xmpp.El(xmpp.NSRegister, "instructions").WithText("Choose a name and a password."),
				xmpp.El(xmpp.NSRegister, "username"), xmpp.El(xmpp.NSRegister, "password")))
		}
		err = d.enter(q.Child(xmpp.NSRegister, "username").Text(), q.Child(xmpp.NSRegister, "password").Text(), *invite)
	}
	if err != nil {
		return xmpp.ErrorReply(iq, refusal(err))
	}
	return xmpp.ResultOf(iq, nil)
}

// show takes an invitation. Its time counts here and not later; it is used up
// when an account was made (XEP-0445 §4).
func (d *Door) show(iq *xmpp.Stanza, token string, invite *string) error {
	i, err := find(d.store, token)
	if iq.Type != "set" || errors.Is(err, errNoInvite) || err == nil && (i.over(d.s.Now()) || !i.Account) {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound).Say("this invitation is not known, was used, or is too old")
	}
	if err == nil {
		*invite = token
	}
	return err
}

func (d *Door) mayEnter(invite string) error {
	if d.open || invite != "" {
		return nil
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed).Say("an account needs an invitation")
}

// enter makes an account. The invitation is taken first, so that it serves
// once, and given back when nothing comes of it.
func (d *Door) enter(user, password, token string) error {
	var i Invite
	var err error
	if token != "" {
		if i, err = take(d.store, token); err != nil {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound).Say("this invitation was used")
		}
	}
	switch {
	case i.User != "" && i.User != user:
		err = xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("the invitation is for " + i.User)
	case i.User == "" && reserved(d.store, user, d.s.Now()):
		err = offline.ErrExists // XEP-0445 §5
	default:
		err = Create(d.store, user, password)
	}
	if err != nil {
		if token != "" {
			return errors.Join(err, giveBack(d.store, token, i))
		}
		return err
	}
	d.s.Created(user)
	if i.By != "" && !i.Alone {
		d.s.Befriend(i.By, user)
	}
	return nil
}
