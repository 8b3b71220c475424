// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type row struct {
	name, body string
	kind       byte
}

func tarball(t testing.TB, rows ...row) []byte {
	t.Helper()
	var b bytes.Buffer
	g := gzip.NewWriter(&b)
	w := tar.NewWriter(g)
	for _, r := range rows {
		h := &tar.Header{Name: r.name, Mode: 0o644, Size: int64(len(r.body)), Typeflag: tar.TypeReg}
		if r.kind != 0 {
			h.Typeflag, h.Linkname, h.Size, r.body = r.kind, "/etc/passwd", 0, ""
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, r.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), g.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// WriteMade writes a small client whose script is text.
func WriteMade(t testing.TB, file, text string) {
	t.Helper()
	b := tarball(t, row{name: "package/dist/converse.min.js", body: text}, row{name: "package/dist/converse.min.css", body: "made"},
		row{name: "package/dist/images/a.png", body: "\x89PNG"})
	if err := (Source{}).write(file, b); err != nil {
		t.Fatal(err)
	}
}

type answer func(*http.Request) (*http.Response, error)

func (a answer) RoundTrip(r *http.Request) (*http.Response, error) { return a(r) }

// What is not byte for byte the published file is not installed, and what was
// there stays.
func TestInstallOther(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chat.zip")
	WriteMade(t, file, "before")
	before, _ := os.ReadFile(file)
	other := tarball(t, row{name: "package/dist/converse.min.js", body: "evil"}, row{name: "package/dist/converse.min.css"})
	for what, body := range map[string]io.Reader{
		"another": bytes.NewReader(other), "nothing": strings.NewReader(""), "without end": io.LimitReader(zeros{}, publishedMax+1<<30),
	} {
		c := &http.Client{Transport: answer(func(r *http.Request) (*http.Response, error) {
			if r.URL.String() != Address {
				t.Error("it asks", r.URL)
			}
			return &http.Response{StatusCode: 200, Body: io.NopCloser(body)}, nil
		})}
		if err := (Source{Client: c}).Install(context.Background(), file); !errors.Is(err, ErrOther) {
			t.Fatal(what, err)
		}
	}
	c := &http.Client{Transport: answer(func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 404, Status: "404 Not Found", Body: http.NoBody}, nil
	})}
	if err := (Source{Client: c}).Install(context.Background(), file); err == nil || !strings.Contains(err.Error(), "404") {
		t.Fatal(err)
	}
	mine := filepath.Join(t.TempDir(), "mine.tgz")
	if err := os.WriteFile(mine, other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (Source{File: mine}).Install(context.Background(), file); !errors.Is(err, ErrOther) {
		t.Fatal(err)
	}
	after, _ := os.ReadFile(file)
	all, _ := os.ReadDir(filepath.Dir(file))
	if !bytes.Equal(before, after) || len(all) != 1 {
		t.Fatal("something is left", all)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Of the published file only what browsers ask for is taken.
func TestPack(t *testing.T) {
	b := tarball(t,
		row{name: "package/dist/converse.min.js", body: "a"}, row{name: "package/dist/converse.min.css", body: "b"},
		row{name: "package/dist/libomemo.esm.min.js", body: "c"}, row{name: "package/dist/curve25519_compiled.wasm", body: "d"},
		row{name: "package/dist/chunkjs/locales/de.js", body: "e"}, row{name: "package/dist/chunkjs/locales/de.js.map", body: "f"},
		row{name: "package/dist/converse.js", body: "g"}, row{name: "package/src/converse.min.js", body: "h"},
		row{name: "package/dist/images/../../../x.png", body: "i"}, row{name: "package/dist//images/x.png", body: "j"},
		row{name: "package/dist/images/x.html", body: "k"}, row{name: "package/dist/images/link.png", kind: tar.TypeSymlink},
		row{name: "../package/dist/images/y.png", body: "l"})
	for _, one := range []struct {
		s    Source
		want []string
	}{
		{Source{}, []string{"converse.min.js", "converse.min.css", "libomemo.esm.min.js", "curve25519_compiled.wasm", "chunkjs/locales/de.js"}},
		{Source{Plain: true}, []string{"converse.min.js", "converse.min.css", "chunkjs/locales/de.js"}},
	} {
		file := filepath.Join(t.TempDir(), "new", "chat.zip")
		if err := one.s.write(file, b); err != nil {
			t.Fatal(err)
		}
		z, err := zip.OpenReader(file)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range z.File {
			got = append(got, f.Name)
		}
		z.Close()
		if !slices.Equal(got, one.want) {
			t.Fatal(got)
		}
		p, err := openPack(file)
		if err != nil || p.secret() == one.s.Plain {
			t.Fatal(err)
		}
		if !one.s.Installed(file) || (Source{Plain: !one.s.Plain}).Installed(file) {
			t.Fatal("it does not know what is there")
		}
	}
}

// A file that Install did not write may hold anything.
func FuzzPack(f *testing.F) {
	file := filepath.Join(f.TempDir(), "chat.zip")
	WriteMade(f, file, "x")
	b, _ := os.ReadFile(file)
	f.Add(b)
	f.Add(b[:len(b)-9])
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, b []byte) {
		file := filepath.Join(t.TempDir(), "chat.zip")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		p, err := openPack(file)
		if err != nil {
			return
		}
		defer p.src.Close()
		for name := range p.files {
			if filepath.Ext(name) == ".html" {
				t.Fatal(name)
			}
		}
	})
}
