// SPDX-License-Identifier: Apache-2.0

package push

import (
	"container/heap"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"sotto/offline"
	"sotto/xmpp"
)

// A spot is one mailbox.
type spot struct{ user, device string }

// news is mail that came for a spot since the loop looked.
type news struct {
	first, last uint64
	at          time.Time
	ring, plain bool              // there is a call; there is something from no room
	rooms       map[xmpp.JID]bool // from these rooms
}

// roomsMax is how many rooms one look tells apart.
const roomsMax = 16

// owed notes that mail waits. It is called on the road of the message.
func (p *push) owed(user string, devices []string, m *offline.Mail, ring bool) {
	p.mu.Lock()
	if !p.known[user] {
		p.mu.Unlock()
		return
	}
	now := time.Now()
	for _, d := range devices {
		sp := spot{user, d}
		n := p.news[sp]
		if n == nil {
			n = &news{first: m.Seq}
			p.news[sp] = n
		}
		n.last, n.at, n.ring = m.Seq, now, n.ring || ring
		n.from(m.From, p.s.Domain())
	}
	p.mu.Unlock()
	p.look()
}

func (n *news) from(who, domain string) {
	j, err := xmpp.ParseJID(who)
	if err != nil || j.Domain == domain || j.Local == "" || len(n.rooms) >= roomsMax {
		n.plain = true
		return
	}
	if n.rooms == nil {
		n.rooms = map[xmpp.JID]bool{}
	}
	n.rooms[j.Bare()] = true
}

// look wakes the loop.
func (p *push) look() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// A watch is a spot with mail that waits: it was woken for, or soon will be.
type watch struct {
	spot
	seq, last uint64 // the first mail that is waited for, and the newest
	at        time.Time
	ring      bool
	times     int       // wakes since the device came last
	rung      time.Time // the last wake for a call
	only      []reg     // these are tried again; nil: all
	due       time.Time
	place     int // in the line
}

// The limits of wakes.
const (
	burst     = 30 // of an account, then one each
	each      = 20 * time.Second
	ringEvery = 3 * time.Second // of a spot
)

// run is the loop; it ends with the server.
func (p *push) run() {
	defer close(p.ended)
	timer := time.NewTimer(p.o.Grace)
	defer timer.Stop()
	start := time.Now().Add(p.o.Grace)
	again := false // what a restart left was looked at
	for {
		select {
		case <-p.life.Done():
			return
		case <-p.wake:
		case <-timer.C:
		}
		now := time.Now()
		if !again && !now.Before(start) {
			again = true
			p.remember(now)
		}
		p.take(now)
		for len(p.line) > 0 && !p.line[0].due.After(now) {
			p.check(p.line[0], now)
		}
		next := now.Add(time.Hour)
		if len(p.line) > 0 {
			next = p.line[0].due
		}
		if !again && start.Before(next) {
			next = start
		}
		timer.Reset(time.Until(next))
	}
}

// take handles what came since the last turn.
func (p *push) take(now time.Time) {
	p.mu.Lock()
	fresh, results, nudges := p.news, p.results, p.nudges
	p.news, p.results, p.nudges = map[spot]*news{}, nil, map[string]bool{}
	p.mu.Unlock()
	for i := range results {
		p.heard(&results[i], now)
	}
	for sp, n := range fresh {
		p.consider(sp, n, now)
	}
	for user := range nudges {
		p.nudge(user, now)
	}
}

// consider decides what new mail means for a spot.
func (p *push) consider(sp spot, n *news, now time.Time) {
	if len(p.recordOf(sp).Regs) == 0 || !n.ring && !n.plain && p.allMuted(sp.user, n.rooms) {
		return
	}
	w := p.watches[sp]
	if w == nil {
		w = &watch{spot: sp, seq: n.first, due: now.Add(p.o.Repeat[0])}
		p.watches[sp] = w
		heap.Push(&p.line, w)
	} else if !p.owes(w, w.seq) { // it was here meanwhile
		w.seq, w.times, w.only = n.first, 0, nil
	}
	w.last, w.at, w.ring = n.last, n.at, w.ring || n.ring
	switch due := p.patience(w); {
	case w.times == 0 && due.Before(w.due):
		w.due = due
	case n.ring:
		w.due, w.only = later(due, w.rung.Add(ringEvery)), nil
	}
	heap.Fix(&p.line, w.place)
}

func (p *push) allMuted(user string, rooms map[xmpp.JID]bool) bool {
	return !slices.ContainsFunc(slices.Collect(maps.Keys(rooms)), func(r xmpp.JID) bool { return !p.mutes.muted(user, r) })
}

// patience is when a spot is woken: at once, unless it is connected and should
// soon ack.
func (p *push) patience(w *watch) time.Time {
	if !p.s.Reached(w.user, w.device) {
		return w.at
	}
	if w.ring {
		return w.at.Add(p.o.Slack / 4)
	}
	return w.at.Add(p.o.Slack)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (p *push) owes(w *watch, seq uint64) bool {
	return p.s.Store().Mailbox(w.user, w.device).Owes(seq)
}

// check looks at a watch whose time has come.
func (p *push) check(w *watch, now time.Time) {
	if !p.owes(w, w.seq) {
		if !p.owes(w, w.last) { // all was fetched
			p.forget(w)
			return
		}
		w.seq, w.times, w.only = w.last, 0, nil
		if w.due = p.patience(w); w.due.After(now) {
			heap.Fix(&p.line, w.place)
			return
		}
	}
	regs := p.recordOf(w.spot).Regs
	if w.only != nil {
		regs = slices.DeleteFunc(regs, func(g reg) bool { return (&record{Regs: w.only}).find(&g) == nil })
	}
	if len(regs) == 0 {
		p.forget(w)
		return
	}
	if !p.limit(w.user).AllowN(now, 1) {
		w.due = now.Add(each)
		heap.Fix(&p.line, w.place)
		return
	}
	p.wakeUp(w, regs, now)
}

func (p *push) limit(user string) *rate.Limiter {
	l := p.limits[user]
	if l == nil {
		l = rate.NewLimiter(rate.Every(each), burst)
		p.limits[user] = l
	}
	return l
}

// wakeUp sends the wakes and puts the watch where it is due again.
func (p *push) wakeUp(w *watch, regs []reg, now time.Time) {
	ring, seq := w.ring, w.seq
	w.due = now.Add(p.o.Repeat[min(w.times, len(p.o.Repeat)-1)])
	if w.only == nil {
		w.times++
	}
	if ring {
		w.rung = now
	}
	w.ring, w.only = false, nil
	heap.Fix(&p.line, w.place)
	times := w.times
	p.change(w.spot, p.s.Store().Later, func(r *record) { r.Told, r.Times = seq, times })
	for i := range regs {
		p.send(w.spot, regs[i], ring)
	}
}

func (p *push) forget(w *watch) {
	heap.Remove(&p.line, w.place)
	delete(p.watches, w.spot)
	if l := p.limits[w.user]; l != nil && l.Tokens() >= burst {
		delete(p.limits, w.user)
	}
}

// remember looks, after a start, at all that waits for registered devices.
func (p *push) remember(now time.Time) {
	all := map[spot]bool{}
	p.mu.Lock()
	users := slices.Collect(maps.Keys(p.known))
	p.mu.Unlock()
	for _, user := range users {
		err := p.s.Store().View(user, func(rec *offline.Records) error {
			for key := range every(rec) {
				all[spot{user, key}] = true
				if key == inbox {
					rec.Each("throwaway", func(device string, _ []byte) bool {
						all[spot{user, device}] = true
						return true
					})
				}
			}
			return nil
		})
		if err != nil {
			p.s.Log().Error("who is to be woken", "err", err)
		}
	}
	for sp := range all {
		if p.watches[sp] == nil {
			p.resume(sp, now)
		}
	}
}

// lookMax is how many waiting mails are read to find one worth a wake.
const lookMax = 64

// worth says of mail that waits whether somebody wants to be woken for it.
func (p *push) worth(user string, m *offline.Mail) bool {
	if !p.s.Wakes(user, m) {
		return false
	}
	var n news
	n.from(m.From, p.s.Domain())
	return n.plain || !p.allMuted(user, n.rooms)
}

// resume makes the watch that a spot had before a restart, or should have had.
func (p *push) resume(sp spot, now time.Time) {
	r, box := p.recordOf(sp), p.s.Store().Mailbox(sp.user, sp.device)
	w := &watch{spot: sp, at: now}
	if r.Told != 0 && box.Owes(r.Told) {
		w.seq, w.last, w.times = r.Told, r.Told, r.Times
		if !slices.ContainsFunc(r.Regs, func(g reg) bool { return g.Fails > 0 }) {
			now = now.Add(p.o.Repeat[min(max(0, r.Times-1), len(p.o.Repeat)-1)])
		}
		w.due = now
	} else {
		mail, err := box.After(0, lookMax, nil)
		i := slices.IndexFunc(mail, func(m offline.Mail) bool { return p.worth(sp.user, &m) })
		if err != nil || i < 0 {
			return
		}
		w.seq, w.last = mail[i].Seq, mail[len(mail)-1].Seq
		w.due = p.patience(w)
	}
	p.watches[sp] = w
	heap.Push(&p.line, w)
}
