// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// Resumable is what a session needs to go on after the server was killed
// (XEP-0198 §5).
type Resumable struct {
	ID, User, Device, Resource string
	Presence                   []byte
	Directed                   []string `json:",omitempty"` // who was shown it besides
	Flags                      uint32
	Until                      time.Time
}

// Two files hold the counters of resumable sessions. "sessions" has a head
// with the boot id, then countersSize bytes for each: id 16, in 4, acked 4,
// out 4, ring 4, own 8, inbox 8. It is mapped: a counter moves with each
// message, and costs a store. "rings" has ringSize tags of what was sent last
// for each, up to stanza "ring"; what went out behind that was no mail.
const (
	slotHead     = 4096
	countersSize = 48
	ringSize     = 1024 // four times what may be on its way: the rest tells what came lately
	layout       = "2"  // of both files: others are as good as of another boot
	chunkSlots   = 4096 // counters that are mapped at a time
	chunkSize    = chunkSlots * countersSize
)

// A slotFile holds the counters of resumable sessions. Writes go to the page
// cache only: they outlive the process, and after a power cut the boot id says
// that none of them can be trusted.
type slotFile struct {
	s     *Store
	f     *os.File // counters
	rings *os.File
	off   bool // nothing can be written

	mu     sync.Mutex
	live   map[string]*Slot
	free   []int64
	chunks [][]byte // the mapped file behind its head; never unmapped while open
}

// A Tag names a stanza that went out: the mail's number as its session counts
// it, and the token of who sent it. Without mail it is zero.
type Tag struct{ Seq, Token uint64 }

const tagSize = 16

// A Slot is one resumable session's place in the files.
type Slot struct {
	file *slotFile
	n    int64
	rec  Resumable

	mu sync.Mutex
	at []byte // its counters; nil when the session is gone and the place another's
}

func openSlots(s *Store) (*slotFile, error) {
	f, err := os.OpenFile(filepath.Join(s.dir, "sessions"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	rings, err := os.OpenFile(filepath.Join(s.dir, "rings"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	sf := &slotFile{s: s, f: f, rings: rings, live: map[string]*Slot{}}
	if err := errors.Join(sf.mapAll(), sf.trust()); err != nil {
		s.opt.Log.Error("sessions cannot be resumed", "err", err)
		sf.off = true // they bind anew; their mail is there
	}
	return sf, sf.load()
}

// trust empties the slots of another boot, then writes ours: in place, for the
// disk may be full.
func (sf *slotFile) trust() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		boot = []byte(time.Now().String()) // unknown: never trusted again
	}
	boot = append(boot, layout...)
	head := make([]byte, slotHead)
	_, _ = sf.f.ReadAt(head, 0)
	if bytes.Equal(bytes.TrimRight(head, "\x00"), boot) {
		return nil
	}
	for _, b := range sf.chunks {
		clear(b)
	}
	clear(head)
	copy(head, boot)
	_, err = sf.f.WriteAt(head, 0)
	return err
}

// mapAll maps the whole chunks of the file.
func (sf *slotFile) mapAll() error {
	st, err := sf.f.Stat()
	if err != nil {
		return err
	}
	for range max(0, st.Size()-slotHead) / chunkSize {
		if err := sf.mapNext(); err != nil {
			return err
		}
	}
	return nil
}

// mapNext maps one more chunk. Its space is taken from the disk first: a
// store into a mapping cannot say that the disk is full.
func (sf *slotFile) mapNext() error {
	at := int64(slotHead + len(sf.chunks)*chunkSize)
	err := syscall.Fallocate(int(sf.f.Fd()), 0, at, chunkSize)
	if errors.Is(err, syscall.EOPNOTSUPP) {
		err = sf.fill(at)
	}
	if err != nil {
		return fmt.Errorf("room for sessions: %w", err)
	}
	b, err := syscall.Mmap(int(sf.f.Fd()), at, chunkSize, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map sessions: %w", err)
	}
	sf.chunks = append(sf.chunks, b)
	return nil
}

func (sf *slotFile) close() error {
	sf.mu.Lock()
	live := slices.Collect(maps.Values(sf.live))
	sf.mu.Unlock()
	for _, sl := range live {
		sl.mu.Lock()
		sl.at = nil
		sl.mu.Unlock()
	}
	var err error
	for _, b := range sf.chunks {
		err = errors.Join(err, syscall.Munmap(b))
	}
	sf.chunks = nil
	return errors.Join(err, sf.f.Close(), sf.rings.Close())
}

// fill takes room by writing what is there already, or zeros.
func (sf *slotFile) fill(at int64) error {
	b := make([]byte, chunkSize)
	if _, err := sf.f.ReadAt(b, at); err != nil && err != io.EOF {
		return err
	}
	_, err := sf.f.WriteAt(b, at)
	return err
}

// counters are the bytes of slot n.
func (sf *slotFile) counters(n int64) []byte {
	at := n % chunkSlots * countersSize
	return sf.chunks[n/chunkSlots][at : at+countersSize : at+countersSize]
}

// load finds the sessions that can still be resumed, and drops the records of
// those that cannot.
func (sf *slotFile) load() error {
	byID := map[id]int64{}
	size := int64(len(sf.chunks) * chunkSlots)
	for n := range size {
		if x := id(sf.counters(n)); x != (id{}) && !sf.off {
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
					sf.live[name] = &Slot{file: sf, n: n, at: sf.counters(n), rec: rec}
					return true
				})
				if r.err != nil { // no reason to keep everybody out
					sf.s.opt.Log.Error("a session cannot be resumed", "err", r.err)
				}
				return nil
			})
		})
		if err != nil {
			return err
		}
	}
	for n := range size {
		if !used[n] {
			clear(sf.counters(n))
			sf.free = append(sf.free, n)
		}
	}
	slices.Reverse(sf.free) // the low ones first, so that few pages are in use
	return nil
}

// NewSlot makes a session resumable.
func (s *Store) NewSlot(r Resumable) (*Slot, error) {
	sf := s.slots
	if sf.off {
		return nil, ErrReadOnly
	}
	sf.mu.Lock()
	defer sf.mu.Unlock()
	if len(sf.free) == 0 {
		first := int64(len(sf.chunks) * chunkSlots)
		if err := sf.mapNext(); err != nil {
			return nil, err
		}
		for n := first + chunkSlots - 1; n >= first; n-- {
			sf.free = append(sf.free, n)
		}
	}
	n := sf.free[len(sf.free)-1]
	sl := &Slot{file: sf, n: n, at: sf.counters(n), rec: r}
	if err := sl.save(r); err != nil {
		return nil, err
	}
	sf.free = sf.free[:len(sf.free)-1]
	sf.live[r.ID] = sl
	x := s.id("slot", r.ID)
	copy(sl.at, x[:])
	return sl, nil
}

func (sl *Slot) put(off int, v uint32) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.at != nil {
		binary.BigEndian.PutUint32(sl.at[off:], v)
	}
}

// Took notes how many stanzas of the client are safe.
func (sl *Slot) Took(in uint32) { sl.put(16, in) }

// Acked notes what the client has: stanzas up to out, and with them all mail of
// the device's own mailbox and of the inbox up to these numbers; 0 is none.
func (sl *Slot) Acked(out uint32, own, inbox uint64) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.at == nil {
		return
	}
	binary.BigEndian.PutUint32(sl.at[20:], out)
	for i, seq := range [2]uint64{own, inbox} {
		if b := sl.at[32+8*i:]; seq > binary.BigEndian.Uint64(b) {
			binary.BigEndian.PutUint64(b, seq)
		}
	}
}

// Had says up to which numbers the client has the mail of the two mailboxes.
// Some of it may still be on disk.
func (sl *Slot) Had() (own, inbox uint64) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.at == nil {
		return 0, 0
	}
	return binary.BigEndian.Uint64(sl.at[32:]), binary.BigEndian.Uint64(sl.at[40:])
}

// Sent notes that stanzas first to last go out, before a byte of them is
// written: with these tags, or without any when none of them is mail.
func (sl *Slot) Sent(first, last uint32, tags []Tag) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if sl.at == nil {
		return
	}
	// First how far the ring may be believed, then the ring, then how far it
	// goes: a place that is about to change counts for nothing if a kill comes.
	gap := int32(first - 1 - binary.BigEndian.Uint32(sl.at[28:]))
	if gap < 0 { // a resumption counted back
		binary.BigEndian.PutUint32(sl.at[28:], first-1)
	}
	binary.BigEndian.PutUint32(sl.at[24:], last)
	if len(tags) == 0 {
		return
	}
	if n := min(gap, ringSize); n > 0 {
		tags, first = append(make([]Tag, n, int(n)+len(tags)), tags...), first-uint32(n)
	}
	for len(tags) > 0 {
		at := first % ringSize
		n := min(len(tags), int(ringSize-at))
		b := make([]byte, 0, tagSize*n)
		for _, t := range tags[:n] {
			b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, t.Seq), t.Token)
		}
		if _, err := sl.file.rings.WriteAt(b, sl.ring()+tagSize*int64(at)); err != nil {
			sl.file.s.opt.Log.Error("a session cannot be resumed after a crash", "err", err)
			clear(sl.at[:16]) // what is in the ring is another's: it would ack the wrong mail
			return
		}
		first, tags = first+uint32(n), tags[n:]
	}
	binary.BigEndian.PutUint32(sl.at[28:], last)
}

func (sl *Slot) ring() int64 { return sl.n * ringSize * tagSize }

// State reads the counters back, with the tags of what is not acked. Done are
// those of mail that was acked lately: it may still be on disk, and its sender
// may not know.
func (sl *Slot) State() (in, acked uint32, tags, done []Tag) {
	b := make([]byte, ringSize*tagSize)
	sl.mu.Lock()
	defer sl.mu.Unlock()
	if _, err := sl.file.rings.ReadAt(b, sl.ring()); sl.at == nil || err != nil && err != io.EOF {
		return 0, 0, nil, nil
	}
	in, acked = binary.BigEndian.Uint32(sl.at[16:]), binary.BigEndian.Uint32(sl.at[20:])
	out, top := binary.BigEndian.Uint32(sl.at[24:]), binary.BigEndian.Uint32(sl.at[28:])
	tag := func(n uint32) Tag {
		if out-n >= ringSize || int32(n-top) > 0 { // fell out of the ring: sent again instead; or no mail
			return Tag{}
		}
		return tagAt(b, n)
	}
	for n := acked + 1; int32(out-n) >= 0 && len(tags) < 1<<16; n++ {
		tags = append(tags, tag(n))
	}
	for n := acked; n > 0 && out-n < ringSize; n-- {
		if t := tag(n); t.Seq != 0 {
			done = append(done, t)
		}
	}
	return in, acked, tags, done
}

func tagAt(ring []byte, n uint32) Tag {
	t := ring[tagSize*(n%ringSize):]
	return Tag{binary.BigEndian.Uint64(t), binary.BigEndian.Uint64(t[8:])}
}

// Drop ends the session: it cannot be resumed any more.
func (sl *Slot) Drop() {
	sf := sl.file
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sf.mu.Lock()
	if sf.live[sl.rec.ID] != sl {
		sf.mu.Unlock()
		return
	}
	delete(sf.live, sl.rec.ID)
	if sl.at != nil {
		clear(sl.at)
		sl.at = nil
		sf.free = append(sf.free, sl.n)
	}
	sf.mu.Unlock()
	r := sl.rec
	_ = sf.s.Later(r.User, func(rec *Records) error {
		rec.Delete("slot", r.ID)
		return nil
	})
}
