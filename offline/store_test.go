// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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

var quiet = Options{Shards: 2, Log: slog.New(slog.DiscardHandler)}

func open(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func withBob(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s := open(t, dir, o)
	if err := s.CreateAccount(Account{User: "bob"}); err != nil && !errors.Is(err, ErrExists) {
		t.Fatal(err)
	}
	return s
}

func wait(t testing.TB, k *Ticket) {
	t.Helper()
	done := make(chan error, 1)
	k.Then(told(func(err error) { done <- err }))
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func mail(n int) *Mail {
	now := time.Now()
	return &Mail{At: now, Expires: now.Add(time.Hour), From: "alice@localhost/a", ID: fmt.Sprint(n), Body: []byte(fmt.Sprintf("<message>%d</message>", n))}
}

func all(t testing.TB, b *Mailbox) []Mail {
	t.Helper()
	got, err := b.After(0, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// What is done survives a restart, in order, for each device once.
func TestMailSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	for i := range 100 {
		k, err := s.Put("bob", []string{"phone", "laptop"}, mail(i), false)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, k)
	}
	phone := s.Mailbox("bob", "phone")
	for _, m := range all(t, phone)[:40] {
		phone.Ack(m.Seq)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, quiet)
	defer s.Close()
	for device, first := range map[string]int{"phone": 40, "laptop": 0} {
		got := all(t, s.Mailbox("bob", device))
		if len(got) != 100-first {
			t.Fatalf("%s has %d", device, len(got))
		}
		for i, m := range got {
			if m.ID != fmt.Sprint(first+i) {
				t.Fatalf("%s: %s at %d", device, m.ID, i)
			}
		}
	}
}

// P3: after the last ack nothing of a mail is left in the folder, and the key
// of what the free pages still hold is zero.
func TestForgotten(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	defer s.Close()
	m := mail(7)
	m.Body = []byte("<message>marshmallow</message>")
	m.From = "secretive@localhost/x"
	k, err := s.Put("bob", []string{"phone"}, m, false)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, k)
	sh, acct, _ := s.of("bob")
	e := sh.entries[place{acct, m.Seq}]
	key, err := sh.keys.read(e.slot)
	if err != nil || key == [keySize]byte{} {
		t.Fatal("no key for waiting mail", err)
	}
	s.Mailbox("bob", "phone").Ack(m.Seq)
	if err := s.Update("bob", func(r *Records) error { return nil }); err != nil { // a commit behind the ack
		t.Fatal(err)
	}
	s.Wipe()
	if left, _ := sh.keys.read(e.slot); left != [keySize]byte{} {
		t.Fatal("the key is still there")
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, _ error) error {
		if d.IsDir() {
			return nil
		}
		b, _ := os.ReadFile(path)
		for _, word := range [][]byte{[]byte("marshmallow"), []byte("secretive"), key[:], []byte("bob")} {
			if bytes.Contains(b, word) {
				t.Errorf("%s holds %q", path, word)
			}
		}
		return nil
	})
}

// Acked before it was committed: safe, and the disk never sees it.
func TestAckedBeforeCommit(t *testing.T) {
	o := quiet
	o.LingerLive = time.Hour
	s := withBob(t, t.TempDir(), o)
	if err := s.Update("bob", func(*Records) error { return nil }); err != nil {
		t.Fatal(err)
	}
	sh, acct, _ := s.of("bob")
	if err := sh.reserve(acct); err != nil {
		t.Fatal(err)
	}
	sh.mu.Unlock()
	m := mail(1)
	k, err := s.Put("bob", []string{"phone"}, m, true)
	if err != nil || k.Done() {
		t.Fatal("safe too early", err)
	}
	s.Mailbox("bob", "phone").Ack(m.Seq)
	if !k.Done() || k.Err() != nil {
		t.Fatal("not safe")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st, _ := os.Stat(filepath.Join(s.dir, "keys-00")); st.Size() > 0 {
		t.Fatal("a key was written")
	}
	if st, _ := os.Stat(filepath.Join(s.dir, "keys-01")); st.Size() > 0 {
		t.Fatal("a key was written")
	}
}

// An ack that comes while the other device's reference is being written must
// not change what is written.
func TestAckDuringCommit(t *testing.T) {
	o := quiet
	o.Linger = time.Hour
	s := withBob(t, t.TempDir(), o)
	defer s.Close()
	m := mail(1)
	if _, err := s.Put("bob", []string{"phone", "laptop"}, m, false); err != nil {
		t.Fatal(err)
	}
	s.Mailbox("bob", "phone").Ack(m.Seq)
	sh, _, _ := s.of("bob")
	sh.mu.Lock()
	sh.fresh[0].due = time.Now()
	sh.mu.Unlock()
	h := sh.gather() // the commit has begun
	s.Mailbox("bob", "laptop").Ack(m.Seq)
	if a := h.fresh[0].asked; len(a) != 1 || a[0] != s.device("bob", "laptop") {
		t.Fatal("the ack of the laptop changes the commit")
	}
}

// Numbers are given out once, though many send at the same moment to an account
// whose block of reserved numbers ends.
func TestNumbersOnce(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	for _, sh := range s.shards {
		sh.block = 2
	}
	var mu sync.Mutex
	seen := map[uint64]bool{}
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for i := range 50 {
				m := mail(i)
				if _, err := s.Put("bob", []string{"phone"}, m, false); err != nil {
					t.Error(err)
					return
				}
				s.Mailbox("bob", "phone").Ack(m.Seq)
				mu.Lock()
				if seen[m.Seq] {
					t.Errorf("%d was given out twice", m.Seq)
				}
				seen[m.Seq] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// A disk that takes its time must not fill the memory: beyond a bound mail is
// refused before it was promised.
func TestSlowDisk(t *testing.T) {
	o := quiet
	o.Linger = time.Hour
	s := withBob(t, t.TempDir(), o)
	defer s.Close()
	n := 0
	for ; n < 1000; n++ {
		m := mail(n)
		m.Body = make([]byte, 200<<10)
		if _, err := s.Put("bob", []string{"phone"}, m, false); err != nil {
			if !errors.Is(err, ErrReadOnly) {
				t.Fatal(err)
			}
			break
		}
	}
	if held := n * 200 << 10; held > 64<<20 {
		t.Fatal("held", held)
	}
}

func TestTwin(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	m := mail(1)
	m.Token = 99
	k, _ := s.Put("bob", []string{"phone"}, m, false)
	wait(t, k)
	s.Close()
	s = open(t, dir, quiet)
	defer s.Close()
	again := mail(1)
	again.Token = 99
	k, err := s.Put("bob", []string{"phone"}, again, false)
	if err != nil || !k.Done() || s.Mailbox("bob", "phone").Len() != 1 {
		t.Fatal("stored twice", err)
	}
}

func TestFullMailbox(t *testing.T) {
	o := quiet
	o.MailboxMax = 3
	s := withBob(t, t.TempDir(), o)
	defer s.Close()
	for i := range 5 {
		_, err := s.Put("bob", []string{"phone"}, mail(i), false)
		if (i >= 3) != errors.Is(err, ErrFull) {
			t.Fatal(i, err)
		}
	}
	if _, err := s.Put("bob", []string{"phone", "laptop"}, mail(9), false); err != nil {
		t.Fatal("a full device keeps the others from getting mail", err)
	}
	if s.Mailbox("bob", "phone").Len() != 3 || s.Mailbox("bob", "laptop").Len() != 1 {
		t.Fatal("mail in the wrong box")
	}
	if _, err := s.Put("nobody", []string{""}, mail(1), false); !errors.Is(err, ErrNoAccount) {
		t.Fatal(err)
	}
}

func TestExpiry(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	var told []string
	s.OnExpire(func(user string, m Mail) { told = append(told, user+" "+m.ID) })
	k, _ := s.Put("bob", []string{"phone"}, mail(5), false)
	wait(t, k)
	if n, err := s.Sweep(time.Now()); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := s.Sweep(time.Now().Add(2 * time.Hour)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if strings.Join(told, ",") != "bob 5" || s.Mailbox("bob", "phone").Len() != 0 {
		t.Fatal(told)
	}
}

// After a restart it is known again when mail is old.
func TestExpiryAfterRestart(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	k, _ := s.Put("bob", []string{"phone"}, mail(5), false)
	wait(t, k)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, c := range []struct {
		later time.Duration
		want  int
	}{{0, 0}, {30 * time.Minute, 0}, {2 * time.Hour, 1}, {3 * time.Hour, 0}} {
		if n, err := s.Sweep(time.Now().Add(c.later)); n != c.want || err != nil {
			t.Fatal(c.later, n, err)
		}
	}
}

// A device that is connected all the time is not unlinked because its login
// was long ago (DESIGN §4); one that is away is.
func TestDeviceStays(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	start := time.Now()
	for _, d := range []string{"phone", "laptop"} {
		if _, err := s.SawDevice("bob", Device{ID: d, Resource: d, Since: start, Seen: start}); err != nil {
			t.Fatal(err)
		}
	}
	s.Here(func(user, device string) bool { return user == "bob" && device == "phone" })
	for day := range 40 {
		if _, err := s.Sweep(start.Add(time.Duration(day) * 24 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	s.Here(func(string, string) bool { return false }) // it leaves after forty days
	if _, err := s.Sweep(start.Add(45 * 24 * time.Hour)); err != nil {
		t.Fatal(err)
	}
	l, err := s.Devices("bob")
	if err != nil || len(l) != 1 || l[0].ID != "phone" {
		t.Fatal(l, err)
	}
}

func TestRecordsAndErasing(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	err := s.Update("bob", func(r *Records) error {
		r.Put("roster", "alice", []byte("both"))
		r.Put("roster", "carol", []byte("none"))
		r.Delete("roster", "carol")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = open(t, dir, quiet)
	defer s.Close()
	read := func() (got []string) {
		if err := s.View("bob", func(r *Records) error {
			r.Each("roster", func(k string, v []byte) bool { got = append(got, k+"="+string(v)); return true })
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := read(); len(got) != 1 || got[0] != "alice=both" {
		t.Fatal(got)
	}
	if _, err := s.Put("bob", []string{"phone", ""}, mail(1), false); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteAccount("bob"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Account("bob"); !errors.Is(err, ErrNoAccount) || len(read()) != 0 || s.Mailbox("bob", "phone").Len() != 0 {
		t.Fatal("not erased", err)
	}
}

func TestDeviceLimit(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	now := time.Now()
	for i := range 12 {
		made, err := s.SawDevice("bob", Device{ID: fmt.Sprint(i), Since: now, Seen: now.Add(time.Duration(i) * time.Minute)})
		if err != nil || !made {
			t.Fatal(err)
		}
	}
	l, err := s.Devices("bob")
	if err != nil || len(l) != devicesMax || l[0].ID != "2" {
		t.Fatal(l, err)
	}
}

// What is no mail leaves no old mail's tag in its place, whether it was counted
// back to by a resumption or is further on than the ring is long.
func TestSlotsWithoutMail(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	sl, err := s.NewSlot(Resumable{ID: "x", User: "bob", Resource: "r"})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		first, last, acked uint32
		tags               []Tag
		want               string
	}{
		{1, 3, 1, []Tag{{11, 91}, {12, 92}, {13, 93}}, "[{12 92} {13 93}]"},
		{2, 2, 1, nil, "[{0 0}]"}, // resumed with h=1
		{3, 3, 1, []Tag{{14, 94}}, "[{0 0} {14 94}]"},
		{4, 2000, 1999, nil, "[{0 0}]"},
		{2001, 2002, 1999, []Tag{{15, 95}, {16, 96}}, "[{0 0} {15 95} {16 96}]"},
		{2003, 2003, 2002, nil, "[{0 0}]"},
	} {
		sl.Sent(step.first, step.last, step.tags)
		sl.Acked(step.acked, 0, 0)
		_, _, tags, done := sl.State()
		if fmt.Sprint(tags) != step.want {
			t.Fatal(step, tags)
		}
		if step.first == 2003 && fmt.Sprint(done) != "[{16 96} {15 95}]" {
			t.Fatal(done)
		}
	}
}

// Counters of a resumable session are there after a restart without a Close.
func TestSlots(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	sl, err := s.NewSlot(Resumable{ID: "x", User: "bob", Resource: "r"})
	if err != nil {
		t.Fatal(err)
	}
	sl.Took(7)
	sl.Sent(1, 3, []Tag{{11, 91}, {12, 92}, {13, 93}})
	sl.Sent(4, 4, nil) // no mail
	sl.Acked(2, 12, 0)
	s.Close()
	s = open(t, dir, quiet)
	sl, r, err := s.FindSlot("x")
	if err != nil || r.User != "bob" {
		t.Fatal(err)
	}
	in, acked, tags, done := sl.State()
	if in != 7 || acked != 2 || fmt.Sprint(tags) != "[{13 93} {0 0}]" || fmt.Sprint(done) != "[{12 92} {11 91}]" {
		t.Fatal(in, acked, tags, done)
	}
	if own, shared := sl.Had(); own != 12 || shared != 0 {
		t.Fatal(own, shared)
	}
	sl.Drop()
	// Who gets the place next has none of its tags.
	if sl, err = s.NewSlot(Resumable{ID: "y", User: "bob", Resource: "r"}); err != nil {
		t.Fatal(err)
	}
	sl.Sent(1, 8, nil)
	sl.Acked(6, 0, 0)
	if _, _, tags, done := sl.State(); fmt.Sprint(tags) != "[{0 0} {0 0}]" || done != nil {
		t.Fatal(tags, done)
	}
	sl.Drop()
	s.Close()
	s = open(t, dir, quiet)
	defer s.Close()
	if _, _, err := s.FindSlot("x"); !errors.Is(err, ErrGone) {
		t.Fatal(err)
	}
}

// What a device has since before a crash is not given to it when its sender
// sends it again, whichever of the two comes back first; others get it.
func TestArrived(t *testing.T) {
	s := withBob(t, t.TempDir(), quiet)
	defer s.Close()
	phone, laptop := s.Mailbox("bob", "phone"), s.Mailbox("bob", "laptop")
	first, second, third := mail(1), mail(2), mail(3)
	first.Token, second.Token, third.Token = 71, 72, 73
	phone.Arrived(71) // the receiver is back before the sender
	for _, m := range []*Mail{first, second} {
		k, err := s.Put("bob", []string{"phone", "laptop"}, m, false)
		if err != nil {
			t.Fatal(err)
		}
		wait(t, k)
	}
	phone.Arrived(72, 0) // the other way round
	if phone.Len() != 0 || laptop.Len() != 2 {
		t.Fatal(phone.Len(), laptop.Len())
	}
	phone.Arrived(73)
	if k, err := s.Put("bob", []string{"phone"}, third, false); err != nil || !k.Done() || k.Err() != nil || phone.Len() != 0 {
		t.Fatal(err, phone.Len())
	}
	if k, err := s.Put("bob", []string{"phone"}, mail(4), false); err != nil {
		t.Fatal(err)
	} else {
		wait(t, k)
	}
	if phone.Len() != 1 {
		t.Fatal("mail without a token is held back")
	}
}

// Cut at any length or with any bit flipped, a shard never panics the process
// and never gives out a wrong message; the other shard serves.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	s := withBob(t, dir, quiet)
	want := map[string]string{}
	for i := range 30 {
		m := mail(i)
		want[m.ID] = string(m.Body)
		k, _ := s.Put("bob", []string{"phone"}, m, false)
		wait(t, k)
	}
	sh, _, _ := s.of("bob")
	path := sh.path
	s.Close()
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 60 {
		bad := bytes.Clone(good)
		if i%2 == 0 {
			bad = bad[:r.IntN(len(bad))]
		} else {
			bad[r.IntN(len(bad))] ^= 1 << r.IntN(8)
		}
		os.Remove(path) // a new file: the old one may still be locked
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir, quiet)
		if err != nil {
			t.Fatal(i, err)
		}
		got, _ := s.Mailbox("bob", "phone").After(0, 100, nil)
		for _, m := range got {
			if want[m.ID] != string(m.Body) {
				t.Fatalf("wrong mail %s %s", m.ID, m.Body)
			}
		}
		_ = s.Health()
		_ = s.Close()
	}
}

// A damaged value hurts itself: the folder opens, the other accounts are there,
// sweeps go on, and check names what is wrong.
func TestDamagedRecords(t *testing.T) {
	dir := t.TempDir()
	o := quiet
	o.Shards = 1
	s := withBob(t, dir, o)
	if err := s.CreateAccount(Account{User: "alice"}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"bob", "alice"} {
		if _, err := s.NewSlot(Resumable{ID: user + "1", User: user}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.SawDevice(user, Device{ID: "d", Seen: time.Now().Add(-100 * 24 * time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	k, _ := s.Put("bob", []string{"phone"}, mail(1), false)
	wait(t, k)
	acct := s.shards[0]
	_, bob, _ := s.of("bob")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := bbolt.Open(acct.path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{records, accounts, bodies} {
			c := tx.Bucket(name).Cursor()
			for key, v := c.Seek(bob[:]); key != nil && bytes.HasPrefix(key, bob[:]); key, v = c.Next() {
				bad := bytes.Clone(v)
				bad[len(bad)-1] ^= 1
				if err := tx.Bucket(name).Put(bytes.Clone(key), bad); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := Check(dir)
	if err != nil || len(r.Bad) != 3 {
		t.Error("check:", r.Bad, err)
	}
	s = open(t, dir, o)
	defer s.Close()
	users, err := s.Users()
	if len(users) != 1 || users[0] != "alice" || !errors.Is(err, ErrCorrupt) {
		t.Error(users, err)
	}
	if _, _, err := s.FindSlot("alice1"); err != nil {
		t.Error("alice cannot resume:", err)
	}
	if _, err := s.Account("bob"); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if _, err := s.Sweep(time.Now()); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if l, err := s.Devices("alice"); err != nil || len(l) != 0 {
		t.Error("the sweep stopped at bob:", l, err)
	}
	if m, err := s.Mailbox("bob", "phone").After(0, 10, nil); len(m) != 0 || err != nil {
		t.Error("damaged mail given out", m, err)
	}
}

// TestKill runs a child that puts mail until it is killed with -9 at a random
// moment: what it called safe must be there, once and in order.
func TestKill(t *testing.T) {
	if dir := os.Getenv("SOTTO_KILL_DIR"); dir != "" {
		child(t, dir)
		return
	}
	dir := t.TempDir()
	safe := 0
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKill$")
		cmd.Env = append(os.Environ(), "SOTTO_KILL_DIR="+dir, fmt.Sprintf("SOTTO_KILL_FROM=%d", safe))
		out, _ := cmd.StdoutPipe()
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
		got := all(t, s.Mailbox("bob", "phone"))
		for i, m := range got {
			if m.ID != fmt.Sprint(i) {
				t.Fatalf("round %d: %s at %d", round, m.ID, i)
			}
		}
		if len(got) < safe {
			t.Fatalf("round %d: %d there, %d were safe", round, len(got), safe)
		}
		safe = len(got)
		s.Close()
	}
}

func child(t *testing.T, dir string) {
	s := withBob(t, dir, quiet)
	var from int
	fmt.Sscan(os.Getenv("SOTTO_KILL_FROM"), &from)
	var mu sync.Mutex
	for i := from; ; i++ {
		k, err := s.Put("bob", []string{"phone"}, mail(i), false)
		if err != nil {
			t.Fatal(err)
		}
		k.Then(told(func(err error) {
			if err == nil {
				mu.Lock()
				fmt.Printf("safe %d\n", i)
				mu.Unlock()
			}
		}))
		if i%50 == 49 {
			wait(t, k)
		}
	}
}

func FuzzDecodeMail(f *testing.F) {
	f.Add(mail(1).encode("bob"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if user, m, err := decodeMail(b); err == nil {
			if again := m.encode(user); !bytes.Equal(again, b) && len(again) == len(b) {
				t.Fatal("read differently")
			}
		}
	})
}

func FuzzRecord(f *testing.F) {
	f.Add(encodeRecord("alice@localhost", []byte("value")), "x", []byte("y"))
	f.Fuzz(func(t *testing.T, b []byte, name string, v []byte) {
		if n, w, err := decodeRecord(b); err == nil {
			if n2, w2, err := decodeRecord(encodeRecord(n, w)); err != nil || n2 != n || !bytes.Equal(w, w2) {
				t.Fatal("read differently", err)
			}
		}
		if n, w, err := decodeRecord(encodeRecord(name, v)); err != nil || n != name || !bytes.Equal(v, w) {
			t.Fatal("not read as it was written", err)
		}
	})
}

// BenchmarkPutDurable is the road of mail to somebody who is away.
func BenchmarkPutDurable(b *testing.B) {
	s := withBob(b, b.TempDir(), quiet)
	defer s.Close()
	body := []byte(strings.Repeat("x", 1024))
	var wg sync.WaitGroup
	i := 0
	for b.Loop() {
		if i%40000 == 0 {
			s.forgetDevice("bob", "phone")
		}
		i++
		m := mail(i)
		m.Body = body
		k, err := s.Put("bob", []string{"phone"}, m, false)
		if err != nil {
			b.Fatal(err)
		}
		wg.Add(1)
		k.Then(told(func(error) { wg.Done() }))
		if i%1000 == 0 {
			wg.Wait()
		}
	}
	wg.Wait()
}

func BenchmarkDrain(b *testing.B) {
	s := withBob(b, b.TempDir(), quiet)
	defer s.Close()
	var last *Ticket
	for i := range 10_000 {
		m := mail(i)
		m.Body = bytes.Repeat([]byte("x"), 1024)
		last, _ = s.Put("bob", []string{"phone"}, m, false)
	}
	wait(b, last)
	box := s.Mailbox("bob", "phone")
	cursor := uint64(0)
	n := 0
	var buf []Mail
	for b.Loop() {
		var err error
		buf, err = box.After(cursor, 64, buf[:0])
		if err != nil {
			b.Fatal(err)
		}
		n += len(buf)
		cursor = 0
		if len(buf) > 0 {
			cursor = buf[len(buf)-1].Seq
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "mails/s")
}

// Where the system cannot set room aside, it is taken by writing, and what is
// there stays.
func TestRoomByWriting(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "sessions"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("counters"), slotHead+10); err != nil {
		t.Fatal(err)
	}
	sf := &slotFile{f: f}
	if err := sf.fill(slotHead); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if _, err := f.ReadAt(b, slotHead+10); err != nil || string(b) != "counters" {
		t.Fatal(string(b), err)
	}
	if st, err := f.Stat(); err != nil || st.Size() != slotHead+chunkSize {
		t.Fatal(st.Size(), err)
	}
}

type told func(error)

func (f told) Settled(err error) { f(err) }
