// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"net"
	"sync"
	"time"
)

// A door makes failed logins cost time, per address and per account.
type door struct {
	now   func() time.Time
	mu    sync.Mutex
	fails map[string]strikes
}

type strikes struct {
	n    int
	last time.Time
}

// Free tries, then each failure doubles the wait up to longest; an hour
// without a failure clears the sheet.
const (
	freeTries = 3
	longest   = 8 * time.Second
	forgiven  = time.Hour
	doorMax   = 1 << 16
)

func newDoor(now func() time.Time) *door {
	return &door{now: now, fails: map[string]strikes{}}
}

func doorKeys(addr net.Addr, local string) [2]string {
	host, _, err := net.SplitHostPort(addr.String())
	if err != nil {
		host = addr.String()
	}
	return [2]string{"addr " + host, "user " + local}
}

// wait says how long this login attempt has to wait first.
func (d *door) wait(addr net.Addr, local string) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	var w time.Duration
	for _, k := range doorKeys(addr, local) {
		f := d.fails[k]
		if f.n > freeTries && d.now().Sub(f.last) < forgiven {
			w = max(w, min(longest, 250*time.Millisecond<<min(f.n-freeTries, 6)))
		}
	}
	return w
}

// failed notes a wrong login.
func (d *door) failed(addr net.Addr, local string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.fails) >= doorMax {
		d.sweep()
	}
	for _, k := range doorKeys(addr, local) {
		f := d.fails[k]
		if d.now().Sub(f.last) > forgiven {
			f.n = 0
		}
		d.fails[k] = strikes{f.n + 1, d.now()}
	}
}

func (d *door) sweep() {
	for k, f := range d.fails {
		if d.now().Sub(f.last) > forgiven || len(d.fails) >= doorMax {
			delete(d.fails, k)
		}
	}
}
