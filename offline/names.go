// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
)

// id hides a name: 16 bytes that only the holder of the root key can make.
type id [16]byte

// names makes ids. Each message needs a few, so that those of accounts and
// devices are remembered.
type names struct {
	key []byte

	mu    sync.RWMutex
	known map[[2]string]id // account, device
}

// namesMax bounds what is remembered, to about 10 MiB.
const namesMax = 1 << 16

func newNames(key []byte) *names { return &names{key: key, known: map[[2]string]id{}} }

func (n *names) hide(parts ...string) (x id) {
	m := hmac.New(sha256.New, n.key)
	for _, p := range parts {
		m.Write([]byte{byte(len(p) >> 8), byte(len(p))})
		m.Write([]byte(p))
	}
	copy(x[:], m.Sum(nil))
	return x
}

// noDevice stands for the account itself: no device has this name.
const noDevice = "\x00"

func (n *names) recall(user, device string) id {
	at := [2]string{user, device}
	n.mu.RLock()
	x, ok := n.known[at]
	n.mu.RUnlock()
	if ok {
		return x
	}
	if device == noDevice {
		x = n.hide("account", user)
	} else {
		x = n.hide("device", user, device)
	}
	n.mu.Lock()
	if len(n.known) >= namesMax {
		clear(n.known)
	}
	n.known[at] = x
	n.mu.Unlock()
	return x
}

// id hides a name that is not asked for often.
func (s *Store) id(parts ...string) id { return s.names.hide(parts...) }

// device is the id of a device's mailbox.
func (s *Store) device(user, device string) id { return s.names.recall(user, device) }

// of finds the shard of an account.
func (s *Store) of(user string) (*shard, id, error) {
	acct := s.names.recall(user, noDevice)
	sh := s.shards[int(acct[0])%len(s.shards)]
	return sh, acct, sh.broken
}
