// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sotto/xmpp"
)

var kilobyte = strings.Repeat("QUJDREVGR0hJSktM", 64)

func users(n int) []string {
	var l []string
	for i := range n {
		l = append(l, fmt.Sprintf("user%d", i))
	}
	return l
}

// measureLogin is the server's work for one log-in: TLS, SCRAM, bind.
func measureLogin(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	if err := p.register(users(20)...); err != nil {
		return nil, err
	}
	cpu, err := cpuDuring(p.pid, func() error {
		return each(c.Logins, 4, func(i int) error {
			d, err := p.login(ctx, fmt.Sprintf("user%d", i%20), fmt.Sprintf("r%d", i), false, nil)
			if err == nil {
				d.close()
			}
			return err
		})
	})
	return []figure{{"server CPU per login (TLS + SCRAM-SHA-256 + bind)", "ms", ms(cpu) / float64(c.Logins), true}}, err
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// measureIdle is what a session costs that does nothing.
func measureIdle(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	const accounts = 100
	if err := p.register(users(accounts)...); err != nil {
		return nil, err
	}
	before, err := statusOf(p.pid, "VmRSS")
	if err != nil {
		return nil, err
	}
	all := make([]*device, c.Sessions)
	err = each(c.Sessions, 8, func(i int) (err error) {
		all[i], err = p.login(ctx, fmt.Sprintf("user%d", i%accounts), fmt.Sprintf("r%d", i), true, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(10 * time.Second): // let collectors do their work
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := statusOf(p.pid, "VmRSS")
	if err != nil {
		return nil, err
	}
	for _, d := range all {
		d.conn.Drop()
	}
	return []figure{{fmt.Sprintf("memory per idle TLS session (%d)", c.Sessions), "KiB", (after - before) / 1024 / float64(c.Sessions), true}}, nil
}

// A talk is pairs of people who are there.
type talk struct {
	from, to []*device
	room     []chan struct{} // at most 20 messages on their way in each pair
	got      atomic.Int64
	total    int64
	done     chan struct{}
}

func (p *peer) pairs(ctx context.Context, c *commands) (*talk, error) {
	k := &talk{
		from: make([]*device, c.Pairs), to: make([]*device, c.Pairs), room: make([]chan struct{}, c.Pairs),
		total: int64(c.Messages / c.Pairs * c.Pairs), done: make(chan struct{}),
	}
	return k, each(c.Pairs, 4, func(i int) (err error) {
		k.room[i] = make(chan struct{}, 20)
		if k.from[i], err = p.login(ctx, fmt.Sprintf("user%d", 2*i), "a", true, nil); err != nil {
			return err
		}
		k.to[i], err = p.login(ctx, fmt.Sprintf("user%d", 2*i+1), "b", true, func(_ *device, st *xmpp.Stanza) error {
			if st.Kind == xmpp.KindMessage {
				<-k.room[i]
				if k.got.Add(1) == k.total {
					close(k.done)
				}
			}
			return nil
		})
		if err == nil {
			k.to[i].send([]byte("<presence/>"))
		}
		return err
	})
}

// run sends all messages and waits until they are there.
func (k *talk) run(ctx context.Context) error {
	err := each(len(k.from), len(k.from), func(i int) error {
		for n := range int(k.total) / len(k.from) {
			select {
			case k.room[i] <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			k.from[i].send(chat(fmt.Sprintf("user%d@%s/b", 2*i+1, domain), n))
		}
		return nil
	})
	select {
	case <-k.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// measureChat is the work of one message between two who are there.
func measureChat(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	if err := p.register(users(2 * c.Pairs)...); err != nil {
		return nil, err
	}
	k, err := p.pairs(ctx, c)
	if err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // presence is out
	disk, err := writtenBy(p.pid)
	if err != nil {
		return nil, err
	}
	begin := time.Now()
	cpu, err := cpuDuring(p.pid, func() error { return k.run(ctx) })
	if err != nil {
		return nil, err
	}
	secs := time.Since(begin).Seconds()
	wrote, err := writtenBy(p.pid)
	total := float64(k.total)
	return []figure{
		{"server CPU per 1 KiB message, both online", "µs", 1000 * ms(cpu) / total, true},
		{"messages delivered, both online", "1/s", total / secs, false},
		{"bytes written to disk per such message", "B", (wrote - disk) / total, true},
	}, err
}

func chat(to string, n int) []byte {
	return fmt.Appendf(nil, "<message to='%s' type='chat' id='m%d'><body>%s</body></message>", to, n, kilobyte)
}

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
	const senders = 8
	if err := p.register(users(2 * senders)...); err != nil {
		return nil, err
	}
	begin := time.Now()
	var all []time.Duration
	var mu sync.Mutex
	per := c.Messages / senders
	err := each(senders, senders, func(i int) error {
		slow, err := p.flood(ctx, fmt.Sprintf("user%d", i), fmt.Sprintf("user%d@%s", senders+i, domain), per)
		mu.Lock()
		all = append(all, slow...)
		mu.Unlock()
		return err
	})
	if err != nil {
		return nil, err
	}
	secs := time.Since(begin).Seconds()
	slices.Sort(all)
	return []figure{
		{"acked messages to absent users, 1 KiB", "1/s", float64(per*senders) / secs, false},
		{"ack time p99 while flooded", "ms", ms(all[len(all)*99/100]), true},
	}, nil
}

// flood sends n messages, a hundred unacked at a time, and says how long each
// ack took.
func (p *peer) flood(ctx context.Context, user, to string, n int) ([]time.Duration, error) {
	a := &acker{done: make(chan struct{}), want: n}
	d, err := p.login(ctx, user, "f", true, func(_ *device, st *xmpp.Stanza) error { return a.ack(st) })
	if err != nil {
		return nil, err
	}
	a.device = d
	defer d.close()
	for i := 0; i < n; {
		a.mu.Lock()
		room := 100 - (len(a.sent) - a.acked)
		for range min(room, n-i) {
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
	if _, err := p.flood(ctx, "user0", "user1@"+domain, c.Waiting); err != nil {
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
