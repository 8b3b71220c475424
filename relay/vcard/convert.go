// SPDX-License-Identifier: Apache-2.0

package vcard

import (
	"strings"

	"sotto/xmpp"
)

// texts are the fields that are one text in both forms: name in the old one,
// name and kind of value in the new one (XEP-0292 §4).
var texts = []struct{ old, new, kind string }{
	{"FN", "fn", "text"}, {"NICKNAME", "nickname", "text"}, {"URL", "url", "uri"}, {"BDAY", "bday", "date"},
	{"TITLE", "title", "text"}, {"ROLE", "role", "text"}, {"DESC", "note", "text"}, {"JABBERID", "impp", "uri"},
	{"TZ", "tz", "text"}, {"UID", "uid", "text"},
}

// parts are the fields whose value is one child of theirs in the old form.
var parts = []struct{ old, child, new, kind string }{
	{"EMAIL", "USERID", "email", "text"}, {"TEL", "NUMBER", "tel", "text"},
	{"ORG", "ORGNAME", "org", "text"},
}

// groups are the fields that have the same children under other names.
var groups = []struct {
	old, new string
	kids     [][2]string
}{
	{"N", "n", [][2]string{{"FAMILY", "surname"}, {"GIVEN", "given"}, {"MIDDLE", "additional"}, {"PREFIX", "prefix"}, {"SUFFIX", "suffix"}}},
	{"ADR", "adr", [][2]string{{"POBOX", "pobox"}, {"EXTADD", "ext"}, {"STREET", "street"}, {"LOCALITY", "locality"},
		{"REGION", "region"}, {"PCODE", "code"}, {"CTRY", "country"}}},
}

func old(name string) *xmpp.Element { return xmpp.El(xmpp.NSVCard, name) }
func four(name, kind, text string) *xmpp.Element {
	return xmpp.El(xmpp.NSVCard4, name).Add(xmpp.El(xmpp.NSVCard4, kind).WithText(text))
}

// toFour says in the new form what an old vCard says.
func toFour(card *xmpp.Element) *xmpp.Element {
	v := xmpp.El(xmpp.NSVCard4, "vcard")
	for _, k := range card.Children() {
		for _, f := range texts {
			if t := k.Text(); k.Is(xmpp.NSVCard, f.old) && t != "" {
				if f.new == "impp" && !strings.HasPrefix(t, "xmpp:") {
					t = "xmpp:" + t
				}
				v.Add(four(f.new, f.kind, t))
			}
		}
		for _, f := range parts {
			if t := k.Child(xmpp.NSVCard, f.child).Text(); k.Is(xmpp.NSVCard, f.old) && t != "" {
				v.Add(four(f.new, f.kind, t))
			}
		}
		for _, g := range groups {
			if !k.Is(xmpp.NSVCard, g.old) {
				continue
			}
			n := xmpp.El(xmpp.NSVCard4, g.new)
			for _, c := range g.kids {
				if t := k.Child(xmpp.NSVCard, c[0]).Text(); t != "" {
					n.Add(xmpp.El(xmpp.NSVCard4, c[1]).WithText(t))
				}
			}
			v.Add(n)
		}
	}
	return v
}

// fromFour says in the old form what a new vCard says; nil for none.
func fromFour(v *xmpp.Element) *xmpp.Element {
	if v == nil {
		return nil
	}
	card := old("vCard")
	for _, k := range v.Children() {
		if k.Name.Space != xmpp.NSVCard4 {
			continue
		}
		value := k.Child(xmpp.NSVCard4, "").Text()
		for _, f := range texts {
			if k.Name.Local == f.new && value != "" {
				card.Add(old(f.old).WithText(strings.TrimPrefix(value, "xmpp:")))
			}
		}
		for _, f := range parts {
			if k.Name.Local == f.new && value != "" {
				card.Add(old(f.old).Add(old(f.child).WithText(strings.TrimPrefix(value, "tel:"))))
			}
		}
		for _, g := range groups {
			if k.Name.Local != g.new {
				continue
			}
			n := old(g.old)
			for _, c := range g.kids {
				if t := k.Child(xmpp.NSVCard4, c[1]).Text(); t != "" {
					n.Add(old(c[0]).WithText(t))
				}
			}
			card.Add(n)
		}
	}
	return card
}
