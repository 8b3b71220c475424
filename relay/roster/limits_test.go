// SPDX-License-Identifier: Apache-2.0

package roster

import (
	"fmt"
	"log/slog"
	"testing"

	"sotto/offline"
)

// Strangers who ask and wait are counted, and keep no friend out (RFC 6121
// §3.1.3 wants their requests kept, but not how many).
func TestFits(t *testing.T) {
	s, err := offline.Open(t.TempDir(), offline.Options{Shards: 1, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill := func(n int, make func(i int) item) {
		err := s.Update("alice", func(rec *offline.Records) error {
			for i := range n {
				one := make(i)
				save(rec, &one)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	check := func(name string, old, now item, want bool) {
		err := s.View("alice", func(rec *offline.Records) error {
			old.JID, now.JID = name, name
			if err := fits(rec, &old, &now); (err == nil) != want {
				t.Errorf("%v to %v: %v", old, now, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(asksMax, func(i int) item { return item{JID: fmt.Sprintf("x%d@localhost", i), In: "<presence/>"} })
	check("y@localhost", item{}, item{In: "<presence/>"}, false)
	check("y@localhost", item{}, item{Listed: true}, true)
	check("y@localhost", item{Listed: true, To: true}, item{Listed: true, To: true, In: "<presence/>"}, true)
	fill(itemsMax, func(i int) item { return item{JID: fmt.Sprintf("z%d@localhost", i), Listed: true} })
	check("y@localhost", item{}, item{Listed: true}, false)
	check("z1@localhost", item{Listed: true}, item{Listed: true, To: true, From: true}, true)
	check("z1@localhost", item{Listed: true}, item{Listed: true, Name: "Zed"}, true)
}
