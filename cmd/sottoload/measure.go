// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"strings"
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
	if err != nil {
		return nil, err
	}
	total := float64(k.total)
	figures := []figure{
		{"server CPU per 1 KiB message, both online", "µs", 1000 * ms(cpu) / total, true},
		{"messages delivered, both online", "1/s", total / secs, false},
		{"bytes written to disk per such message", "B", (wrote - disk) / total, true},
	}
	if p.status != nil {
		n, err := p.status("came to the disk")
		return append(figures, figure{"of 1000 messages came to the disk", "", 1000 * n / total, true}), err
	}
	return figures, nil
}

func chat(to string, n int) []byte {
	return fmt.Appendf(nil, "<message to='%s' type='chat' id='m%d'><body>%s</body></message>", to, n, kilobyte)
}
