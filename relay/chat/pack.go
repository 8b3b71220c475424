// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"archive/zip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"strconv"
	"strings"
)

// A pack is the opened file: a zip, whose compressed entries are what browsers
// take as gzip but for head and tail (RFC 1952 §2.3).
type pack struct {
	key   string // names exactly this content
	src   *os.File
	files map[string]*zip.File
}

func openPack(file string) (*pack, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	p, err := readPack(f)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read %s: %w", file, err)
	}
	return p, nil
}

func readPack(f *os.File) (*pack, error) {
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(f, i.Size())
	if err != nil {
		return nil, err
	}
	sum, p := sha256.New(), &pack{src: f, files: map[string]*zip.File{}}
	for _, e := range z.File {
		if e.Method != zip.Deflate && e.Method != zip.Store || kinds[path.Ext(e.Name)] == "" {
			return nil, fmt.Errorf("%q is nothing for browsers", e.Name)
		}
		fmt.Fprintf(sum, "%q %08x %d\n", e.Name, e.CRC32, e.UncompressedSize64)
		p.files[e.Name] = e
	}
	for _, name := range []string{script, style} {
		if p.files[name] == nil {
			return nil, fmt.Errorf("there is no %s in it", name)
		}
	}
	p.key = hex.EncodeToString(sum.Sum(nil)[:8])
	return p, nil
}

const (
	script = "converse.min.js"
	style  = "converse.min.css"
	omemo  = "libomemo.esm.min.js"
	curve  = "curve25519_compiled.wasm"
)

// secret says whether the client can encrypt.
func (p *pack) secret() bool { return p.files[omemo] != nil && p.files[curve] != nil }

// kinds are the types of what a pack may hold; the others have no place in it.
var kinds = map[string]string{
	".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".wasm": "application/wasm",
	".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon", ".ttf": "font/ttf", ".woff2": "font/woff2",
	".mp3": "audio/mpeg", ".ogg": "audio/ogg",
}

// give answers with one entry; it never changes under its name.
func (p *pack) give(w http.ResponseWriter, r *http.Request, name string) bool {
	e := p.files[name]
	if e == nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", kinds[path.Ext(name)])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	var body io.Reader
	size := e.UncompressedSize64
	raw, err := e.OpenRaw()
	switch {
	case err != nil:
	case e.Method == zip.Store:
		body = raw
	case takesGzip(r.Header.Get("Accept-Encoding")):
		h.Set("Content-Encoding", "gzip")
		body, size = io.MultiReader(strings.NewReader(gzipHead), raw, strings.NewReader(gzipTail(e))), e.CompressedSize64+gzipMore
	default:
		var whole io.ReadCloser
		if whole, err = e.Open(); err == nil {
			defer whole.Close()
			body = whole
		}
	}
	if err != nil {
		return false
	}
	h.Set("Content-Length", strconv.FormatUint(size, 10))
	if r.Method == http.MethodHead {
		return true
	}
	if _, err := io.Copy(w, body); err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return true
}

const (
	gzipHead = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff"
	gzipMore = uint64(len(gzipHead)) + 8
)

func gzipTail(e *zip.File) string {
	b := binary.LittleEndian.AppendUint32(nil, e.CRC32)
	return string(binary.LittleEndian.AppendUint32(b, uint32(e.UncompressedSize64)))
}

// takesGzip reads RFC 9110 §12.5.3.
func takesGzip(accept string) bool {
	for one := range strings.SplitSeq(accept, ",") {
		coding, weight, _ := strings.Cut(one, ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q, found := strings.CutPrefix(strings.ReplaceAll(weight, " ", ""), "q=")
			f, err := strconv.ParseFloat(q, 64)
			return !found || err == nil && f > 0
		}
	}
	return false
}
