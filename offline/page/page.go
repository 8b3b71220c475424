// SPDX-License-Identifier: Apache-2.0

package page

import (
	"math"
	"slices"
	"time"
)

// A List is messages by their numbers, which grow with time.
type List interface {
	Next(n uint64) (uint64, bool)            // the first number from n on
	Prev(n uint64) (uint64, bool)            // the last number up to n
	Count(lo, hi uint64) (n int, exact bool) // how many numbers from lo to hi
	Time(n uint64) (time.Time, bool)         // when it came; false: not there any more
	Take(n uint64) Verdict                   // looks at the message itself
}

// Verdict is what a List says of a message.
type Verdict uint8

// The verdicts of List.Take.
const (
	Skip Verdict = iota // not what was asked for
	Match
	Full // it would match, but the page has no room for it
)

// A Wish is what is asked for.
type Wish struct {
	Lo, Hi     uint64    // the numbers that count, both included
	Start, End time.Time // zero: open
	Max        int
	Down       bool   // the end of the list, not its beginning
	From       uint64 // the page begins behind it, or with Down ends before it; 0: at the edge
	Look       int    // how many messages may be looked at
}

// Found is the page.
type Found struct {
	Numbers  []uint64 // upwards
	Complete bool     // nothing is left in this direction
	Reached  uint64   // the last number that was looked at; 0: none
	Count    int      // of the whole list; -1: too many to count
	Index    int      // of the first number in it; -1: unknown
}

// Find looks for one page.
func Find(l List, w Wish) Found {
	r := Found{Index: -1}
	lo, hi, any := within(l, w)
	if !any {
		r.Complete = true
		return r
	}
	total, exact := l.Count(lo, hi)
	if r.Count = total; !exact {
		r.Count = -1
	}
	from, to := lo, hi
	switch {
	case w.From == 0:
	case w.Down:
		to = min(hi, w.From-1)
	case w.From == math.MaxUint64:
		from, to = 1, 0
	default:
		from = max(lo, w.From+1)
	}
	r.collect(l, w, from, to)
	if len(r.Numbers) > 0 && exact {
		r.Index = 0
		if first := r.Numbers[0]; first > lo {
			if r.Index, exact = l.Count(lo, first-1); !exact {
				r.Index = -1
			}
		}
	}
	return r
}

func (r *Found) collect(l List, w Wish, from, to uint64) {
	if w.Down {
		defer func() { slices.Reverse(r.Numbers) }()
	}
	for looked := 0; from <= to; looked++ {
		n, ok := l.Next(from)
		if w.Down {
			n, ok = l.Prev(to)
		}
		if !ok || n < from || n > to {
			break
		}
		if len(r.Numbers) >= w.Max || looked >= w.Look {
			return
		}
		switch l.Take(n) {
		case Full:
			return
		case Match:
			r.Numbers = append(r.Numbers, n)
		}
		r.Reached = n
		if w.Down {
			to = n - 1
		} else {
			from = n + 1
		}
		if n == 0 || n == math.MaxUint64 {
			break
		}
	}
	r.Complete = true
}

// within narrows the wish to numbers that are there; false: none.
func within(l List, w Wish) (lo, hi uint64, any bool) {
	lo, okLo := l.Next(w.Lo)
	hi, okHi := l.Prev(w.Hi)
	if !okLo || !okHi || lo > hi {
		return 0, 0, false
	}
	end := hi + 1
	if !w.Start.IsZero() {
		lo = since(l, w.Start, lo, end)
	}
	if !w.End.IsZero() {
		end = since(l, w.End.Add(1), lo, end)
	}
	return lo, end - 1, lo < end
}

// since is the first number in [lo, end) with a message of t or later, or end.
func since(l List, t time.Time, lo, end uint64) uint64 {
	for lo < end {
		mid := lo + (end-lo)/2
		n, ok := l.Next(mid)
		if !ok || n >= end {
			end = mid
			continue
		}
		if at, ok := l.Time(n); ok && at.Before(t) {
			lo = n + 1
		} else {
			end = mid
		}
	}
	return lo
}

// Numbers is the part of a List that a sorted slice gives.
type Numbers []uint64

// Next implements List.
func (l Numbers) Next(n uint64) (uint64, bool) {
	i, _ := slices.BinarySearch(l, n)
	if i == len(l) {
		return 0, false
	}
	return l[i], true
}

// Prev implements List.
func (l Numbers) Prev(n uint64) (uint64, bool) {
	i, found := slices.BinarySearch(l, n)
	if found {
		return n, true
	}
	if i == 0 {
		return 0, false
	}
	return l[i-1], true
}

// Count implements List.
func (l Numbers) Count(lo, hi uint64) (int, bool) {
	i, _ := slices.BinarySearch(l, lo)
	j, found := slices.BinarySearch(l, hi)
	if found {
		j++
	}
	return max(0, j-i), true
}
