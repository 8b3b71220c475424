// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"slices"
	"strconv"
	"strings"

	"sotto/xmpp"
)

// A config is how a room is set up.
type config struct {
	Title, Desc, Lang string
	Persistent        bool // lives on when nobody is in it
	Public            bool // listed
	Moderated         bool
	MembersOnly       bool
	Invites           bool // members may invite to a room for members
	Subjects          bool // participants may change the subject
	Password          string
	Whois             string // who may know addresses: moderators or anyone
	Private           string // who may write to one person: anyone, participants, moderators, none
	MaxUsers          int
	History           int
	Slow              int  // seconds between two messages (XEP-0500)
	Logged            bool // archived, where the server keeps histories
}

// firstConfig is what stock clients expect of a room that was set up by an
// empty form (§10.1.2): open, listed, gone with its last occupant. Clients
// that make private groups send the whole form.
func (v *service) firstConfig() config {
	return config{
		Public: true, Whois: "moderators", Private: "anyone", MaxUsers: occupantsMax,
		History: min(v.opt.History, historyMax), Logged: v.s.Keeps(),
	}
}

// An option is one field of the form; set says whether the value is one.
type option struct {
	name, typ, label string
	choices          []string
	get              func(c *config) string
	set              func(c *config, v string) bool
}

const (
	setting = "muc#roomconfig_"
	logging = "enablelogging" // only where the server keeps histories
)

var options = []option{
	text("roomname", "Title", 256, func(c *config) *string { return &c.Title }),
	text("roomdesc", "Description", 4096, func(c *config) *string { return &c.Desc }),
	text("lang", "Language", 32, func(c *config) *string { return &c.Lang }),
	yes("persistentroom", "Keep the room when nobody is in it?", func(c *config) *bool { return &c.Persistent }),
	yes("publicroom", "List the room?", func(c *config) *bool { return &c.Public }),
	yes("moderatedroom", "May only those speak who have voice?", func(c *config) *bool { return &c.Moderated }),
	yes("membersonly", "May only members enter?", func(c *config) *bool { return &c.MembersOnly }),
	yes("allowinvites", "May members invite?", func(c *config) *bool { return &c.Invites }),
	yes("changesubject", "May participants change the subject?", func(c *config) *bool { return &c.Subjects }),
	yes(logging, "Keep what is said?", func(c *config) *bool { return &c.Logged }),
	choice("whois", "Who may know people's addresses?", func(c *config) *string { return &c.Whois }, "moderators", "anyone"),
	choice("allowpm", "Who may write to one person only?", func(c *config) *string { return &c.Private }, "anyone", "participants", "moderators", "none"),
	{
		name: "passwordprotectedroom", typ: "boolean", label: "Is a password needed?",
		get: func(c *config) string { return bit(c.Password != "") },
		set: func(c *config, v string) bool {
			if !truth(v) {
				c.Password = ""
			}
			return true
		},
	},
	{
		name: "roomsecret", typ: "text-private", label: "Password",
		get: func(c *config) string { return c.Password },
		set: func(c *config, v string) bool { c.Password = v; return len(v) <= 256 },
	},
	people(),
	number("historylength", "How many messages are shown to who enters? They are kept in memory.", 0, historyMax, func(c *config) *int { return &c.History }),
	number("slow_mode_duration", "Seconds between two messages of one person", 0, 24*3600, func(c *config) *int { return &c.Slow }),
}

func text(name, label string, most int, at func(c *config) *string) option {
	return option{name: name, typ: "text-single", label: label,
		get: func(c *config) string { return *at(c) },
		set: func(c *config, v string) bool { *at(c) = v; return len(v) <= most }}
}

func yes(name, label string, at func(c *config) *bool) option {
	return option{name: name, typ: "boolean", label: label,
		get: func(c *config) string { return bit(*at(c)) },
		set: func(c *config, v string) bool { *at(c) = truth(v); return truth(v) || v == "0" || v == "false" }}
}

func choice(name, label string, at func(c *config) *string, of ...string) option {
	return option{name: name, typ: "list-single", label: label, choices: of,
		get: func(c *config) string { return *at(c) },
		set: func(c *config, v string) bool { *at(c) = v; return slices.Contains(of, v) }}
}

func number(name, label string, low, high int, at func(c *config) *int) option {
	return option{name: name, typ: "text-single", label: label,
		get: func(c *config) string { return strconv.Itoa(*at(c)) },
		set: func(c *config, v string) bool {
			n, err := strconv.Atoi(strings.TrimSpace(v))
			if v == "" || v == "none" { // §10.1.3: no limit but the server's
				n, err = high, nil
			}
			*at(c) = min(n, high)
			return err == nil && n >= low
		}}
}

// people is a list by the registry (§15.5.3), though any number is taken.
func people() option {
	o := number("maxusers", "How many people may be in the room?", 1, occupantsMax, func(c *config) *int { return &c.MaxUsers })
	o.typ, o.choices = "list-single", []string{"10", "20", "50", "100", "200", "500", strconv.Itoa(occupantsMax)}
	return o
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func truth(s string) bool { return s == "1" || s == "true" }

// form shows the settings with their values (§10.1.3).
func (r *room) form() *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "form").Add(xmpp.El(xmpp.NSData, "title").WithText("Settings of " + r.name))
	x.Add(field("FORM_TYPE", "hidden", "", xmpp.NSMUC+"#roomconfig"))
	for i := range options {
		o := &options[i]
		if o.name == logging && !r.v.s.Keeps() {
			continue
		}
		f := field(setting+o.name, o.typ, o.label, o.get(&r.conf))
		choices := o.choices
		if v := o.get(&r.conf); choices != nil && !slices.Contains(choices, v) {
			choices = append([]string{v}, choices...)
		}
		for _, c := range choices {
			f.Add(xmpp.El(xmpp.NSData, "option", "label", c).Add(xmpp.El(xmpp.NSData, "value").WithText(c)))
		}
		x.Add(f)
	}
	for _, l := range []struct {
		name, label string
		rank        rank
	}{{"roomadmins", "Admins", admin}, {"roomowners", "Owners", owner}} {
		var all []string
		for who, f := range r.ranks {
			if f.Rank == l.rank {
				all = append(all, who.String())
			}
		}
		slices.Sort(all)
		x.Add(field(setting+l.name, "jid-multi", l.label, all...))
	}
	return x
}

func field(name, typ, label string, vals ...string) *xmpp.Element {
	f := xmpp.El(xmpp.NSData, "field", "var", name, "type", typ, "label", label)
	for _, v := range vals {
		f.Add(xmpp.El(xmpp.NSData, "value").WithText(v))
	}
	return f
}

// read takes the fields that a form sets; others keep their values, and those
// that we do not have are passed over.
func (c *config) read(form *xmpp.Element) error {
	secret := fieldOf(form, setting+"roomsecret")
	for i := range options {
		o := &options[i]
		f := fieldOf(form, setting+o.name)
		if f == nil {
			continue
		}
		if !o.set(c, strings.Join(values(f), "\n")) {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say(setting + o.name + " is no value that we can take")
		}
	}
	if p := fieldOf(form, setting+"passwordprotectedroom"); p != nil {
		if !truth(value(form, setting+"passwordprotectedroom")) {
			c.Password = ""
		} else if c.Password == "" || secret != nil && value(form, setting+"roomsecret") == "" {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("a room with a password needs one")
		}
	}
	return nil
}

func fieldOf(form *xmpp.Element, name string) *xmpp.Element {
	for _, f := range form.Children() {
		if f.Is(xmpp.NSData, "field") && f.Get("var") == name {
			return f
		}
	}
	return nil
}

func values(f *xmpp.Element) (all []string) {
	for _, v := range f.Children() {
		if v.Is(xmpp.NSData, "value") {
			all = append(all, v.Text())
		}
	}
	return all
}

// value is the first value of a field.
func value(form *xmpp.Element, name string) string {
	if all := values(fieldOf(form, name)); len(all) > 0 {
		return all[0]
	}
	return ""
}
