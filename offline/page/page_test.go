// SPDX-License-Identifier: Apache-2.0

package page

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// model is a list whose messages came one second after the other; those with
// odd hundreds match.
type model struct {
	Numbers
	looked int
}

func at(n uint64) time.Time { return time.Unix(int64(n), 0) }

func (m *model) Time(n uint64) (time.Time, bool) { return at(n), true }

func (m *model) Take(n uint64) Verdict {
	m.looked++
	if matches(n) {
		return Match
	}
	return Skip
}

func matches(n uint64) bool { return n/100%2 == 1 }

// want is what Find should give, by going over everything.
func want(l Numbers, w Wish) (page []uint64, more bool) {
	var all []uint64
	for _, n := range l {
		in := n >= w.Lo && n <= w.Hi && (w.Start.IsZero() || !at(n).Before(w.Start)) && (w.End.IsZero() || !at(n).After(w.End))
		if in && matches(n) && (w.From == 0 || w.Down && n < w.From || !w.Down && n > w.From) {
			all = append(all, n)
		}
	}
	if len(all) <= w.Max {
		return all, false
	}
	if w.Down {
		return all[len(all)-w.Max:], true
	}
	return all[:w.Max], true
}

// XEP-0059 §2: whatever is asked, the page is the one of a plain search.
func TestFindAgainstModel(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		var l Numbers
		for n := uint64(1 + r.IntN(50)); len(l) < r.IntN(400); n += uint64(1 + r.IntN(9)) {
			l = append(l, n)
		}
		some := func() uint64 { return uint64(r.IntN(2200)) }
		w := Wish{Lo: 0, Hi: math.MaxUint64, Max: r.IntN(60), Down: r.IntN(2) == 0, Look: 1 << 20}
		if r.IntN(3) == 0 {
			w.Lo = some()
		}
		if r.IntN(3) == 0 {
			w.Hi = some()
		}
		if r.IntN(3) == 0 {
			w.Start = at(some())
		}
		if r.IntN(3) == 0 {
			w.End = at(some())
		}
		if r.IntN(2) == 0 {
			w.From = some()
		}
		got := Find(&model{Numbers: l}, w)
		page, more := want(l, w)
		if !slices.Equal(got.Numbers, page) {
			t.Fatalf("%+v of %v: %v, not %v", w, l, got.Numbers, page)
		}
		if got.Complete && more {
			t.Fatalf("%+v: complete, but there is more", w)
		}
		if len(page) > 0 && got.Index < 0 {
			t.Fatalf("%+v: no index", w)
		}
	}
}

// One search looks at no more than it may, and says where to go on.
func TestFindIsBounded(t *testing.T) {
	var l Numbers
	for n := range uint64(100_000) {
		l = append(l, n*200+1) // none matches
	}
	m := &model{Numbers: l}
	from, rounds := uint64(0), 0
	for {
		m.looked = 0
		got := Find(m, Wish{Hi: math.MaxUint64, Max: 10, Look: 5000, From: from})
		if m.looked > 5000 || len(got.Numbers) > 0 {
			t.Fatal(m.looked, got.Numbers)
		}
		rounds++
		if got.Complete {
			break
		}
		from = got.Reached
	}
	if rounds != 20 {
		t.Error(rounds, "rounds")
	}
}
