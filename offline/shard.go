// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

var (
	bodies   = []byte("mail")    // account+seq -> slot, sealed mail
	refs     = []byte("ref")     // account+device+seq -> token
	records  = []byte("record")  // account+kind+key -> sealed record
	accounts = []byte("account") // account -> sealed account
	numbers  = []byte("number")  // account -> first seq never given out
)

// seqBlock is how many numbers one durable write reserves.
const seqBlock = 10_000

// A shard is one bbolt file with its key file. One goroutine commits.
type shard struct {
	// fixed: set by openShard, read-only after.
	s      *Store
	path   string
	db     *bbolt.DB
	keys   *keyFile
	broken error // why it is not used

	// shared: guarded by mu.
	mu      sync.Mutex
	entries map[place]*entry
	boxes   map[boxID]*queue
	tokens  map[uint64]*entry
	next    map[id]span // numbers to give out
	fresh   []*entry    // wait for the next commit
	dropped []drop      // acked, still on disk
	jobs    []*job      // record writes
	due     time.Time   // when the next commit starts
	closing bool
	known   map[id]Account // read-only copies
	edits   int
	failed  error // after a failed commit: no new mail (DESIGN §5)
	kick    chan struct{}
}

// span is the range of numbers that is reserved for an account.
type span struct{ next, end uint64 }

// place names a mail: its account and number.
type place struct {
	acct id
	seq  uint64
}

type boxID struct{ acct, device id }

// An entry is one mail that somebody is still owed.
type entry struct {
	place
	user   string
	token  uint64
	owed   []id // devices
	asked  []id // devices whose refs the commit writes
	gone   []id // devices that acked while it was written
	mail   *Mail
	sealed []byte // encoded, until committed
	slot   uint32
	state  entryState
	ticket *Ticket
}

type entryState uint8

const (
	waiting    entryState = iota // in memory only
	committing                   // in the running commit
	stored
)

// A queue is one device's mailbox: the numbers that are not acked, in order.
type queue struct{ seqs []uint64 }

// A drop is what an ack still has to take from the disk.
type drop struct {
	place
	device id
	last   bool // nobody is owed it any more
	slot   uint32
}

// A job is one atomic change of records.
type job struct {
	do   func(tx *bbolt.Tx) error
	err  error
	done chan struct{}
}

func openShard(s *Store, n int) *shard {
	sh := &shard{
		s: s, path: filepath.Join(s.dir, fmt.Sprintf("shard-%02d.db", n)),
		entries: map[place]*entry{}, boxes: map[boxID]*queue{}, tokens: map[uint64]*entry{},
		next: map[id]span{}, known: map[id]Account{}, kick: make(chan struct{}, 1),
	}
	if err := sh.open(filepath.Join(s.dir, fmt.Sprintf("keys-%02d", n))); err != nil {
		sh.broken = fmt.Errorf("%s: %w: %w", sh.path, ErrCorrupt, err)
		s.opt.Log.Error("shard set aside; run sottod check", "err", sh.broken)
	}
	return sh
}

// open opens both files and reads the index. bbolt panics on damage.
func (sh *shard) open(keyPath string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a cut file faults in its mapping
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
		if err != nil && sh.db != nil {
			closeQuietly(sh.db)
		}
	}()
	_, statErr := os.Stat(sh.path)
	if err := wholeFile(sh.path); err != nil {
		return err
	}
	if sh.db, err = bbolt.Open(sh.path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType}); err != nil {
		return err
	}
	if statErr != nil {
		if err := syncDir(filepath.Dir(sh.path)); err != nil {
			return err
		}
	}
	if err := walk(sh.db); err != nil {
		return err
	}
	err = sh.db.Update(func(tx *bbolt.Tx) error {
		for _, b := range [][]byte{bodies, refs, records, accounts, numbers} {
			if _, err := tx.CreateBucketIfNotExists(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := checkPages(sh.db); err != nil {
		return err
	}
	if sh.keys, err = openKeys(keyPath); err != nil {
		return err
	}
	return sh.load()
}

func closeQuietly(db *bbolt.DB) {
	defer func() { _ = recover() }()
	_ = db.Close()
}

// wholeFile compares the file's length with what its two meta pages say: bbolt
// maps the file and would fault on pages that are cut off.
func wholeFile(path string) error {
	b := make([]byte, 64)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		if _, err := f.ReadAt(b, at+16); err != nil {
			return ErrCorrupt
		}
		pages, size := binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint32(b[8:])
		if pages > 1<<40 || uint64(st.Size()) < pages*uint64(size) {
			return fmt.Errorf("shorter than its meta page says: %w", ErrCorrupt)
		}
	}
	return nil
}

// walk reads every key and value in this goroutine, where a fault is caught,
// before bbolt's own check runs in one of its own.
func walk(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			return b.ForEach(func(k, v []byte) error {
				crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v)
				return nil
			})
		})
	})
}

func checkPages(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

// load reads which mail waits for whom; the mail itself stays on disk.
func (sh *shard) load() error {
	used := map[uint32]bool{}
	err := sh.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bodies).ForEach(func(k, v []byte) error {
			if len(k) != 24 || len(v) < 4 {
				return ErrCorrupt
			}
			e := &entry{place: placeOf(k), slot: binary.BigEndian.Uint32(v), state: stored}
			sh.entries[e.place] = e
			used[e.slot] = true
			return nil
		})
		if err != nil {
			return err
		}
		return tx.Bucket(refs).ForEach(sh.loadRef)
	})
	if err != nil {
		return err
	}
	return sh.keys.claim(used)
}

func (sh *shard) loadRef(k, v []byte) error {
	if len(k) != 40 || len(v) != 8 {
		return ErrCorrupt
	}
	p := place{id(k[:16]), binary.BigEndian.Uint64(k[32:])}
	device := id(k[16:32])
	e := sh.entries[p]
	if e == nil {
		return ErrCorrupt
	}
	e.owed = append(e.owed, device)
	if e.token = binary.BigEndian.Uint64(v); e.token != 0 {
		sh.tokens[e.token] = e
	}
	sh.box(boxID{p.acct, device}).add(p.seq)
	return nil
}

func placeOf(k []byte) place { return place{id(k[:16]), binary.BigEndian.Uint64(k[16:24])} }

func (p place) key() []byte {
	return binary.BigEndian.AppendUint64(append(make([]byte, 0, 24), p.acct[:]...), p.seq)
}

func (p place) refKey(device id) []byte {
	k := append(append(make([]byte, 0, 40), p.acct[:]...), device[:]...)
	return binary.BigEndian.AppendUint64(k, p.seq)
}

func (sh *shard) box(b boxID) *queue {
	q := sh.boxes[b]
	if q == nil {
		q = &queue{}
		sh.boxes[b] = q
	}
	return q
}

func (q *queue) add(seq uint64) { q.seqs = append(q.seqs, seq) }

// after is the place of the first number beyond cursor.
func (q *queue) after(cursor uint64) int {
	lo, hi := 0, len(q.seqs)
	for lo < hi {
		if mid := (lo + hi) / 2; q.seqs[mid] <= cursor {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

// remove takes one number out; the first ones are the usual case.
func (q *queue) remove(seq uint64) bool {
	i := q.after(seq - 1)
	if i == len(q.seqs) || q.seqs[i] != seq {
		return false
	}
	if i == 0 {
		q.seqs = q.seqs[1:]
		return true
	}
	q.seqs = append(q.seqs[:i], q.seqs[i+1:]...)
	return true
}

// wake starts a commit at the latest when d has passed.
func (sh *shard) wake(d time.Duration) {
	due := time.Now().Add(d)
	if !sh.due.IsZero() && sh.due.Before(due) {
		return
	}
	sh.due = due
	select {
	case sh.kick <- struct{}{}:
	default:
	}
}

func (sh *shard) close() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closing = true
	sh.wake(0)
}
