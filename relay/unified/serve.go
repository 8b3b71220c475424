// SPDX-License-Identifier: Apache-2.0

package unified

import (
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"time"

	"sotto/relay"
)

// pushMax is what every service must take (RFC 8030 §7.2), and with the padding
// of RFC 8291 §4 all that there is.
const pushMax = 4096

// answerTime is how long a client may take.
const answerTime = 10 * time.Second

// serve answers all requests below /up/.
func (u *unified) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Access-Control-Allow-Origin", "*") // a page may push to itself
	token := strings.TrimPrefix(r.URL.Path, "/up/")
	switch {
	case r.Method == http.MethodOptions:
		h.Set("Access-Control-Allow-Methods", "OPTIONS, GET, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Encoding, Content-Type, TTL, Topic, Urgency")
		w.WriteHeader(http.StatusNoContent)
	case strings.HasPrefix(token, "done/"): // RFC 8030 §6.2: it has been delivered
		w.WriteHeader(http.StatusGone)
	case r.Method == http.MethodGet || r.Method == http.MethodHead: // how apps see what this is
		h.Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"unifiedpush":{"version":1}}`)
	case r.Method == http.MethodPost:
		u.post(w, r, token)
	default:
		h.Set("Allow", "OPTIONS, HEAD, GET, POST")
		http.Error(w, "not here", http.StatusMethodNotAllowed)
	}
}

// post is RFC 8030 §5. Nothing is stored, which TTL: 0 says (§5.2).
func (u *unified) post(w http.ResponseWriter, r *http.Request, token string) {
	e, err := open(u.seal, token, u.s.Now())
	if err == nil && u.isRevoked(&e) {
		err = errToken
	}
	if err == nil {
		_, err = u.s.Store().Account(e.to.Local)
	}
	if err != nil {
		http.Error(w, "there is no such endpoint", http.StatusNotFound)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, pushMax))
	switch {
	case err != nil:
		http.Error(w, "a push has at most 4096 bytes", http.StatusRequestEntityTooLarge)
		return
	case len(body) == 0:
		http.Error(w, "there is nothing in it", http.StatusBadRequest)
		return
	case u.s.E2E() && !sealed(r, body):
		http.Error(w, "this server takes only encrypted pushes (RFC 8291)", http.StatusUnsupportedMediaType)
		return
	}
	p, end, busy := u.send(&e, body)
	switch {
	case busy:
		later(w, http.StatusTooManyRequests, "too many pushes", "30")
		return
	case p == nil:
		later(w, http.StatusServiceUnavailable, "the device is not connected", "120")
		return
	}
	defer end()
	timer := time.NewTimer(answerTime)
	defer timer.Stop()
	a := refused
	select {
	case a = <-p.done:
	case <-timer.C:
	case <-r.Context().Done():
	}
	switch a {
	case gone:
		u.revoke(&e)
		http.Error(w, "the app is not there any more", http.StatusNotFound)
	case refused:
		later(w, http.StatusServiceUnavailable, "the device did not take it", "120")
	default:
		w.Header().Set("TTL", "0")
		w.Header().Set("Location", u.s.URL()+"/up/done/"+relay.NewID())
		w.WriteHeader(http.StatusCreated)
	}
}

func later(w http.ResponseWriter, code int, text, seconds string) {
	w.Header().Set("Retry-After", seconds)
	w.Header().Set("TTL", "0")
	http.Error(w, text, code)
}

// sealed says whether a push has the form of an encrypted one: salt, record
// size, a key of 65 bytes, and at least one record (RFC 8188 §2.1, RFC 8291 §4).
func sealed(r *http.Request, b []byte) bool {
	const head = 16 + 4 + 1 + 65
	return strings.EqualFold(r.Header.Get("Content-Encoding"), "aes128gcm") &&
		len(b) >= head+17 && b[20] == 65 && b[21] == 4 && binary.BigEndian.Uint32(b[16:]) >= 18
}
