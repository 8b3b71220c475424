// SPDX-License-Identifier: Apache-2.0

package script

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sotto/xmpp"
)

// A babble makes elements that are well-formed and mean nothing.
type babble struct {
	*rand.Rand
	spaces, names, attrs, values []string
}

func (n *babble) one(of []string) string { return of[n.IntN(len(of))] }

func (n *babble) fill(el *xmpp.Element, depth int) *xmpp.Element {
	for range n.IntN(4) {
		el.Set(n.one(n.attrs), n.one(n.values))
	}
	if n.IntN(4) == 0 {
		el.WithText(n.one(n.values))
	}
	for range n.IntN(4) {
		if depth > 0 {
			space := el.Name.Space
			if n.IntN(3) == 0 {
				space = n.one(n.spaces)
			}
			el.Add(n.fill(xmpp.El(space, n.one(n.names)), depth-1))
		}
	}
	return el
}

func newBabble(seed uint64, answers []xmpp.Name) *babble {
	n := &babble{Rand: rand.New(rand.NewPCG(seed, 1)),
		names: strings.Fields(`item items publish retract create configure subscribe unsubscribe subscriptions subscription
			affiliations affiliation delete purge default options publish-options x field value PHOTO BINVAL TYPE EXTVAL FN N TEL
			storage conference nick report text stanza-id set max before after index query list revoke command username password
			prefs always never group presence metadata info data vcard file request redirect token preauth devices`),
		attrs: strings.Fields("node jid id to from type var action sessionid affiliation subscription max_items notify name ver reason token filename size content-type by autojoin default"),
		values: []string{"", "alice@localhost", "bob@localhost/x", "nobody@localhost", "rooms.localhost", "a@rooms.localhost", "@", "localhost",
			"urn:xmpp:avatar:metadata", "urn:xmpp:avatar:data", "urn:xmpp:vcard4", "urn:xmpp:bookmarks:1", "storage:bookmarks", "urn:n",
			"0", "-1", "1", "18446744073709551616", "max", "true", "none", "subscribed", "owner", "member", "outcast", "both",
			"submit", "form", "cancel", "execute", "pubsub#access_model", "pubsub#max_items", "pubsub#expire", "pubsub#show-values", "authorize", "open", "whitelist", "FORM_TYPE", "=", "%%%",
			strings.Repeat("z", 3000), "\u202e", "2026-01-01T00:00:00Z", "urn:xmpp:invite#invite"},
	}
	for _, a := range answers {
		n.spaces = append(n.spaces, a.Space)
	}
	return n
}

// TestBabble: whatever a person asks, each question gets one answer, and none
// is that we did not know what to do.
func TestBabble(t *testing.T) {
	p := newPlay(t)
	p.line = "nonsense"
	p.login("alice/a", nil)
	a := p.actor("alice/a")
	answers := p.relay.Answers()
	slices.SortFunc(answers, func(a, b xmpp.Name) int { return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Local, b.Local)) })
	n := newBabble(7, answers)
	said := map[string]int{}
	for round := range 200 {
		for i, q := range answers {
			id := fmt.Sprintf("n%d-%d", round, i)
			iq := xmpp.El(xmpp.NSClient, "iq", "type", n.one([]string{"get", "set"}), "id", id,
				"to", n.one([]string{"", "localhost", "alice@localhost", "bob@localhost", "nobody@localhost", "rooms.localhost", "a@rooms.localhost", "pubsub.localhost"}))
			asked := n.fill(xmpp.El(q.Space, q.Local), 3)
			a.send(string(iq.Add(asked).Bytes()))
			p.until(a, parse("<iq id='"+id+"'/>"))
			said[a.last.Get("type")]++
			if a.last.Child("", "error").Child(xmpp.NSStanzas, "internal-server-error") != nil {
				t.Errorf("%s\n\tanswer: %s", iq.Bytes(), a.last.Bytes())
			}
		}
	}
	if said["result"] < 300 || said["error"] < 300 {
		t.Error("the questions do not reach far:", said)
	}
	t.Log(said)
}
