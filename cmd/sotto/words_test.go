// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sotto/xmpp"
)

func TestWhoIs(t *testing.T) {
	people := func(all ...string) (out []xmpp.JID) {
		for _, p := range all {
			out = append(out, xmpp.MustJID(p))
		}
		return out
	}
	for _, row := range []struct {
		as    string
		known []xmpp.JID
		want  string // empty: an error
	}{
		{"alice", nil, "alice@localhost"},
		{"alice", people("alice@example.org", "bob@localhost"), "alice@example.org"},
		{"alice", people("alice@example.org", "alice@localhost"), ""},
		{"alice@localhost", people("alice@example.org"), "alice@localhost"},
		{"Alice@Example.ORG", nil, "alice@example.org"},
		{"", people("alice@example.org"), "alice@example.org"},
		{"", people("alice@example.org", "bob@localhost"), ""},
		{"", nil, ""},
		{"@example.org", nil, ""},
		{"alice@example.org/phone", nil, ""},
		{"../alice", nil, ""},
	} {
		got, err := whoIs(row.as, row.known)
		if row.want == "" && err == nil || row.want != "" && (err != nil || got.String() != row.want) {
			t.Errorf("%q among %v is %v, %v; not %q", row.as, row.known, got, err, row.want)
		}
	}
}

func TestSingleDash(t *testing.T) {
	got := singleDash([]string{"-as", "alice", "-as=bob", "send", "bob", "--", "-as"})
	if !slices.Equal(got, []string{"--as", "alice", "--as=bob", "send", "bob", "--", "-as"}) {
		t.Error(got)
	}
}

// TestHelp: one screen, examples first, every command named.
func TestHelp(t *testing.T) {
	var out, notes bytes.Buffer
	if code := run(t.Context(), nil, &out, &notes); code != 0 || notes.Len() > 0 {
		t.Error(code, notes.String())
	}
	text := out.String()
	if n := strings.Count(text, "\n"); n > 24 {
		t.Errorf("%d lines", n)
	}
	for _, c := range []string{"chat", "login", "register", "send", "listen", "contacts", "add", "remove", "devices", "verify", "distrust", "history"} {
		if !strings.Contains(text, "\n    "+c+" ") {
			t.Errorf("no %s in\n%s", c, text)
		}
	}
	for l := range strings.Lines(text) {
		if len(l) > 81 {
			t.Errorf("too long: %q", l)
		}
	}
	if strings.Index(text, "sotto -as alice") > strings.Index(text, "Commands") {
		t.Error("examples do not come first")
	}
}

func TestPrintable(t *testing.T) {
	if got := printable("a\x1b[2Jb\u202ec\r\x07é\n🌍"); got != "a�[2Jb�c��é\n          🌍" {
		t.Errorf("%q", got)
	}
}

func TestWithPort(t *testing.T) {
	for _, row := range []struct {
		in     string
		direct bool
		want   string
	}{
		{"example.org", false, "example.org:5222"}, {"example.org", true, "example.org:5223"},
		{"example.org:443", true, "example.org:443"}, {"::1", false, "[::1]:5222"}, {"[::1]:7", false, "[::1]:7"},
	} {
		if got := withPort(row.in, row.direct); got != row.want {
			t.Errorf("%q gives %q, not %q", row.in, got, row.want)
		}
	}
}
