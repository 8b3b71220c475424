// SPDX-License-Identifier: Apache-2.0

package link

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/peer"
)

// A road is what goes from one of our domains to one of theirs: a mailbox, and
// a stream while there is one.
type road struct {
	// fixed
	l     *links
	pair  pair
	box   *offline.Mailbox
	knock chan struct{} // capacity 1: somebody writes again

	// shared: guarded by mu
	mu      sync.Mutex
	stream  *stream
	running bool // a goroutine looks for a way
	noted   bool // see links.note
	bytes   int  // of what waits, as far as we have seen it come
	tries   int
	failed  time.Time
	failure *xmpp.StanzaError // of the last try; nil: there was none, or it went well
	used    time.Time
}

// send puts a stanza into the mailbox.
func (r *road) send(t *relay.Letter) (*offline.Ticket, error) {
	r.mu.Lock()
	why := r.failure
	if r.stream != nil || why != nil && time.Since(r.failed) > pauses(r.tries, r.l.o.Stop) {
		why = nil
	}
	bytes, noted, up := r.bytes, r.noted, r.stream
	r.used = time.Now()
	r.mu.Unlock()
	if r.pair.us == peer.Beside && t.Hasty && up == nil {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ServiceUnavailable).Say("the component is not there now")
	}
	if why != nil && (t.Hasty || why.Type == xmpp.Cancel) {
		return nil, why
	}
	n := r.box.Len()
	if n >= waitingMax || bytes+len(t.Body) > bytesMax || t.Hasty && (n >= waitingMax/2 || bytes > bytesMax/2) {
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).Say("too much waits for that server")
	}
	if !noted {
		if err := r.l.note(r.pair); err != nil {
			return nil, err
		}
	}
	now := r.l.s.Now()
	m := &offline.Mail{From: t.From.String(), ID: t.ID, Body: t.Body, At: now, Expires: now.Add(r.l.o.Wait), Token: t.Token}
	if t.Hasty {
		m.Expires = now.Add(hasty)
	}
	ticket, err := r.l.s.Store().Owe(r.pair.owner(), m, up != nil && up.counts())
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.noted = true
	r.bytes += len(t.Body)
	r.mu.Unlock()
	r.wake()
	return ticket, nil
}

// counts says whether the other server acks by stream management.
func (s *stream) counts() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acks
}

// wake makes the stream's writer look, or looks for a way.
func (r *road) wake() {
	r.mu.Lock()
	s, start := r.stream, r.stream == nil && !r.running && r.pair.us != peer.Beside // a component comes by itself
	r.running = r.running || start
	r.mu.Unlock()
	switch {
	case s != nil:
		s.conn.Wake()
	case start:
		r.l.s.Go(r.run)
	default:
		select {
		case r.knock <- struct{}{}:
		default:
		}
	}
}

// pauses grow from a second, spread so that not all try at once.
func pauses(tries int, most time.Duration) time.Duration {
	return min(most, time.Second<<min(tries, 20))
}

// hurry is how soon after a failed try somebody who writes causes another one.
const hurry = 10 * time.Second

// run keeps a stream up as long as something waits.
func (r *road) run(ctx context.Context) {
	for {
		s, err := r.l.call(ctx, r.pair)
		if err == nil && r.take(s) {
			s.run(ctx)
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.fail(err)
		}
		if r.rest() {
			return
		}
		r.mu.Lock()
		pause := pauses(r.tries, r.l.o.Stop)
		r.mu.Unlock()
		pause = pause/2 + rand.N(pause/2+1)
		if !r.sleep(ctx, pause) {
			return
		}
	}
}

// sleep waits for the next try.
func (r *road) sleep(ctx context.Context, pause time.Duration) bool {
	long, short := time.NewTimer(pause), time.NewTimer(min(pause, hurry))
	defer long.Stop()
	defer short.Stop()
	knocked, soon := false, false
	for {
		select {
		case <-ctx.Done():
			return false
		case <-long.C:
			return true
		case <-short.C:
			soon = true
		case <-r.knock:
			knocked = true
		}
		if knocked && soon {
			return true
		}
	}
}

// rest ends the goroutine when nothing waits, or another stream has come.
func (r *road) rest() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stream == nil && r.box.Len() > 0 {
		return false
	}
	r.running = false
	return true
}

// take gives the road a stream; false: it has one, or looks for one itself.
func (r *road) take(s *stream) bool {
	r.mu.Lock()
	free := r.stream == nil && (s.called || !r.running)
	if free {
		r.stream, r.failure = s, nil
		s.road = r
	}
	r.mu.Unlock()
	if free {
		s.conn.Wake()
	}
	return free
}

// leave takes a stream away that has ended.
func (r *road) leave(s *stream, moved bool) {
	r.mu.Lock()
	if r.stream == s {
		r.stream = nil
	}
	r.tries++
	if moved {
		r.tries = 0
	}
	r.used = time.Now()
	r.mu.Unlock()
	if r.pair.us == peer.Beside {
		r.bounce(xmpp.Refuse(xmpp.Wait, xmpp.ServiceUnavailable).Say("the component has gone"), false)
	}
	if r.box.Len() > 0 {
		r.wake()
	}
}

// fail notes a try that came to nothing, and tells those who do not wait.
func (r *road) fail(err error) {
	why := xmpp.Refuse(xmpp.Wait, xmpp.RemoteServerTimeout).Say("there is no way to " + r.pair.them + " now")
	if errors.Is(err, errNowhere) {
		why = xmpp.Refuse(xmpp.Cancel, xmpp.RemoteServerNotFound).Say("there is no server of " + r.pair.them)
	}
	r.l.s.Log().Info("no link", "cond", why.Cond, "err", err)
	r.mu.Lock()
	r.tries++
	r.failed, r.failure = time.Now(), why
	lost := r.tries == 3
	r.mu.Unlock()
	r.bounce(why, why.Type == xmpp.Cancel)
	if lost {
		r.l.s.Lost(r.pair.them)
	}
}

// bounce gives back what does not wait, or everything.
func (r *road) bounce(why *xmpp.StanzaError, all bool) {
	for cursor := uint64(0); ; {
		mail, err := r.box.After(cursor, 64, nil)
		if err != nil || len(mail) == 0 {
			return
		}
		for i := range mail {
			m := &mail[i]
			cursor = m.Seq
			if all || m.Expires.Sub(m.At) <= hasty {
				r.l.s.Bounce(m.Body, why)
				r.had(m.Seq, len(m.Body))
			}
		}
	}
}

// had takes off what the other server has.
func (r *road) had(seq uint64, bytes int) {
	r.box.Ack(seq)
	r.mu.Lock()
	r.bytes = max(0, r.bytes-bytes)
	r.mu.Unlock()
}

// over says that the road can be forgotten.
func (r *road) over(now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := r.stream == nil && !r.running && now.Sub(r.used) > time.Minute && r.box.Len() == 0
	if done && r.noted {
		r.l.forget(r.pair)
	}
	return done
}
