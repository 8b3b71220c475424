// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sotto/xmpp"
)

// Each of the storm's people has this many contacts, and so many pairs talk
// meanwhile.
const contacts, talkers = 50, 20

// A storm is many people who come online within a short time.
type storm struct {
	p    *peer
	n    int
	all  []*device
	seen atomic.Int64 // presence of contacts that has come
	late *meter
}

// A meter holds how long messages took.
type meter struct {
	mu  sync.Mutex
	all []time.Duration
}

func (m *meter) add(d time.Duration) {
	m.mu.Lock()
	m.all = append(m.all, d)
	m.mu.Unlock()
}

// p99 is the time within which 99 of 100 were there.
func (m *meter) p99() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.all) == 0 {
		return 0
	}
	slices.Sort(m.all)
	return m.all[len(m.all)*99/100]
}

// friends are the contacts of one: those beside him on a ring.
func (s *storm) friends(i int) (l []string) {
	for d := 1; d <= contacts/2; d++ {
		l = append(l, fmt.Sprintf("user%d", (i+d)%s.n), fmt.Sprintf("user%d", (i-d+s.n)%s.n))
	}
	return l
}

// measureStorm is the work of many who come online at once, and what those
// feel who talk meanwhile.
func measureStorm(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	s := &storm{p: p, n: c.Crowd, all: make([]*device, c.Crowd), late: &meter{}}
	if s.n <= contacts {
		return nil, fmt.Errorf("a storm takes more than %d people", contacts)
	}
	if err := s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("rosters: %w", err)
	}
	if err := s.p.register(talkersNames()...); err != nil {
		return nil, err
	}
	stop, err := s.talk(ctx)
	if err != nil {
		return nil, err
	}
	cpu, err := cpuDuring(p.pid, func() error { return s.run(ctx, c.Rush) })
	stop()
	each := 1000 * ms(cpu) / float64(s.n*contacts)
	return []figure{
		{fmt.Sprintf("server CPU of %d people with %d contacts coming online in %v", s.n, contacts, c.Rush), "ms", ms(cpu), true},
		{"the same for each presence that came", "µs", each, true},
		{"message p99 meanwhile", "ms", ms(s.late.p99()), true},
	}, err
}

// run brings everybody on, spread over the time, and waits until everybody has
// seen all of his contacts.
func (s *storm) run(ctx context.Context, rush time.Duration) error {
	begin := time.Now()
	err := each(s.n, 8, func(i int) error {
		at := begin.Add(rush * time.Duration(i) / time.Duration(s.n))
		select {
		case <-time.After(time.Until(at)):
		case <-ctx.Done():
			return ctx.Err()
		}
		return s.come(ctx, i)
	})
	if err != nil {
		return err
	}
	return until(ctx, &s.seen, int64(s.n*contacts))
}

// come is what a client does first: roster, then presence.
func (s *storm) come(ctx context.Context, i int) (err error) {
	me := fmt.Sprintf("user%d@", i)
	s.all[i], err = s.p.login(ctx, fmt.Sprintf("user%d", i), "storm", true, func(_ *device, st *xmpp.Stanza) error {
		if st.Kind == xmpp.KindPresence && st.Type == "" && !strings.HasPrefix(st.From.String(), me) {
			s.seen.Add(1)
		}
		return nil
	})
	if err == nil {
		s.all[i].send([]byte("<iq type='get' id='ros'><query xmlns='jabber:iq:roster'/></iq><presence><priority>5</priority></presence>"))
	}
	return err
}

func until(ctx context.Context, n *atomic.Int64, want int64) error {
	for n.Load() < want {
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), fmt.Errorf("%d of %d came", n.Load(), want))
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func talkersNames() (l []string) {
	for i := range 2 * talkers {
		l = append(l, fmt.Sprintf("talker%d", i))
	}
	return l
}

// talk lets pairs write to each other, each ten times a second, and measures
// how long a message takes. The text begins with the time it was sent.
func (s *storm) talk(ctx context.Context) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop = func() {
		cancel()
		wg.Wait()
	}
	err = each(talkers, 4, func(i int) error {
		to, err := s.p.login(ctx, fmt.Sprintf("talker%d", 2*i), "t", true, s.hear)
		if err != nil {
			return err
		}
		to.send([]byte("<presence/>"))
		from, err := s.p.login(ctx, fmt.Sprintf("talker%d", 2*i+1), "t", true, nil)
		if err != nil {
			return err
		}
		wg.Add(1)
		go func() {
			defer wg.Done()
			from.chatter(ctx, fmt.Sprintf("talker%d@%s/t", 2*i, domain), time.Duration(i)*100*time.Millisecond/talkers)
		}()
		return nil
	})
	return stop, err
}

func (s *storm) hear(_ *device, st *xmpp.Stanza) error {
	if at, err := strconv.ParseInt(strings.TrimPrefix(st.ID, "at"), 10, 64); err == nil && st.Kind == xmpp.KindMessage {
		s.late.add(time.Since(time.Unix(0, at)))
	}
	return nil
}

// chatter sends ten messages a second; their id is the time.
func (d *device) chatter(ctx context.Context, to string, first time.Duration) {
	next := time.Now().Add(first)
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		d.send(fmt.Appendf(nil, "<message to='%s' type='chat' id='at%d'><body>%s</body></message>", to, time.Now().UnixNano(), kilobyte))
		next = next.Add(100 * time.Millisecond)
	}
}
