// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// passwordMin is the shortest password that is taken.
const passwordMin = 6

// ErrName and ErrPassword say what is wrong with a wish.
var (
	ErrName     = errors.New("not a usable name: take letters, digits, dots or dashes")
	ErrPassword = fmt.Errorf("the password is too short: take at least %d characters", passwordMin)
)

func hashes(password string) (a offline.Account, err error) {
	if len(password) < passwordMin {
		return a, ErrPassword
	}
	c, err := xmpp.NewCredentials(password)
	if err != nil {
		return a, ErrPassword
	}
	a.SHA1, a.SHA256 = offline.Hash(c.SHA1), offline.Hash(c.SHA256)
	return a, nil
}

// usable says whether an account may have this name.
func usable(user string) bool {
	j, err := xmpp.ParseJID(user + "@x")
	return err == nil && j.Local != "" && j.Local == user && !strings.ContainsAny(user, "/@")
}

// Create makes an account.
func Create(s *offline.Store, user, password string) error {
	if !usable(user) {
		return ErrName
	}
	a, err := hashes(password)
	if err != nil {
		return err
	}
	a.User, a.Created = user, time.Now()
	return s.CreateAccount(a)
}

// SetPassword changes a password.
func SetPassword(s *offline.Store, user, password string) error {
	a, err := hashes(password)
	if err != nil {
		return err
	}
	a.User = user
	return s.UpdateAccount(a)
}

// refusal is XEP-0077 §3.1.1.
func refusal(err error) *xmpp.StanzaError {
	var said *xmpp.StanzaError
	switch {
	case errors.As(err, &said):
		return said
	case errors.Is(err, offline.ErrExists):
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	case errors.Is(err, ErrName), errors.Is(err, ErrPassword):
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say(err.Error())
	}
	return xmpp.Refuse(xmpp.Wait, xmpp.InternalError)
}

// Add lets people who are logged in change their password or leave (XEP-0077
// §3.2, §3.3), and the door make contacts of who invites and who comes.
func Add(s *relay.Server, d *Door) {
	d.s = s
	s.Invited = d.Spend
	s.Command(relay.Command{Node: "urn:xmpp:invite#invite", Name: "Invite somebody", Run: d.invite})
	s.Command(relay.Command{Node: "urn:xmpp:invite#create-account", Name: "Invite somebody to an account", May: d.mayCreate, Run: d.create})
	if s.URL() != "" {
		s.HandleHTTP("/invite/{token}", d.landing)
	}
	s.OnDelete(func(user string) {
		if err := forget(d.store, user); err != nil {
			s.Log().Error("invitations of an account that ends", "err", err)
		}
	})
	s.Disco(relay.OnServer, xmpp.NSRegister)
	s.HandleIQ(xmpp.NSRegister, "query", func(r *relay.Request) (*xmpp.Element, error) {
		if !r.ToServer() && !r.Own() {
			return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
		}
		return registered(s, r)
	})
}

func registered(s *relay.Server, r *relay.Request) (*xmpp.Element, error) {
	user, q := r.From.Local, r.Payload
	if r.Type == "get" {
		return xmpp.El(xmpp.NSRegister, "query").Add(xmpp.El(xmpp.NSRegister, "registered"),
			xmpp.El(xmpp.NSRegister, "username").WithText(user), xmpp.El(xmpp.NSRegister, "password")), nil
	}
	if q.Child(xmpp.NSRegister, "remove") != nil {
		if err := s.Erase(user); err != nil {
			return nil, err
		}
		r.After = func() { s.Expel(r.From.Bare(), relay.ErrDeleted) }
		return nil, nil
	}
	if q.Child(xmpp.NSRegister, "username").Text() != user {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	if err := SetPassword(s.Store(), user, q.Child(xmpp.NSRegister, "password").Text()); err != nil {
		return nil, refusal(err)
	}
	return nil, nil
}
