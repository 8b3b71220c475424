// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"go.etcd.io/bbolt"
)

// Hash is what SCRAM needs of a password, and no more (RFC 5802 §3).
type Hash struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// Account is one person here.
type Account struct {
	User         string
	SHA1, SHA256 Hash
	Created      time.Time
	Devices      []Device
	Revoked      []string `json:",omitempty"` // devices that may not come back with this password
	Disabled     bool     `json:",omitempty"` // nobody may log in
}

// Device is one installation that is owed messages (DESIGN §4).
type Device struct {
	ID, Resource, Label string
	Since, Seen         time.Time
}

// devicesMax is how many devices an account may have.
const devicesMax = 10

// seenEvery bounds how often a device's last login is written.
const seenEvery = time.Hour

// Account reads an account.
func (s *Store) Account(user string) (Account, error) {
	a, err := s.account(user)
	if err != nil {
		return Account{}, err
	}
	return *a, nil
}

// account is read-only: everybody who asks gets the same one.
func (s *Store) account(user string) (*Account, error) {
	sh, acct, err := s.of(user)
	if err != nil {
		return nil, err
	}
	sh.mu.Lock()
	a, turn := sh.known[acct], sh.edits
	sh.mu.Unlock()
	if a == nil {
		if a, err = s.learn(sh, acct, turn); err != nil {
			return nil, err
		}
	}
	if a.User == "" { // remembered, too: it must not take longer to say
		return nil, ErrNoAccount
	}
	return a, nil
}

// knownMax bounds how many accounts of a shard, and names of none, are kept in
// memory.
const knownMax = 1 << 14

func (s *Store) learn(sh *shard, acct id, turn int) (*Account, error) {
	a := new(Account)
	err := sh.db.View(func(tx *bbolt.Tx) error { return s.readAccount(tx, acct, a) })
	if err != nil && !errors.Is(err, ErrNoAccount) {
		return nil, err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.known) >= knownMax {
		clear(sh.known)
	}
	if sh.edits == turn { // else it may be old already
		sh.known[acct] = a
	}
	return a, nil
}

// edit changes accounts; what is known of them is read again afterwards.
func (sh *shard) edit(acct id, f func(tx *bbolt.Tx) error) error {
	err := sh.do(f)
	sh.mu.Lock()
	sh.edits++
	delete(sh.known, acct)
	sh.mu.Unlock()
	return err
}

func (s *Store) readAccount(tx *bbolt.Tx, acct id, a *Account) error {
	v := tx.Bucket(accounts).Get(acct[:])
	if v == nil {
		return ErrNoAccount
	}
	_, b, err := s.openRecord(acct[:], v)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, a)
}

func (s *Store) writeAccount(tx *bbolt.Tx, acct id, a *Account) error {
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return tx.Bucket(accounts).Put(acct[:], s.sealRecord(acct[:], a.User, b))
}

// change edits an account in one transaction.
func (s *Store) change(user string, f func(a *Account) error) error {
	sh, acct, err := s.of(user)
	if err != nil {
		return err
	}
	return sh.edit(acct, func(tx *bbolt.Tx) error {
		var a Account
		if err := s.readAccount(tx, acct, &a); err != nil {
			return err
		}
		if err := f(&a); err != nil {
			return err
		}
		return s.writeAccount(tx, acct, &a)
	})
}

// CreateAccount makes an account; ErrExists when the name is taken.
func (s *Store) CreateAccount(a Account) error {
	sh, acct, err := s.of(a.User)
	if err != nil {
		return err
	}
	return sh.edit(acct, func(tx *bbolt.Tx) error {
		if tx.Bucket(accounts).Get(acct[:]) != nil {
			return ErrExists
		}
		return s.writeAccount(tx, acct, &a)
	})
}

// KindFast is the kind of records that stand for the password (XEP-0484),
// KindPush of those that say how to wake a device (XEP-0357). Their keys are
// devices.
const KindFast, KindPush = "fast", "push"

// UpdateAccount writes new hashes; the devices stay, what stood for the old
// password goes.
func (s *Store) UpdateAccount(n Account) error {
	sh, acct, err := s.of(n.User)
	if err != nil {
		return err
	}
	return sh.edit(acct, func(tx *bbolt.Tx) error {
		var a Account
		if err := s.readAccount(tx, acct, &a); err != nil {
			return err
		}
		a.SHA1, a.SHA256, a.Revoked = n.SHA1, n.SHA256, nil
		r := &Records{s: s, b: tx.Bucket(records), acct: acct}
		r.Each(KindFast, func(device string, _ []byte) bool {
			r.Delete(KindFast, device)
			return true
		})
		if err := errors.Join(r.err, r.apply()); err != nil {
			return err
		}
		return s.writeAccount(tx, acct, &a)
	})
}

// Strengthen adds the hashes that an account does not have.
func (s *Store) Strengthen(user string, sha1, sha256 Hash) error {
	return s.change(user, func(a *Account) error {
		if len(a.SHA1.StoredKey) == 0 {
			a.SHA1 = sha1
		}
		if len(a.SHA256.StoredKey) == 0 {
			a.SHA256 = sha256
		}
		return nil
	})
}

// Disable keeps everybody out of an account, or lets them in again.
func (s *Store) Disable(user string, out bool) error {
	return s.change(user, func(a *Account) error {
		a.Disabled = out
		return nil
	})
}

// DeleteAccount erases the account with all it has.
func (s *Store) DeleteAccount(user string) error {
	sh, acct, err := s.of(user)
	if err != nil {
		return err
	}
	sh.forgetAll(acct)
	var keys []uint32
	err = sh.edit(acct, func(tx *bbolt.Tx) (err error) {
		if tx.Bucket(accounts).Get(acct[:]) == nil {
			return ErrNoAccount
		}
		var gone [][]byte
		c := tx.Bucket(records).Cursor()
		for k, _ := c.Seek(acct[:]); k != nil && bytes.HasPrefix(k, acct[:]); k, _ = c.Next() {
			gone = append(gone, bytes.Clone(k))
		}
		for _, k := range gone {
			if err := tx.Bucket(records).Delete(k); err != nil {
				return err
			}
		}
		if keys, err = sh.endWeeks(tx, acct, ^uint32(0)); err != nil {
			return err
		}
		return tx.Bucket(accounts).Delete(acct[:])
	})
	if err != nil {
		return err
	}
	return errors.Join(sh.wipeAll(keys), sh.trim(acct))
}

// forgetAll acks all mail of an account.
func (sh *shard) forgetAll(acct id) {
	owed := map[id][]uint64{}
	sh.mu.Lock()
	for b, q := range sh.boxes {
		if b.acct == acct {
			owed[b.device] = slices.Clone(q.seqs)
		}
	}
	sh.mu.Unlock()
	for device, seqs := range owed {
		(&Mailbox{sh: sh, acct: acct, device: device}).Ack(seqs...)
	}
}

// Users lists all accounts; with an error, those that can be read.
func (s *Store) Users() (all []string, err error) {
	for _, sh := range s.shards {
		if sh.broken != nil {
			err = errors.Join(err, sh.broken)
			continue
		}
		bad := sh.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(accounts).ForEach(func(k, v []byte) error {
				name, _, bad := s.openRecord(k, v)
				if bad == nil {
					all = append(all, name)
				}
				err = errors.Join(err, bad)
				return nil
			})
		})
		err = errors.Join(err, bad)
	}
	sort.Strings(all)
	return all, err
}

// Devices lists the devices that are owed messages.
func (s *Store) Devices(user string) ([]Device, error) {
	a, err := s.account(user)
	if err != nil {
		return nil, err
	}
	return a.Devices, nil
}

// SawDevice notes a login. A new device pushes out the one unseen the longest
// when there are too many; made says that it is new.
func (s *Store) SawDevice(user string, d Device) (made bool, err error) {
	old, err := s.Devices(user)
	if err != nil {
		return false, err
	}
	for _, o := range old {
		if o.ID == d.ID && o.Resource == d.Resource && o.Label == d.Label && d.Seen.Sub(o.Seen) < seenEvery {
			return false, nil
		}
	}
	var out []string
	err = s.change(user, func(a *Account) error {
		out, made = nil, true
		for i := range a.Devices {
			if a.Devices[i].ID == d.ID {
				d.Since, made = a.Devices[i].Since, false
				a.Devices[i] = d
			}
		}
		if made {
			a.Devices = append(a.Devices, d)
		}
		for len(a.Devices) > devicesMax {
			i := oldest(a.Devices)
			out = append(out, a.Devices[i].ID)
			a.Devices = slices.Delete(a.Devices, i, i+1)
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("note device: %w", err)
	}
	for _, id := range out {
		s.forgetDevice(user, id)
	}
	return made, nil
}

func oldest(l []Device) int {
	first := 0
	for i := range l {
		if l[i].Seen.Before(l[first].Seen) {
			first = i
		}
	}
	return first
}

// revokedMax bounds the list; the oldest entry goes first.
const revokedMax = 100

// RevokeDevice unlinks a device that shall not come back with the password
// that it knows.
func (s *Store) RevokeDevice(user, device string) error {
	err := s.change(user, func(a *Account) error {
		a.Devices = slices.DeleteFunc(a.Devices, func(d Device) bool { return d.ID == device })
		a.Revoked = append(slices.DeleteFunc(a.Revoked, func(d string) bool { return d == device }), device)
		a.Revoked = a.Revoked[max(0, len(a.Revoked)-revokedMax):]
		return nil
	})
	if err == nil {
		s.forgetDevice(user, device)
	}
	return err
}

// DropDevice unlinks a device and forgets its mail.
func (s *Store) DropDevice(user, device string) error {
	err := s.change(user, func(a *Account) error {
		n := len(a.Devices)
		a.Devices = slices.DeleteFunc(a.Devices, func(d Device) bool { return d.ID == device })
		if len(a.Devices) == n {
			return ErrGone
		}
		return nil
	})
	if err == nil || errors.Is(err, ErrGone) {
		s.forgetDevice(user, device)
	}
	return err
}

// forgetDevice acks all mail of a device.
func (s *Store) forgetDevice(user, device string) {
	b := s.Mailbox(user, device)
	if b.err != nil {
		return
	}
	b.sh.mu.Lock()
	var seqs []uint64
	if q := b.sh.boxes[boxID{b.acct, b.device}]; q != nil {
		seqs = slices.Clone(q.seqs)
	}
	b.sh.mu.Unlock()
	b.Ack(seqs...)
	b.sh.later(b.acct, func(r *Records) error {
		r.Delete(KindFast, device)
		r.Delete(KindPush, device)
		return nil
	})
}
