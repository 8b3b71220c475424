// SPDX-License-Identifier: Apache-2.0

package link

import (
	"fmt"
	"slices"
	"time"

	"sotto/xmpp/peer"
)

// lines say how each link is.
func (l *links) lines() (all []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, r := range l.roads {
		if p.us == peer.Beside {
			all = append(all, fmt.Sprintf("component         %s: %s", p.them, r.state()))
		} else {
			all = append(all, fmt.Sprintf("to                %s (from %s): %s", p.them, p.us, r.state()))
		}
	}
	for s := range l.streams {
		if !s.called && !s.beside {
			all = append(all, fmt.Sprintf("from              %s (to %s): %s", s.peer.Them, s.peer.Us, s.told()))
		}
	}
	slices.Sort(all)
	return all
}

// state is how a road is, in a few words.
func (r *road) state() string {
	r.mu.Lock()
	s, why, tries, failed := r.stream, r.failure, r.tries, r.failed
	r.mu.Unlock()
	waits := fmt.Sprintf("%d wait", r.box.Len())
	switch {
	case s != nil:
		return s.told() + ", " + waits
	case why != nil:
		return fmt.Sprintf("%s at %s, tried %d times, %s", why.Cond, failed.Format(time.TimeOnly), tries, waits)
	}
	return "not there, " + waits
}

// told is how a stream is.
func (s *stream) told() string {
	b := "up since " + s.since.Format(time.DateTime)
	switch {
	case s.beside:
	case s.peer.Dialback:
		b += " by dialback"
	default:
		b += " by certificate"
	}
	if s.peer.Bidi && !s.beside {
		b += ", both ways"
	}
	return b
}
