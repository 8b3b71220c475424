// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
)

// do runs one change in the next commit and waits until it is durable. A
// change that fails by its own will is not written, others are.
func (sh *shard) do(f func(tx *bbolt.Tx) error) error {
	j := &job{done: make(chan struct{})}
	j.do = func(tx *bbolt.Tx) error {
		j.err = f(tx)
		return nil
	}
	sh.mu.Lock()
	if sh.closing {
		sh.mu.Unlock()
		return ErrGone
	}
	sh.jobs = append(sh.jobs, j)
	sh.wake(0)
	sh.mu.Unlock()
	<-j.done
	return j.err
}

// Records are the small things of one owner, inside one transaction: of an
// account, or of what a feature keeps under a name that no account can have
// (one with a colon, RFC 7622 §3.3.1).
type Records struct {
	s    *Store
	b    *bbolt.Bucket
	acct id
	set  []change
	at   map[string]int // where in set a key was changed last
	err  error
}

func (r *Records) change(key, value []byte) {
	if r.at == nil {
		r.at = map[string]int{}
	}
	r.at[string(key)] = len(r.set)
	r.set = append(r.set, change{key, value})
}

type change struct{ key, value []byte }

// View reads records.
func (s *Store) View(user string, f func(*Records) error) error {
	sh, acct, err := s.of(user)
	if err != nil {
		return err
	}
	return sh.db.View(func(tx *bbolt.Tx) error {
		r := &Records{s: s, b: tx.Bucket(records), acct: acct}
		return errors.Join(f(r), r.err)
	})
}

// Update changes records; when it returns nil the change is durable. When f
// fails nothing is changed.
func (s *Store) Update(user string, f func(*Records) error) error {
	sh, acct, err := s.of(user)
	if err != nil {
		return err
	}
	return sh.do(func(tx *bbolt.Tx) error {
		r := &Records{s: s, b: tx.Bucket(records), acct: acct}
		if err := errors.Join(f(r), r.err); err != nil {
			return err
		}
		return r.apply()
	})
}

// DeleteAll removes every record of the owner, whatever its kind.
func (r *Records) DeleteAll() {
	c := r.b.Cursor()
	for k, _ := c.Seek(r.acct[:]); k != nil && bytes.HasPrefix(k, r.acct[:]); k, _ = c.Next() {
		r.change(bytes.Clone(k), nil)
	}
}

// Later changes records without waiting.
func (s *Store) Later(user string, f func(*Records) error) error {
	sh, acct, err := s.of(user)
	if err == nil {
		sh.later(acct, f)
	}
	return err
}

func (sh *shard) later(acct id, f func(*Records) error) {
	j := &job{done: make(chan struct{}), patient: true}
	j.do = func(tx *bbolt.Tx) error {
		r := &Records{s: sh.s, b: tx.Bucket(records), acct: acct}
		if j.err = errors.Join(f(r), r.err); j.err == nil {
			j.err = r.apply()
		}
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closing {
		return
	}
	sh.jobs = append(sh.jobs, j)
	sh.wake(sh.s.opt.LingerLive)
}

func (r *Records) apply() error {
	for _, c := range r.set {
		var err error
		if c.value == nil {
			err = r.b.Delete(c.key)
		} else {
			err = r.b.Put(c.key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Records) key(kind, key string) []byte {
	k, n := r.s.id("kind", kind), r.s.id("key", kind, key)
	return append(append(append(make([]byte, 0, 48), r.acct[:]...), k[:]...), n[:]...)
}

// Get reads one record; nil when there is none.
func (r *Records) Get(kind, key string) []byte {
	k := r.key(kind, key)
	if i, ok := r.at[string(k)]; ok {
		return r.open(k, r.set[i].value)
	}
	return r.open(k, r.b.Get(k))
}

func (r *Records) open(k, v []byte) []byte {
	if v == nil {
		return nil
	}
	_, value, err := r.s.openRecord(k, v)
	if err != nil {
		r.err = err
	}
	return value
}

// Put writes one record.
func (r *Records) Put(kind, key string, v []byte) {
	k := r.key(kind, key)
	r.change(k, r.s.sealRecord(k, key, v))
}

// Delete removes one record.
func (r *Records) Delete(kind, key string) {
	r.change(r.key(kind, key), nil)
}

// Clear removes a kind's records, as they were before this transaction's own
// changes, without opening them.
func (r *Records) Clear(kind string) {
	k := r.s.id("kind", kind)
	prefix := append(append(make([]byte, 0, 32), r.acct[:]...), k[:]...)
	c := r.b.Cursor()
	for key, _ := c.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, _ = c.Next() {
		r.change(bytes.Clone(key), nil)
	}
}

// Each goes over a kind's records as they were before this transaction's own
// changes, until f says false.
func (r *Records) Each(kind string, f func(key string, v []byte) bool) {
	k := r.s.id("kind", kind)
	prefix := append(append(make([]byte, 0, 32), r.acct[:]...), k[:]...)
	c := r.b.Cursor()
	for key, v := c.Seek(prefix); key != nil && bytes.HasPrefix(key, prefix); key, v = c.Next() {
		name, value, err := r.s.openRecord(key, v)
		if err != nil {
			r.err = err
			return
		}
		if !f(name, value) {
			return
		}
	}
}

// Every goes over the records of a kind of all accounts.
func (s *Store) Every(kind string, f func(user, key string, v []byte)) error {
	for _, sh := range s.shards {
		if sh.broken != nil {
			continue
		}
		err := sh.db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(accounts).ForEach(func(k, v []byte) error {
				user, _, err := s.openRecord(k, v)
				if err != nil {
					return err
				}
				r := &Records{s: s, b: tx.Bucket(records), acct: id(k)}
				r.Each(kind, func(key string, v []byte) bool { f(user, key, v); return true })
				return r.err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sealRecord seals name and value with a CRC32C; about ties it to its place.
func (s *Store) sealRecord(about []byte, name string, v []byte) []byte {
	p := encodeRecord(name, v)
	nonce := make([]byte, s.seal.NonceSize())
	_, _ = rand.Read(nonce) // never fails
	return s.seal.Seal(nonce, nonce, p, about)
}

func encodeRecord(name string, v []byte) []byte {
	p := binary.AppendUvarint(nil, uint64(len(name)))
	p = append(append(p, name...), v...)
	return binary.BigEndian.AppendUint32(p, crc32.Checksum(p, castagnoli))
}

func (s *Store) openRecord(about, sealed []byte) (name string, v []byte, err error) {
	n := s.seal.NonceSize()
	if len(sealed) < n {
		return "", nil, ErrCorrupt
	}
	p, err := s.seal.Open(nil, sealed[:n], sealed[n:], about)
	if err != nil {
		return "", nil, fmt.Errorf("record: %w", ErrCorrupt)
	}
	return decodeRecord(p)
}

// decodeRecord reads what sealRecord sealed; anything else is ErrCorrupt.
func decodeRecord(p []byte) (name string, v []byte, err error) {
	if len(p) < 5 {
		return "", nil, fmt.Errorf("record: %w", ErrCorrupt)
	}
	body := p[:len(p)-4]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(p[len(p)-4:]) {
		return "", nil, fmt.Errorf("record: %w", ErrCorrupt)
	}
	l, w := binary.Uvarint(body)
	if w <= 0 || l > uint64(len(body)-w) {
		return "", nil, fmt.Errorf("record: %w", ErrCorrupt)
	}
	return string(body[w : w+int(l)]), body[w+int(l):], nil
}

// save writes the record with the next commit; nobody waits for it, for a
// session that a crash forgets binds anew and loses no mail.
func (sl *Slot) save(r Resumable) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return sl.file.s.Later(r.User, func(rec *Records) error {
		rec.Put("slot", r.ID, b)
		return nil
	})
}

// FindSlot gives a session that may be resumed, or ErrGone.
func (s *Store) FindSlot(id string) (*Slot, Resumable, error) {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	sl := s.slots.live[id]
	if sl == nil {
		return nil, Resumable{}, ErrGone
	}
	return sl, sl.rec, nil
}

// Slots lists the sessions that may be resumed.
func (s *Store) Slots() ([]Resumable, error) {
	s.slots.mu.Lock()
	defer s.slots.mu.Unlock()
	var all []Resumable
	for _, sl := range s.slots.live {
		all = append(all, sl.rec)
	}
	return all, nil
}

// SetRecord writes what changed.
func (sl *Slot) SetRecord(r Resumable) {
	sl.mu.Lock()
	defer sl.mu.Unlock()
	sl.file.mu.Lock()
	gone := sl.file.live[r.ID] != sl
	sl.rec = r
	sl.file.mu.Unlock()
	if gone {
		return
	}
	if err := sl.save(r); err != nil {
		sl.file.s.opt.Log.Warn("session record", "err", err)
	}
}
