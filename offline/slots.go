// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/bbolt"
)

// Resumable is what a session needs to go on after the server was killed
// (XEP-0198 §5).
type Resumable struct {
	ID, User, Device, Resource string
	Presence                   []byte
	Flags                      uint32
	Until                      time.Time
}

// The slot file: a head with the boot id, then slots of slotSize bytes:
// id 16, in 4, acked 4, out 4, and a ring of ringSize tags at ringAt.
const (
	slotHead = 64
	slotSize = 2176
	ringAt   = 64
	ringSize = 256
)

// A slotFile holds the counters of resumable sessions. Writes go to the page
// cache only: they outlive the process, and after a power cut the boot id says
// that none of them can be trusted.
type slotFile struct {
	s   *Store
	f   *os.File
	off bool // nothing can be written

	mu   sync.Mutex
	live map[string]*Slot
	free []int64
	size int64 // slots in the file
}

// A Slot is one resumable session's place in the file.
type Slot struct {
	file *slotFile
	n    int64
	id   id
	rec  Resumable
	mu   sync.Mutex
}

func openSlots(s *Store) (*slotFile, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "slots"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte(time.Now().String()) // unknown: never trusted again
	}
	sf := &slotFile{s: s, f: f, live: map[string]*Slot{}}
	head := make([]byte, slotHead)
	_, _ = f.ReadAt(head, 0)
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	sf.size = max(0, (st.Size()-slotHead)/slotSize)
	if !bytes.Equal(bytes.TrimRight(head, "\x00"), boot) {
		if err := sf.distrust(boot); err != nil {
			s.opt.Log.Error("sessions cannot be resumed", "err", err)
			sf.off = true // they bind anew; their mail is there
		}
	}
	return sf, sf.load()
}

// distrust empties the slots of another boot, then writes ours: in place, for
// the disk may be full.
func (sf *slotFile) distrust(boot []byte) error {
	for n := range sf.size {
		if _, err := sf.f.WriteAt(make([]byte, 28), sf.at(n)); err != nil {
			return err
		}
	}
	head := make([]byte, slotHead)
	copy(head, boot)
	_, err := sf.f.WriteAt(head, 0)
	return err
}

// load finds the sessions that can still be resumed, and drops the records of
// those that cannot.
func (sf *slotFile) load() error {
	byID := map[id]int64{}
	for n := range sf.size {
		var x id
		if _, err := sf.f.ReadAt(x[:], sf.at(n)); err == nil && x != (id{}) && !sf.off {
			byID[x] = n
		}
	}
	used := map[int64]bool{}
	for _, sh := range sf.s.shards {
		if sh.broken != nil {
			continue
		}
		err := sh.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(accounts).ForEach(func(k, _ []byte) error {
				r := &Records{s: sf.s, b: tx.Bucket(records), acct: id(k)}
				r.Each("slot", func(name string, v []byte) bool {
					n, ok := byID[sf.s.id("slot", name)]
					var rec Resumable
					if json.Unmarshal(v, &rec) != nil || !ok {
						sh.later(r.acct, func(rec *Records) error { rec.Delete("slot", name); return nil })
						return true
					}
					used[n] = true
					sf.live[name] = &Slot{file: sf, n: n, id: sf.s.id("slot", name), rec: rec}
					return true
				})
				return r.err
			})
		})
		if err != nil {
			return err
		}
	}
	for n := range sf.size {
		if !used[n] {
			sf.free = append(sf.free, n)
		}
	}
	return nil
}

func (sf *slotFile) at(n int64) int64 { return slotHead + n*slotSize }

// NewSlot makes a session resumable.
func (s *Store) NewSlot(r Resumable) (*Slot, error) {
	sf := s.slots
	if sf.off {
		return nil, ErrReadOnly
	}
	sf.mu.Lock()
	n := sf.size
	if l := len(sf.free); l > 0 {
		n = sf.free[l-1]
		sf.free = sf.free[:l-1]
	} else {
		sf.size++
	}
	sl := &Slot{file: sf, n: n, id: s.id("slot", r.ID), rec: r}
	sf.live[r.ID] = sl
	sf.mu.Unlock()
	b := make([]byte, slotSize)
	copy(b, sl.id[:])
	if _, err := sf.f.WriteAt(b, sf.at(n)); err != nil {
		sl.Drop()
		return nil, err
	}
	return sl, sl.save(r)
}

// save writes the record with the next commit; nobody waits for it, for a
// session that a crash forgets binds anew and loses no mail.
func (sl *Slot) save(r Resumable) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return sl.file.s.Later(r.User, func(rec *Records) error {
		rec.Put("slot", r.ID, b)
		return nil
	})
}

// Later changes records without waiting.
func (s *Store) Later(user string, f func(*Records) error) error {
	sh, acct, err := s.of(user)
	if err == nil {
		sh.later(acct, f)
	}
	return err
}

func (sh *shard) later(acct id, f func(*Records) error) {
	j := &job{done: make(chan struct{}), patient: true}
	j.do = func(tx *bbolt.Tx) error {
		r := &Records{s: sh.s, b: tx.Bucket(records), acct: acct}
		if j.err = errors.Join(f(r), r.err); j.err == nil {
			j.err = r.apply()
		}
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closing {
		return
	}
	sh.jobs = append(sh.jobs, j)
	sh.wake(sh.s.opt.LingerLive)
}

// FindSlot gives a session that may be resumed, or ErrGone.
func (s *Store) FindSlot(id string) (*Slot, Resumable, error) {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	sl := s.slots.live[id]
	if sl == nil {
		return nil, Resumable{}, ErrGone
	}
	return sl, sl.rec, nil
}

// Slots lists the sessions that may be resumed.
func (s *Store) Slots() ([]Resumable, error) {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	var all []Resumable
	for _, sl := range s.slots.live {
		all = append(all, sl.rec)
	}
	return all, nil
}

func (sl *Slot) put32(off int64, v uint32) {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], v)
	sl.write(off, b[:])
}

func (sl *Slot) write(off int64, b []byte) {
	if _, err := sl.file.f.WriteAt(b, sl.file.at(sl.n)+off); err != nil {
		sl.file.s.opt.Log.Error("slot file", "err", err)
	}
}

// Took notes how many stanzas of the client are safe.
func (sl *Slot) Took(in uint32) { sl.put32(16, in) }

// Acked notes what the client has.
func (sl *Slot) Acked(out uint32) { sl.put32(20, out) }

// Sent notes that stanzas first, first+1, … go out with these tags, before a
// byte of them is written. Without tags it only moves the counter to first-1.
func (sl *Slot) Sent(first uint32, tags []uint64) {
	for len(tags) > 0 {
		at := first % ringSize
		n := min(len(tags), int(ringSize-at))
		b := make([]byte, 0, 8*n)
		for _, t := range tags[:n] {
			b = binary.BigEndian.AppendUint64(b, t)
		}
		sl.write(ringAt+8*int64(at), b)
		first, tags = first+uint32(n), tags[n:]
	}
	sl.put32(24, first-1)
}

// State reads the counters back, with the tags of what is not acked.
func (sl *Slot) State() (in, acked uint32, tags []uint64) {
	b := make([]byte, slotSize)
	if _, err := sl.file.f.ReadAt(b, sl.file.at(sl.n)); err != nil {
		return 0, 0, nil
	}
	in, acked = binary.BigEndian.Uint32(b[16:]), binary.BigEndian.Uint32(b[20:])
	out := binary.BigEndian.Uint32(b[24:])
	for n := acked + 1; int32(out-n) >= 0 && len(tags) < 1<<16; n++ {
		if out-n >= ringSize {
			tags = append(tags, 0) // fell out of the ring: sent again instead
			continue
		}
		tags = append(tags, binary.BigEndian.Uint64(b[ringAt+8*(n%ringSize):]))
	}
	return in, acked, tags
}

// SetRecord writes what changed.
func (sl *Slot) SetRecord(r Resumable) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.file.mu.Lock()
	gone := sl.file.live[r.ID] != sl
	sl.rec = r
	sl.file.mu.Unlock()
	if gone {
		return
	}
	if err := sl.save(r); err != nil {
		sl.file.s.opt.Log.Warn("session record", "err", err)
	}
}

// Drop ends the session: it cannot be resumed any more.
func (sl *Slot) Drop() {
	sf := sl.file
	sf.mu.Lock()
	if sf.live[sl.rec.ID] != sl {
		sf.mu.Unlock()
		return
	}
	delete(sf.live, sl.rec.ID)
	sf.mu.Unlock()
	sl.write(0, make([]byte, 28))
	sf.mu.Lock()
	sf.free = append(sf.free, sl.n)
	sf.mu.Unlock()
	r := sl.rec
	_ = sf.s.Later(r.User, func(rec *Records) error {
		rec.Delete("slot", r.ID)
		return nil
	})
}
