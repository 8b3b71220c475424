// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sotto/offline/blob"
)

// The known states; callers map them to XMPP's errors.
var (
	ErrFull      = errors.New("the mailbox is full")
	ErrGone      = errors.New("not there any more")
	ErrNoAccount = errors.New("no such account")
	ErrExists    = errors.New("the account exists already")
	ErrReadOnly  = errors.New("the disk takes no more writes")
	ErrCorrupt   = errors.New("stored data is damaged")
	ErrLocked    = errors.New("another process has the data folder open")
)

// Options are the knobs of a Store; zero values are the defaults.
type Options struct {
	Shards      int           // files; fixed when the folder is made; default 4
	Linger      time.Duration // how long a commit gathers mail; default 2 ms
	LingerLive  time.Duration // the same when all receivers are there; default 40 ms
	KeepMail    time.Duration // default 30 days
	DeviceTTL   time.Duration // default 30 days
	KeepHistory time.Duration // how long histories are kept; 0: for ever
	MailboxMax  int           // waiting mails of one device; default 50,000
	Now         func() time.Time
	Log         *slog.Logger
}

func (o *Options) fill() {
	if o.Shards == 0 {
		o.Shards = 4
	}
	if o.Linger == 0 {
		o.Linger = 2 * time.Millisecond
	}
	if o.LingerLive == 0 {
		o.LingerLive = 40 * time.Millisecond
	}
	if o.KeepMail == 0 {
		o.KeepMail = 30 * 24 * time.Hour
	}
	if o.DeviceTTL == 0 {
		o.DeviceTTL = 30 * 24 * time.Hour
	}
	if o.MailboxMax == 0 {
		o.MailboxMax = 50_000
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
}

// A Store is one open data folder.
type Store struct {
	// fixed: set by Open, read-only after.
	dir    string
	opt    Options
	seal   cipher.AEAD
	lock   *os.File
	shards []*shard
	slots  *slotFile
	names  *names
	stop   chan struct{}
	done   sync.WaitGroup

	// shared: guarded by mu.
	mu     sync.Mutex
	expire func(user string, m Mail)
	here   func(user, device string) bool
	chores []func(now time.Time)
}

// Open opens or makes a data folder. A damaged shard is left alone and named
// in Health; the others serve.
func Open(dir string, o Options) (*Store, error) {
	o.fill()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Store{dir: dir, opt: o, stop: make(chan struct{})}
	if err := s.takeLock(); err != nil {
		return nil, err
	}
	if err := s.openFiles(); err != nil {
		for _, sh := range s.shards {
			sh.closeFiles()
		}
		s.lock.Close()
		return nil, err
	}
	for _, sh := range s.shards {
		if sh.broken == nil {
			s.done.Add(1)
			go sh.commitLoop(&s.done)
		}
	}
	s.done.Add(1)
	go s.keepHouse()
	return s, nil
}

func (s *Store) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return ErrLocked
	}
	s.lock = f
	return nil
}

func (s *Store) openFiles() error {
	master, n, err := readRoot(s.dir, s.opt.Shards)
	if err != nil {
		return err
	}
	s.opt.Shards = n
	s.names = newNames(derive(master, "names"))
	if s.seal, err = sealer(derive(master, "records")); err != nil {
		return err
	}
	for i := range n {
		sh, err := openShard(s, i)
		if err != nil {
			return err
		}
		s.shards = append(s.shards, sh)
	}
	s.slots, err = openSlots(s)
	return err
}

// readRoot reads the folder's key and shape, or makes them.
func readRoot(dir string, shards int) (key []byte, n int, err error) {
	path := filepath.Join(dir, "root")
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b = make([]byte, 34)
		b[0], b[1] = 1, byte(shards)
		_, _ = rand.Read(b[2:]) // never fails
		return b[2:], shards, writeSafe(path, b)
	}
	if err != nil {
		return nil, 0, err
	}
	if len(b) != 34 || b[0] != 1 || b[1] == 0 {
		return nil, 0, fmt.Errorf("%s: %w", path, ErrCorrupt)
	}
	return b[2:], int(b[1]), nil
}

// writeSafe makes a file that is whole or not there: temp, sync, rename, sync.
func writeSafe(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func derive(master []byte, label string) []byte {
	m := hmac.New(sha256.New, master)
	m.Write([]byte("sotto " + label))
	return m.Sum(nil)
}

// OnExpire sets what is called for mail that was not fetched in time.
func (s *Store) OnExpire(f func(user string, m Mail)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire = f
}

// Here sets who knows which devices are connected: they are not unlinked.
func (s *Store) Here(f func(user, device string) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.here = f
}

// Blobs opens the folder of uploaded files; once only.
func (s *Store) Blobs() (*blob.Folder, error) {
	return blob.New(filepath.Join(s.dir, "blobs"), s.seal, s.opt.Log)
}

// Chore adds to what the store does every 20 s.
func (s *Store) Chore(f func(now time.Time)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.chores = append(s.chores, f)
}

// Health is what an operator wants to know.
type Health struct {
	ReadOnly    bool
	Quarantined []string
	Entries     int // mails that wait
	Written     int // mails that came to the disk since the start; others were acked first
}

// Health looks at all shards.
func (s *Store) Health() (h Health) {
	for _, sh := range s.shards {
		if sh.broken != nil {
			h.Quarantined = append(h.Quarantined, sh.path)
			continue
		}
		sh.mu.Lock()
		h.ReadOnly = h.ReadOnly || sh.failed != nil
		h.Entries += len(sh.entries)
		h.Written += sh.wrote
		sh.mu.Unlock()
	}
	return h
}

// keepHouse wipes and sweeps now and then.
func (s *Store) keepHouse() {
	defer s.done.Done()
	wipe, sweep := time.NewTicker(20*time.Second), time.NewTicker(10*time.Minute)
	defer wipe.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-wipe.C:
			s.Wipe()
			s.mu.Lock()
			chores := s.chores
			s.mu.Unlock()
			for _, f := range chores {
				f(s.opt.Now())
			}
		case <-sweep.C:
			if _, err := s.Sweep(s.opt.Now()); err != nil {
				s.opt.Log.Error("sweep", "err", err)
			}
		}
	}
}

// Wipe makes the erasing of keys durable, and looks whether a full disk has
// room again; the store does it every 20 s.
func (s *Store) Wipe() {
	for _, sh := range s.shards {
		if sh.broken == nil {
			sh.recover()
			if err := errors.Join(sh.keys.retry(), sh.keys.sync()); err != nil {
				s.opt.Log.Error("key file", "err", err)
			}
		}
	}
}

// Close commits what waits and closes the files.
func (s *Store) Close() error {
	close(s.stop)
	for _, sh := range s.shards {
		if sh.broken == nil {
			sh.close()
		}
	}
	s.done.Wait()
	s.Wipe()
	var err error
	for _, sh := range s.shards {
		err = errors.Join(err, sh.closeFiles())
	}
	return errors.Join(err, s.slots.close(), s.lock.Close())
}
