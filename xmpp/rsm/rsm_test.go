// SPDX-License-Identifier: Apache-2.0

package rsm

import (
	"strings"
	"testing"

	"sotto/xmpp"
)

func TestPages(t *testing.T) {
	ids := strings.Fields("a b c d e")
	for _, c := range []struct{ set, want, spec string }{
		{"<max>2</max>", "ab", "§2.1"},
		{"<max>2</max><after>b</after>", "cd", "§2.2"},
		{"<max>9</max><after>d</after>", "e", "§2.2"},
		{"<max>2</max><after>e</after>", "", "§2.2"},
		{"<max>2</max><after>x</after>", "item-not-found", "§2.2"},
		{"<max>2</max><before>d</before>", "bc", "§2.3"},
		{"<max>9</max><before>c</before>", "ab", "§2.3"},
		{"<max>2</max><before/>", "de", "§2.4"},
		{"<max>2</max><before>x</before>", "item-not-found", "§2.3"},
		{"<max>2</max><after>a</after><before>d</before>", "bc", "§2.3"},
		{"<max>2</max><after>d</after><before>b</before>", "", "§2.3"},
		{"<max>2</max><index>1</index>", "bc", "§2.5"},
		{"<max>2</max><index>9</index>", "item-not-found", "§2.5"},
		{"<max>0</max>", "", "§2.6"},
		{"<max>-1</max>", "bad-request", "§2.1"},
		{"<max>4294967296000000000000</max>", "bad-request", "§2.1"},
		{"<max>4294967296</max>", "abcd", "§2.1: we may give fewer"},
		{"", "abcd", ""},
	} {
		el, err := xmpp.Parse([]byte("<set xmlns='"+xmpp.NSRSM+"'>"+c.set+"</set>"), xmpp.NSClient)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		a, err := Parse(el)
		if err == nil {
			var from, to int
			if from, to, err = a.Cut(ids, 4); err == nil {
				got = strings.Join(ids[from:to], "")
			}
		}
		if err != nil {
			got = err.Error()
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q (XEP-0059 %s)", c.set, got, c.want, c.spec)
		}
	}
}
