// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"context"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"time"

	"sotto/xmpp"
)

// Beside is the name of our end of a stream to a component: it speaks with all
// of our domains.
const Beside = "-"

// A Hatch lets components in (XEP-0114).
type Hatch struct {
	Secret   func(domain string) (secret string, ok bool)
	Deadline time.Duration
	Log      *slog.Logger
}

// Accept drives a socket until the stanzas of a component may come. On an error
// it has been told why, and is closed.
func (h *Hatch) Accept(ctx context.Context, nc net.Conn) (*Stream, error) {
	stop := context.AfterFunc(ctx, func() { _ = nc.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(h.Deadline))
	s := &Stream{Hand: xmpp.Take(nc, h.Log, xmpp.BeforeAuth, true), Us: Beside, Bidi: true}
	s.Speak(xmpp.NSComponent)
	if err := s.handshake(h); err != nil {
		defer nc.Close()
		var all *xmpp.StreamError
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = &xmpp.StreamError{Cond: xmpp.StreamConnectionTimeout, Cause: err}
		}
		if errors.As(err, &all) {
			_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
			b := all.Bytes()
			if s.ID == "" {
				b = append(componentHeader("", rand.Text()), b...)
			}
			_ = s.Write(append(b, "</stream:stream>"...))
		}
		return nil, err
	}
	_ = nc.SetDeadline(time.Time{})
	s.Limits(xmpp.AfterAuth)
	return s, nil
}

func componentHeader(from, id string) []byte {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='"+xmpp.NSComponent+"' xmlns:stream='"+xmpp.NSStream+"'"...)
	b = xmpp.AppendAttr(b, "from", from)
	return append(xmpp.AppendAttr(b, "id", id), '>')
}

// handshake is XEP-0114 §3. The time that it takes tells nothing about the
// secret, nor whether the name has one.
func (s *Stream) handshake(h *Hatch) error {
	head, err := s.Header()
	if err != nil {
		return err
	}
	secret, ok := h.Secret(head.To.Domain)
	if !ok || head.To != head.To.Host() {
		return &xmpp.StreamError{Cond: xmpp.StreamHostUnknown}
	}
	s.Them, s.ID = head.To.Domain, rand.Text()
	if err := s.Write(componentHeader(s.Them, s.ID)); err != nil {
		return err
	}
	el, err := s.Read()
	if err != nil {
		return err
	}
	sum := sha1.Sum([]byte(s.ID + secret))
	want := hex.EncodeToString(sum[:])
	if el.Name.Local != "handshake" || subtle.ConstantTimeCompare([]byte(el.Text()), []byte(want)) != 1 {
		return &xmpp.StreamError{Cond: xmpp.StreamNotAuthorized}
	}
	return s.Write([]byte("<handshake/>"))
}
