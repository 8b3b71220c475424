// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sotto/relay"
	"sotto/xmpp"
)

// Options are how much a stranger may say.
type Options struct {
	Burst int  // messages in a row, then one a second; 0: no limit
	Hold  Hold // whose first message waits until it is wanted
	Rate  int  // bytes a second that one account may send; 0: no limit
}

// Requests to be a contact: a few, then one in an hour.
const (
	asksBurst = 20
	asksEvery = time.Hour
)

type budget struct {
	s *relay.Server
	o Options

	mu     sync.Mutex
	words  map[string]*rate.Limiter // by account: messages to strangers
	asks   map[string]*rate.Limiter // by account: requests
	people map[string]*rate.Limiter // by account, or server: people who were written to for the first time
	asked  map[string]*rate.Limiter // by account, or server: questions to strangers
	paces  map[string]*throttle
	met    map[pair]bool // who has written to whom, or is known to
}

// pair is one direction: from has written to to.
type pair struct{ from, to string }

// What is remembered at most; more is forgotten, to the sender's favour.
const (
	accountsMax = 1 << 14
	pairsMax    = 1 << 16
)

// Add registers the family.
func Add(s *relay.Server, o Options) {
	b := &budget{s: s, o: o, words: map[string]*rate.Limiter{}, asks: map[string]*rate.Limiter{},
		people: map[string]*rate.Limiter{}, asked: map[string]*rate.Limiter{}, paces: map[string]*throttle{}, met: map[pair]bool{}}
	if o.Rate > 0 {
		s.OnStanza(b.pace)
	}
	if o.Hold != Nobody {
		s.OnStanza(b.turnsTo)
		s.Hold, s.Held = b.hold, b.held
		s.Command(relay.Command{Node: "strangers", Name: "People who want to write to you", May: b.here, Run: b.waiting})
	}
	if o.Burst > 0 {
		s.OnStanza(b.stanza)
	}
}

// stanza looks at what a session sends to somebody else here.
func (b *budget) stanza(x *relay.Session, st *xmpp.Stanza) error {
	if !st.HasTo || st.To.Local == "" || b.s.Whose(st.To) == x.User() {
		return nil
	}
	if !b.s.Local(st.To) {
		if st.Kind == xmpp.KindMessage && b.s.Elsewhere(st.To) {
			b.meet(pair{x.User(), b.s.Whose(st.To)}) // he may answer
		}
		return nil
	}
	switch {
	case st.Kind == xmpp.KindMessage && st.Type != "error":
		return b.message(x, st.To)
	case st.Kind == xmpp.KindIQ && (st.Type == "get" || st.Type == "set") && st.To.IsBare():
		return b.question(x, st.To)
	case st.Kind == xmpp.KindPresence && st.Type == "subscribe":
		return b.spend(b.asks, x.User(), rate.Every(asksEvery), asksBurst, "you ask many people to be your contacts; try again later")
	}
	return nil
}

// message spends budget unless the two know each other: the receiver shows
// himself to the sender, or has written to him.
func (b *budget) message(x *relay.Session, to xmpp.JID) error {
	here, back := pair{x.User(), to.Local}, pair{to.Local, x.User()}
	b.mu.Lock()
	friends := b.met[back]
	b.mu.Unlock()
	if !friends && b.s.MaySee(x.JID(), to.Local) {
		friends = true
		b.meet(back)
	}
	if !friends {
		const why = "you write to people who do not know you faster than they can answer; try again later"
		if err := b.spend(b.words, x.User(), 1, b.o.Burst, why); err != nil {
			return err
		}
	}
	b.meet(here)
	return nil
}

func (b *budget) meet(p pair) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.met[p] {
		return
	}
	if len(b.met) >= pairsMax {
		clear(b.met)
	}
	b.met[p] = true
}

func (b *budget) spend(from map[string]*rate.Limiter, user string, every rate.Limit, burst int, why string) error {
	now := b.s.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	l := from[user]
	if l == nil {
		if len(from) >= accountsMax {
			sweep(from, now)
		}
		l = rate.NewLimiter(every, burst)
		from[user] = l
	}
	if l.AllowN(now, 1) {
		return nil
	}
	return xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).Say(why) // RFC 6120 §8.3.3.12
}

// sweep forgets who has a full budget again; if that is nobody, everybody.
func sweep(from map[string]*rate.Limiter, now time.Time) {
	for user, l := range from {
		if l.TokensAt(now) >= float64(l.Burst()) {
			delete(from, user)
		}
	}
	if len(from) >= accountsMax {
		clear(from)
	}
}
