// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Report is what Check found.
type Report struct {
	Accounts, Records, Waiting, Kept, Files int
	Bad                                     []string // one line for each damage
}

// Check verifies a data folder that no server has open: the structure of each
// file, the seal and checksum of each value, and that each mail has its key.
func Check(dir string) (Report, error) {
	var r Report
	if _, err := os.Stat(filepath.Join(dir, "root")); err != nil {
		return r, err
	}
	s, err := Open(dir, Options{})
	if err != nil {
		return r, err
	}
	for _, sh := range s.shards {
		if sh.broken != nil {
			r.Bad = append(r.Bad, sh.broken.Error())
			continue
		}
		if err := sh.check(&r); err != nil {
			r.Bad = append(r.Bad, fmt.Sprintf("%s: %v", sh.path, err))
		}
	}
	files, err := s.Blobs()
	if err == nil {
		var bad []string
		r.Files, bad = files.Count()
		r.Bad = append(r.Bad, bad...)
	}
	return r, errors.Join(err, s.Close())
}

// checkHistory opens every message of the histories.
func (sh *shard) checkHistory(tx *bbolt.Tx, r *Report) error {
	b := tx.Bucket(notes)
	if b == nil {
		return nil
	}
	keys := map[id]*shelf{}
	return b.ForEach(func(k, v []byte) error {
		r.Kept++
		acct := id(k[:16])
		if keys[acct] == nil {
			var err error
			if keys[acct], err = sh.shelf(tx, acct); err != nil {
				return err
			}
		}
		if _, err := keys[acct].open(k, v); err != nil {
			r.Bad = append(r.Bad, fmt.Sprintf("%s: history %x: %v", sh.path, k, err))
		}
		return nil
	})
}

func (sh *shard) check(r *Report) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return sh.db.View(func(tx *bbolt.Tx) error {
		err := tx.Bucket(bodies).ForEach(func(k, v []byte) error {
			r.Waiting++
			if _, err := sh.read(tx, placeOf(k), binary.BigEndian.Uint32(v)); err != nil {
				r.Bad = append(r.Bad, fmt.Sprintf("%s: mail %x: %v", sh.path, k, err))
			}
			return nil
		})
		if err != nil {
			return err
		}
		err = tx.Bucket(refs).ForEach(func(k, _ []byte) error {
			if p := (place{id(k[:16]), binary.BigEndian.Uint64(k[32:])}); tx.Bucket(bodies).Get(p.key()) == nil {
				r.Bad = append(r.Bad, fmt.Sprintf("%s: mail %x is owed and not there", sh.path, p.key()))
			}
			return nil
		})
		if err != nil {
			return err
		}
		sealed := func(n *int) func(k, v []byte) error {
			return func(k, v []byte) error {
				*n++
				if _, _, err := sh.s.openRecord(k, v); err != nil {
					r.Bad = append(r.Bad, fmt.Sprintf("%s: %x: %v", sh.path, k, err))
				}
				return nil
			}
		}
		if err := tx.Bucket(records).ForEach(sealed(&r.Records)); err != nil {
			return err
		}
		if err := sh.checkHistory(tx, r); err != nil {
			return err
		}
		return tx.Bucket(accounts).ForEach(sealed(&r.Accounts))
	})
}
