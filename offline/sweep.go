// SPDX-License-Identifier: Apache-2.0

package offline

import (
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
		err = errors.Join(err, bad)
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
