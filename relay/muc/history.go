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
	r.past = append(r.past, line{r.v.s.Now(), body})
	r.bytes += len(body)
	for len(r.past) > r.conf.History || r.bytes > historyBytes {
		r.bytes -= len(r.past[0].body)
		r.past[0] = line{}
		r.past = r.past[1:]
	}
}

func (r *room) trim() {
	for len(r.past) > r.conf.History {
		r.bytes -= len(r.past[0].body)
		r.past = r.past[1:]
	}
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
