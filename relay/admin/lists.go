// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"
	"strconv"

	"sotto/relay"
	"sotto/xmpp"
)

func number(n int) string { return strconv.Itoa(n) }

// listMax bounds a list; there may be more people than fit into one answer.
const listMax = 5000

// lists adds the commands that count and name people (XEP-0133 §4.13 to §4.22),
// and the list of admins.
func (a *admin) lists() {
	a.list("registered", "get-registered-users-num", "get-registered-users-list", a.s.Store().Users)
	a.list("disabled", "get-disabled-users-num", "get-disabled-users-list", a.kept)
	a.list("online", "get-online-users-num", "get-online-users-list", func() ([]string, error) { return a.here(everybody), nil })
	a.list("active", "get-active-users-num", "get-active-users", func() ([]string, error) { return a.here(busy), nil })
	a.list("idle", "get-idle-users-num", "get-idle-users", func() ([]string, error) { return a.here(idle), nil })
	a.command("edit-admin", "Edit Admin List", a.adminList, a.editAdmins)
}

func (a *admin) list(what, count, list string, all func() ([]string, error)) {
	a.command(count, "Get Number of "+title(what)+" Users", nil, func(*relay.Request, form) (*xmpp.Element, error) {
		l, err := all()
		if err != nil {
			return nil, err
		}
		return dataForm("result", "", field(what+"usersnum", "text-single", "Number", number(len(l)))), nil
	})
	a.command(list, "Get List of "+title(what)+" Users", howMany, func(_ *relay.Request, f form) (*xmpp.Element, error) {
		l, err := all()
		if err != nil {
			return nil, err
		}
		most := listMax
		if n, err := strconv.Atoi(f.one("max_items")); err == nil && n >= 0 {
			most = min(n, listMax)
		}
		el := field(what+"userjids", "jid-multi", "Accounts")
		for _, user := range l[:min(len(l), most)] {
			el.Add(xmpp.El(xmpp.NSData, "value").WithText(user + "@" + a.s.Domain()))
		}
		return dataForm("result", "", el), nil
	})
}

func title(s string) string { return string(s[0]-'a'+'A') + s[1:] }

func howMany() []*xmpp.Element {
	el := field("max_items", "list-single", "How many to show at most", "none")
	for _, n := range []string{"25", "50", "100", "500", "none"} {
		el.Add(xmpp.El(xmpp.NSData, "option", "label", n).Add(xmpp.El(xmpp.NSData, "value").WithText(n)))
	}
	return []*xmpp.Element{el}
}

// kept lists who is kept out.
func (a *admin) kept() ([]string, error) {
	all, err := a.s.Store().Users()
	return slices.DeleteFunc(all, func(user string) bool { return !a.disabled(user) }), err
}

// Online is who has a session; active, whose client somebody seems to look at;
// idle, all others of them.
func everybody(bool) bool   { return true }
func busy(active bool) bool { return active }
func idle(active bool) bool { return !active }

func (a *admin) here(want func(active bool) bool) (all []string) {
	active := map[string]bool{}
	for _, x := range a.s.Everybody() {
		active[x.User()] = active[x.User()] || x.Active()
	}
	for user, yes := range active {
		if want(yes) {
			all = append(all, user)
		}
	}
	slices.Sort(all)
	return all
}
