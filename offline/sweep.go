// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Sweep forgets mail whose time is up, telling OnExpire, and unlinks devices
// that were not seen for too long.
func (s *Store) Sweep(now time.Time) (expired int, err error) {
	for _, sh := range s.shards {
		if sh.broken != nil {
			continue
		}
		n, bad := sh.sweep(now)
		expired += n
		err = errors.Join(err, bad, sh.sweepHistory(now))
	}
	users, bad := s.Users()
	err = errors.Join(err, bad)
	for _, u := range users { // one that is damaged does not stop the rest
		err = errors.Join(err, s.sweepDevices(u, now))
	}
	return expired, err
}

// stillHere is how stale the date of a device may be that never logs out.
const stillHere = 24 * time.Hour

// sweepDevices unlinks devices that were away for too long. One that is here
// all the time is seen, even if it logged in long ago.
func (s *Store) sweepDevices(user string, now time.Time) error {
	devices, err := s.Devices(user)
	if err != nil {
		return err
	}
	s.mu.Lock()
	here := s.here
	s.mu.Unlock()
	for _, d := range devices {
		age := now.Sub(d.Seen)
		switch {
		case here != nil && here(user, d.ID):
			if age > stillHere {
				d.Seen = now
				_, err = s.SawDevice(user, d)
			}
		case age > s.opt.DeviceTTL:
			err = s.DropDevice(user, d.ID)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type late struct {
	place
	user string
	mail Mail
}

// late reads the mail whose time is up. Each mail is read once to learn when
// that is, and not again before.
func (sh *shard) late(now time.Time) (all []late, err error) {
	var on []*entry
	sh.mu.Lock()
	for _, e := range sh.entries {
		if e.state == stored && e.expires <= now.Unix() {
			on = append(on, e)
		}
	}
	sh.mu.Unlock()
	if len(on) == 0 {
		return nil, nil
	}
	return all, sh.db.View(func(tx *bbolt.Tx) error {
		for _, e := range on {
			user, m, err := sh.readFor(tx, e.place, e.slot)
			if err != nil {
				continue
			}
			sh.mu.Lock()
			e.expires = m.Expires.Unix()
			sh.mu.Unlock()
			if !m.Expires.After(now) {
				all = append(all, late{e.place, user, m})
			}
		}
		return nil
	})
}

func (sh *shard) sweep(now time.Time) (int, error) {
	all, err := sh.late(now)
	if err != nil {
		return 0, err
	}
	sh.s.mu.Lock()
	tell := sh.s.expire
	sh.s.mu.Unlock()
	for i := range all {
		if tell != nil {
			tell(all[i].user, all[i].mail)
		}
		sh.mu.Lock()
		var owed []id
		if e := sh.entries[all[i].place]; e != nil {
			owed = slices.Clone(e.owed)
		}
		sh.mu.Unlock()
		for _, d := range owed {
			(&Mailbox{sh: sh, acct: all[i].acct, device: d}).Ack(all[i].seq)
		}
	}
	return len(all), nil
}

// sweepHistory ends the weeks that are over for longer than histories are kept,
// and takes off what a crash left behind.
func (sh *shard) sweepHistory(now time.Time) error {
	owners := map[id]uint32{} // to the first week that stays
	err := sh.db.View(func(tx *bbolt.Tx) error {
		if keep := sh.s.opt.KeepHistory; keep > 0 {
			oldest := weekOf(now.Add(-keep))
			err := eachWeek(tx, nil, func(acct id, w week) {
				if w.n < oldest {
					owners[acct] = oldest
				}
			})
			if err != nil {
				return err
			}
		}
		return leftovers(tx, owners)
	})
	if err != nil {
		return err
	}
	for acct, before := range owners {
		var slots []uint32
		err := sh.do(func(tx *bbolt.Tx) (err error) {
			slots, err = sh.endWeeks(tx, acct, before)
			return err
		})
		if err := errors.Join(err, sh.wipeAll(slots)); err != nil {
			return err
		}
		if err := sh.trim(acct); err != nil {
			return err
		}
	}
	return nil
}

// leftovers adds the owners of notes whose week has ended.
func leftovers(tx *bbolt.Tx, owners map[id]uint32) error {
	b := tx.Bucket(notes)
	if b == nil {
		return nil
	}
	c := b.Cursor()
	for k, v := c.First(); k != nil; {
		if len(k) != 24 || len(v) < noteHeadLen {
			return ErrCorrupt
		}
		acct := id(k[:16])
		w := week{acct: acct, n: binary.BigEndian.Uint32(v)}
		if _, known := owners[acct]; !known && tx.Bucket(weeks).Get(w.name()) == nil {
			owners[acct] = 0
		}
		k, v = c.Seek(place{acct, ^uint64(0)}.key())
	}
	return nil
}

// Histories is how many owners have one.
func (s *Store) Histories() (n int, err error) {
	for _, sh := range s.shards {
		if sh.broken != nil {
			continue
		}
		err = errors.Join(err, sh.db.View(func(tx *bbolt.Tx) error {
			var last id
			return eachWeek(tx, nil, func(acct id, _ week) {
				if n == 0 || acct != last {
					n, last = n+1, acct
				}
			})
		}))
	}
	return n, err
}

// EraseHistories erases the histories of all owners.
func (s *Store) EraseHistories() (err error) {
	for _, sh := range s.shards {
		if sh.broken != nil {
			err = errors.Join(err, sh.broken)
			continue
		}
		var slots []uint32
		owners := map[id]uint32{}
		bad := sh.do(func(tx *bbolt.Tx) (err error) {
			if err := eachWeek(tx, nil, func(acct id, _ week) { owners[acct] = 0 }); err != nil {
				return err
			}
			for acct := range owners {
				some, e := sh.endWeeks(tx, acct, ^uint32(0))
				slots, err = append(slots, some...), errors.Join(err, e)
			}
			return err
		})
		if bad == nil {
			bad = sh.wipeAll(slots)
		}
		for acct := range owners {
			bad = errors.Join(bad, sh.trim(acct))
		}
		err = errors.Join(err, bad)
	}
	return err
}

// settleNotes waits until what an owner was given already is on disk, too: who
// asks for what came after a message that he just got must find it.
func (sh *shard) settleNotes(acct id) {
	mine := func(n *note) bool { return n.acct == acct }
	sh.mu.Lock()
	waits := slices.ContainsFunc(sh.notes, mine) || slices.ContainsFunc(sh.writing, mine)
	sh.mu.Unlock()
	if waits {
		_ = sh.do(func(*bbolt.Tx) error { return nil }) // if it fails, what is there is all there is
	}
}

// Amend changes what a history holds of one message, in its place: f gives
// what stands there from now on, or nil to leave it as it is. The change is
// durable when Amend returns; no such message is ErrGone.
func (s *Store) Amend(owner, archive string, f func(m *Mail) []byte) error {
	sh, acct, err := s.of(owner)
	if err != nil {
		return err
	}
	sh.settleNotes(acct)
	return sh.do(func(tx *bbolt.Tx) error {
		l, err := sh.shelf(tx, acct)
		if err != nil {
			return err
		}
		n, ok := l.find(archive)
		if !ok {
			return ErrGone
		}
		return l.amend(n, owner, f)
	})
}

func (l *shelf) amend(n uint64, owner string, f func(m *Mail) []byte) error {
	m, err := l.note(n)
	if err != nil {
		return err
	}
	if m.Body = f(&m); m.Body == nil {
		return nil
	}
	k, b := place{l.acct, n}.key(), l.tx.Bucket(notes)
	v := slices.Clone(b.Get(k)[:noteHeadLen])
	i := slices.IndexFunc(l.weeks, func(w week) bool { return w.n == binary.BigEndian.Uint32(v) })
	sealed, err := sealMany(l.weeks[i].key, m.encode(owner), k)
	if err != nil {
		return err
	}
	return b.Put(k, append(v, sealed...))
}
