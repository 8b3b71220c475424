// SPDX-License-Identifier: Apache-2.0

package offline

import (
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
		n, err := sh.sweep(now)
		expired += n
		if err != nil {
			return expired, err
		}
	}
	users, err := s.Users()
	if err != nil {
		return expired, err
	}
	for _, u := range users {
		devices, err := s.Devices(u)
		if err != nil {
			return expired, err
		}
		for _, d := range devices {
			if now.Sub(d.Seen) > s.opt.DeviceTTL {
				if err := s.DropDevice(u, d.ID); err != nil {
					return expired, err
				}
			}
		}
	}
	return expired, nil
}

type late struct {
	place
	user string
	mail Mail
}

func (sh *shard) sweep(now time.Time) (int, error) {
	var all []late
	err := sh.db.View(func(tx *bbolt.Tx) error {
		sh.mu.Lock()
		var on []*entry
		for _, e := range sh.entries {
			if e.state == stored {
				on = append(on, e)
			}
		}
		sh.mu.Unlock()
		for _, e := range on {
			user, m, err := sh.readFor(tx, e.place, e.slot)
			if err == nil && !m.Expires.After(now) {
				all = append(all, late{e.place, user, m})
			}
		}
		return nil
	})
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
