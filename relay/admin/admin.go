// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// NS is the namespace of the commands and their forms (XEP-0133 §7).
const NS = "http://jabber.org/protocol/admin"

// Options are what the commands need of others.
type Options struct {
	Create      func(s *offline.Store, user, password string) error
	SetPassword func(s *offline.Store, user, password string) error
	Stop        func(again bool) // ends the process, to begin again or not; nil: it cannot
}

type admin struct {
	s *relay.Server
	o Options

	motd, welcome atomic.Pointer[notice] // nil: none
	black, white  border

	told struct { // what admins heard of by themselves
		sync.Mutex
		at   time.Time
		left int
	}
	mu    sync.Mutex // over changes of notices and of the list of admins, and
	stops func()     // takes a stop back that was ordered; nil: none was
}

// Add registers the family; relay/link must have been added.
func Add(s *relay.Server, o Options) {
	a := &admin{s: s, o: o}
	if err := a.load(); err != nil { // a file is damaged; the others serve
		s.Log().Error("the operator's words cannot be read", "err", err)
	}
	a.people()
	a.lists()
	a.words()
	a.borders()
	if o.Stop != nil {
		a.stop()
	}
	s.Admin = func(user string) bool { return Is(s.Store(), user) }
	s.Tell = a.tell
	s.OnPresence(a.presence)
	s.OnCreate(a.created)
}

// Is says whether an account is an admin's.
func Is(st *offline.Store, user string) (yes bool) {
	err := st.View(user, func(r *offline.Records) error {
		yes = r.Get("admin", "") != nil
		return nil
	})
	return yes && err == nil
}

// Set makes somebody an admin, or an admin somebody.
func Set(st *offline.Store, user string, yes bool) error {
	if _, err := st.Account(user); err != nil {
		return err
	}
	return st.Update(user, func(r *offline.Records) error {
		if yes {
			r.Put("admin", "", []byte{1})
		} else {
			r.Delete("admin", "")
		}
		return nil
	})
}

// All lists the admins.
func All(st *offline.Store) (all []string, err error) {
	err = st.Every("admin", func(user, _ string, _ []byte) { all = append(all, user) })
	slices.Sort(all)
	return all, err
}

// may looks at the whole address: alice elsewhere is not alice here.
func (a *admin) may(r *relay.Request) bool { return a.s.Local(r.From) && a.s.Admin(r.From.Local) }

// A form is what was filled in.
type form struct{ *xmpp.Element }

func (f form) all(name string) (values []string) {
	for _, k := range f.Children() {
		if !k.Is(xmpp.NSData, "field") || k.Get("var") != name {
			continue
		}
		for _, v := range k.Children() {
			if v.Is(xmpp.NSData, "value") {
				values = append(values, v.Text())
			}
		}
	}
	return values
}

func (f form) one(name string) string { return strings.Join(f.all(name), "\n") }

// jidsMax bounds what one command does.
const jidsMax = 1000

// users reads addresses of people here; full ones lose their resource.
func (a *admin) users(f form, name string) (all []xmpp.JID, err error) {
	for _, v := range f.all(name) {
		if v = strings.TrimSpace(v); v == "" {
			continue
		}
		j, err := xmpp.ParseJID(v)
		if err != nil || j.Local == "" {
			return nil, relay.Sorry(v + " is not an address of an account")
		}
		if !a.s.Local(j) {
			return nil, relay.Sorry(v + " is not of this server")
		}
		if !slices.Contains(all, j) {
			all = append(all, j)
		}
	}
	if len(all) == 0 || len(all) > jidsMax {
		return nil, relay.Sorry("give the address of one account, or of a few")
	}
	return all, nil
}

// exist says which of them does not.
func (a *admin) exist(all []xmpp.JID) error {
	for _, j := range all {
		if _, err := a.s.Store().Account(j.Local); err != nil {
			return sorry(err, j.Bare().String())
		}
	}
	return nil
}

// sorry tells an admin of what is in the operator's own hands.
func sorry(err error, about string) error {
	var app *xmpp.StanzaError
	if err == nil || errors.As(err, &app) {
		return err
	}
	return relay.Sorry(about + ": " + err.Error())
}

// A field of a form that the admin fills in.
func field(name, typ, label string, values ...string) *xmpp.Element {
	el := xmpp.El(xmpp.NSData, "field", "var", name, "type", typ, "label", label)
	for _, v := range values {
		el.Add(xmpp.El(xmpp.NSData, "value").WithText(v))
	}
	return el
}

func required(el *xmpp.Element) *xmpp.Element { return el.Add(xmpp.El(xmpp.NSData, "required")) }

func dataForm(typ, title string, fields ...*xmpp.Element) *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", typ)
	if title != "" {
		x.Add(xmpp.El(xmpp.NSData, "title").WithText(title))
	}
	return x.Add(field("FORM_TYPE", "hidden", "", NS)).Add(fields...)
}

// command adds one of two steps: ask gives the form, do gets it filled in.
func (a *admin) command(node, name string, ask func() []*xmpp.Element, do func(r *relay.Request, f form) (*xmpp.Element, error)) {
	a.s.Command(relay.Command{Node: NS + "#" + node, Name: name, May: a.may,
		Run: func(r *relay.Request, el *xmpp.Element) (*xmpp.Element, bool, error) {
			if el == nil && ask != nil {
				return dataForm("form", name, ask()...), false, nil
			}
			answer, err := do(r, form{el})
			return answer, true, err
		}})
}
