// SPDX-License-Identifier: Apache-2.0

package ratchet

import (
	"bytes"

	"sotto/crypto/xed"
)

// Identity is a long-term public key in both shapes. A reader of the axolotl
// wire may not know the Edwards sign; nothing there needs it.
type Identity struct{ Curve, Edwards [32]byte }

// Kex is what the first messages of a session carry beside the message itself.
type Kex struct {
	PreKey, SignedPreKey uint32
	Identity             Identity
	Base                 [32]byte // the initiator's ephemeral key
	Registration         uint32   // axolotl only; the sender's device id
}

// Initiate is X3DH's first half (X3DH §3.3). The signature of the signed
// pre-key must have been checked.
func Initiate(su *Suite, own xed.Pair, me, peer Identity, spk, opk [32]byte, k Kex) (*Session, error) {
	base := xed.NewPair()
	var dhs [][]byte
	for _, p := range [...]struct{ priv, pub [32]byte }{
		{own.Priv, spk}, {base.Priv, peer.Curve}, {base.Priv, spk}, {base.Priv, opk},
	} {
		dh, err := xed.Agree(p.priv, p.pub)
		if err != nil {
			return nil, err
		}
		dhs = append(dhs, dh)
	}
	s := &Session{suite: su, Local: me, Remote: peer, initiator: true}
	k.Base, k.Identity = base.Pub, me
	s.base, s.pending = base.Pub, &k
	s.root = agreed(su, dhs)
	// The signed pre-key is the peer's first ratchet key (Double Ratchet §3.3).
	s.theirs = spk
	return s, s.turn()
}

// Respond is X3DH's second half (X3DH §3.4).
func Respond(su *Suite, own xed.Pair, me Identity, spk, opk xed.Pair, k Kex) (*Session, error) {
	var dhs [][]byte
	for _, p := range [...]struct{ priv, pub [32]byte }{
		{spk.Priv, k.Identity.Curve}, {own.Priv, k.Base}, {spk.Priv, k.Base}, {opk.Priv, k.Base},
	} {
		dh, err := xed.Agree(p.priv, p.pub)
		if err != nil {
			return nil, err
		}
		dhs = append(dhs, dh)
	}
	s := &Session{suite: su, Local: me, Remote: k.Identity, base: k.Base}
	s.root = agreed(su, dhs)
	s.ours = spk
	return s, nil
}

// agreed is KDF(DH1..DH4) of X3DH §2.2 with F = 32 bytes of 0xFF.
func agreed(su *Suite, dhs [][]byte) [32]byte {
	ikm := bytes.Repeat([]byte{0xff}, 32)
	for _, d := range dhs {
		ikm = append(ikm, d...)
	}
	return [32]byte(derive(ikm, make([]byte, 32), su.x3dhInfo, 32))
}

// SealKex frames a key exchange with its message.
func (su *Suite) SealKex(k *Kex, msg []byte) []byte {
	b := make([]byte, 0, len(msg)+96)
	if su == Two {
		b = putNum(b, 1, k.PreKey)
		b = putNum(b, 2, k.SignedPreKey)
		b = putData(b, 3, k.Identity.Edwards[:])
		b = putData(b, 4, k.Base[:])
		return putData(b, 5, msg)
	}
	b = append(b, version)
	b = putNum(b, 1, k.PreKey)
	b = putData(b, 2, Key33(k.Base))
	b = putData(b, 3, Key33(k.Identity.Curve))
	b = putData(b, 4, msg)
	b = putNum(b, 5, k.Registration)
	return putNum(b, 6, k.SignedPreKey)
}

// OpenKex reads SealKex.
func (su *Suite) OpenKex(raw []byte) (*Kex, []byte, error) {
	if su == Two {
		return openKexTwo(raw)
	}
	if len(raw) < 1 || raw[0]>>4 != 3 {
		return nil, nil, ErrFraming
	}
	f, err := parse(raw[1:])
	if err != nil {
		return nil, nil, err
	}
	k := &Kex{Registration: uint32(f.num[5])}
	if k.PreKey, err = f.u32(1); err != nil {
		return nil, nil, err
	}
	if k.SignedPreKey, err = f.u32(6); err != nil {
		return nil, nil, err
	}
	if k.Base, err = Of33(f.data[2]); err != nil {
		return nil, nil, err
	}
	if k.Identity.Curve, err = Of33(f.data[3]); err != nil {
		return nil, nil, err
	}
	return k, f.data[4], xed.CheckMontgomery(k.Identity.Curve)
}

func openKexTwo(raw []byte) (*Kex, []byte, error) {
	f, err := parse(raw)
	if err != nil {
		return nil, nil, err
	}
	k := &Kex{}
	if k.PreKey, err = f.u32(1); err != nil {
		return nil, nil, err
	}
	if k.SignedPreKey, err = f.u32(2); err != nil {
		return nil, nil, err
	}
	if len(f.data[3]) != 32 || len(f.data[4]) != 32 {
		return nil, nil, ErrFraming
	}
	k.Identity.Edwards, k.Base = [32]byte(f.data[3]), [32]byte(f.data[4])
	k.Identity.Curve, err = xed.ToMontgomery(k.Identity.Edwards)
	return k, f.data[5], err
}
