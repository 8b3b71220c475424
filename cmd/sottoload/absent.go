// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"sotto/xmpp"
)

// An acker sends and measures when its stream-management acks come back.
type acker struct {
	*device
	mu    sync.Mutex
	sent  []time.Time
	acked int
	slow  []time.Duration
	done  chan struct{}
	want  int
}

func (a *acker) ack(st *xmpp.Stanza) error {
	if st.Name != (xmpp.Name{Space: xmpp.NSSM, Local: "a"}) {
		return nil
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	var h int
	fmt.Sscan(el.Get("h"), &h)
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.acked < h && a.acked < len(a.sent) {
		a.slow = append(a.slow, time.Since(a.sent[a.acked]))
		a.acked++
	}
	if a.acked == a.want {
		close(a.done)
		a.want = -1
	}
	return nil
}

// measureOffline is durable mail to people who are away: the sender counts a
// message when its ack came, which sotto sends only after the disk's sync.
func measureOffline(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	const senders, steady = 8, 2500
	if err := p.register(users(2 * senders)...); err != nil {
		return nil, err
	}
	per := c.Messages / senders
	all := func(rate float64) (time.Duration, float64, error) {
		begin := time.Now()
		var slow []time.Duration
		var mu sync.Mutex
		err := each(senders, senders, func(i int) error {
			one, err := p.flood(ctx, fmt.Sprintf("user%d", i), fmt.Sprintf("user%d@%s", senders+i, domain), per, rate/senders)
			mu.Lock()
			slow = append(slow, one...)
			mu.Unlock()
			return err
		})
		if err != nil {
			return 0, 0, err
		}
		slices.Sort(slow)
		return slow[len(slow)*99/100], float64(per*senders) / time.Since(begin).Seconds(), nil
	}
	flooded, rate, err := all(0)
	if err != nil {
		return nil, err
	}
	half, _, err := all(steady)
	return []figure{
		{"acked messages to absent users, 1 KiB", "1/s", rate, false},
		{"ack time p99 while flooded", "ms", ms(flooded), true},
		{fmt.Sprintf("ack time p99 at %d/s", steady), "ms", ms(half), true},
	}, err
}

// flood sends n messages, a hundred unacked at a time, and says how long each
// ack took. A rate above zero is how many it sends in a second.
func (p *peer) flood(ctx context.Context, user, to string, n int, rate float64) ([]time.Duration, error) {
	a := &acker{done: make(chan struct{}), want: n}
	d, err := p.login(ctx, user, "f", true, func(_ *device, st *xmpp.Stanza) error { return a.ack(st) })
	if err != nil {
		return nil, err
	}
	a.device = d
	defer d.close()
	begin := time.Now()
	for i := 0; i < n; {
		a.mu.Lock()
		room := 100 - (len(a.sent) - a.acked)
		if rate > 0 {
			room = min(room, int(rate*time.Since(begin).Seconds())-i)
		}
		for range max(0, min(room, n-i)) {
			a.sent = append(a.sent, time.Now())
			d.send(chat(to, i))
			i++
		}
		a.mu.Unlock()
		d.send([]byte("<r xmlns='" + xmpp.NSSM + "'/>"))
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	for {
		select {
		case <-a.done:
			return a.slow, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
			d.send([]byte("<r xmlns='" + xmpp.NSSM + "'/>"))
		}
	}
}

// measureDrain is a device that comes back to a full mailbox.
func measureDrain(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	if err := p.register("user0", "user1"); err != nil {
		return nil, err
	}
	if _, err := p.flood(ctx, "user0", "user1@"+domain, c.Waiting, 0); err != nil {
		return nil, err
	}
	n, disorder := 0, 0
	done := make(chan struct{})
	d, err := p.login(ctx, "user1", "b", true, func(_ *device, st *xmpp.Stanza) error {
		if st.Kind == xmpp.KindMessage {
			if st.ID != fmt.Sprintf("m%d", n) {
				disorder++
			}
			if n++; n == c.Waiting {
				close(done)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	defer d.close()
	begin := time.Now()
	d.send([]byte("<presence/>"))
	select {
	case <-done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return []figure{
		{fmt.Sprintf("drain of %d waiting messages", c.Waiting), "1/s", float64(c.Waiting) / time.Since(begin).Seconds(), false},
		{"of them out of order", "", float64(disorder), true},
	}, nil
}
