// SPDX-License-Identifier: Apache-2.0

package push

import (
	"time"

	"sotto/offline"
)

// nudged notes that something wants a person's attention that is no mail.
func (p *push) nudged(user string) {
	p.mu.Lock()
	if p.known[user] {
		p.nudges[user] = true
	}
	p.mu.Unlock()
	p.look()
}

// nudge wakes the devices that are away, once: that nobody has fetched it
// cannot be seen. Those that were woken for mail will come for both.
func (p *push) nudge(user string, now time.Time) {
	var all map[string]*record
	err := p.s.Store().View(user, func(rec *offline.Records) error {
		all = every(rec)
		return nil
	})
	if err != nil {
		p.s.Log().Error("who is to be woken", "err", err)
	}
	for key, r := range all {
		sp := spot{user, key}
		w := p.watches[sp]
		if p.s.Reached(user, key) || w != nil && w.times > 0 && p.owes(w, w.seq) || !p.limit(user).AllowN(now, 1) {
			continue
		}
		for _, g := range r.Regs {
			p.send(sp, g, false)
		}
	}
}
