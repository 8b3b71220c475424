// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"net"
	"slices"
	"time"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/peer"
)

// serves says whether a domain is ours, or a component's.
func (l *links) serves(domain string) bool {
	return l.s.Hosted(domain) || l.o.Components[domain] != ""
}

// items are the components that are there (XEP-0030 §4).
func (l *links) items() (all []relay.Item) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for s := range l.streams {
		if s.beside {
			all = append(all, relay.Item{JID: s.peer.Them})
		}
	}
	slices.SortFunc(all, func(a, b relay.Item) int {
		if a.JID < b.JID {
			return -1
		}
		return 1
	})
	return all
}

// secret is what a component must know; an empty one lets nobody in.
func (l *links) secret(domain string) (string, bool) {
	s := l.o.Components[domain]
	return s, s != ""
}

// beside lets components in by a listener.
func (l *links) beside(ln net.Listener) error {
	h := &peer.Hatch{Secret: l.secret, Deadline: l.o.Proof, Log: l.s.Log()}
	return l.listen(ln, func(ctx context.Context, nc net.Conn) (*peer.Stream, error) { return h.Accept(ctx, nc) })
}

// goingTime is how long one that comes again waits for the end of its old stream.
const goingTime = 2 * time.Second

// admit gives a component its road. The one that came first stays: a second one
// would take its stanzas (XEP-0114 §3).
func (l *links) admit(ctx context.Context, p *peer.Stream) {
	s := l.stream(p, false)
	r := l.road(pair{p.Us, p.Them})
	for end := time.Now().Add(goingTime); r != nil && !r.take(s); {
		if time.Now().After(end) || ctx.Err() != nil {
			r = nil
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if r == nil {
		s.conn.Close(&xmpp.StreamError{Cond: xmpp.StreamConflict})
	}
	s.run(ctx)
}
