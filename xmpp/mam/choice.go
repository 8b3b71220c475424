// SPDX-License-Identifier: Apache-2.0

package mam

import (
	"slices"

	"sotto/xmpp"
)

// A Choice says what of a person's messages is archived (XEP-0441 §2.1).
type Choice struct {
	Usual         string   // always, never or roster
	Always, Never []string // addresses for which it is otherwise
}

// choiceMax bounds both lists together.
const choiceMax = 500

// ParsePrefs reads a <prefs/>.
func ParsePrefs(el *xmpp.Element) (c Choice, err error) {
	c.Usual = el.Get("default")
	if c.Usual != "always" && c.Usual != "never" && c.Usual != "roster" {
		return c, wrong("default is always, never or roster")
	}
	for word, list := range map[string]*[]string{"always": &c.Always, "never": &c.Never} {
		for _, k := range el.Child(xmpp.NSMAM, word).Children() {
			if !k.Is(xmpp.NSMAM, "jid") {
				continue
			}
			j, err := xmpp.ParseJID(k.Text())
			if err != nil {
				return c, xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
			}
			if *list = append(*list, j.String()); len(*list) > choiceMax {
				return c, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("too many addresses")
			}
		}
	}
	return c, nil
}

// Element is the <prefs/>.
func (c Choice) Element() *xmpp.Element {
	el := xmpp.El(xmpp.NSMAM, "prefs", "default", c.Usual)
	for _, l := range []struct {
		word string
		all  []string
	}{{"always", c.Always}, {"never", c.Never}} {
		list := xmpp.El(xmpp.NSMAM, l.word)
		for _, j := range l.all {
			list.Add(xmpp.El(xmpp.NSMAM, "jid").WithText(j))
		}
		el.Add(list)
	}
	return el
}

// Archives says whether a message from or to j is archived (XEP-0441 §2.3);
// inRoster is asked only if that decides it.
func (c Choice) Archives(j xmpp.JID, inRoster func() bool) bool {
	listed := func(all []string) bool {
		return len(all) > 0 && (slices.Contains(all, j.String()) || slices.Contains(all, j.Bare().String()))
	}
	switch {
	case listed(c.Never):
		return false
	case listed(c.Always):
		return true
	case c.Usual == "roster":
		return inRoster()
	}
	return c.Usual == "always"
}
