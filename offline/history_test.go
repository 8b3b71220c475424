// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"
)

// noted is a message of a history, i minutes after the start.
func noted(i int, start time.Time, with string) *Mail {
	at := start.Add(time.Duration(i) * time.Minute)
	return &Mail{
		At: at, From: "bob@localhost/phone", With: with, ID: fmt.Sprint(i), Archive: fmt.Sprintf("id-%d", i),
		Body: fmt.Appendf(nil, "<message>secret %d</message>", i),
	}
}

// keep writes notes and waits until they are safe.
func keep(t testing.TB, s *Store, owner string, all ...*Mail) {
	t.Helper()
	var last []*Ticket
	for _, m := range all {
		k, err := s.Keep(owner, m, owner == "bob")
		if err != nil {
			t.Fatal(err)
		}
		last = append(last, k)
	}
	for _, k := range last {
		wait(t, k)
	}
}

func history(t testing.TB, s *Store, owner string, f Find) Found {
	t.Helper()
	if f.Max == 0 {
		f.Max = 1 << 20
	}
	r, err := s.History(owner, f)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func ids(r Found) string {
	var b strings.Builder
	for _, m := range r.Mail {
		fmt.Fprint(&b, m.ID, " ")
	}
	return b.String()
}

// XEP-0313 §4: whatever is asked of a history of many weeks, also after a
// restart, the answer is what a plain search gives.
func TestHistoryAgainstModel(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	r := rand.New(rand.NewPCG(3, 4))
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	people := []string{"alice@localhost/a", "alice@localhost/b", "carol@localhost", "room@rooms.localhost/nick"}
	var model []*Mail
	for i := range 1200 {
		m := noted(i*97, start, people[r.IntN(len(people))])
		model = append(model, m)
		if i%3 == 0 { // mail between them has numbers of the same row
			if _, err := s.Put("bob", []string{"phone"}, mail(i), false); err != nil {
				t.Fatal(err)
			}
		}
	}
	keep(t, s, "bob", model...)
	keep(t, s, "room@rooms.localhost", model[:10]...)
	s.Close()
	s = open(t, dir, quiet)
	defer s.Close()
	if got := history(t, s, "room@rooms.localhost", Find{}); len(got.Mail) != 10 || got.Count != 10 {
		t.Fatal(len(got.Mail), got.Count)
	}
	for range 400 {
		f := Find{Max: r.IntN(40) + 1, Last: r.IntN(2) == 0}
		some := func() *Mail { return model[r.IntN(len(model))] }
		if r.IntN(2) == 0 {
			f.With = []string{"alice@localhost", "alice@localhost/a", "carol@localhost", "dave@localhost", "room@rooms.localhost"}[r.IntN(5)]
		}
		if r.IntN(3) == 0 {
			f.Start = some().At
		}
		if r.IntN(3) == 0 {
			f.End = some().At.Add(time.Second)
		}
		if r.IntN(4) == 0 {
			f.After = some().Archive
		}
		if r.IntN(4) == 0 {
			f.Before = some().Archive
		}
		if r.IntN(3) == 0 {
			f.From = some().Archive
		}
		got := history(t, s, "bob", f)
		want, index, count := plain(model, f)
		if ids(got) != want {
			t.Fatalf("%+v:\n%s, not\n%s", f, ids(got), want)
		}
		if got.Count >= 0 && got.Count != count || want != "" && got.Index >= 0 && got.Index != index {
			t.Fatalf("%+v: count %d, index %d; not %d, %d", f, got.Count, got.Index, count, index)
		}
	}
}

// plain goes over everything.
func plain(model []*Mail, f Find) (page string, index, count int) {
	place := func(archive string) int {
		for i, m := range model {
			if m.Archive == archive {
				return i
			}
		}
		return -1
	}
	var all, in []int
	for i, m := range model {
		if (f.After == "" || i > place(f.After)) && (f.Before == "" || i < place(f.Before)) && f.wants(m) {
			all = append(all, i)
			if f.From == "" || f.Last && i < place(f.From) || !f.Last && i > place(f.From) {
				in = append(in, i)
			}
		}
	}
	if len(in) > f.Max && f.Last {
		in = in[len(in)-f.Max:]
	} else if len(in) > f.Max {
		in = in[:f.Max]
	}
	for _, i := range in {
		page += model[i].ID + " "
	}
	if len(in) > 0 {
		for index = range all {
			if all[index] == in[0] {
				break
			}
		}
	}
	return page, index, len(all)
}

// A message that comes a second time is kept once: in one commit, in two, and
// after a restart.
func TestHistoryTwin(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	now := time.Now()
	keep(t, s, "bob", noted(1, now, "a@x"), noted(1, now, "a@x"))
	keep(t, s, "bob", noted(1, now, "a@x"), noted(2, now, "a@x"))
	s.Close()
	s = open(t, dir, quiet)
	defer s.Close()
	keep(t, s, "bob", noted(2, now, "a@x"))
	if got := history(t, s, "bob", Find{}); ids(got) != "1 2 " || got.Count != 2 {
		t.Fatal(ids(got), got.Count)
	}
}

// A message and its place in the history cost one commit, so one sync.
func TestHistoryOneCommit(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	put := func(i int) {
		m := mail(i)
		m.Archive, m.Kept = fmt.Sprintf("id-%d", i), true
		k, err := s.Put("bob", []string{"phone"}, m, false)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, k)
	}
	commits := func() (n int) {
		sh, _, _ := s.of("bob")
		err := sh.db.View(func(tx *bbolt.Tx) error { n = tx.ID(); return nil })
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(0) // reserves numbers in a commit of its own
	before := commits()
	for i := range 10 {
		put(i + 1)
	}
	if n := commits() - before; n != 10 {
		t.Fatal(n, "commits for 10 messages")
	}
}

// Who was given a message finds it in the history at once.
func TestHistoryIsWhatWasGiven(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	for i := range 200 {
		m := mail(i)
		m.Archive, m.Kept = fmt.Sprintf("id-%d", i), true
		if _, err := s.Put("bob", []string{"phone"}, m, i%2 == 0); err != nil {
			t.Fatal(err)
		}
		got := all(t, s.Mailbox("bob", "phone"))
		if r := history(t, s, "bob", Find{Max: 1, Last: true}); r.Last != got[len(got)-1].Archive {
			t.Fatalf("%s came, %s is the last one", got[len(got)-1].Archive, r.Last)
		}
	}
}

// Mail that all devices acked before it was written needs no disk; its history
// does, and the sender waits for that.
func TestHistoryWaitsForDisk(t *testing.T) {
	dir := t.TempDir()
	o := quiet
	o.Linger, o.LingerLive = time.Hour, time.Hour
	s := open(t, dir, quiet)
	if err := s.CreateAccount(Account{User: "bob"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, o)
	first := mail(0) // its number is reserved by a commit
	if _, err := s.Put("bob", []string{"phone"}, first, true); err != nil {
		t.Fatal(err)
	}
	m := mail(1)
	m.Archive, m.Kept = "id", true
	k, err := s.Put("bob", []string{"phone"}, m, true)
	if err != nil {
		t.Fatal(err)
	}
	s.Mailbox("bob", "phone").Ack(first.Seq, m.Seq)
	if k.Done() {
		t.Fatal("safe, but in no history")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if !k.Done() || k.Err() != nil {
		t.Fatal("not safe", k.Err())
	}
	s = open(t, dir, quiet)
	defer s.Close()
	if got := history(t, s, "bob", Find{}); ids(got) != "1 " {
		t.Fatal(ids(got))
	}
	if n := s.Mailbox("bob", "phone").Len(); n != 0 {
		t.Error(n, "wait")
	}
}

// oldPages puts the databases of before beside the keys of now: what a thief
// has who finds all old pages of the file.
func oldPages(t *testing.T, before, now string) string {
	t.Helper()
	mix := t.TempDir()
	for from, pattern := range map[string]string{before: "shard-*", now: "[krsl]*"} {
		files, err := filepath.Glob(filepath.Join(from, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(from, pattern, err)
		}
		for _, f := range files {
			to := filepath.Join(mix, filepath.Base(f))
			if _, err := os.Stat(to); err == nil || from == now && strings.HasPrefix(filepath.Base(f), "shard-") {
				continue
			}
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(to, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return mix
}

func copied(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// DESIGN §5: a week that is over for long enough is erased with its key; old
// pages of the file help nobody. What is too old but not erased yet is in no
// answer.
func TestHistoryRetention(t *testing.T) {
	dir := t.TempDir()
	o := quiet
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	o.KeepHistory, o.Now = 15*24*time.Hour, func() time.Time { return now }
	s := withBob(t, dir, o)
	var notes []*Mail
	for day := range 60 {
		notes = append(notes, noted((day-59)*24*60, now, "alice@localhost"))
	}
	keep(t, s, "bob", notes...)
	keep(t, s, "room@x", notes...)
	want := ids(Found{Mail: flat(notes[44:])})
	if got := ids(history(t, s, "bob", Find{})); got != want {
		t.Fatal(got, "not", want)
	}
	before := copied(t, dir)
	if _, err := s.Sweep(now); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"bob", "room@x"} {
		if got := ids(history(t, s, owner, Find{})); got != want {
			t.Fatal(got, "not", want)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := Check(dir)
	if err != nil || len(r.Bad) > 0 || r.Kept > 2*22 || r.Kept < 2*16 {
		t.Fatal(err, r)
	}
	s = open(t, oldPages(t, before, dir), quiet) // keeps for ever
	defer s.Close()
	got := history(t, s, "bob", Find{})
	if n := len(got.Mail); n > 22 || n < 16 {
		t.Fatal(n, "can be read by old pages")
	}
	if _, err := s.History("bob", Find{From: notes[0].Archive, Max: 1}); !errors.Is(err, ErrGone) {
		t.Error("an erased id:", err)
	}
}

func flat(l []*Mail) (all []Mail) {
	for _, m := range l {
		all = append(all, *m)
	}
	return all
}

// With the account, or by EraseHistory, all of a history goes; who takes the
// name next finds nothing, nor do old pages give it back.
func TestHistoryErased(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	var notes []*Mail
	for i := range trimMost + 500 {
		notes = append(notes, noted(i, time.Now(), "alice@localhost"))
	}
	keep(t, s, "bob", notes...)
	keep(t, s, "room@x", notes[:20]...)
	keep(t, s, "other@x", notes[:20]...)
	before := copied(t, dir)
	if err := errors.Join(s.DeleteAccount("bob"), s.EraseHistory("room@x")); err != nil {
		t.Fatal(err)
	}
	if k, err := s.Keep("bob", noted(1<<20, time.Now(), "x@x"), true); err == nil { // was on its way
		wait(t, k)
	}
	if err := s.CreateAccount(Account{User: "bob"}); err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"bob", "room@x"} {
		if got := history(t, s, owner, Find{}); len(got.Mail) > 0 || got.Count != 0 {
			t.Error(owner, "has", len(got.Mail), got.Count)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := Check(dir); err != nil || r.Kept != 20 || len(r.Bad) > 0 {
		t.Fatal(err, r)
	}
	s = open(t, oldPages(t, before, dir), quiet)
	defer s.Close()
	for owner, n := range map[string]int{"bob": 0, "room@x": 0, "other@x": 20} {
		if got := history(t, s, owner, Find{}); len(got.Mail) != n {
			t.Error(owner, "has", len(got.Mail), "by old pages")
		}
	}
}

// EraseHistories leaves nothing of any owner, in no shard.
func TestHistoriesErased(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	now := time.Now()
	for _, owner := range []string{"bob", "room@x", "other@x", "third@x"} {
		keep(t, s, owner, noted(1, now, "a@x"), noted(60*24*8, now, "a@x"))
	}
	if n, err := s.Histories(); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	before := copied(t, dir)
	if err := s.EraseHistories(); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Histories(); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	keep(t, s, "bob", noted(2, now, "a@x"))
	if got := history(t, s, "bob", Find{}); ids(got) != "2 " {
		t.Fatal(ids(got))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, oldPages(t, before, dir), quiet)
	defer s.Close()
	for _, owner := range []string{"bob", "room@x", "other@x", "third@x"} {
		if got := history(t, s, owner, Find{}); len(got.Mail) > 0 {
			t.Errorf("%s: %s by old pages", owner, ids(got))
		}
	}
}

// TestHistoryKill kills a process that writes histories: what it was told to
// be safe is there afterwards, once, in order.
func TestHistoryKill(t *testing.T) {
	if dir := os.Getenv("SOTTO_HISTORY_DIR"); dir != "" {
		historyChild(t, dir)
		return
	}
	dir := t.TempDir()
	safe := 0
	for round := range 6 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestHistoryKill$")
		cmd.Env = append(os.Environ(), "SOTTO_HISTORY_DIR="+dir, fmt.Sprintf("SOTTO_KILL_FROM=%d", safe))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		n, enough := 0, 20+rand.IntN(200)
		for lines.Scan() {
			if _, err := fmt.Sscanf(lines.Text(), "safe %d", &n); err == nil {
				safe = max(safe, n+1)
			}
			if enough--; enough == 0 {
				_ = cmd.Process.Kill()
			}
		}
		_ = cmd.Wait()
		s := open(t, dir, quiet)
		got := history(t, s, "bob", Find{})
		for i, m := range got.Mail {
			if m.ID != fmt.Sprint(i) {
				t.Fatalf("round %d: %s at %d", round, m.ID, i)
			}
		}
		if len(got.Mail) < safe {
			t.Fatalf("round %d: %d there, %d were safe", round, len(got.Mail), safe)
		}
		safe = len(got.Mail)
		s.Close()
	}
}

// historyChild gives a device mail that it acks at once.
func historyChild(t *testing.T, dir string) {
	s := withBob(t, dir, quiet)
	var from int
	fmt.Sscan(os.Getenv("SOTTO_KILL_FROM"), &from)
	var mu sync.Mutex
	for i := from; ; i++ {
		m := mail(i)
		m.Archive, m.Kept = fmt.Sprintf("id-%d", i), true
		k, err := s.Put("bob", []string{"phone"}, m, true)
		if err != nil {
			t.Fatal(err)
		}
		s.Mailbox("bob", "phone").Ack(m.Seq)
		k.Then(told(func(err error) {
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				fmt.Printf("safe %d\n", i)
			}
		}))
		if i%8 == 0 {
			wait(t, k)
		}
	}
}

// BenchmarkHistoryPage reads pages of 50 from 100,000 messages of 1 KiB: the
// last one, one in the middle, and one with a person who is every hundredth.
func BenchmarkHistoryPage(b *testing.B) {
	s := withBob(b, b.TempDir(), quiet)
	defer s.Close()
	start := time.Now().Add(-400 * 24 * time.Hour)
	pad := strings.Repeat("x", 1024)
	for i := 0; i < 100_000; i += 5000 {
		var l []*Mail
		for j := i; j < i+5000; j++ {
			with := "alice@localhost/a"
			if j%100 == 0 {
				with = "carol@localhost/c"
			}
			m := noted(j*5, start, with)
			m.Body = []byte(fmt.Sprintf("<message>%d%s</message>", j, pad))
			l = append(l, m)
		}
		keep(b, s, "bob", l...)
	}
	for name, f := range map[string]Find{
		"last":   {Max: 50, Last: true},
		"middle": {Max: 50, From: fmt.Sprintf("id-%d", 50_000*5)},
		"with":   {Max: 50, Last: true, With: "carol@localhost"},
		"start":  {Max: 50, Start: start.Add(100 * 24 * time.Hour)},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if r := history(b, s, "bob", f); len(r.Mail) != 50 {
					b.Fatal(len(r.Mail))
				}
			}
		})
	}
}
