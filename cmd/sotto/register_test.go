// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/account"
)

// TestRegister: an invitation becomes an account, from its line or its page,
// and the guest talks with who invited.
func TestRegister(t *testing.T) {
	o := town.New(t, "alice", "bob")
	soon := time.Now().Add(time.Hour)
	alice := settle(t, o, "alice")
	link, page := o.Invite(account.Invite{By: "alice", Account: true, Until: soon})
	named, _ := o.Invite(account.Invite{User: "dora", Account: true, Until: soon})
	old, oldPage := o.Invite(account.Invite{Account: true, Until: soon.Add(-2 * time.Hour)})
	contact, _ := o.Invite(account.Invite{By: "alice", Until: soon})
	carol := newPerson(t, o, "carol")
	register := func(p *person, password, link string) result {
		return p.sotto(password+"\n", "register", link, "--server", p.addr, "--ca", p.ca, "--key-file")
	}
	carol.fails(register(carol, "secret", "xmpp:localhost"), exitUsage, "no invitation", "preauth")
	carol.fails(register(carol, "secret", contact), exitUsage, "who have an account", "sotto add")
	carol.fails(register(carol, "secret", named), exitUsage, "the name dora", "sotto register")
	carol.fails(register(carol, "secret", old), exitUser, "too old", "ask who invited")
	carol.fails(register(carol, "secret", oldPage), exitUser, "any more", "another one")
	carol.fails(register(carol, "short", link), exitUser, "too short")
	carol.fails(carol.sotto("secret\n", "register", "--server", carol.addr, "--ca", carol.ca), exitUser, "only for who is invited", "user add")
	twin := newPerson(t, o, "alice")
	twin.fails(register(twin, "secret", link), exitUser, "taken", "log in if it is yours")
	if out := carol.ok(register(carol, "secret-carol", page)); !strings.Contains(out, "carol@localhost") {
		t.Error(out)
	}
	if out := carol.ok(carol.sotto("", "contacts")); !strings.Contains(out, "alice") {
		t.Error("who invited is no contact:", out)
	}
	carol.ok(carol.sotto("", "send", "alice", "I am in"))
	if out := alice.ok(alice.sotto("", "listen", "--count", "1", "--timeout", "20s")); !strings.Contains(out, "I am in") {
		t.Error(out)
	}
	frank := newPerson(t, o, "frank")
	frank.fails(register(frank, "secret-frank", link), exitUser, "too old")
	// Who has an account becomes a contact by it, and is not asked about.
	carol.fails(carol.sotto("", "add", named), exitUsage, "not to somebody", "register")
	_, page = o.Invite(account.Invite{By: "alice", Account: true, Until: soon})
	bob := settle(t, o, "bob")
	bob.ok(bob.sotto("", "add", page, "--name", "Ally"))
	if out := bob.ok(bob.sotto("", "contacts")); !strings.Contains(out, "Ally") {
		t.Error(out)
	}
	if out := alice.ok(alice.sotto("", "contacts")); !strings.Contains(out, "bob") || strings.Contains(out, "asks") {
		t.Error("alice is asked, or knows nothing:", out)
	}
	dora := newPerson(t, o, "dora")
	dora.ok(register(dora, "secret-dora", named))
}

func TestReadLink(t *testing.T) {
	for _, c := range []struct {
		link string
		want invitation
		spec string
	}{
		{"xmpp:chat.example?register;preauth=T", invitation{"chat.example", "", "T", "", true}, "XEP-0445 §2"},
		{"xmpp:juliet@chat.example?register;preauth=T", invitation{"chat.example", "juliet", "T", "", true}, "XEP-0401 §5.4"},
		{"xmpp:romeo@chat.example?roster;preauth=T;ibr=y", invitation{"chat.example", "", "T", "romeo@chat.example", true}, "XEP-0401 §5.1"},
		{"xmpp:romeo@chat.example?roster;preauth=T", invitation{"chat.example", "", "T", "romeo@chat.example", false}, "XEP-0379 §3.2"},
		{"xmpp:j%C3%BCrg@chat.example?register;preauth=T", invitation{"chat.example", "jürg", "T", "", true}, "RFC 5122 §2.2"},
		{"xmpp:chat.example?register", invitation{}, "XEP-0445 §2"},
		{"xmpp:chat.example?message;preauth=T", invitation{"chat.example", "", "T", "", false}, "XEP-0147 §4"},
		{"xmpp:a@b@c?register;preauth=T", invitation{}, "RFC 7622 §3.1"},
		{"http://chat.example/invite/T", invitation{}, "XEP-0401 §5.2"},
	} {
		got, err := readLink(c.link)
		if err != nil && c.want.token != "" || err == nil && got != c.want {
			t.Errorf("%s (%s): %+v, %v", c.link, c.spec, got, err)
		}
	}
}
