// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"slices"
	"strings"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// people adds the commands for single accounts (XEP-0133 §4.1 to §4.10).
func (a *admin) people() {
	ask := func(label string) func() []*xmpp.Element {
		return func() []*xmpp.Element { return []*xmpp.Element{required(field("accountjids", "jid-multi", label))} }
	}
	a.command("add-user", "Add a User", func() []*xmpp.Element {
		return []*xmpp.Element{
			required(field("accountjid", "jid-single", "The address of the account to be added")),
			required(field("password", "text-private", "The password of this account")),
			required(field("password-verify", "text-private", "The password again")),
		}
	}, a.addUser)
	a.command("delete-user", "Delete a User", ask("The accounts to delete, with all they have"), a.each(a.deleteUser))
	a.command("disable-user", "Disable a User", ask("The accounts to keep out"), a.each(a.disableUser))
	a.command("reenable-user", "Re-Enable a User", ask("The accounts to let in again"), a.each(func(_ *relay.Request, j xmpp.JID) error {
		return a.s.Disable(j.Local, false)
	}))
	a.command("end-user-session", "End User Session", ask("The accounts, or full addresses, whose sessions to end"), a.endSession)
	a.command("change-user-password", "Change User Password", func() []*xmpp.Element {
		return []*xmpp.Element{
			required(field("accountjid", "jid-single", "The address of the account")),
			required(field("password", "text-private", "The new password")),
		}
	}, a.changePassword)
	a.command("get-user-roster", "Get User Roster", ask("The account"), a.userRoster)
	a.command("get-user-lastlogin", "Get User Last Login Time", ask("The accounts"), a.lastLogin)
	a.command("user-stats", "Get User Statistics", func() []*xmpp.Element {
		return []*xmpp.Element{ // some clients look for the name that all other commands have
			field("accountjid", "jid-single", "The account"), field("accountjids", "jid-multi", "The account"),
		}
	}, a.userStats)
}

func (a *admin) addUser(_ *relay.Request, f form) (*xmpp.Element, error) {
	all, err := a.users(f, "accountjid")
	if err != nil {
		return nil, err
	}
	if f.one("password") != f.one("password-verify") {
		return nil, relay.Sorry("the two passwords differ")
	}
	if err := a.o.Create(a.s.Store(), all[0].Local, f.one("password")); err != nil {
		return nil, sorry(err, all[0].Bare().String())
	}
	a.s.Created(all[0].Local)
	return nil, nil
}

func (a *admin) changePassword(_ *relay.Request, f form) (*xmpp.Element, error) {
	all, err := a.users(f, "accountjid")
	if err != nil {
		return nil, err
	}
	return nil, sorry(a.o.SetPassword(a.s.Store(), all[0].Local, f.one("password")), all[0].Bare().String())
}

// each does something to accounts, which are all looked for first.
func (a *admin) each(do func(*relay.Request, xmpp.JID) error) func(*relay.Request, form) (*xmpp.Element, error) {
	return func(r *relay.Request, f form) (*xmpp.Element, error) {
		all, err := a.users(f, "accountjids")
		if err == nil {
			err = a.exist(all)
		}
		if err != nil {
			return nil, err
		}
		for _, j := range all {
			if err := do(r, j); err != nil {
				return nil, sorry(err, j.Bare().String())
			}
		}
		return nil, nil
	}
}

func (a *admin) deleteUser(r *relay.Request, j xmpp.JID) error {
	if j.Local == r.From.Local {
		return relay.Sorry("this is your own account; delete it from your client's settings")
	}
	return a.s.DeleteUser(j.Local)
}

func (a *admin) disableUser(r *relay.Request, j xmpp.JID) error {
	if j.Local == r.From.Local {
		return relay.Sorry("this is your own account: nobody would be left to let you in again")
	}
	return a.s.Disable(j.Local, true)
}

// endSession ends those of one address; the asker's own when he was answered.
func (a *admin) endSession(r *relay.Request, f form) (*xmpp.Element, error) {
	all, err := a.users(f, "accountjids")
	if err == nil {
		err = a.exist(all)
	}
	if err != nil {
		return nil, err
	}
	r.After = func() {
		for _, j := range all {
			a.s.Expel(j, relay.ErrEnded)
		}
	}
	return nil, nil
}

// one is the only account of a command that shows what one has.
func (a *admin) one(f form, names ...string) (j xmpp.JID, err error) {
	i := slices.IndexFunc(names, func(n string) bool { return strings.TrimSpace(f.one(n)) != "" })
	all, err := a.users(f, names[max(i, 0)])
	if err == nil && len(all) > 1 {
		err = relay.Sorry("one account at a time")
	}
	if err == nil {
		err = a.exist(all)
	}
	if err != nil {
		return j, err
	}
	return all[0].Bare(), nil
}

func (a *admin) userRoster(_ *relay.Request, f form) (*xmpp.Element, error) {
	j, err := a.one(f, "accountjids")
	if err != nil {
		return nil, err
	}
	q, err := a.s.Roster(j.Local)
	if err != nil {
		return nil, err
	}
	return dataForm("result", "", field("accountjids", "jid-multi", "", j.String())).Add(q.Set("ver", "")), nil
}

func (a *admin) lastLogin(_ *relay.Request, f form) (*xmpp.Element, error) {
	all, err := a.users(f, "accountjids")
	if err == nil {
		err = a.exist(all)
	}
	if err != nil {
		return nil, err
	}
	who, when := field("accountjids", "jid-multi", ""), field("lastlogin", "text-multi", "")
	for _, j := range all {
		who.Add(xmpp.El(xmpp.NSData, "value").WithText(j.Bare().String()))
		t, err := a.seen(j.Local)
		if err != nil {
			return nil, err
		}
		word := "never"
		if !t.IsZero() {
			word = t.UTC().Format("2006-01-02T15:04:05Z") // XEP-0082 §3.2
		}
		when.Add(xmpp.El(xmpp.NSData, "value").WithText(word))
	}
	return dataForm("result", "", who, when), nil
}

// seen is the last log-in that is known of; a device's is noted once an hour.
func (a *admin) seen(user string) (last time.Time, err error) {
	known, err := a.s.Store().Devices(user)
	for _, d := range known {
		if d.Seen.After(last) {
			last = d.Seen
		}
	}
	for _, x := range a.s.Sessions(user) {
		if x.Born().After(last) {
			last = x.Born()
		}
	}
	return last, err
}

func (a *admin) userStats(_ *relay.Request, f form) (*xmpp.Element, error) {
	j, err := a.one(f, "accountjid", "accountjids")
	if err != nil {
		return nil, err
	}
	list, err := a.s.Roster(j.Local)
	if err != nil {
		return nil, err
	}
	waits := a.s.Store().Mailbox(j.Local, "").Len()
	known, err := a.s.Store().Devices(j.Local)
	if err != nil {
		return nil, err
	}
	for _, d := range known {
		waits += a.s.Store().Mailbox(j.Local, d.ID).Len()
	}
	here := field("onlineresources", "text-multi", "Connected")
	for _, x := range a.s.Sessions(j.Local) {
		here.Add(xmpp.El(xmpp.NSData, "value").WithText(x.JID().Resource))
	}
	return dataForm("result", "",
		field("accountjid", "jid-single", "", j.String()),
		field("rostersize", "text-single", "Contacts", number(len(list.Children()))), here,
		field("devices", "text-single", "Devices", number(len(known))),
		field("waiting", "text-single", "Messages that wait, counted for each device", number(waits)),
		field("disabled", "boolean", "Kept out", number(flag(a.disabled(j.Local))))), nil
}

func (a *admin) disabled(user string) bool {
	acct, err := a.s.Store().Account(user)
	return err == nil && acct.Disabled
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// editAdmins is XEP-0133 §4.29.
func (a *admin) editAdmins(r *relay.Request, f form) (*xmpp.Element, error) {
	all, err := a.users(f, "adminjids")
	if err == nil {
		err = a.exist(all)
	}
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(j xmpp.JID) bool { return j.Local == r.From.Local }) {
		return nil, relay.Sorry("you are not on this list; let another admin take you off, or type sottod admin del")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	old, err := All(a.s.Store())
	for _, user := range old {
		if err == nil && !slices.ContainsFunc(all, func(j xmpp.JID) bool { return j.Local == user }) {
			err = Set(a.s.Store(), user, false)
		}
	}
	for _, j := range all {
		if err == nil {
			err = Set(a.s.Store(), j.Local, true)
		}
	}
	return nil, err
}

func (a *admin) adminList() []*xmpp.Element {
	el := required(field("adminjids", "jid-multi", "Who may use these commands"))
	all, err := All(a.s.Store())
	if err != nil {
		a.s.Log().Error("admins", "err", err)
	}
	for _, user := range all {
		el.Add(xmpp.El(xmpp.NSData, "value").WithText(user + "@" + a.s.Domain()))
	}
	return []*xmpp.Element{el}
}
