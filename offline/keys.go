// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// keySize is one slot: the key of one mail, or zeros.
const keySize = 32

// A keyFile holds the key of each stored mail in a fixed slot. Overwriting the
// slot forgets the mail: what is left of it elsewhere is noise (DESIGN §5).
type keyFile struct {
	f *os.File

	syncing sync.Mutex
	failed  error // of a sync; guarded by syncing

	mu    sync.Mutex
	free  []uint32
	stale []uint32 // could not be wiped yet
	size  uint32   // slots in the file
	dirty bool
}

func openKeys(path string) (*keyFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &keyFile{f: f, size: uint32(st.Size() / keySize)}, nil
}

// claim tells which slots are in use; all others are wiped and free.
func (k *keyFile) claim(used map[uint32]bool) {
	for n := range k.size {
		if used[n] {
			continue
		}
		if key, err := k.read(n); err != nil || key != [keySize]byte{} {
			_ = k.wipe(n) // else tried again
			continue
		}
		k.free = append(k.free, n)
	}
}

// take writes a new key into a free slot; it is durable after sync.
func (k *keyFile) take() (n uint32, key [keySize]byte, err error) {
	_, _ = rand.Read(key[:]) // never fails
	k.mu.Lock()
	defer k.mu.Unlock()
	if l := len(k.free); l > 0 {
		n = k.free[l-1]
	} else {
		n = k.size
	}
	if _, err = k.f.WriteAt(key[:], int64(n)*keySize); err != nil {
		return 0, key, err
	}
	if l := len(k.free); l > 0 {
		k.free = k.free[:l-1]
	} else {
		k.size++
	}
	k.dirty = true
	return n, key, nil
}

func (k *keyFile) read(n uint32) (key [keySize]byte, err error) {
	_, err = k.f.ReadAt(key[:], int64(n)*keySize)
	if err == io.EOF {
		err = ErrCorrupt
	}
	return key, err
}

// wipe overwrites a slot in place; sync makes it durable. When it fails it is
// tried again before each sync.
func (k *keyFile) wipe(n uint32) error {
	var zero [keySize]byte
	_, err := k.f.WriteAt(zero[:], int64(n)*keySize)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dirty = true
	if err != nil {
		k.stale = append(k.stale, n)
		return err
	}
	k.free = append(k.free, n)
	return nil
}

// retry wipes what could not be wiped before.
func (k *keyFile) retry() (err error) {
	k.mu.Lock()
	again := k.stale
	k.stale = nil
	k.mu.Unlock()
	for _, n := range again {
		err = errors.Join(err, k.wipe(n))
	}
	return err
}

// sync makes durable what was written before it was called. It never says so
// again after it has failed once: what it would have written may be gone.
func (k *keyFile) sync() error {
	k.syncing.Lock() // who finds nothing to do must wait for who does it
	defer k.syncing.Unlock()
	k.mu.Lock()
	dirty := k.dirty
	k.dirty = false
	k.mu.Unlock()
	if dirty && k.failed == nil {
		k.failed = syscall.Fdatasync(int(k.f.Fd()))
	}
	return k.failed
}

func sealer(key []byte) (cipher.AEAD, error) {
	b, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(b)
}

// sealOnce seals under a key that is used for this one value only, so the
// nonce may be zero.
func sealOnce(key [keySize]byte, plain, about []byte) ([]byte, error) {
	a, err := sealer(key[:])
	if err != nil {
		return nil, err
	}
	return a.Seal(nil, make([]byte, a.NonceSize()), plain, about), nil
}

func openOnce(key [keySize]byte, sealed, about []byte) ([]byte, error) {
	a, err := sealer(key[:])
	if err != nil {
		return nil, err
	}
	plain, err := a.Open(nil, make([]byte, a.NonceSize()), sealed, about)
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}

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

// sealMany seals under a key that is used for many values.
func sealMany(key [keySize]byte, plain, about []byte) ([]byte, error) {
	a, err := sealer(key[:])
	if err != nil {
		return nil, err
	}
	nonce := make([]byte, a.NonceSize(), a.NonceSize()+len(plain)+a.Overhead())
	_, _ = rand.Read(nonce) // never fails
	return a.Seal(nonce, nonce, plain, about), nil
}

func openMany(key [keySize]byte, sealed, about []byte) ([]byte, error) {
	a, err := sealer(key[:])
	if err != nil {
		return nil, err
	}
	n := a.NonceSize()
	if len(sealed) < n {
		return nil, ErrCorrupt
	}
	plain, err := a.Open(nil, sealed[:n], sealed[n:], about)
	if err != nil {
		return nil, ErrCorrupt
	}
	return plain, nil
}
