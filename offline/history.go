// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"time"

	"go.etcd.io/bbolt"
)

// Histories: whole messages by owner and number. An owner is an account, or
// whatever else its caller names so that it is no account's name, as a room by
// its address. Each week of a history has a key of its own in the key file:
// overwriting it forgets the week. The buckets are made with the first note.
var (
	notes     = []byte("note")     // owner+seq -> week, id, with, nonce, sealed mail
	noteIDs   = []byte("noteid")   // owner+id -> seq
	noteWiths = []byte("notewith") // owner+week+with+seq -> nothing
	weeks     = []byte("week")     // owner+week -> slot, how many notes, the first one

	historyBuckets = [][]byte{notes, noteIDs, noteWiths, weeks}
)

// weekLong is how long one key is used.
const weekLong = 7 * 24 * time.Hour

func weekOf(t time.Time) uint32 { return uint32(max(0, t.Unix()) / int64(weekLong/time.Second)) }

// A note is one message on its way into a history.
type note struct {
	place
	user    string
	mail    *Mail
	account bool // dropped when the account is gone meanwhile
	ticket  *Ticket
	week    *week
	head    noteHead
	sealed  []byte
}

type noteHead struct {
	id   [16]byte
	with [8]byte
}

const noteHeadLen = 4 + 16 + 8

// A week is the part of a history that one key seals.
type week struct {
	acct id
	n    uint32
	slot uint32

	count, first uint64 // notes, and the number of the first
	key          [keySize]byte
	last         time.Time
}

const weekLen = 4 + 8 + 8

func (w *week) value() []byte {
	v := binary.BigEndian.AppendUint32(make([]byte, 0, weekLen), w.slot)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(v, w.count), w.first)
}

func (w *week) name() []byte {
	return binary.BigEndian.AppendUint32(append(make([]byte, 0, 20), w.acct[:]...), w.n)
}

// with hides an address under the week's key: with the key goes the index.
func (w *week) with(s *Store, addr string) (x [8]byte) {
	h := s.id("with", string(w.key[:]), bareOf(addr))
	copy(x[:], h[:])
	return x
}

func (w *week) withKey(x [8]byte, seq uint64) []byte {
	return binary.BigEndian.AppendUint64(append(w.name(), x[:]...), seq)
}

func bareOf(addr string) string {
	bare, _, _ := cut(addr)
	return bare
}

func cut(addr string) (bare, resource string, full bool) {
	for i := range len(addr) {
		if addr[i] == '/' {
			return addr[:i], addr[i+1:], true
		}
	}
	return addr, "", false
}

// Mark hides parts that only we can hide so, as text: the same parts always
// give the same.
func (s *Store) Mark(parts ...string) string {
	x := s.id(append([]string{"mark"}, parts...)...)
	return hex.EncodeToString(x[:])
}

// archived is how an archive id is kept in memory; 0 is none.
func (s *Store) archived(owner, archive string) uint64 {
	if archive == "" {
		return 0
	}
	x := s.id("archive", owner, archive)
	return binary.BigEndian.Uint64(x[:]) | 1
}

// Takes says why nothing new could be written for an owner now.
func (s *Store) Takes(owner string) error {
	sh, _, err := s.of(owner)
	if err != nil {
		return err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.takes()
}

// Keep writes a message into an owner's history, if its archive id is not
// there yet. account says that the owner is one: then nothing is written when
// it is gone.
func (s *Store) Keep(owner string, m *Mail, account bool) (*Ticket, error) {
	sh, acct, err := s.of(owner)
	if err != nil {
		return nil, err
	}
	if err := sh.reserve(acct); err != nil {
		return nil, err
	}
	defer sh.mu.Unlock() // reserve has locked it
	if err := sh.takes(); err != nil {
		return nil, err
	}
	m.Seq = sh.number(acct)
	n := &note{place: place{acct, m.Seq}, user: owner, mail: m, account: account, ticket: &Ticket{}}
	sh.held += len(m.Body)
	sh.note(n)
	return n.ticket, nil
}

func (sh *shard) note(n *note) {
	sh.notes = append(sh.notes, n)
	sh.wake(sh.s.opt.Linger)
}

// weeksKnown bounds how many keys are kept in memory.
const weeksKnown = 1 << 14

// sealNotes seals what goes into histories, each under the key of its week.
func (sh *shard) sealNotes(h *haul) error {
	if len(sh.weeks) > weeksKnown {
		clear(sh.weeks)
	}
	for _, n := range h.notes {
		w, err := sh.weekFor(h, n)
		if err != nil {
			return err
		}
		m := *n.mail
		if m.At = m.At.Truncate(time.Millisecond); m.At.Before(w.last) {
			m.At = w.last // a history's times do not go back
		}
		w.last = m.At
		n.week, n.head = w, noteHead{id: sh.s.id("note", m.Archive), with: w.with(sh.s, m.with())}
		if n.sealed, err = sealMany(w.key, m.encode(n.user), n.key()); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mail) with() string {
	if m.With != "" {
		return m.With
	}
	return m.From
}

// weekFor gives the newest week of a history, or begins one. A later message
// is never in an earlier week.
func (sh *shard) weekFor(h *haul, n *note) (*week, error) {
	w := sh.weeks[n.acct]
	if w == nil {
		var last week
		err := sh.db.View(func(tx *bbolt.Tx) error {
			return eachWeek(tx, n.acct[:], func(_ id, w week) { last = w })
		})
		if err != nil {
			return nil, err
		}
		if last.acct == n.acct {
			if last.key, err = sh.keys.read(last.slot); err != nil {
				return nil, err
			}
			w = &last
		}
	}
	if now := weekOf(n.mail.At); w == nil || w.n < now {
		w = &week{acct: n.acct, n: now}
		var err error
		if w.slot, w.key, err = sh.keys.take(); err != nil {
			return nil, err
		}
		h.begun = append(h.begun, w)
	}
	sh.weeks[n.acct] = w
	return w, nil
}

// eachWeek goes over the weeks of one history, or of all.
func eachWeek(tx *bbolt.Tx, owner []byte, f func(acct id, w week)) error {
	b := tx.Bucket(weeks)
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, v := c.Seek(owner); k != nil && bytes.HasPrefix(k, owner); k, v = c.Next() {
		if len(k) != 20 || len(v) != weekLen {
			return ErrCorrupt
		}
		f(id(k[:16]), week{
			acct: id(k[:16]), n: binary.BigEndian.Uint32(k[16:]), slot: binary.BigEndian.Uint32(v),
			count: binary.BigEndian.Uint64(v[4:]), first: binary.BigEndian.Uint64(v[12:]),
		})
	}
	return nil
}

// applyNotes writes them; one that is there already came a second time.
func (h *haul) applyNotes(tx *bbolt.Tx) error {
	if len(h.notes) == 0 {
		return nil
	}
	b := map[string]*bbolt.Bucket{}
	for _, name := range historyBuckets {
		var err error
		if b[string(name)], err = tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	changed := map[*week]bool{}
	for _, w := range h.begun {
		changed[w] = true // also when nothing comes of it: its key has a slot
	}
	for _, n := range h.notes {
		name := append(append([]byte{}, n.acct[:]...), n.head.id[:]...)
		gone := n.account && tx.Bucket(accounts).Get(n.acct[:]) == nil
		if gone || b[string(noteIDs)].Get(name) != nil {
			continue
		}
		v := binary.BigEndian.AppendUint32(make([]byte, 0, noteHeadLen+len(n.sealed)), n.week.n)
		v = append(append(append(v, n.head.id[:]...), n.head.with[:]...), n.sealed...)
		err := errors.Join(b[string(notes)].Put(n.key(), v),
			b[string(noteIDs)].Put(name, binary.BigEndian.AppendUint64(nil, n.seq)),
			b[string(noteWiths)].Put(n.week.withKey(n.head.with, n.seq), nil))
		if err != nil {
			return err
		}
		if n.week.count++; n.week.count == 1 {
			n.week.first = n.seq
		}
		changed[n.week] = true
	}
	for w := range changed {
		if err := b[string(weeks)].Put(w.name(), w.value()); err != nil {
			return err
		}
	}
	return nil
}

// disownWeek drops a week whose key was wiped: the commit that began it failed
// half way, and the senders were told so.
func (sh *shard) disownWeek(w week) {
	if key, err := sh.keys.read(w.slot); err != nil || key != [keySize]byte{} {
		return // a slot that is cut off is damage, and reported when the week is read
	}
	sh.s.opt.Log.Warn("history of a failed commit dropped", "n", w.count)
	sh.jobs = append(sh.jobs, &job{patient: true, done: make(chan struct{}), do: func(tx *bbolt.Tx) error {
		_, err := unwrite(tx, place{w.acct, w.first}, math.MaxInt, func(n uint32) bool { return n == w.n })
		return errors.Join(err, tx.Bucket(weeks).Delete(w.name()))
	}})
	sh.wake(0)
}

// EraseHistory erases all of an owner's history.
func (s *Store) EraseHistory(owner string) error {
	sh, acct, err := s.of(owner)
	if err != nil {
		return err
	}
	var slots []uint32
	err = sh.do(func(tx *bbolt.Tx) (err error) {
		slots, err = sh.endWeeks(tx, acct, ^uint32(0))
		return err
	})
	if err != nil {
		return err
	}
	return errors.Join(sh.wipeAll(slots), sh.trim(acct))
}

// endWeeks takes the weeks before one off the disk. Once their keys, which it
// returns, are wiped, nobody can read them any more.
func (sh *shard) endWeeks(tx *bbolt.Tx, acct id, before uint32) (slots []uint32, err error) {
	var ended []week
	err = eachWeek(tx, acct[:], func(_ id, w week) {
		if w.n < before {
			ended = append(ended, w)
		}
	})
	for i := range ended {
		if w := sh.weeks[acct]; w != nil && w.n == ended[i].n {
			delete(sh.weeks, acct)
		}
		err = errors.Join(err, tx.Bucket(weeks).Delete(ended[i].name()))
		slots = append(slots, ended[i].slot)
	}
	return slots, err
}

func (sh *shard) wipeAll(slots []uint32) (err error) {
	for _, n := range slots {
		err = errors.Join(err, sh.keys.wipe(n))
	}
	return err
}

// trimMost is how much of a history one commit takes off.
const trimMost = 2000

// trim takes what has no key any more off the disk, a little at a time: others
// write here, too.
func (sh *shard) trim(acct id) error {
	for {
		n := 0
		err := sh.do(func(tx *bbolt.Tx) (err error) {
			n, err = trimSome(tx, acct)
			return err
		})
		if err != nil || n < trimMost {
			return err
		}
	}
}

func trimSome(tx *bbolt.Tx, acct id) (n int, err error) {
	first := ^uint32(0)
	if err := eachWeek(tx, acct[:], func(_ id, w week) { first = min(first, w.n) }); err != nil {
		return 0, err
	}
	return unwrite(tx, place{acct, 0}, trimMost, func(week uint32) bool { return week < first })
}

// unwrite takes notes off the disk, from one on, as long as their week is one to go.
func unwrite(tx *bbolt.Tx, from place, most int, goes func(week uint32) bool) (n int, err error) {
	b, acct := tx.Bucket(notes), from.acct
	if b == nil {
		return 0, nil
	}
	var ids, withs, keys [][]byte
	c := b.Cursor()
	for k, v := c.Seek(from.key()); k != nil && bytes.HasPrefix(k, acct[:]) && len(keys) < most; k, v = c.Next() {
		if len(v) < noteHeadLen {
			return 0, ErrCorrupt
		}
		w := week{acct: acct, n: binary.BigEndian.Uint32(v)}
		if !goes(w.n) {
			break
		}
		keys = append(keys, bytes.Clone(k))
		ids = append(ids, append(append([]byte{}, acct[:]...), v[4:20]...))
		withs = append(withs, w.withKey([8]byte(v[20:28]), placeOf(k).seq))
	}
	for i := range keys {
		err = errors.Join(err, b.Delete(keys[i]), tx.Bucket(noteIDs).Delete(ids[i]), tx.Bucket(noteWiths).Delete(withs[i]))
	}
	return len(keys), err
}
