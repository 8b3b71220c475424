// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/wire"
)

// What a stranger may take: nobody has logged in to HTTP.
const (
	handshakeTime = 10 * time.Second
	headTime      = 10 * time.Second
	idleTime      = 60 * time.Second
	requestTime   = 30 * time.Second // who needs more must ask for it
	headBytes     = 16 << 10
)

// Add registers the family, if the server has HTTPS.
func Add(s *relay.Server) {
	if s.URL() == "" {
		return
	}
	s.HandleHTTP("/.well-known/host-meta", hostMeta(s))
	s.HandleHTTP("/.well-known/host-meta.json", hostMetaJSON(s))
	s.HandleHTTP("/ws", socket)
	s.HandleHTTP("/http-bind", newBosh(s).serve)
}

// Serve shares a port between HTTP and streams: a client that negotiates
// xmpp-client speaks XMPP (XEP-0368 §4), any other HTTP/1.1.
func Serve(ctx context.Context, s *relay.Server, l net.Listener, conf *tls.Config) error {
	conf = conf.Clone()
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	conf.NextProtos = []string{xmpp.ALPN, "http/1.1"}
	hall := &hall{addr: l.Addr(), next: make(chan net.Conn), over: make(chan struct{})}
	srv := &http.Server{
		Handler: patient(s.HTTP()), ReadHeaderTimeout: headTime, IdleTimeout: idleTime, MaxHeaderBytes: headBytes,
		ErrorLog: log.New(io.Discard, "", 0), // strangers' mistakes
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			v, _ := c.(*visit)
			return relay.WithGuest(context.WithValue(ctx, connKey{}, v), v.g)
		},
	}
	go srv.Serve(hall)
	defer srv.Close()
	return s.ServeGuests(ctx, l, func(nc net.Conn, g *relay.Guest) { go greet(ctx, nc, g, conf, hall) })
}

// patient gives each request its time, both to be read and to be answered.
func patient(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, late := http.NewResponseController(w), time.Now().Add(requestTime)
		_ = errors.Join(c.SetReadDeadline(late), c.SetWriteDeadline(late)) // a broken socket says so later
		h.ServeHTTP(w, r)
	})
}

// greet makes the TLS of one socket and shows it where to go.
func greet(ctx context.Context, nc net.Conn, g *relay.Guest, conf *tls.Config, h *hall) {
	stop := context.AfterFunc(g.Life(), func() { nc.Close() })
	w := wire.New(nc)
	if f, ok := w.(*wire.Conn); ok {
		f.Frame()
	}
	t := tls.Server(w, conf)
	_ = nc.SetDeadline(time.Now().Add(handshakeTime))
	if err := t.Handshake(); err != nil {
		stop()
		nc.Close()
		g.Leave()
		return
	}
	_ = nc.SetDeadline(time.Time{})
	if t.ConnectionState().NegotiatedProtocol == xmpp.ALPN {
		stop()
		g.Stream(ctx, t, false)
		return
	}
	h.give(&visit{Conn: t, tls: t, ctx: ctx, g: g, stop: stop})
}

// A visit is a connection that speaks HTTP, at least at first.
type visit struct {
	net.Conn
	tls  *tls.Conn       // the same
	ctx  context.Context // of the listener
	g    *relay.Guest
	stop func() bool // from now on its guest may be sent away politely
	once sync.Once
}

type connKey struct{}

func visitOf(r *http.Request) *visit {
	v, _ := r.Context().Value(connKey{}).(*visit)
	return v
}

// CloseWrite lets the HTTP server say its last words to who is still sending.
func (v *visit) CloseWrite() error { return v.tls.CloseWrite() }

// Close ends the visit.
func (v *visit) Close() error {
	err := v.Conn.Close()
	v.once.Do(func() {
		v.stop()
		v.g.Leave()
	})
	return err
}

// A hall is the listener in which an HTTP server waits for those who ask for it.
type hall struct {
	addr net.Addr
	next chan net.Conn
	once sync.Once
	over chan struct{}
}

func (h *hall) give(c net.Conn) {
	select {
	case h.next <- c:
	case <-h.over:
		c.Close()
	}
}

func (h *hall) Accept() (net.Conn, error) {
	select {
	case c := <-h.next:
		return c, nil
	case <-h.over:
		return nil, net.ErrClosed
	}
}

func (h *hall) Close() error { h.once.Do(func() { close(h.over) }); return nil }

func (h *hall) Addr() net.Addr { return h.addr }
