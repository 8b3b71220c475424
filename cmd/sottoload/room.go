// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"sotto/xmpp"
)

// roomSize is how many people sit in the room, said so many messages.
const roomSize, roomMessages = 256, 300

// A crowd is a room full of people, and what has come to them.
type crowd struct {
	all  []*device
	here atomic.Int64 // who is in
	got  atomic.Int64
}

const crowdAt = "crowd@rooms." + domain

// enter brings everybody in; the first one makes the room.
func (p *peer) enter(ctx context.Context) (*crowd, error) {
	k := &crowd{all: make([]*device, roomSize)}
	on := func(_ *device, st *xmpp.Stanza) error {
		switch {
		case st.Kind == xmpp.KindMessage && st.Has(xmpp.NSClient, "body"):
			k.got.Add(1)
		case st.Kind == xmpp.KindMessage && st.Has(xmpp.NSClient, "subject"):
			k.here.Add(1) // the last thing that one hears on entering (XEP-0045 §7.2.15)
		}
		return nil
	}
	one := func(i int) (err error) {
		if k.all[i], err = p.login(ctx, fmt.Sprintf("user%d", i), "r", true, on); err == nil {
			k.all[i].send(fmt.Appendf(nil, "<presence/><presence to='%s/user%d'><x xmlns='%s'/></presence>", crowdAt, i, xmpp.NSMUC))
		}
		return err
	}
	if err := one(0); err != nil {
		return nil, err
	}
	k.all[0].send(fmt.Appendf(nil, "<iq type='set' id='c' to='%s'><query xmlns='%s'><x xmlns='%s' type='submit'/></query></iq>", crowdAt, xmpp.NSMUCOwner, xmpp.NSData))
	if err := until(ctx, &k.here, 1); err != nil {
		return nil, err
	}
	time.Sleep(200 * time.Millisecond) // the room is set up
	if err := each(roomSize-1, 4, func(i int) error { return one(i + 1) }); err != nil {
		return nil, err
	}
	return k, until(ctx, &k.here, roomSize)
}

// measureRoom is the work of one message to one of many in a room.
func measureRoom(ctx context.Context, _ *commands, p *peer) ([]figure, error) {
	if err := p.register(users(roomSize)...); err != nil {
		return nil, err
	}
	k, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	time.Sleep(2 * time.Second) // all presence is out
	begin := time.Now()
	cpu, err := cpuDuring(p.pid, func() error {
		for n := range roomMessages {
			if err := until(ctx, &k.got, int64(n-3)*roomSize); err != nil { // a few on their way
				return err
			}
			k.all[n%roomSize].send(fmt.Appendf(nil, "<message to='%s' type='groupchat' id='m%d'><body>%s</body></message>", crowdAt, n, kilobyte))
		}
		return until(ctx, &k.got, roomMessages*roomSize)
	})
	total := float64(roomMessages * roomSize)
	return []figure{
		{fmt.Sprintf("server CPU per delivery, 1 KiB in a room of %d", roomSize), "µs", 1000 * ms(cpu) / total, true},
		{"deliveries in that room", "1/s", total / time.Since(begin).Seconds(), false},
	}, err
}
