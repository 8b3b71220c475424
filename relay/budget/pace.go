// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"time"

	"golang.org/x/time/rate"

	"sotto/relay"
	"sotto/xmpp"
)

// What one account may say, to friends as well: more is not refused, but read
// later, so that only who sends too fast is slowed. A flight of this size comes
// at once.
const (
	flight     = 4           // seconds of the rate
	wordsRate  = 20          // messages a second
	wordsBurst = 400         // in a row
	paceMost   = time.Second // that one stanza waits
)

// What people ask accounts of strangers: enough for the keys of a large group.
const (
	questionsRate  = 5
	questionsBurst = 500
	domainTimes    = 10 // all people of another server
)

// A throttle is what an account has used.
type throttle struct{ bytes, words *rate.Limiter }

// pace waits, in the reader of whoever sends, until its stanza may come.
func (b *budget) pace(x *relay.Session, st *xmpp.Stanza) error {
	if !b.s.Local(x.JID()) {
		return nil // links have bounds of their own, and serve many
	}
	now := b.s.Now()
	b.mu.Lock()
	t := b.paces[x.User()]
	if t == nil {
		if len(b.paces) >= accountsMax {
			clear(b.paces)
		}
		t = &throttle{rate.NewLimiter(rate.Limit(b.o.Rate), max(flight*b.o.Rate, xmpp.AfterAuth.Bytes)), rate.NewLimiter(wordsRate, wordsBurst)}
		b.paces[x.User()] = t
	}
	wait := t.bytes.ReserveN(now, min(len(st.Raw), t.bytes.Burst())).DelayFrom(now)
	if st.Kind == xmpp.KindMessage {
		wait = max(wait, t.words.ReserveN(now, 1).DelayFrom(now))
	}
	b.mu.Unlock()
	if wait > 0 {
		time.Sleep(min(wait, paceMost))
	}
	return nil
}

// question bounds what somebody asks accounts that do not know him.
func (b *budget) question(x *relay.Session, to xmpp.JID) error {
	if b.s.MaySee(x.JID(), to.Local) || b.s.InRoster(to.Local, x.JID().Bare()) {
		return nil
	}
	const why = "you ask people who do not know you faster than anybody needs to; try again later"
	if !b.s.Local(x.JID()) {
		if err := b.spend(b.asked, x.JID().Domain, domainTimes*questionsRate, domainTimes*questionsBurst, why); err != nil {
			return err
		}
	}
	return b.spend(b.asked, x.User(), questionsRate, questionsBurst, why)
}
