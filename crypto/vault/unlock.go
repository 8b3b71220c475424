// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/zalando/go-keyring"
	"go.etcd.io/bbolt"
	"golang.org/x/crypto/argon2"
)

// Lock says what guards a vault's key.
type Lock string

// The three locks. A key file is as safe as the folder it lies in.
const (
	Passphrase Lock = "passphrase"
	Keyring    Lock = "keyring"
	KeyFile    Lock = "file"
)

const keyringService = "sotto"

// Unlock says how to open a vault, and which lock a new one gets.
type Unlock struct {
	New   Lock                             // lock of a new vault; "" takes the keyring where there is one, else a key file
	Entry string                           // the keyring's entry, one for each vault
	Ask   func(fresh bool) (string, error) // asks for the passphrase
	Wait  time.Duration                    // how long to wait for another program to let go; 0 is a second
}

// head is the clear part of a vault: how to get at the key.
type head struct {
	Lock   Lock   `json:"lock"`
	Salt   []byte `json:"salt,omitempty"`
	Time   uint32 `json:"time,omitempty"`
	Memory uint32 `json:"memory_kib,omitempty"`
	Lanes  uint8  `json:"lanes,omitempty"`
}

// master is the vault's key; a new vault gets one.
func (u Unlock) master(db *bbolt.DB, path string) ([]byte, error) {
	var h head
	err := db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(headBucket)
		if b == nil {
			return nil
		}
		return json.Unmarshal(b.Get([]byte("lock")), &h)
	})
	if err != nil {
		return nil, fmt.Errorf("read the vault's head: %w", err)
	}
	if h.Lock != "" {
		return u.known(h, path)
	}
	h, key, err := u.fresh(path)
	if err != nil {
		return nil, err
	}
	return key, db.Update(func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(headBucket)
		if err != nil {
			return err
		}
		text, err := json.Marshal(h)
		if err != nil {
			return err
		}
		return b.Put([]byte("lock"), text)
	})
}

// known gets the key of a vault that is there.
func (u Unlock) known(h head, path string) ([]byte, error) {
	switch h.Lock {
	case Passphrase:
		if u.Ask == nil {
			return nil, ErrLocked
		}
		p, err := u.Ask(false)
		if err != nil {
			return nil, err
		}
		return h.stretch(p), nil
	case Keyring:
		s, err := keyring.Get(keyringService, u.Entry)
		if err != nil {
			return nil, fmt.Errorf("%w: the OS keyring says: %v", ErrLocked, err)
		}
		return base64.StdEncoding.DecodeString(s)
	case KeyFile:
		k, err := os.ReadFile(path + ".key")
		if err != nil || len(k) != 32 {
			return nil, fmt.Errorf("%w: %s.key", ErrLocked, path)
		}
		return k, nil
	}
	return nil, fmt.Errorf("vault has an unknown lock %q", h.Lock)
}

// fresh makes the key of a new vault.
func (u Unlock) fresh(path string) (head, []byte, error) {
	key := make([]byte, 32)
	rand.Read(key)
	switch u.New {
	case Passphrase:
		p, err := u.Ask(true)
		if err != nil {
			return head{}, nil, err
		}
		h := head{Lock: Passphrase, Salt: key[:16], Time: 3, Memory: 64 << 10, Lanes: 4} // RFC 9106 §4, second choice
		return h, h.stretch(p), nil
	case Keyring, "":
		err := keyring.Set(keyringService, u.Entry, base64.StdEncoding.EncodeToString(key))
		if err == nil || u.New == Keyring {
			return head{Lock: Keyring}, key, err
		}
	}
	return head{Lock: KeyFile}, key, writeKey(path+".key", key)
}

func (h head) stretch(passphrase string) []byte {
	return argon2.IDKey([]byte(passphrase), h.Salt, h.Time, h.Memory, h.Lanes, 32)
}

// writeKey makes the key durable before the vault uses it.
func writeKey(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	return errors.Join(err, f.Sync(), f.Close())
}
