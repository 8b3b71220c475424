// SPDX-License-Identifier: Apache-2.0

package client

import (
	"testing"

	"sotto/crypto/vault"
)

// TestOutboxLeaving: what the server has taken is not sent again while it is
// taken out, and what waits beside it is not forgotten.
func TestOutboxLeaving(t *testing.T) {
	store := vault.NewMemory()
	b, err := openBook(store)
	if err != nil {
		t.Fatal(err)
	}
	post := func(chat string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		if err := store.Commit(b.post(parcel{Chat: chat, Stanza: []byte("<message/>")})); err != nil {
			t.Fatal(err)
		}
	}
	due := func(want ...string) {
		t.Helper()
		all, err := b.due()
		if err != nil || len(all) != len(want) {
			t.Fatal(all, err)
		}
		for i, p := range all {
			if p.Chat != want[i] {
				t.Error(p.Chat, want[i])
			}
		}
	}
	post("first")
	due("first")
	b.fly(0)
	gone := drop(0)
	post("second")
	due("second") // the first one has been taken, its change is not made yet
	if err := store.Commit(gone); err != nil {
		t.Fatal(err)
	}
	due("second")
	b.dropped(0)
	due("second")
	b.fly(1)
	due()
	if b.waiting != 1 {
		t.Error(b.waiting)
	}
}
