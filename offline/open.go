// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// openShard opens one pair of files. One that is damaged is set aside; one that
// cannot be made is an error.
func openShard(s *Store, n int) (*shard, error) {
	sh := &shard{
		s: s, path: filepath.Join(s.dir, fmt.Sprintf("shard-%02d.db", n)),
		entries: map[place]*entry{}, boxes: map[boxID]*queue{}, tokens: map[uint64]*entry{}, arrived: map[arrival]bool{},
		next: map[id]span{}, block: seqBlock, known: map[id]*Account{}, weeks: map[id]*week{}, kick: make(chan struct{}, 1),
	}
	keys := filepath.Join(s.dir, fmt.Sprintf("keys-%02d", n))
	if err := sh.make(keys); err != nil {
		return nil, err
	}
	if err := sh.open(keys); err != nil {
		sh.broken = fmt.Errorf("%s: %w: %w", sh.path, ErrCorrupt, err)
		s.opt.Log.Error("shard set aside; run sottod check", "err", sh.broken)
	}
	return sh, nil
}

var buckets = [][]byte{bodies, refs, records, accounts, numbers}

// make makes the files of a shard that is not there yet: the database last, by
// its rename, so that there is never half a shard.
func (sh *shard) make(keys string) error {
	if _, err := os.Stat(sh.path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	k, err := os.OpenFile(keys, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = errors.Join(k.Sync(), k.Close())
	fresh := sh.path + ".new"
	if e := os.Remove(fresh); err != nil || e != nil && !errors.Is(e, os.ErrNotExist) {
		return errors.Join(err, e)
	}
	db, err := bbolt.Open(fresh, 0o600, &bbolt.Options{Timeout: time.Second})
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, b := range buckets {
			if _, err := tx.CreateBucket(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Rename(fresh, sh.path); err != nil {
		return err
	}
	return syncDir(sh.s.dir)
}

// open opens both files and reads the index; it writes nothing, for a full disk
// must not keep mail from being fetched. bbolt panics on damage.
func (sh *shard) open(keys string) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a cut file faults in its mapping
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
		if err != nil && sh.db != nil {
			closeQuietly(sh.db)
		}
	}()
	if err := wholeFile(sh.path); err != nil {
		return err
	}
	if sh.db, err = bbolt.Open(sh.path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType}); err != nil {
		return err
	}
	if err := walk(sh.db); err != nil {
		return err
	}
	if err := checkPages(sh.db); err != nil {
		return err
	}
	if sh.keys, err = openKeys(keys); err != nil {
		return err
	}
	return sh.load()
}

func (sh *shard) closeFiles() error {
	if sh.broken != nil {
		return nil
	}
	return errors.Join(sh.db.Close(), sh.keys.f.Close())
}

func closeQuietly(db *bbolt.DB) {
	defer func() { _ = recover() }()
	_ = db.Close()
}

// wholeFile compares the file's length with what its two meta pages say: bbolt
// maps the file and would fault on pages that are cut off.
func wholeFile(path string) error {
	b := make([]byte, 64)
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	for _, at := range []int64{0, int64(os.Getpagesize())} {
		if _, err := f.ReadAt(b, at+16); err != nil {
			return ErrCorrupt
		}
		pages, size := binary.LittleEndian.Uint64(b[40:]), binary.LittleEndian.Uint32(b[8:])
		if pages > 1<<40 || uint64(st.Size()) < pages*uint64(size) {
			return fmt.Errorf("shorter than its meta page says: %w", ErrCorrupt)
		}
	}
	return nil
}

// walk reads every key and value in this goroutine, where a fault is caught,
// before bbolt's own check runs in one of its own.
func walk(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			b := tx.Bucket(name)
			if b == nil {
				return ErrCorrupt
			}
			err := b.ForEach(func(k, v []byte) error {
				crc32.Update(crc32.Checksum(k, castagnoli), castagnoli, v)
				return nil
			})
			if err != nil {
				return err
			}
		}
		for _, name := range historyBuckets { // their values are long, and read when asked for
			if b := tx.Bucket(name); b != nil {
				if err := b.ForEach(func(k, _ []byte) error { crc32.Checksum(k, castagnoli); return nil }); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func checkPages(db *bbolt.DB) error {
	return db.View(func(tx *bbolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

// load reads which mail waits for whom; the mail itself stays on disk.
func (sh *shard) load() error {
	used := map[uint32]bool{}
	var all []week
	err := sh.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bodies).ForEach(func(k, v []byte) error {
			if len(k) != 24 || len(v) < 4 {
				return ErrCorrupt
			}
			e := &entry{place: placeOf(k), slot: binary.BigEndian.Uint32(v), state: stored}
			sh.entries[e.place] = e
			used[e.slot] = true
			return nil
		})
		if err != nil {
			return err
		}
		if err := eachWeek(tx, nil, func(_ id, w week) { used[w.slot], all = true, append(all, w) }); err != nil {
			return err
		}
		return tx.Bucket(refs).ForEach(sh.loadRef)
	})
	if err != nil {
		return err
	}
	sh.keys.claim(used)
	for _, w := range all {
		sh.disownWeek(w)
	}
	return sh.disown()
}

func (sh *shard) loadRef(k, v []byte) error {
	if len(k) != 40 || len(v) != 8 && len(v) != 16 {
		return ErrCorrupt
	}
	p := place{id(k[:16]), binary.BigEndian.Uint64(k[32:])}
	device := id(k[16:32])
	e := sh.entries[p]
	if e == nil { // one lost mail is no reason to set a whole shard aside
		sh.s.opt.Log.Error("mail is owed that is not there", "seq", p.seq)
		sh.dropped = append(sh.dropped, drop{place: p, device: device})
		return nil
	}
	e.owed = append(e.owed, device)
	if e.token = binary.BigEndian.Uint64(v); e.token != 0 {
		sh.tokens[e.token] = e
	}
	if len(v) == 16 {
		e.sid = binary.BigEndian.Uint64(v[8:])
	}
	sh.box(boxID{p.acct, device}).add(p.seq)
	return nil
}

// disown drops mail whose key was wiped: its commit failed half way, and its
// sender was told so. It was never promised.
func (sh *shard) disown() error {
	n := 0
	for _, e := range sh.entries {
		key, err := sh.keys.read(e.slot)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
		if err != nil || key != [keySize]byte{} {
			continue // a slot that is cut off is damage, and reported when the mail is read
		}
		n++
		for i, d := range slices.Clone(e.owed) {
			sh.box(boxID{e.acct, d}).remove(e.seq)
			sh.dropped = append(sh.dropped, drop{e.place, d, i == len(e.owed)-1, e.slot})
		}
		sh.lose(e)
	}
	if n > 0 {
		sh.s.opt.Log.Warn("mail of a failed commit dropped", "n", n)
		sh.wake(0)
	}
	return nil
}
