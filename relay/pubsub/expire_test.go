// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// TestItemsEnd: what is over is not only hidden, it leaves the disk, also after
// a restart, and gives its room back (XEP-0060 §16.4.4 item_expire).
func TestItemsEnd(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	dir, now := t.TempDir(), time.Unix(1_800_000_000, 0)
	var b *broker
	var store *offline.Store
	shut := func() {
		if err := errors.Join(b.s.Shutdown(t.Context()), store.Close()); err != nil {
			t.Fatal(err)
		}
	}
	open := func() {
		var err error
		if store, err = offline.Open(dir, offline.Options{Shards: 1, Log: log}); err != nil {
			t.Fatal(err)
		}
		s, err := relay.New(relay.Options{Domain: "localhost", Store: store, Log: log, Now: func() time.Time { return now }})
		if err == nil {
			b, err = add(s, Options{})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	open()
	form := xmpp.El(xmpp.NSData, "x", "type", "submit").Add(formField("pubsub#item_expire", "", "60"), formField("pubsub#max_items", "", "10"))
	w := &wish{place: b.host, from: xmpp.MustJID("alice@localhost/a"), node: "urn:n", pubsub: xmpp.El(xmpp.NSPubsub, "pubsub").
		Add(xmpp.El(xmpp.NSPubsub, "configure").Add(form))}
	if _, err := b.create(w); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"old", "young"} {
		if _, err := b.put(w, &item{ID: id, XML: "<x xmlns='urn:x'>" + strings.Repeat(id, 100) + "</x>"}, nil, ""); err != nil {
			t.Fatal(err)
		}
		now = now.Add(40 * time.Second)
	}
	left := func() (ids string, bytes int) {
		err := store.View(b.host.owner, func(rec *offline.Records) error {
			for _, i := range itemsOf(rec, "urn:n") {
				ids += i.ID + " "
			}
			c, _ := load(rec, "urn:n")
			bytes = c.Bytes
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return ids, bytes
	}
	b.prune(now)
	if ids, bytes := left(); ids != "young " || bytes != 521 {
		t.Error("after 80 s there are", ids, bytes)
	}
	now = now.Add(time.Hour)
	shut()
	open()
	b.findExpiring(t.Context())
	b.prune(now)
	if ids, bytes := left(); ids != "" || bytes != 0 {
		t.Error("after a restart there are", ids, bytes)
	}
	shut()
}
