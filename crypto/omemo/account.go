// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
	"sotto/crypto/xed"
)

// Kinds of records in the vault.
const (
	kindSelf    = "omemo self"
	kindKeys    = "omemo keys"
	kindDevice  = "omemo device"
	kindSession = "omemo session"
)

// Account is this device's end-to-end side.
type Account struct {
	// fixed: set before use.
	store vault.Store
	now   func() time.Time
	self  Address
	id    xed.Pair
	me    ratchet.Identity

	// shared: under mu.
	mu    sync.Mutex
	rings [2]*keyring // by Wire
}

// selfRecord is the stored identity.
type selfRecord struct {
	User   string
	Device uint32
	Priv   key32
}

// key32 is a key that JSON shows as base64.
type key32 [32]byte

// MarshalText implements encoding.TextMarshaler.
func (k key32) MarshalText() ([]byte, error) { return base64.StdEncoding.AppendEncode(nil, k[:]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *key32) UnmarshalText(b []byte) error {
	raw, err := base64.StdEncoding.DecodeString(string(b))
	if err != nil || len(raw) != len(k) {
		return ratchet.ErrFraming
	}
	*k = key32(raw)
	return nil
}

// Open opens the account in a vault; a vault without one gets a fresh device
// of user. The clock is the caller's, so that tests need not wait.
func Open(store vault.Store, user string, now func() time.Time) (*Account, error) {
	a := &Account{store: store, now: now}
	b, err := store.Get(kindSelf, "self")
	if err != nil {
		return nil, err
	}
	var rec selfRecord
	if b == nil {
		rec = selfRecord{user, 1 + rand.Uint32N(maxID), xed.NewIdentity().Priv}
	} else if err := json.Unmarshal(b, &rec); err != nil {
		return nil, fmt.Errorf("read the device's identity: %w", err)
	}
	if rec.User != user {
		return nil, fmt.Errorf("this vault belongs to %s, not to %s", rec.User, user)
	}
	if a.id, err = xed.PairOf(rec.Priv); err != nil {
		return nil, err
	}
	a.self = Address{user, rec.Device}
	a.me = ratchet.Identity{Curve: a.id.Pub, Edwards: xed.Edwards(rec.Priv)}
	if b == nil {
		return a, a.create(rec)
	}
	for _, w := range Wires {
		b, err := store.Get(kindKeys, w.String())
		if err != nil {
			return nil, err
		}
		a.rings[w] = new(keyring)
		if err := json.Unmarshal(b, a.rings[w]); err != nil {
			return nil, fmt.Errorf("read the device's keys: %w", err)
		}
	}
	return a, nil
}

// create makes the keys and stores all at once.
func (a *Account) create(rec selfRecord) error {
	b, err := json.Marshal(rec)
	changes := []vault.Change{{Kind: kindSelf, Name: "self", Value: b}}
	for _, w := range Wires {
		a.rings[w] = &keyring{NextID: rand.Uint32N(maxID / 2)}
		a.rings[w].tend(w, a.id, a.now())
		c, e := a.rings[w].change(w)
		changes, err = append(changes, c), errors.Join(err, e)
	}
	if err != nil {
		return err
	}
	return a.store.Commit(changes...)
}

// Self is this device's address.
func (a *Account) Self() Address { return a.self }

// Identity is this device's public key.
func (a *Account) Identity() ratchet.Identity { return a.me }
