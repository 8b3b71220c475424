// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"strconv"
	"time"

	"sotto/xmpp"
)

// A line is something that was said, in memory only, for those who enter
// later. A room keeps none unless it is set up so.
type line struct {
	at   time.Time
	body []byte
}

// remember keeps a message, as long as there is room for it.
func (r *room) remember(body []byte) {
	if r.conf.History == 0 {
		return
	}
	if r.v.past.Load() > historyAll { // somebody else's rooms are full of it
		r.forget(0)
		return
	}
	r.past = append(r.past, line{r.v.s.Now(), body})
	r.size(len(body))
	r.forget(r.conf.History)
}

// forget leaves so many messages at most.
func (r *room) forget(most int) {
	for len(r.past) > most || r.bytes > historyBytes {
		r.size(-len(r.past[0].body))
		r.past[0] = line{}
		r.past = r.past[1:]
	}
	if len(r.past) == 0 {
		r.past = nil
	}
}

func (r *room) size(n int) {
	r.bytes += n
	r.v.past.Add(int64(n))
}

// recall sends what was said, within what the client wants (XEP-0045 §7.2.13).
// Members of a private group have it from their mailboxes.
func (r *room) recall(s *seat, wish *xmpp.Element) {
	if r.owes() && r.rankOf(s.jid) >= member {
		return
	}
	var all []*xmpp.Element
	room, chars := count(wish, "maxstanzas"), count(wish, "maxchars")
	from := r.since(wish)
	for i := len(r.past) - 1; i >= 0 && len(all) < room; i-- {
		l := r.past[i]
		m, err := xmpp.Parse(l.body, xmpp.NSClient)
		if l.at.Before(from) || err != nil {
			break
		}
		m.Set("to", s.jid.String()).Add(delay(r.jid, l.at))
		if chars -= len(m.Bytes()); chars < 0 {
			break
		}
		all = append(all, m)
	}
	for i := len(all) - 1; i >= 0; i-- {
		r.push(s, all[i])
	}
}

const anyNumber = 1 << 30

func count(wish *xmpp.Element, name string) int {
	n, err := strconv.Atoi(wish.Get(name))
	if err != nil || n < 0 || n > anyNumber {
		return anyNumber
	}
	return n
}

func (r *room) since(wish *xmpp.Element) (from time.Time) {
	if n := count(wish, "seconds"); n < anyNumber {
		from = r.v.s.Now().Add(-time.Duration(n) * time.Second)
	}
	if t, err := time.Parse(time.RFC3339, wish.Get("since")); err == nil && t.After(from) {
		from = t
	}
	return from
}

// A purse is what an account may do in rooms: so much at once, then so much a
// second.
type purse struct {
	used  float64
	since time.Time
}

const (
	purseSize, purseRate = 600, 60
	pursesMax            = 1 << 14
	costSay              = 1
	costEnter            = 2
	costRename           = 10 // each leaves something in the outbox of all
)

// spend says whether an account may do one more thing.
func (v *service) spend(who xmpp.JID, cost float64) error {
	now := v.s.Now()
	v.listMu.Lock()
	defer v.listMu.Unlock()
	p := v.purses[who.Bare()]
	if p == nil {
		if len(v.purses) >= pursesMax {
			for j, q := range v.purses {
				if now.Sub(q.since).Seconds()*purseRate >= q.used {
					delete(v.purses, j)
				}
			}
		}
		p = &purse{since: now}
		v.purses[who.Bare()] = p
	}
	p.used = max(0, p.used-now.Sub(p.since).Seconds()*purseRate)
	p.since = now
	if p.used+cost > purseSize {
		return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).Say("too much at once; wait a moment")
	}
	p.used += cost
	return nil
}
