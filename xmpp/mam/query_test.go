// SPDX-License-Identifier: Apache-2.0

package mam

import (
	"testing"

	"sotto/xmpp"
)

// Whatever a query is, reading it ends in a bounded question or in an error
// that has a clause.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"<query xmlns='urn:xmpp:mam:2' queryid='a'><set xmlns='http://jabber.org/protocol/rsm'><max>10</max><before/></set><flip-page/></query>",
		"<query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field><field var='start'><value>2010-08-07T00:00:00Z</value></field><field var='ids'><value>a</value><value>b</value></field></x></query>",
		"<prefs xmlns='urn:xmpp:mam:2' default='roster'><always><jid>a@b</jid></always><never/></prefs>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		el, err := xmpp.Parse(b, xmpp.NSClient)
		if err != nil {
			return
		}
		if c, err := ParsePrefs(el); err == nil {
			again, err := ParsePrefs(c.Element())
			if err != nil || len(again.Always) != len(c.Always) || again.Usual != c.Usual {
				t.Fatal("read differently", err)
			}
		} else if _, ok := err.(*xmpp.StanzaError); !ok {
			t.Fatal(err)
		}
		q, err := Parse(el)
		if err != nil {
			if _, ok := err.(*xmpp.StanzaError); !ok {
				t.Fatal(err)
			}
			return
		}
		if q.Max < 0 || q.Max > pageMax || len(q.IDs) > idsMax {
			t.Fatal(q.Max, len(q.IDs))
		}
	})
}
