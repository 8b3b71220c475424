// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"sotto/relay"
)

// Options are an operator's choices.
type Options struct {
	File     string // what Install wrote; empty: there is no client
	Rooms    string // domain of group chats
	Register bool   // people may make accounts
}

// A desk gives the client out.
type desk struct {
	// fixed: set before Serve, read-only after.
	s *relay.Server
	o Options

	// shared: under mu.
	mu   sync.Mutex
	pack *pack
	size int64
	at   time.Time // of the file, when it was opened
}

// Add registers the family, if the server has HTTPS and a client is wanted.
func Add(s *relay.Server, o Options) {
	if s.URL() == "" || o.File == "" {
		return
	}
	d := &desk{s: s, o: o}
	s.HandleHTTP("/chat", d.serve)
	s.HandleHTTP("/chat/", d.serve)
}

// open gives what is in the file now: a newer one is taken without a restart.
func (d *desk) open() (*pack, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	i, err := os.Stat(d.o.File)
	if err != nil {
		return nil, err
	}
	if d.pack != nil && i.Size() == d.size && i.ModTime().Equal(d.at) {
		return d.pack, nil
	}
	p, err := openPack(d.o.File) // who still reads from the one before keeps it
	if err != nil {
		return nil, err
	}
	d.pack, d.size, d.at = p, i.Size(), i.ModTime()
	return p, nil
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	p, err := d.open()
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.s.Log().Error("browser client", "err", err)
		}
		http.Error(w, absent, http.StatusNotFound)
		return
	}
	switch rest := strings.TrimPrefix(r.URL.Path, "/chat"); rest {
	case "":
		d.page(w, p)
	case "/":
		http.Redirect(w, r, "/chat", http.StatusPermanentRedirect)
	case "/start.js":
		fresh(w, r, "text/javascript", d.start(p))
	case "/licences":
		fresh(w, r, "text/plain; charset=utf-8", []byte(licences))
	default:
		key, name, _ := strings.Cut(rest[1:], "/")
		if key != p.key || !p.give(w, r, name) {
			http.Error(w, "there is no such file", http.StatusNotFound)
		}
	}
}

const absent = `There is no client for browsers here yet.

The operator of this server gets one by:  sottod chat install
`

// fresh gives what may be another the next time.
func fresh(w http.ResponseWriter, r *http.Request, kind string, b []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}

// page is the one document.
func (d *desk) page(w http.ResponseWriter, p *pack) {
	b := d.index(p)
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	h.Set("Content-Security-Policy", d.policy())
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Content-Length", strconv.Itoa(len(b)))
	_, _ = w.Write(b)
}
