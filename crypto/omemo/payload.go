// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"

	"sotto/crypto/ratchet"
)

// seal encrypts the content once; the secret goes to each device by its ratchet.
// Empty content gives no payload (XEP-0384 0.3.0 §4.6; 0.8 §4.4).
func (w Wire) seal(content []byte) (secret, iv, payload []byte) {
	if w == Old {
		return sealGCM(content)
	}
	secret = make([]byte, 32, 48)
	if content == nil {
		return secret, nil, nil
	}
	rand.Read(secret)
	k := payloadKeys(secret)
	payload = ratchet.EncryptCBC(k[:32], k[64:], content)
	return append(secret, payloadTag(k, payload)...), nil, payload
}

func sealGCM(content []byte) (secret, iv, payload []byte) {
	secret, iv = make([]byte, 16, 32), make([]byte, 12)
	rand.Read(secret)
	rand.Read(iv)
	g := gcm(secret, 12)
	sealed := g.Seal(nil, iv, content, nil)
	cut := len(sealed) - g.Overhead()
	secret = append(secret, sealed[cut:]...) // the tag travels with the key
	if content == nil {
		return secret, iv, nil
	}
	return secret, iv, sealed[:cut]
}

// open reverses seal.
func (w Wire) open(secret, iv, payload []byte) ([]byte, error) {
	if w == Old {
		return openGCM(secret, iv, payload)
	}
	if len(secret) != 48 {
		return nil, ErrPayload
	}
	k := payloadKeys(secret[:32])
	if !hmac.Equal(payloadTag(k, payload), secret[32:]) {
		return nil, ErrPayload
	}
	return ratchet.DecryptCBC(k[:32], k[64:], payload)
}

func openGCM(secret, iv, payload []byte) ([]byte, error) {
	if len(secret) != 32 || len(iv) != 12 && len(iv) != 16 {
		return nil, ErrPayload
	}
	out, err := gcm(secret[:16], len(iv)).Open([]byte{}, iv, append(payload[:len(payload):len(payload)], secret[16:]...), nil)
	if err != nil {
		return nil, ErrPayload
	}
	return out, nil
}

func gcm(key []byte, nonce int) cipher.AEAD {
	b, err := aes.NewCipher(key)
	if err != nil {
		panic(err) // only for a wrong length
	}
	g, err := cipher.NewGCMWithNonceSize(b, nonce)
	if err != nil {
		panic(err) // only for a nonce of no bytes
	}
	return g
}

func payloadKeys(secret []byte) []byte {
	k, err := hkdf.Key(sha256.New, secret, make([]byte, 32), "OMEMO Payload", 80)
	if err != nil {
		panic(err) // only for an absurd length
	}
	return k
}

func payloadTag(keys, payload []byte) []byte {
	h := hmac.New(sha256.New, keys[32:64])
	h.Write(payload)
	return h.Sum(nil)[:16]
}
