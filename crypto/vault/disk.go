// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"time"

	"go.etcd.io/bbolt"
	bolterr "go.etcd.io/bbolt/errors"
	"golang.org/x/crypto/chacha20poly1305"
)

var headBucket = []byte("head")

// Disk is a Store in one file.
type Disk struct {
	db     *bbolt.DB
	values cipher.AEAD
	names  []byte
}

// Open opens the vault at path, or makes it with the lock that how wants.
func Open(path string, how Unlock) (*Disk, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: how.wait(), NoFreelistSync: true})
	if errors.Is(err, bolterr.ErrTimeout) {
		return nil, ErrBusy
	}
	if err != nil {
		return nil, fmt.Errorf("open vault %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	master, err := how.master(db, path)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d := &Disk{db: db}
	if d.values, err = chacha20poly1305.NewX(sub(master, "sotto vault values")); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	d.names = sub(master, "sotto vault names")
	if err := d.prove(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return d, nil
}

func (u Unlock) wait() time.Duration {
	if u.Wait > 0 {
		return u.Wait
	}
	return time.Second
}

func sub(master []byte, label string) []byte {
	k, err := hkdf.Key(sha256.New, master, nil, label, 32)
	if err != nil {
		panic(err) // only for an absurd length
	}
	return k
}

// prove opens or writes a record that only the right key opens.
func (d *Disk) prove() error {
	v, err := d.Get("vault", "proof")
	if errors.Is(err, ErrDamaged) {
		return ErrLocked
	}
	if err != nil || v != nil {
		return err
	}
	empty := true
	err = d.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, _ *bbolt.Bucket) error {
			empty = empty && string(name) == string(headBucket)
			return nil
		})
	})
	if err != nil {
		return err
	}
	if !empty {
		return ErrLocked // other keys made other names
	}
	return d.Commit(Change{Kind: "vault", Name: "proof", Value: []byte("open")})
}

// Close releases the file.
func (d *Disk) Close() error { return d.db.Close() }

// hidden is a name as it stands in the file.
func (d *Disk) hidden(parts ...string) []byte {
	h := hmac.New(sha256.New, d.names)
	for _, p := range parts {
		h.Write(binary.AppendUvarint(nil, uint64(len(p))))
		h.Write([]byte(p))
	}
	return h.Sum(nil)[:16]
}

// place is a record's bucket and key.
func (d *Disk) place(c Change) (bucket, key []byte) {
	if c.Name == "" {
		return d.hidden(c.Kind, "log"), binary.BigEndian.AppendUint64(nil, c.Seq)
	}
	return d.hidden(c.Kind), d.hidden(c.Kind, c.Name)
}

func (d *Disk) seal(bucket, key []byte, c Change) []byte {
	nonce := make([]byte, chacha20poly1305.NonceSizeX, 64+len(c.Name)+len(c.Value))
	rand.Read(nonce)
	plain := binary.AppendUvarint(nil, uint64(len(c.Name)))
	plain = append(append(plain, c.Name...), c.Value...)
	return d.values.Seal(nonce, nonce, plain, append(bucket[:16:16], key...))
}

func (d *Disk) open(bucket, key, sealed []byte) (name string, value []byte, err error) {
	if len(sealed) < chacha20poly1305.NonceSizeX {
		return "", nil, ErrDamaged
	}
	nonce, ct := sealed[:chacha20poly1305.NonceSizeX], sealed[chacha20poly1305.NonceSizeX:]
	plain, err := d.values.Open([]byte{}, nonce, ct, append(bucket[:16:16], key...))
	if err != nil {
		return "", nil, ErrDamaged
	}
	n, w := binary.Uvarint(plain)
	if w <= 0 || n > uint64(len(plain)-w) {
		return "", nil, ErrDamaged
	}
	return string(plain[w : w+int(n)]), plain[w+int(n):], nil
}

// Get implements Store.
func (d *Disk) Get(kind, name string) (value []byte, err error) {
	bucket, key := d.place(Change{Kind: kind, Name: name})
	err = d.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		sealed := b.Get(key)
		if sealed == nil {
			return nil
		}
		_, value, err = d.open(bucket, key, sealed)
		return err
	})
	return value, err
}

// Each implements Store.
func (d *Disk) Each(kind string, f func(string, []byte) error) error {
	type record struct {
		name  string
		value []byte
	}
	var all []record
	bucket := d.hidden(kind)
	err := d.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		return b.ForEach(func(key, sealed []byte) error {
			n, v, err := d.open(bucket, key, sealed)
			all = append(all, record{n, v})
			return err
		})
	})
	for _, r := range all {
		if err == nil {
			err = f(r.name, r.value)
		}
	}
	return err
}

// Last implements Store.
func (d *Disk) Last(kind string, n int, f func(uint64, []byte) error) error {
	return d.Upto(kind, math.MaxUint64, n, f)
}

// Upto implements Store.
func (d *Disk) Upto(kind string, seq uint64, n int, f func(uint64, []byte) error) error {
	var seqs []uint64
	var values [][]byte
	bucket := d.hidden(kind, "log")
	err := d.db.View(func(tx *bbolt.Tx) error {
		b := tx.Bucket(bucket)
		if b == nil {
			return nil
		}
		c := b.Cursor()
		end := binary.BigEndian.AppendUint64(nil, seq)
		key, sealed := c.Seek(end)
		if key == nil {
			key, sealed = c.Last()
		} else if !bytes.Equal(key, end) {
			key, sealed = c.Prev()
		}
		for ; key != nil && len(seqs) < n; key, sealed = c.Prev() {
			_, v, err := d.open(bucket, key, sealed)
			if err != nil {
				return err
			}
			seqs, values = append(seqs, binary.BigEndian.Uint64(key)), append(values, v)
		}
		return nil
	})
	for i := len(seqs) - 1; i >= 0 && err == nil; i-- {
		err = f(seqs[i], values[i])
	}
	return err
}

// Commit implements Store.
func (d *Disk) Commit(changes ...Change) error {
	return d.db.Update(func(tx *bbolt.Tx) error {
		for _, c := range changes {
			bucket, key := d.place(c)
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			if c.Value == nil {
				err = b.Delete(key)
			} else {
				err = b.Put(key, d.seal(bucket, key, c))
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
