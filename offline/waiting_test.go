// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"fmt"
	"strconv"
	"testing"
	"time"
)

func theArchive(t testing.TB, s *Store, device string, f Find) Found {
	t.Helper()
	if f.Max == 0 {
		f.Max = 100
	}
	r, err := s.Waiting("bob", device, [2]uint64{}, f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inArchive is mail that is in the archive of who waits for it.
func inArchive(i int, with string) *Mail {
	m := mail(i)
	m.Archive, m.With = fmt.Sprintf("id-%d", i), with
	return m
}

// DESIGN §4: in forget mode the archive is what waits: for the device, and in
// the inbox; before and after a restart, and nothing of it once it is acked,
// also for who has all old pages of the files.
func TestWaiting(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	for i := range 60 {
		devices := [][]string{{"phone", "laptop"}, {"phone"}, {""}}[i%3]
		m := inArchive(i, "")
		if i%10 == 9 {
			m.Archive = "" // as an error, which is in no archive
		}
		k, err := s.Put("bob", devices, m, false)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, k)
	}
	want := func(n int, device string) {
		t.Helper()
		if got := theArchive(t, s, device, Find{}); len(got.Mail) != n || got.Count != n || !got.Complete {
			t.Fatal(device, len(got.Mail), got.Count, got.Complete)
		}
	}
	want(54, "phone") // all but the errors: its own, the inbox
	want(36, "laptop")
	s.Close()
	s = open(t, dir, quiet)
	want(54, "phone")
	// What has been written of its own mailbox is not there, but its id is known.
	whole := theArchive(t, s, "phone", Find{})
	cut, left := whole.Mail[20].Seq, 0
	for _, m := range whole.Mail {
		if n, _ := strconv.Atoi(m.ID); n%3 == 2 || m.Seq > cut {
			left++
		}
	}
	some, err := s.Waiting("bob", "phone", [2]uint64{cut, 0}, Find{Max: 100})
	if err != nil || len(some.Mail) != left || left == 54 || some.Count != left {
		t.Fatal(len(some.Mail), left, err)
	}
	if _, err := s.Waiting("bob", "phone", [2]uint64{cut, 0}, Find{From: "id-0", Max: 100}); err != nil {
		t.Fatal(err)
	}
	if got := theArchive(t, s, "phone", Find{From: "id-30", Max: 3}); ids(got) != "31 32 33 " {
		t.Fatal(ids(got))
	}
	before := copied(t, dir)
	phone := s.Mailbox("bob", "phone")
	for _, m := range all(t, phone) {
		phone.Ack(m.Seq)
	}
	want(18, "phone")  // what is in the inbox
	want(36, "laptop") // has acked nothing
	for _, device := range []string{"laptop", ""} {
		b := s.Mailbox("bob", device)
		for _, m := range all(t, b) {
			b.Ack(m.Seq)
		}
	}
	want(0, "phone")
	want(0, "laptop")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, oldPages(t, before, dir), quiet)
	defer s.Close()
	for _, device := range []string{"phone", "laptop", ""} {
		if got := theArchive(t, s, device, Find{}); len(got.Mail) != 0 {
			t.Errorf("%s: %s by old pages", device, ids(got))
		}
	}
}

// One search opens a bounded number of messages; going on where it gave up
// finds the one that is looked for.
func TestWaitingIsBounded(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	var last *Ticket
	for i := range 3*lookMax + 1 {
		with := "alice@localhost/a"
		if i == 3*lookMax-10 {
			with = "carol@localhost/c"
		}
		k, err := s.Put("bob", []string{"phone"}, inArchive(i, with), false)
		if err != nil {
			t.Fatal(err)
		}
		last = k
	}
	wait(t, last)
	f := Find{With: "carol@localhost"}
	for round := 1; ; round++ {
		began := time.Now()
		got := theArchive(t, s, "phone", f)
		if len(got.Mail) == 1 {
			if round != 3 || got.Mail[0].ID != fmt.Sprint(3*lookMax-10) {
				t.Fatal("round", round, ids(got))
			}
			return
		}
		if got.Complete || got.Last == "" || round > 3 {
			t.Fatal("gave up for good in round", round, time.Since(began))
		}
		f.From = got.Last
	}
}

// BenchmarkWaitingPage reads the last 50 of 20,000 messages that wait.
func BenchmarkWaitingPage(b *testing.B) {
	s := withBob(b, b.TempDir(), quiet)
	defer s.Close()
	var last *Ticket
	for i := range 20_000 {
		k, err := s.Put("bob", []string{"phone"}, inArchive(i, ""), false)
		if err != nil {
			b.Fatal(err)
		}
		last = k
	}
	wait(b, last)
	for b.Loop() {
		if got := theArchive(b, s, "phone", Find{Max: 50, Last: true}); len(got.Mail) != 50 {
			b.Fatal(len(got.Mail))
		}
	}
}
