// SPDX-License-Identifier: Apache-2.0

package unified

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// An endpoint is where pushes for one app come in. Its URL is it, sealed.
type endpoint struct {
	until     time.Time
	app, inst [32]byte // hashes of names that only the client knows
	to        xmpp.JID // the client that hands on
}

// life is how long an endpoint is good; the client renews it.
const life = 7 * 24 * time.Hour

// tokenMax bounds what is opened: no address makes a longer one.
const tokenMax = 6 << 10

// keyOwner is the owner of the key's record.
const keyOwner = "up:"

var errToken = errors.New("not an endpoint of ours")

// sealer reads the key, or makes it.
func sealer(st *offline.Store) (cipher.AEAD, error) {
	var key []byte
	err := st.View(keyOwner, func(r *offline.Records) error {
		key = r.Get("key", "")
		return nil
	})
	if err != nil {
		return nil, err
	}
	if key == nil {
		key = make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		err = st.Update(keyOwner, func(r *offline.Records) error {
			r.Put("key", "", key)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// token seals an endpoint.
func (e *endpoint) token(seal cipher.AEAD) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(e.until.Unix()))
	b = append(append(append(b, e.app[:]...), e.inst[:]...), e.to.String()...)
	return base64.RawURLEncoding.EncodeToString(seal.Seal(nil, nil, b, nil))
}

// open reads a token; one that is over is none.
func open(seal cipher.AEAD, token string, now time.Time) (e endpoint, err error) {
	if len(token) > tokenMax {
		return e, errToken
	}
	sealed, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return e, errToken
	}
	b, err := seal.Open(nil, nil, sealed, nil)
	if err != nil || len(b) < 72 {
		return e, errToken
	}
	e.until = time.Unix(int64(binary.BigEndian.Uint64(b)), 0)
	copy(e.app[:], b[8:])
	copy(e.inst[:], b[40:])
	if e.to, err = xmpp.ParseJID(string(b[72:])); err != nil || !now.Before(e.until) {
		return e, errToken
	}
	return e, nil
}
