// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// long is set in CI: every point of a sweep instead of some.
var long = os.Getenv("SOTTO_LONG") != ""

// TestFaultChild is the life of a small store, told line by line on standard
// output; other tests run it as a child and break its disk.
func TestFaultChild(t *testing.T) {
	dir := os.Getenv("SOTTO_FAULT_DIR")
	if dir == "" {
		return
	}
	c := &teller{}
	for life := range 2 {
		s, err := Open(dir, Options{Shards: 1, Log: quiet.Log, MailboxMax: 1000})
		if err != nil {
			c.say("cannot open: %v", err)
			return
		}
		c.say("open")
		c.live(s, life)
		if err := s.Close(); err != nil {
			c.say("close: %v", err)
		}
	}
}

// A teller does things to a store and says what it was promised.
type teller struct{ mu sync.Mutex }

func (c *teller) say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, _ = os.Stdout.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (c *teller) live(s *Store, life int) {
	if err := s.CreateAccount(Account{User: "bob"}); err == nil {
		c.say("account")
	} else if !errors.Is(err, ErrExists) {
		c.say("no account: %v", err)
	}
	first := life * 13
	for i := first; i < first+12; i++ {
		m, _ := c.put(s, i)
		if i%3 == 0 { // the others share commits
			c.say("set %d", i)
			if err := s.Update("bob", func(r *Records) error { r.Put("kind", "key", []byte(strconv.Itoa(i))); return nil }); err == nil {
				c.say("rec %d", i)
			} else if !errors.Is(err, ErrReadOnly) && !errors.Is(err, ErrCorrupt) {
				c.say("unnamed error %v", err)
			}
		}
		if m != nil && i%4 == 1 {
			c.say("ack phone %d", i)
			s.Mailbox("bob", "phone").Ack(m.Seq)
			c.say("ack laptop %d", i)
			s.Mailbox("bob", "laptop").Ack(m.Seq)
		}
		if m != nil && i%4 == 2 {
			c.say("ack phone %d", i)
			s.Mailbox("bob", "phone").Ack(m.Seq)
		}
		if i%6 == 5 {
			s.Wipe()
		}
	}
	for range 20 { // a disk that was full for a moment
		if _, safe := c.put(s, first+12); safe {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// put waits for every second mail: the others share a commit.
func (c *teller) put(s *Store, i int) (m *Mail, safe bool) {
	m = mail(i)
	m.Body = []byte(fmt.Sprintf("<message>%d %s</message>", i, strings.Repeat("x", 100*(i%7))))
	if i%3 > 0 {
		m.Archive, m.Kept = fmt.Sprint("id-", i), true
	}
	c.say("put %d", i)
	k, err := s.Put("bob", []string{"phone", "laptop"}, m, false)
	if err != nil {
		c.say("refused %d %v", i, errors.Is(err, ErrReadOnly) || errors.Is(err, ErrNoAccount))
		return nil, false
	}
	done := make(chan struct{})
	k.Then(told(func(err error) {
		if err == nil {
			c.say("safe %d", i)
		} else {
			c.say("fail %d", i)
		}
		close(done)
	}))
	if i%2 == 0 || i%13 == 12 {
		<-done
		return m, k.Err() == nil
	}
	return m, false
}

// A tale is what the child said before its end.
type tale struct {
	lines   []string
	account bool
	put     map[int]bool
	safe    map[int]bool
	refused map[int]bool
	unknown map[int]bool    // its commit failed: a history may have it
	acked   map[string]bool // "phone 3"
	opened  int
	rec     int // last record that was durable
	set     int // last record that was tried
}

func (k *tale) hear(line string) {
	k.lines = append(k.lines, line)
	f := strings.Fields(line)
	n := -1
	if len(f) > 1 {
		n, _ = strconv.Atoi(f[len(f)-1])
		if f[0] == "refused" {
			n, _ = strconv.Atoi(f[1])
		}
	}
	switch f[0] {
	case "account":
		k.account = true
	case "open":
		k.opened++
	case "put":
		k.put[n] = true
	case "safe":
		k.safe[n] = true
	case "refused":
		k.refused[n] = true
	case "fail":
		k.unknown[n] = true
	case "ack":
		k.acked[f[1]+" "+f[2]] = true
	case "rec":
		k.rec = n
	case "set":
		k.set = n
	}
}

func newTale() *tale {
	return &tale{put: map[int]bool{}, safe: map[int]bool{}, refused: map[int]bool{}, unknown: map[int]bool{}, acked: map[string]bool{}, rec: -1, set: -1}
}

func (k *tale) String() string { return strings.Join(k.lines, "; ") }

// holds opens what is left and compares it with the tale: all that was safe is
// there, once and in order; what was refused is not; the store works.
func (k *tale) holds(dir string) error {
	s, err := Open(dir, Options{Shards: 1, Log: quiet.Log})
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = errors.Join(k.compare(s), s.Close())
	if err != nil {
		return err
	}
	r, err := Check(dir)
	if err == nil && len(r.Bad) > 0 {
		err = fmt.Errorf("damaged: %s", strings.Join(r.Bad, "; "))
	}
	return err
}

func (k *tale) compare(s *Store) error {
	if strings.Contains(k.String(), "unnamed") {
		return errors.New("an error that says nothing to its caller")
	}
	if q := s.Health().Quarantined; len(q) > 0 {
		return fmt.Errorf("set aside: %w", s.shards[0].broken)
	}
	if _, err := s.Account("bob"); err != nil {
		if k.account || !errors.Is(err, ErrNoAccount) {
			return fmt.Errorf("bob: %w", err)
		}
		return nil
	}
	for _, device := range []string{"phone", "laptop"} {
		if err := k.box(s, device); err != nil {
			return fmt.Errorf("%s: %w", device, err)
		}
	}
	if err := k.history(s); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	got := -1
	err := s.View("bob", func(r *Records) error {
		if b := r.Get("kind", "key"); b != nil {
			got, _ = strconv.Atoi(string(b))
		}
		return nil
	})
	if err != nil || got < k.rec || got > k.set {
		return fmt.Errorf("record %d, durable was %d, tried %d: %w", got, k.rec, k.set, err)
	}
	t, err := s.Put("bob", []string{"phone"}, mail(999), false)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	t.Then(told(func(err error) { done <- err }))
	select {
	case err = <-done:
		return err
	case <-time.After(10 * time.Second):
		return errors.New("the store hangs")
	}
}

// history compares the history: what was safe is there, once, acked or not.
func (k *tale) history(s *Store) error {
	r, err := s.History("bob", Find{Max: 1000})
	if err != nil || !r.Complete || r.Count != len(r.Mail) {
		return fmt.Errorf("%d of %d can be read, complete %v: %w", len(r.Mail), r.Count, r.Complete, err)
	}
	there, last := map[int]bool{}, -1
	for _, m := range r.Mail {
		i, _ := strconv.Atoi(m.ID)
		switch {
		case i <= last:
			return fmt.Errorf("%d behind %d", i, last)
		case i%3 == 0 || !k.put[i] || k.refused[i] && !k.safe[i] && !k.unknown[i]:
			return fmt.Errorf("%d was never taken", i)
		}
		there[i], last = true, i
	}
	for i := range k.safe {
		if i%3 > 0 && !there[i] {
			return fmt.Errorf("%d was safe and is lost", i)
		}
	}
	return nil
}

func (k *tale) box(s *Store, device string) error {
	b := s.Mailbox("bob", device)
	n := b.Len()
	mail, err := b.After(0, 1000, nil)
	if err != nil || len(mail) != n {
		return fmt.Errorf("%d of %d mails can be read: %w", len(mail), n, err)
	}
	there := map[int]bool{}
	last := -1
	for _, m := range mail {
		i, _ := strconv.Atoi(m.ID)
		switch {
		case i <= last:
			return fmt.Errorf("%d behind %d", i, last)
		case !k.put[i] || k.refused[i] && !k.safe[i]:
			return fmt.Errorf("%d was never taken", i)
		case !strings.HasPrefix(string(m.Body), fmt.Sprintf("<message>%d ", i)):
			return fmt.Errorf("%d has another's body", i)
		}
		there[i], last = true, i
	}
	for i := range k.safe {
		if !there[i] && !k.acked[fmt.Sprintf("%s %d", device, i)] {
			return fmt.Errorf("%d was safe and is lost", i)
		}
	}
	return nil
}

// touches says whether a call changes a file.
func touches(c *call) bool {
	switch c.nr {
	case sysRename, sysRenameat, sysRenameat2, sysUnlinkat:
		return true
	}
	return syncs(c) || writes(c)
}

func writes(c *call) bool {
	return c.file != "" && (c.nr == sysPwrite || c.nr == sysFtruncate || c.nr == sysWrite)
}

func syncs(c *call) bool { return c.nr == sysFsync || c.nr == sysFdatasync }

// sweep runs the child again and again; the n-th call of a kind goes wrong.
func sweep(t *testing.T, kind func(c *call) bool, wrong func(c *call, n, nth int) bool, check func(n int, k *tale) error) {
	step := 11
	if long {
		step = 1
	}
	for n := 1; ; n += step {
		dir := t.TempDir()
		k := newTale()
		at := 0
		tr := &tracer{enter: func(c *call) bool {
			if c.nr == sysWrite && c.args[0] == 1 {
				k.hear(strings.TrimSpace(string(c.data)))
			}
			if !kind(c) {
				return true
			}
			at++
			return wrong(c, at, n)
		}}
		if err := tr.run("TestFaultChild", "SOTTO_FAULT_DIR="+dir); err != nil {
			t.Fatalf("call %d: %v", n, err)
		}
		if err := errors.Join(k.holds(dir), check(n, k)); err != nil {
			t.Fatalf("call %d: %v\n%v", n, err, k)
		}
		if at < n {
			t.Logf("%d points", n-1)
			return
		}
	}
}

// Killed with -9 at any call that changes a file, each fsync among them.
func TestKillAtEachStep(t *testing.T) {
	sweep(t, touches, func(_ *call, n, nth int) bool { return n != nth }, func(int, *tale) error { return nil })
}

// The n-th sync fails: from then on the shard promises nothing (DESIGN §5), and
// what it had promised is kept. "fail" means unknown: the mail may be there.
func TestSyncFails(t *testing.T) {
	sweep(t, syncs, func(c *call, n, nth int) bool {
		if n == nth {
			c.fail = []syscall.Errno{syscall.EIO, syscall.ENOSPC}[n%2]
		}
		return true
	}, func(n int, k *tale) error {
		failed := false
		for _, l := range k.lines {
			switch {
			case strings.HasPrefix(l, "fail"), strings.HasPrefix(l, "refused"):
				failed = true
			case l == "open":
				failed = false
			case failed && strings.HasPrefix(l, "safe"):
				return fmt.Errorf("a promise after a failed sync: %s", l)
			}
		}
		return nil
	})
}

// The disk is full from the n-th write on, for 5 writes: mail is refused before
// it was promised, and taken again when there is room.
func TestDiskFull(t *testing.T) {
	sweep(t, writes, func(c *call, n, nth int) bool {
		if n >= nth && n < nth+5 {
			c.fail = syscall.ENOSPC
		}
		return true
	}, func(n int, k *tale) error {
		if !k.safe[25] && k.opened == 2 {
			return errors.New("mail is not taken though there is room again")
		}
		return nil
	})
}
