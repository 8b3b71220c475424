// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"bufio"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sotto/offline/blob"
	"sotto/relay"
)

// slowest is the rate below which a transfer is given up, in bytes a second.
const slowest = 16 << 10

// pieceTime is how long a piece of an upload may take.
const pieceTime = 30 * time.Second

// serve answers all requests below /upload/: /upload/<id>/<name>.
func (u *upload) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*") // XEP-0363 §"Implementation Notes"
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Referrer-Policy", "no-referrer")
	id, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/upload/"), "/")
	switch r.Method {
	case http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "OPTIONS, HEAD, GET, PUT")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Range, If-Range")
		h.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPut:
		u.put(w, r, id, name)
	case http.MethodGet, http.MethodHead:
		u.get(w, r, id, name)
	default:
		h.Set("Allow", "OPTIONS, HEAD, GET, PUT")
		http.Error(w, "not here", http.StatusMethodNotAllowed)
	}
}

// take marks a slot as being written, so that no second upload begins.
func (u *upload) take(put, name string) (*slot, int) {
	now := u.s.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.slots[put]
	switch {
	case s == nil || s.head.Name != name || !now.Before(s.until):
		return nil, http.StatusNotFound
	case s.busy:
		return nil, http.StatusConflict
	}
	s.busy = true
	return s, 0
}

// done ends a slot with its file; after a failure it is open as before.
func (u *upload) done(put string, s *slot, written bool) {
	u.mu.Lock()
	s.busy = false
	if written {
		u.close(put, s)
	}
	gone := s.gone
	u.mu.Unlock()
	if gone {
		u.forget(s.head.Owner)
	}
}

// put takes a file (XEP-0363 §"Upload").
func (u *upload) put(w http.ResponseWriter, r *http.Request, id, name string) {
	s, code := u.take(id, name)
	if s == nil {
		http.Error(w, "there is no such slot; it may be too old, or used", code)
		return
	}
	err := u.receive(w, r, s)
	u.done(id, s, err == nil)
	var no refusal
	switch {
	case err == nil:
		w.WriteHeader(http.StatusCreated)
		return
	case errors.As(err, &no):
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		no = refusal{http.StatusInsufficientStorage, "the disk is full"}
	case errors.Is(err, io.ErrUnexpectedEOF), r.Context().Err() != nil, isTimeout(err):
		no = refusal{http.StatusRequestTimeout, "the file did not come whole"}
	default:
		u.s.Log().Error("upload", "err", err)
		no = refusal{http.StatusInternalServerError, "not stored"}
	}
	http.Error(w, no.text, no.code)
}

// A refusal is what an uploader is told.
type refusal struct {
	code int
	text string
}

func (e refusal) Error() string { return e.text }

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

func (u *upload) receive(w http.ResponseWriter, r *http.Request, s *slot) error {
	switch n := r.ContentLength; {
	case n < 0:
		return refusal{http.StatusLengthRequired, "say the length"}
	case n > s.head.Size:
		return refusal{http.StatusRequestEntityTooLarge, "longer than the slot"}
	case n < s.head.Size:
		return refusal{http.StatusBadRequest, "shorter than the slot"}
	}
	if t := r.Header.Get("Content-Type"); t != "" && s.head.Type != "" {
		if got, _, err := mime.ParseMediaType(t); err != nil || got != s.head.Type {
			return refusal{http.StatusUnsupportedMediaType, "another type than the slot's"}
		}
	}
	if g := relay.GuestOf(r.Context()); g != nil {
		g.Welcome() // only who has logged in knows a slot
	}
	late := time.Now().Add(transferTime(s.head.Size))
	body := bufio.NewReader(&pieces{r.Body, http.NewResponseController(w), late})
	if u.s.E2E() && s.head.Class != profile {
		if start, _ := body.Peek(512); readable(start) {
			return refusal{http.StatusUnsupportedMediaType, "this server takes only end-to-end encrypted files"}
		}
	}
	err := u.files.Write(s.id, s.head, body)
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(pieceTime))
	return err
}

func transferTime(size int64) time.Duration {
	return time.Minute + time.Duration(size/slowest)*time.Second
}

// pieces reads a body that must go on coming.
type pieces struct {
	r    io.Reader
	c    *http.ResponseController
	late time.Time
}

func (p *pieces) Read(b []byte) (int, error) {
	next := time.Now().Add(pieceTime)
	if next.After(p.late) {
		next = p.late
	}
	if err := p.c.SetReadDeadline(next); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// readable says whether a file is of a kind that everybody can read: what is
// encrypted looks like nothing. Signs of two or three bytes do not count, for
// chance writes them as well.
func readable(start []byte) bool {
	switch http.DetectContentType(start) {
	case "application/octet-stream", "image/bmp", "text/plain; charset=utf-16le", "text/plain; charset=utf-16be":
		return false
	}
	return true
}

// get gives a file, or a part of it (RFC 9110 §14).
func (u *upload) get(w http.ResponseWriter, r *http.Request, id, name string) {
	file, content, head, err := u.files.Open(id, u.s.Now())
	if err == nil {
		defer file.Close()
	}
	if err != nil || head.Name != name {
		if err != nil && !errors.Is(err, blob.ErrGone) {
			u.s.Log().Error("uploaded file", "err", err)
		}
		http.Error(w, "there is no such file, or not any more", http.StatusNotFound)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	how := "attachment"
	if head.Type != "" && !runs(head.Type) {
		h.Set("Content-Type", head.Type)
	}
	if harmless(head.Type) {
		how = "inline"
	}
	h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": head.Name}))
	h.Set("ETag", `"`+blob.Hidden(id)+`"`) // a file never changes
	h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Range, Content-Length, ETag")
	left := min(24*time.Hour, head.Expires.Sub(u.s.Now()))
	h.Set("Cache-Control", "private, immutable, max-age="+strconv.Itoa(int(left/time.Second)))
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(transferTime(head.Size)))
	http.ServeContent(w, r, "", time.Time{}, content)
}

// runs says whether a page of ours could take the file for a program or a
// style: the client for browsers has the same origin.
func runs(t string) bool { return strings.Contains(t, "script") || strings.Contains(t, "css") }

// harmless types hold nothing that a browser would run.
func harmless(t string) bool {
	kind, sub, _ := strings.Cut(t, "/")
	return kind == "audio" || kind == "video" || kind == "image" && !strings.Contains(sub, "xml")
}
