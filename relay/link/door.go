// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"net"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/peer"
)

// serve lets other servers in by a listener. direct means TLS from the first
// byte (XEP-0368).
func (l *links) serve(ln net.Listener, direct bool) error {
	d := &peer.Door{Trust: l.trust, Serves: l.serves, May: l.may, Ask: l.confirm, Deadline: l.o.Proof}
	return l.listen(ln, func(ctx context.Context, nc net.Conn) (*peer.Stream, error) { return d.Accept(ctx, nc, direct) })
}

// A knock is how somebody proves who he is.
type knock func(ctx context.Context, nc net.Conn) (*peer.Stream, error)

// listen takes sockets until the listener closes, or the server shuts down.
func (l *links) listen(ln net.Listener, k knock) error {
	done := make(chan struct{})
	if !l.s.Go(func(ctx context.Context) {
		defer close(done)
		defer context.AfterFunc(ctx, func() { ln.Close() })()
		l.accept(ctx, ln, k)
	}) {
		return ln.Close()
	}
	<-done
	return nil
}

func (l *links) accept(ctx context.Context, ln net.Listener, k knock) {
	for {
		nc, err := ln.Accept()
		switch {
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.s.Log().Warn("accept", "err", err)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
			continue
		}
		from := host(nc)
		if !l.enter(from) {
			nc.Close()
			continue
		}
		if !l.s.Go(func(ctx context.Context) {
			p, err := k(ctx, nc)
			l.leave(from)
			if err != nil {
				l.s.Log().Debug("link refused", "conn", from, "err", err)
				return
			}
			if p.Us == peer.Beside {
				l.admit(ctx, p)
			} else {
				l.welcome(ctx, p)
			}
		}) {
			nc.Close()
		}
	}
}

func host(nc net.Conn) string {
	h, _, err := net.SplitHostPort(nc.RemoteAddr().String())
	if err != nil {
		return nc.RemoteAddr().String()
	}
	return h
}

// enter counts those who have proved nothing yet, in all and by address.
func (l *links) enter(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := 0
	for _, n := range l.doors {
		all += n
	}
	if all >= strangerMax || l.doors[from] >= strangerOne || len(l.streams) >= streamsMax {
		return false
	}
	l.doors[from]++
	return true
}

func (l *links) leave(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.doors[from]--; l.doors[from] <= 0 {
		delete(l.doors, from)
	}
}

// streamsOne is how many streams one pair may have that came in: a server that
// lost one may not know it yet.
const streamsOne = 8

// welcome serves a stream of a server that has proved its domain.
func (l *links) welcome(ctx context.Context, p *peer.Stream) {
	s := l.stream(p, false)
	l.mu.Lock()
	same := 0
	for o := range l.streams {
		if !o.called && o.peer.Us == p.Us && o.peer.Them == p.Them {
			same++
		}
	}
	l.mu.Unlock()
	if same >= streamsOne {
		s.conn.Close(&xmpp.StreamError{Cond: xmpp.StreamResourceConstraint, Text: "you have too many streams here"})
	} else if p.Bidi {
		if r := l.road(pair{p.Us, p.Them}); r != nil {
			r.take(s)
		}
	}
	s.run(ctx)
}
