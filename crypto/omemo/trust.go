// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
)

// Trust is what the person thinks of a device's key.
type Trust uint8

// New devices are trusted on first use until one device of that account was
// verified; from then on a new device waits for a decision.
const (
	Undecided Trust = iota
	FirstUse
	Verified
	Distrusted
)

func (t Trust) String() string {
	return [...]string{"undecided", "first-use", "verified", "distrusted"}[t]
}

// Device is what is known of a device of an account.
type Device struct {
	Device  uint32    `json:"device"`
	Curve   key32     `json:"curve"`
	Edwards key32     `json:"edwards"` // zero while only the old wire has shown it
	Trust   Trust     `json:"trust"`
	Since   time.Time `json:"since"`
	Offered key32     `json:"offered"` // another key that claimed this device's id
}

// Changed says that another key has claimed this device's id.
func (d *Device) Changed() bool { return d.Offered != key32{} }

func nameOf(a Address) string { return a.User + "\n" + strconv.FormatUint(uint64(a.Device), 10) }

// known reads the record of a device; nil when there is none.
func (a *Account) known(at Address) (*Device, error) {
	b, err := a.store.Get(kindDevice, nameOf(at))
	if err != nil || b == nil {
		return nil, err
	}
	d := new(Device)
	return d, json.Unmarshal(b, d)
}

func (d *Device) change(user string) (vault.Change, error) {
	b, err := json.Marshal(d)
	return vault.Change{Kind: kindDevice, Name: nameOf(Address{user, d.Device}), Value: b}, err
}

// meet compares a key with the one that was seen first and gives the change
// that records it. A changed key is remembered as offered and refused.
func (a *Account) meet(at Address, id ratchet.Identity) (*Device, []vault.Change, error) {
	d, err := a.known(at)
	if err != nil {
		return nil, nil, err
	}
	if d == nil {
		d = &Device{Device: at.Device, Since: a.now().UTC().Truncate(time.Second), Curve: key32(id.Curve), Trust: FirstUse}
		others, err := a.devices(at.User)
		if err != nil {
			return nil, nil, err
		}
		if slices.ContainsFunc(others, func(o Device) bool { return o.Trust == Verified }) {
			d.Trust = Undecided
		}
	}
	var refused error
	switch {
	case d.Curve != key32(id.Curve):
		if d.Offered == key32(id.Curve) {
			return d, nil, ErrIdentity
		}
		d.Offered, refused = key32(id.Curve), ErrIdentity
	case id.Edwards != [32]byte{}:
		d.Edwards = key32(id.Edwards)
	}
	c, err := d.change(at.User)
	if err != nil {
		return nil, nil, err
	}
	if refused != nil {
		if err := a.store.Commit(c); err != nil {
			return nil, nil, err
		}
	}
	return d, []vault.Change{c}, refused
}

// Devices are all devices of an account that were ever met, oldest first.
func (a *Account) Devices(user string) ([]Device, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.devices(user)
}

func (a *Account) devices(user string) ([]Device, error) {
	var all []Device
	err := a.store.Each(kindDevice, func(name string, value []byte) error {
		if u, _, _ := strings.Cut(name, "\n"); u != user {
			return nil
		}
		var d Device
		if err := json.Unmarshal(value, &d); err != nil {
			return err
		}
		all = append(all, d)
		return nil
	})
	slices.SortFunc(all, func(x, y Device) int {
		return cmp.Or(x.Since.Compare(y.Since), cmp.Compare(x.Device, y.Device))
	})
	return all, err
}

// SetTrust records a decision about a device. A changed key is accepted with
// it, and the sessions of the old key are dropped.
func (a *Account) SetTrust(at Address, t Trust) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	d, err := a.known(at)
	if err != nil {
		return err
	}
	if d == nil {
		return ErrNoSession
	}
	var changes []vault.Change
	if d.Changed() && t != Distrusted {
		d.Curve, d.Edwards, d.Offered = d.Offered, key32{}, key32{}
		changes = a.dropped(at)
	}
	d.Trust = t
	c, err := d.change(at.User)
	if err != nil {
		return err
	}
	return a.store.Commit(append(changes, c)...)
}
