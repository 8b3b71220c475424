// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func ask(p string) func(bool) (string, error) {
	return func(bool) (string, error) { return p, nil }
}

func stores(t *testing.T) map[string]Store {
	d, err := Open(filepath.Join(t.TempDir(), "v"), Unlock{New: KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return map[string]Store{"memory": NewMemory(), "disk": d}
}

// TestStore holds both implementations against one list of wishes.
func TestStore(t *testing.T) {
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			err := s.Commit(Change{Kind: "a", Name: "one", Value: []byte("1")}, Change{Kind: "a", Name: "two", Value: []byte{}},
				Change{Kind: "b", Name: "one", Value: []byte("other")})
			if err != nil {
				t.Fatal(err)
			}
			for i := range uint64(5) {
				if err := s.Commit(Change{Kind: "a", Seq: i * 300, Value: []byte{byte(i)}}); err != nil {
					t.Fatal(err)
				}
			}
			if v, err := s.Get("a", "one"); string(v) != "1" || err != nil {
				t.Error(v, err)
			}
			if v, err := s.Get("a", "two"); v == nil || len(v) != 0 || err != nil {
				t.Error("an empty value is a value", v, err)
			}
			if v, err := s.Get("a", "three"); v != nil || err != nil {
				t.Error(v, err)
			}
			var got []byte
			if err := s.Last("a", 3, func(seq uint64, v []byte) error { got = append(got, v...); return nil }); err != nil || !bytes.Equal(got, []byte{2, 3, 4}) {
				t.Error(got, err)
			}
			for _, c := range []struct {
				seq  uint64
				n    int
				want []byte
			}{{600, 2, []byte{1, 2}}, {599, 2, []byte{0, 1}}, {9999, 1, []byte{4}}, {0, 9, []byte{0}}} {
				got = nil
				if err := s.Upto("a", c.seq, c.n, func(seq uint64, v []byte) error { got = append(got, v...); return nil }); err != nil || !bytes.Equal(got, c.want) {
					t.Error(c, got, err)
				}
			}
			if err := s.Commit(Change{Kind: "a", Name: "one"}, Change{Kind: "a", Seq: 1200}); err != nil {
				t.Fatal(err)
			}
			n := 0
			if err := s.Each("a", func(string, []byte) error { n++; return nil }); err != nil || n != 1 {
				t.Error(n, err)
			}
			got = nil
			if err := s.Last("a", 9, func(seq uint64, v []byte) error { got = append(got, v...); return nil }); err != nil || len(got) != 4 {
				t.Error(got, err)
			}
		})
	}
}

// TestLocks: the right key opens, a wrong one says so, the file tells nothing.
func TestLocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "v")
	d, err := Open(path, Unlock{New: Passphrase, Ask: ask("right")})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(Change{Kind: "contacts", Name: "bob@example.org", Value: []byte("dear bob")}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Unlock{Ask: ask("right"), Wait: time.Millisecond}); !errors.Is(err, ErrBusy) {
		t.Error("opened twice:", err)
	}
	d.Close()
	if _, err := Open(path, Unlock{Ask: ask("wrong")}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"bob", "contacts", "dear", "right"} {
		if bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the file shows %q", secret)
		}
	}
	if st, _ := os.Stat(path); st.Mode().Perm() != 0o600 {
		t.Error(st.Mode())
	}
	if d, err = Open(path, Unlock{Ask: ask("right")}); err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if v, err := d.Get("contacts", "bob@example.org"); string(v) != "dear bob" {
		t.Error(v, err)
	}
}

// TestDamage: a record moved to another name does not open.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "v")
	d, err := Open(path, Unlock{New: KeyFile})
	if err != nil {
		t.Fatal(err)
	}
	bucket, key := d.place(Change{Kind: "k", Name: "n"})
	sealed := d.seal(bucket, key, Change{Kind: "k", Name: "n", Value: []byte("v")})
	_, other := d.place(Change{Kind: "k", Name: "m"})
	if _, _, err := d.open(bucket, other, sealed); !errors.Is(err, ErrDamaged) {
		t.Error("a moved record opened")
	}
	for i := range sealed {
		bad := bytes.Clone(sealed)
		bad[i] ^= 1
		if _, _, err := d.open(bucket, key, bad); !errors.Is(err, ErrDamaged) {
			t.Fatal("a flipped bit passed at", i)
		}
	}
	d.Close()
	if err := os.Remove(path + ".key"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Unlock{}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}
