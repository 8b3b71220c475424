// SPDX-License-Identifier: Apache-2.0

package xed

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha512"
	"errors"

	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// ErrPoint says that bytes from outside are no usable public key.
var ErrPoint = errors.New("not a usable public key")

// Pair is an X25519 key pair; both halves are little-endian (RFC 7748 §5).
type Pair struct{ Priv, Pub [32]byte }

// NewPair makes a fresh pair.
func NewPair() Pair {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		panic(err) // the system's random source never fails (crypto/rand)
	}
	return Pair{[32]byte(k.Bytes()), [32]byte(k.PublicKey().Bytes())}
}

// NewIdentity makes a pair whose Edwards form has sign bit 0, so that XEdDSA's
// own form, libsignal's form and plain Ed25519 are one and the same signature.
func NewIdentity() Pair {
	for {
		p := NewPair()
		if Edwards(p.Priv)[31]&0x80 == 0 {
			return p
		}
	}
}

// PairOf is the pair of a private key.
func PairOf(priv [32]byte) (Pair, error) {
	k, err := ecdh.X25519().NewPrivateKey(priv[:])
	if err != nil {
		return Pair{}, err
	}
	return Pair{priv, [32]byte(k.PublicKey().Bytes())}, nil
}

// Agree is X25519; an all-zero result is refused (RFC 7748 §6.1).
func Agree(priv, pub [32]byte) ([]byte, error) {
	k, err := ecdh.X25519().NewPrivateKey(priv[:])
	if err != nil {
		return nil, err
	}
	p, err := ecdh.X25519().NewPublicKey(pub[:])
	if err != nil {
		return nil, err
	}
	s, err := k.ECDH(p)
	if err != nil {
		return nil, ErrPoint
	}
	return s, nil
}

// scalar is the clamped private key modulo the group's order.
func scalar(priv [32]byte) *edwards25519.Scalar {
	a, err := new(edwards25519.Scalar).SetBytesWithClamping(priv[:])
	if err != nil {
		panic(err) // only for a wrong length
	}
	return a
}

// Edwards is the Ed25519 public key that belongs to an X25519 private key.
func Edwards(priv [32]byte) [32]byte {
	return [32]byte(new(edwards25519.Point).ScalarBaseMult(scalar(priv)).Bytes())
}

// ToEdwards maps u to y = (u-1)/(u+1) with the given sign (XEdDSA §2.3).
func ToEdwards(u [32]byte, negative bool) ([32]byte, error) {
	var ed [32]byte
	var x, one, den field.Element
	if _, err := x.SetBytes(u[:]); err != nil {
		return ed, ErrPoint
	}
	one.One()
	den.Add(&x, &one)
	y := new(field.Element).Subtract(&x, &one)
	copy(ed[:], y.Multiply(y, den.Invert(&den)).Bytes())
	if negative {
		ed[31] |= 0x80
	}
	if _, err := new(edwards25519.Point).SetBytes(ed[:]); err != nil {
		return ed, ErrPoint
	}
	return ed, nil
}

// ToMontgomery maps an Ed25519 public key to X25519 and refuses points of small order.
func ToMontgomery(ed [32]byte) ([32]byte, error) {
	p, err := new(edwards25519.Point).SetBytes(ed[:])
	if err != nil || !bytes.Equal(p.Bytes(), ed[:]) { // canonical encodings only
		return [32]byte{}, ErrPoint
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return [32]byte{}, ErrPoint
	}
	return [32]byte(p.BytesMontgomery()), nil
}

// CheckMontgomery refuses X25519 keys that are not canonical or of small order.
func CheckMontgomery(u [32]byte) error {
	var x field.Element
	if _, err := x.SetBytes(u[:]); err != nil || !bytes.Equal(x.Bytes(), u[:]) {
		return ErrPoint
	}
	_, err := Agree([32]byte{31: 64}, u)
	return err
}

// Sign makes an XEdDSA signature (XEdDSA §2.5) that is plain Ed25519 under Edwards(priv).
func Sign(priv [32]byte, msg []byte) [64]byte {
	a, pub := scalar(priv), Edwards(priv)
	var noise [64]byte
	rand.Read(noise[:])
	h := sha512.New()
	h.Write(append([]byte{0xfe}, bytes.Repeat([]byte{0xff}, 31)...)) // hash_1 (XEdDSA §2.1)
	h.Write(priv[:])
	h.Write(msg)
	h.Write(noise[:])
	r := wide(h.Sum(nil))
	big := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
	h.Reset()
	h.Write(big)
	h.Write(pub[:])
	h.Write(msg)
	s := new(edwards25519.Scalar).MultiplyAdd(wide(h.Sum(nil)), a, r)
	var sig [64]byte
	copy(sig[:], big)
	copy(sig[32:], s.Bytes())
	return sig
}

func wide(b []byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetUniformBytes(b)
	if err != nil {
		panic(err) // only for a wrong length
	}
	return s
}

// SignFolded is Sign with the public key's sign bit in the signature's last
// bit, for readers that know only the X25519 form (libsignal).
func SignFolded(priv [32]byte, msg []byte) [64]byte {
	sig, pub := Sign(priv, msg), Edwards(priv)
	sig[63] |= pub[31] & 0x80
	return sig
}

// VerifyFolded checks a signature of SignFolded and gives the signer's Edwards form.
func VerifyFolded(u [32]byte, msg []byte, sig [64]byte) ([32]byte, bool) {
	ed, err := ToEdwards(u, sig[63]&0x80 != 0)
	if err != nil {
		return ed, false
	}
	sig[63] &= 0x7f
	return ed, Verify(ed, msg, sig)
}

// Verify checks a plain Ed25519 signature.
func Verify(ed [32]byte, msg []byte, sig [64]byte) bool {
	return ed25519.Verify(ed[:], msg, sig[:])
}
