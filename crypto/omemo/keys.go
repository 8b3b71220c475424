// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
	"sotto/crypto/xed"
)

const (
	preKeys     = 100                 // on offer at any time (XEP-0384 §4.2)
	signedLife  = 7 * 24 * time.Hour  // then a new signed pre-key (XEP-0384 §4.2)
	signedGrace = 30 * 24 * time.Hour // how long the one before still opens first messages
	usedGrace   = 48 * time.Hour      // how long a used one-time key may open a second, crossing message
	maxID       = 1<<31 - 1
)

// keyring are the private keys that a device publishes the halves of, on one wire.
type keyring struct {
	Signed  []signedKey // the newest first
	PreKeys []preKey
	NextID  uint32
}

type signedKey struct {
	ID   uint32
	Priv key32
	Pub  key32
	Sig  []byte
	Made time.Time
}

type preKey struct {
	ID   uint32
	Priv key32
	Pub  key32
	Used time.Time // zero while it is on offer
}

// next gives a key id; ids run through 1..2^31-1 (XEP-0384 §4.2).
func (k *keyring) next() uint32 {
	k.NextID = k.NextID%maxID + 1
	return k.NextID
}

// tend rotates, tops up and forgets; it says whether the bundle has changed.
func (k *keyring) tend(w Wire, id xed.Pair, now time.Time) (changed, bundle bool) {
	if len(k.Signed) == 0 || now.Sub(k.Signed[0].Made) > signedLife {
		p := xed.NewPair()
		sign := xed.Sign
		if w == Old {
			sign = xed.SignFolded
		}
		sig := sign(id.Priv, w.keyText(p.Pub))
		k.Signed = append([]signedKey{{k.next(), p.Priv, p.Pub, sig[:], now}}, k.Signed...)
		changed, bundle = true, true
	}
	for n := len(k.Signed); n > 1 && now.Sub(k.Signed[n-2].Made) > signedGrace; n = len(k.Signed) {
		k.Signed = k.Signed[:n-1]
		changed = true
	}
	open := 0
	kept := k.PreKeys[:0]
	for _, p := range k.PreKeys {
		if p.Used.IsZero() {
			open++
		} else if now.Sub(p.Used) > usedGrace {
			changed = true
			continue
		}
		kept = append(kept, p)
	}
	for k.PreKeys = kept; open < preKeys; open++ {
		p := xed.NewPair()
		k.PreKeys = append(k.PreKeys, preKey{ID: k.next(), Priv: p.Priv, Pub: p.Pub})
		changed, bundle = true, true
	}
	return changed, bundle
}

func (k *keyring) signed(id uint32) (xed.Pair, bool) {
	for _, s := range k.Signed {
		if s.ID == id {
			return xed.Pair{Priv: s.Priv, Pub: s.Pub}, true
		}
	}
	return xed.Pair{}, false
}

func (k *keyring) preKey(id uint32) *preKey {
	for i := range k.PreKeys {
		if k.PreKeys[i].ID == id {
			return &k.PreKeys[i]
		}
	}
	return nil
}

func (k *keyring) change(w Wire) (vault.Change, error) {
	b, err := json.Marshal(k)
	return vault.Change{Kind: kindKeys, Name: w.String(), Value: b}, err
}

// Bundle is this device's bundle on a wire.
func (a *Account) Bundle(w Wire) *Bundle {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := a.rings[w]
	b := &Bundle{Identity: ratchet.Key33(a.id.Pub), SignedID: k.Signed[0].ID, Signed: w.keyText(k.Signed[0].Pub), Signature: k.Signed[0].Sig}
	if w == Two {
		b.Identity = a.me.Edwards[:]
	}
	for _, p := range k.PreKeys {
		if p.Used.IsZero() {
			b.PreKeys = append(b.PreKeys, PreKey{p.ID, w.keyText(p.Pub)})
		}
	}
	return b
}

// Maintain rotates signed pre-keys, tops up one-time keys and forgets old ones.
// It says whether the bundles must be published again.
func (a *Account) Maintain(now time.Time) (publish bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var changes []vault.Change
	for _, w := range Wires {
		changed, bundle := a.rings[w].tend(w, a.id, now)
		publish = publish || bundle
		if changed {
			c, err := a.rings[w].change(w)
			if err != nil {
				return false, err
			}
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return publish, nil
	}
	return publish, a.store.Commit(changes...)
}

// check verifies a bundle and gives its parts; the one-time key is chosen at random.
func (w Wire) check(b *Bundle) (id ratchet.Identity, spk, opk [32]byte, opkID uint32, err error) {
	bad := func(what string) error { return fmt.Errorf("%w: %s", ErrBundle, what) }
	if len(b.Signature) != 64 {
		return id, spk, opk, 0, bad("signature has a wrong length")
	}
	if spk, err = w.keyOf(b.Signed); err != nil {
		return id, spk, opk, 0, bad("signed pre-key is malformed")
	}
	key, err := w.keyOf(b.Identity)
	if err != nil {
		return id, spk, opk, 0, bad("identity key is malformed")
	}
	ok := false
	if w == Two {
		id.Edwards = key
		id.Curve, err = xed.ToMontgomery(key)
		ok = err == nil && xed.Verify(key, b.Signed, [64]byte(b.Signature))
	} else if id.Curve = key; xed.CheckMontgomery(key) == nil {
		id.Edwards, ok = xed.VerifyFolded(key, b.Signed, [64]byte(b.Signature))
	}
	if !ok {
		return id, spk, opk, 0, bad("signature does not open")
	}
	if len(b.PreKeys) == 0 {
		return id, spk, opk, 0, bad("no one-time keys left")
	}
	p := b.PreKeys[rand.IntN(len(b.PreKeys))] // a clash is all that a guess could win
	if opk, err = w.keyOf(p.Key); err != nil {
		return id, spk, opk, 0, bad("one-time key is malformed")
	}
	return id, spk, opk, p.ID, nil
}
