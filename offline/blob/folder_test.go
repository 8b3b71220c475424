// SPDX-License-Identifier: Apache-2.0

package blob

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Unix(1_800_000_000, 0)

func sealer(t testing.TB) cipher.AEAD {
	b, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(b)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t *testing.T, dir string) *Folder {
	t.Helper()
	f, err := New(dir, sealer(t), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func put(t *testing.T, f *Folder, id string, b []byte) {
	t.Helper()
	h := Head{Owner: "alice", Name: "a", Size: int64(len(b)), Expires: now.Add(time.Hour)}
	if err := f.Reserve(h, 3*least); err != nil {
		t.Fatal(err)
	}
	if err := f.Write(id, h, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
}

func get(f *Folder, id string) ([]byte, error) {
	file, r, _, err := f.Open(id, now)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(r)
}

// A file lives through a restart with its owner and its share of the quota;
// what was not whole does not.
func TestFolderReopens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	f := open(t, dir)
	put(t, f, "id", []byte("hello"))
	if err := os.WriteFile(f.path("x"+half), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	f = open(t, dir)
	if b, err := get(f, "id"); err != nil || string(b) != "hello" {
		t.Fatal(string(b), err)
	}
	if _, err := os.Stat(f.path("x" + half)); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("half a file stays", err)
	}
	if err := f.Reserve(Head{Owner: "alice", Size: 2*least + 1}, 3*least); !errors.Is(err, ErrQuota) {
		t.Fatal("the quota is forgotten:", err)
	}
	if n, err := f.Sweep(now.Add(2 * time.Hour)); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if d, err := os.ReadDir(dir); err != nil || len(d) != 0 {
		t.Fatal("it is still there:", d, err)
	}
	if err := f.Reserve(Head{Owner: "alice", Size: 3 * least}, 3*least); err != nil {
		t.Fatal("its room is not given back:", err)
	}
}

// A source that ends early, goes on too long or breaks leaves nothing behind.
func TestFolderHalf(t *testing.T) {
	f := open(t, t.TempDir())
	h := Head{Owner: "alice", Size: 5, Expires: now.Add(time.Hour)}
	for _, r := range []io.Reader{bytes.NewReader([]byte("hell")), bytes.NewReader([]byte("hello!")), io.MultiReader(bytes.NewReader([]byte("he")), broken{})} {
		if err := f.Write("id", h, r); err == nil {
			t.Fatal("taken")
		}
		if d, err := os.ReadDir(f.dir); err != nil || len(d) != 0 {
			t.Fatal("something stays:", d, err)
		}
		if _, err := get(f, "id"); !errors.Is(err, ErrGone) {
			t.Fatal(err)
		}
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the line is dead") }

// TestFolderDamage changes and cuts a file at every byte: what is not as it was
// written in its head is not served, and hurts no other file.
func TestFolderDamage(t *testing.T) {
	dir := t.TempDir()
	f := open(t, dir)
	put(t, f, "id", []byte("hello"))
	put(t, f, "other", []byte("world"))
	path := f.path(Hidden("id"))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if n, bad := open(t, dir).Count(); n != 1 || len(bad) != 1 || !strings.Contains(bad[0], path) {
			t.Error("not counted:", n, bad)
		}
	}()
	for i := range whole {
		cut := whole[:i]
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		for _, b := range [][]byte{cut, flipped} {
			if len(b) > i && i >= len(whole)-5 {
				continue // content has no checksum of ours: whoever gets it has one
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, f := range []*Folder{f, open(t, dir)} {
				if got, err := get(f, "id"); err == nil {
					t.Fatalf("byte %d: served %q", i, got)
				}
				if got, err := get(f, "other"); err != nil || string(got) != "world" {
					t.Fatal("the other one is hurt:", err)
				}
			}
		}
	}
}

// FuzzHead: no bytes in the place of a head are more than an error.
func FuzzHead(f *testing.F) {
	one := &Folder{seal: sealer(f)}
	good, err := one.sealHead("x", Head{Owner: "alice", Size: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{0, 0, 0, 12})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := one.openHead("x", bytes.NewReader(b))
		if err == nil && (len(b) < len(good) || h.Owner != "alice") {
			t.Fatalf("%q is a head: %+v", b, h)
		}
	})
}
