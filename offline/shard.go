// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
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

const seqBlock = 10_000

// A shard is one bbolt file with its key file. One goroutine commits.
type shard struct {
	// fixed: set by openShard, read-only after.
	s      *Store
	path   string
	db     *bbolt.DB
	keys   *keyFile
	broken error  // why it is not used
	block  uint64 // how many numbers one durable write reserves

	// shared: guarded by mu.
	mu      sync.Mutex
	entries map[place]*entry
	boxes   map[boxID]*queue
	tokens  map[uint64]*entry
	arrived map[arrival]bool // what devices have since before the start
	next    map[id]span      // numbers to give out
	fresh   []fresh          // wait for a commit
	notes   []*note          // the same, for histories
	writing []*note          // of the running commit
	held    int              // bytes of their mail
	dropped []drop           // acked, still on disk
	wrote   int              // mails that came to the disk since the start
	jobs    []*job           // record writes
	due     time.Time        // when the next commit starts
	closing bool
	known   map[id]*Account // read-only
	edits   int
	failed  error // after a failed commit: no new mail (DESIGN §5)
	kick    chan struct{}

	weeks map[id]*week // the newest of each history; only for the goroutine that commits
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
	user  string
	token uint64
	sid   uint64 // of its archive id; 0: it is in no archive
	owed  []id   // devices
	asked []id   // devices whose refs the commit writes
	gone  []id   // devices that acked while it was written
	mail  *Mail  // until it is committed or gone
	slot  uint32
	state entryState
	// expires is in Unix seconds; 0 until a sweep has read it.
	expires int64
	ticket  *Ticket
}

// fresh is an entry that is to be committed when its time has come.
type fresh struct {
	*entry
	due  time.Time
	more int // how often its time may be put off
}

type entryState uint8

const (
	waiting    entryState = iota // in memory only
	committing                   // in the running commit
	stored
)

// A queue is one device's mailbox: the numbers that are not acked, in order.
type queue struct {
	seqs  []uint64
	heard time.Time // when the device acked last, or the queue began
}

// A drop is what an ack still has to take from the disk.
type drop struct {
	place
	device id
	last   bool // nobody is owed it any more
	slot   uint32
}

// A job is one atomic change of records.
type job struct {
	do      func(tx *bbolt.Tx) error
	err     error
	done    chan struct{}
	patient bool // nobody waits: tried again when there is room
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
		q = &queue{heard: time.Now().Add(sh.s.opt.LingerLive)} // the first mail has time, too
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
func (sh *shard) wake(d time.Duration) { sh.wakeAt(time.Now().Add(d)) }

func (sh *shard) wakeAt(due time.Time) {
	if !sh.due.IsZero() && sh.due.Before(due) {
		return
	}
	sh.due = due
	select {
	case sh.kick <- struct{}{}:
	default:
	}
}

// recover tries a commit again that failed.
func (sh *shard) recover() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.failed != nil && !sh.closing {
		sh.wake(0)
	}
}

func (sh *shard) close() {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closing = true
	sh.wake(0)
}
