// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Version is the one that was tested; Address is where it is published.
const (
	Version = "14.0.0"
	Address = "https://registry.npmjs.org/converse.js/-/converse.js-" + Version + ".tgz"
)

// digest is the SHA-512 that the registry states for it.
const digest = "LFUg030jDalV47vI/vyVPqYPZfJYXFbubq8v0cFDe2zXNeeGEk3Up0Fj/WTzT6t+6do+cAIToy73eAj7RNDj2Q=="

const (
	publishedMax = 16 << 20 // bytes of what is published
	entryMax     = 8 << 20  // bytes of one file in it
)

// ErrOther says that something else came than what was pinned.
var ErrOther = errors.New("this is not converse.js " + Version + " as it was published: its SHA-512 is another")

// A Source is where the published file comes from.
type Source struct {
	Client *http.Client
	File   string // of this machine, instead of the registry's
	Plain  bool   // without libomemo.js (GPL-3.0): no encryption in browsers
}

// Installed says whether file is what Install would write.
func (s Source) Installed(file string) bool {
	z, err := zip.OpenReader(file)
	if err != nil {
		return false
	}
	defer z.Close()
	return z.Comment == s.label()
}

func (s Source) label() string {
	if s.Plain {
		return "converse.js " + Version + " without libomemo.js"
	}
	return "converse.js " + Version
}

// Install fetches the client, checks it, and writes what browsers need of it.
func (s Source) Install(ctx context.Context, file string) error {
	b, err := s.fetch(ctx)
	if err != nil {
		return err
	}
	if sum := sha512.Sum512(b); base64.StdEncoding.EncodeToString(sum[:]) != digest {
		return ErrOther
	}
	return s.write(file, b)
}

func (s Source) fetch(ctx context.Context) ([]byte, error) {
	if s.File != "" {
		f, err := os.Open(s.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return io.ReadAll(io.LimitReader(f, publishedMax))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, Address, nil)
	if err != nil {
		return nil, err
	}
	res, err := s.Client.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch %s: %s", Address, res.Status)
	}
	return io.ReadAll(io.LimitReader(res.Body, publishedMax))
}

// write makes the pack beside its place and then moves it there.
func (s Source) write(file string, published []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".chat-*")
	if err != nil {
		return err
	}
	err = errors.Join(s.pack(f, published), f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}

func (s Source) pack(w io.Writer, published []byte) error {
	g, err := gzip.NewReader(bytes.NewReader(published))
	if err != nil {
		return err
	}
	z := zip.NewWriter(w)
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestCompression) })
	for t := tar.NewReader(g); ; {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		name, ours := strings.CutPrefix(h.Name, "package/dist/")
		if !ours || h.Typeflag != tar.TypeReg || !s.wanted(name) {
			continue
		}
		if h.Size > entryMax {
			return fmt.Errorf("%s is too long", h.Name)
		}
		e := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if slices.Contains([]string{".png", ".mp3", ".ogg", ".woff2"}, path.Ext(name)) {
			e.Method = zip.Store
		}
		to, err := z.CreateHeader(e)
		if err == nil {
			_, err = io.Copy(to, t)
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(z.SetComment(s.label()), z.Close())
}

// wanted are the files that a browser asks for.
func (s Source) wanted(name string) bool {
	if !fs.ValidPath(name) || kinds[path.Ext(name)] == "" {
		return false
	}
	switch top, _, deep := strings.Cut(name, "/"); top {
	case script, style, "emoji.json":
		return !deep
	case omemo, curve:
		return !deep && !s.Plain
	case "chunkjs", "images", "sounds", "webfonts":
		return deep
	}
	return false
}
