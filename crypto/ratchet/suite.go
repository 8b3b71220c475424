// SPDX-License-Identifier: Apache-2.0

package ratchet

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
)

// What can be wrong with a message; every other error is a broken message.
var (
	ErrReplay  = errors.New("message was opened before")
	ErrTooFar  = errors.New("too many messages are missing before this one")
	ErrMAC     = errors.New("message does not belong to this session")
	ErrFraming = errors.New("malformed message")
)

// Suite is one dialect: labels, lengths and framing.
type Suite struct {
	Name     string
	x3dhInfo string
	rootInfo string
	keysInfo string
	macLen   int
	frame    func(h header, body []byte) []byte
	seal     func(frame, mac []byte) []byte
	open     func(raw []byte) (h header, frame, mac []byte, err error)
	ad       func(s *Session, sending bool) []byte
}

// header is the clear part of a ratchet message.
type header struct {
	dh    [32]byte
	n, pn uint32
	body  []byte
}

// Axolotl is the dialect of libsignal and of XEP-0384 0.3.0.
var Axolotl = &Suite{
	Name: "axolotl", x3dhInfo: "WhisperText", rootInfo: "WhisperRatchet", keysInfo: "WhisperMessageKeys", macLen: 8,
	frame: frameAxolotl, seal: sealAxolotl, open: openAxolotl, ad: adAxolotl,
}

// Two is the dialect of urn:xmpp:omemo:2.
var Two = &Suite{
	Name: "omemo:2", x3dhInfo: "OMEMO X3DH", rootInfo: "OMEMO Root Chain", keysInfo: "OMEMO Message Key Material", macLen: 16,
	frame: frameTwo, seal: sealTwo, open: openTwo, ad: adTwo,
}

// adAxolotl binds the two identities in the direction of this message.
func adAxolotl(s *Session, sending bool) []byte {
	if sending {
		return append(Key33(s.Local.Curve), Key33(s.Remote.Curve)...)
	}
	return append(Key33(s.Remote.Curve), Key33(s.Local.Curve)...)
}

// adTwo binds the identities as initiator and responder (XEP-0384 §4.1).
func adTwo(s *Session, _ bool) []byte {
	first, second := s.Remote.Edwards, s.Local.Edwards
	if s.initiator {
		first, second = second, first
	}
	return append(first[:], second[:]...)
}

// Key33 is a public key as libsignal writes it: a type byte and u.
func Key33(u [32]byte) []byte { return append([]byte{5}, u[:]...) }

// Of33 reads Key33.
func Of33(b []byte) (u [32]byte, err error) {
	if len(b) != 33 || b[0] != 5 {
		return u, ErrFraming
	}
	return [32]byte(b[1:]), nil
}

// derive is HKDF-SHA256; the lengths used here cannot fail.
func derive(secret, salt []byte, info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, secret, salt, info, n)
	if err != nil {
		panic(err)
	}
	return out
}

// rootStep is KDF_RK (Double Ratchet §5.2).
func (su *Suite) rootStep(rk [32]byte, dh []byte) (root, chain [32]byte) {
	out := derive(dh, rk[:], su.rootInfo, 64)
	return [32]byte(out[:32]), [32]byte(out[32:])
}

// chainStep is KDF_CK (Double Ratchet §5.2): the message key and the next chain key.
func chainStep(ck [32]byte) (mk, next [32]byte) {
	h := hmac.New(sha256.New, ck[:])
	h.Write([]byte{1})
	h.Sum(mk[:0])
	h.Reset()
	h.Write([]byte{2})
	h.Sum(next[:0])
	return mk, next
}

// keys are what one message key gives.
type keys struct{ enc, mac, iv []byte }

func (su *Suite) keys(mk [32]byte) keys {
	out := derive(mk[:], make([]byte, 32), su.keysInfo, 80)
	return keys{out[:32], out[32:64], out[64:]}
}

func (su *Suite) tag(k keys, ad, frame []byte) []byte {
	h := hmac.New(sha256.New, k.mac)
	h.Write(ad)
	h.Write(frame)
	return h.Sum(nil)[:su.macLen]
}

func (su *Suite) check(k keys, ad, frame, mac []byte) bool {
	return subtle.ConstantTimeCompare(su.tag(k, ad, frame), mac) == 1
}

// EncryptCBC is AES-256-CBC with PKCS#7 padding.
func EncryptCBC(key, iv, plain []byte) []byte {
	pad := aes.BlockSize - len(plain)%aes.BlockSize
	out := make([]byte, len(plain)+pad)
	copy(out, plain)
	for i := len(plain); i < len(out); i++ {
		out[i] = byte(pad)
	}
	cipher.NewCBCEncrypter(block(key), iv).CryptBlocks(out, out)
	return out
}

// DecryptCBC reverses EncryptCBC; call it only after the MAC was checked.
func DecryptCBC(key, iv, sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, ErrFraming
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block(key), iv).CryptBlocks(out, sealed)
	pad := int(out[len(out)-1])
	if pad == 0 || pad > aes.BlockSize {
		return nil, ErrFraming
	}
	for _, b := range out[len(out)-pad:] {
		if int(b) != pad {
			return nil, ErrFraming
		}
	}
	return out[:len(out)-pad], nil
}

func block(key []byte) cipher.Block {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a wrong length
	}
	return b
}
