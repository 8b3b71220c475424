// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"testing"

	"sotto/offline"
	"sotto/xmpp"
)

// TestServiceBound: all people together fill the service up to its bounds, and
// what they give back others can have.
func TestServiceBound(t *testing.T) {
	store, err := offline.Open(t.TempDir(), offline.Options{Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	p := &place{xmpp.MustJID("pubsub.localhost"), "pubsub:", false}
	spend := func(who string, nodes, bytes int) bool {
		return store.Update(p.owner, func(rec *offline.Records) error { return p.publishes(rec, who, nodes, bytes) }) == nil
	}
	people := 0
	for ; spend(string(rune('a'+people)), personMax.Nodes, personMax.Bytes); people++ {
	}
	if people != hostMax.Bytes/personMax.Bytes {
		t.Error("so many people fill the service:", people)
	}
	if spend("new", 1, 1) || !spend("a", 0, -10) || !spend("new", 1, 10) || spend("new", 0, 1) {
		t.Error("what one gives back another has, and no more")
	}
}
