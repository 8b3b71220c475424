// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"sotto/offline/page"
	"sotto/offline/words"
)

// Find is what somebody wants of an archive.
type Find struct {
	With          string // a bare or a full address; "" = anybody
	Start, End    time.Time
	After, Before string   // archive ids that narrow what counts
	IDs           []string // only these
	Max           int
	Last          bool     // the end of the list, not its beginning
	From          string   // the page begins behind this id, or with Last ends before it
	Text          []string // words, in small letters, that the body must have
}

// Found is a page of an archive, in order.
type Found struct {
	Mail         []Mail
	Complete     bool
	First, Last  string // archive ids of the page; where the search gave up when Mail is empty
	Count, Index int    // -1: too many to count
}

// What one search may do.
const (
	lookMax   = 5000      // messages it opens
	pageBytes = 512 << 10 // of their bodies it gives out
	lookBytes = 32 << 20  // of them, where it looks for words
	countMax  = 10_000    // numbers it counts one by one, at a time
)

// A hand opens messages for one search and holds those it gives out.
type hand struct {
	f     Find
	read  func(n uint64) (Mail, error)
	cache map[uint64]Mail
	bytes int
	words int // bytes in which words were looked for
}

func (h *hand) look(n uint64) (Mail, bool) {
	if m, ok := h.cache[n]; ok {
		return m, true
	}
	m, err := h.read(n)
	if err != nil {
		return m, false
	}
	m.At = m.At.Truncate(time.Millisecond)
	if h.cache == nil {
		h.cache = map[uint64]Mail{}
	}
	h.cache[n] = m
	return m, true
}

// Time implements page.List.
func (h *hand) Time(n uint64) (time.Time, bool) {
	m, ok := h.look(n)
	return m.At, ok
}

// Take implements page.List.
func (h *hand) Take(n uint64) page.Verdict {
	m, ok := h.look(n)
	if len(h.f.Text) > 0 {
		if h.words += len(m.Body); h.words > lookBytes {
			return page.Full
		}
	}
	if !ok || m.Archive == "" || !h.f.wants(&m) {
		m.Body = nil
		if ok {
			h.cache[n] = m
		}
		return page.Skip
	}
	if h.bytes > 0 && h.bytes+len(m.Body) > pageBytes {
		return page.Full
	}
	h.bytes += len(m.Body)
	return page.Match
}

func (f *Find) wants(m *Mail) bool {
	if !f.Start.IsZero() && m.At.Before(f.Start) || !f.End.IsZero() && m.At.After(f.End) {
		return false
	}
	if !words.In(m.Body, f.Text) {
		return false
	}
	if f.With == "" {
		return true
	}
	if _, _, full := cut(f.With); full {
		return m.with() == f.With
	}
	return bareOf(m.with()) == f.With
}

// A shelf is an archive while it is searched.
type shelved interface {
	page.List
	find(archive string) (uint64, bool)
}

// search turns ids into numbers and back; an unknown one is ErrGone.
func search(l shelved, h *hand, f *Find) (Found, error) {
	w := page.Wish{Hi: math.MaxUint64, Start: f.Start, End: f.End, Max: f.Max, Down: f.Last, Look: lookMax}
	number := func(archive string, n *uint64, more int64) bool {
		if archive == "" {
			return true
		}
		got, ok := l.find(archive)
		*n = got + uint64(more)
		return ok
	}
	if !number(f.After, &w.Lo, 1) || !number(f.Before, &w.Hi, -1) || !number(f.From, &w.From, 0) {
		return Found{}, ErrGone
	}
	var list page.List = l
	if len(f.IDs) > 0 {
		some := make(page.Numbers, len(f.IDs))
		for i, archive := range f.IDs {
			if !number(archive, &some[i], 0) {
				return Found{}, ErrGone
			}
		}
		slices.Sort(some)
		list = &chosen{slices.Compact(some), h}
	}
	got := page.Find(list, w)
	r := Found{Complete: got.Complete, Count: got.Count, Index: got.Index}
	for _, n := range got.Numbers {
		m, _ := h.look(n)
		r.Mail = append(r.Mail, m)
	}
	switch {
	case len(r.Mail) > 0:
		r.First, r.Last = r.Mail[0].Archive, r.Mail[len(r.Mail)-1].Archive
	case !r.Complete && got.Reached > 0:
		m, _ := h.look(got.Reached)
		r.First, r.Last = m.Archive, m.Archive
	}
	return r, nil
}

// chosen is a list of single messages.
type chosen struct {
	page.Numbers
	*hand
}

// History searches an owner's history.
func (s *Store) History(owner string, f Find) (r Found, err error) {
	sh, acct, err := s.of(owner)
	if err != nil {
		return r, err
	}
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	sh.settleNotes(acct)
	if keep := s.opt.KeepHistory; keep > 0 { // what is not yet erased is gone already
		if old := s.opt.Now().Add(-keep); f.Start.Before(old) {
			f.Start = old
		}
	}
	err = sh.db.View(func(tx *bbolt.Tx) error {
		l, err := sh.shelf(tx, acct)
		if err != nil {
			return err
		}
		l.hand.f = f
		l.byWeek = f.With != ""
		r, err = search(l, l.hand, &f)
		return err
	})
	return r, err
}

// A shelf is one history in a transaction.
type shelf struct {
	*hand
	sh     *shard
	tx     *bbolt.Tx
	acct   id
	weeks  []week
	byWeek bool // only messages with hand.f.With: by the index of each week
	hint   int  // the week in which the last number was found,
	at     uint64
}

func (sh *shard) shelf(tx *bbolt.Tx, acct id) (*shelf, error) {
	l := &shelf{sh: sh, tx: tx, acct: acct}
	l.hand = &hand{read: l.note}
	err := eachWeek(tx, acct[:], func(_ id, w week) { l.weeks = append(l.weeks, w) })
	if err != nil {
		return nil, err
	}
	for i := range l.weeks {
		w := &l.weeks[i]
		if w.key, err = sh.keys.read(w.slot); err != nil {
			return nil, fmt.Errorf("key of a week: %w", err)
		}
	}
	return l, nil
}

func (l *shelf) find(archive string) (uint64, bool) {
	b := l.tx.Bucket(noteIDs)
	if b == nil {
		return 0, false
	}
	x := l.sh.s.id("note", archive)
	v := b.Get(append(append([]byte{}, l.acct[:]...), x[:]...))
	if len(v) != 8 {
		return 0, false
	}
	n := binary.BigEndian.Uint64(v)
	m, ok := l.look(n) // a week that has ended leaves its index behind for a moment
	return n, ok && m.Archive == archive
}

func (l *shelf) note(n uint64) (Mail, error) {
	k := place{l.acct, n}.key()
	b := l.tx.Bucket(notes)
	if b == nil {
		return Mail{}, ErrGone
	}
	return l.open(k, b.Get(k))
}

func (l *shelf) open(k, v []byte) (Mail, error) {
	if len(v) < noteHeadLen {
		return Mail{}, ErrGone
	}
	i, found := slices.BinarySearchFunc(l.weeks, binary.BigEndian.Uint32(v), func(w week, n uint32) int { return cmp.Compare(w.n, n) })
	if !found {
		return Mail{}, ErrGone
	}
	plain, err := openMany(l.weeks[i].key, v[noteHeadLen:], k)
	if err != nil {
		return Mail{}, err
	}
	_, m, err := decodeMail(plain)
	m.Seq = placeOf(k).seq
	return m, err
}

// keys gives the bucket and the start of the keys in which a list's numbers
// are: one part, or one for each week.
func (l *shelf) part(i int) (*bbolt.Bucket, []byte) {
	if !l.byWeek {
		return l.tx.Bucket(notes), l.acct[:]
	}
	w := &l.weeks[i]
	x := w.with(l.sh.s, l.f.With)
	return l.tx.Bucket(noteWiths), append(w.name(), x[:]...)
}

func (l *shelf) parts() int {
	switch {
	case l.byWeek:
		return len(l.weeks)
	case len(l.weeks) == 0:
		return 0
	}
	return 1
}

func numberOf(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }

// Next implements page.List.
func (l *shelf) Next(n uint64) (uint64, bool) {
	first := 0
	if n >= l.at {
		first = l.hint // the weeks before it have only smaller numbers
	}
	for i := first; i < l.parts(); i++ {
		b, prefix := l.part(i)
		k, _ := b.Cursor().Seek(binary.BigEndian.AppendUint64(bytes.Clone(prefix), n))
		if bytes.HasPrefix(k, prefix) {
			l.hint, l.at = i, numberOf(k)
			return l.at, true
		}
	}
	return 0, false
}

// Prev implements page.List.
func (l *shelf) Prev(n uint64) (uint64, bool) {
	last := l.parts() - 1
	if l.at > 0 && n <= l.at {
		last = l.hint
	}
	for i := last; i >= 0; i-- {
		b, prefix := l.part(i)
		c := b.Cursor()
		want := binary.BigEndian.AppendUint64(bytes.Clone(prefix), n)
		k, _ := c.Seek(want)
		switch {
		case k == nil:
			k, _ = c.Last()
		case !bytes.Equal(k, want):
			k, _ = c.Prev()
		}
		if bytes.HasPrefix(k, prefix) {
			l.hint, l.at = i, numberOf(k)
			return l.at, true
		}
	}
	return 0, false
}

// Count implements page.List.
func (l *shelf) Count(lo, hi uint64) (n int, exact bool) {
	if _, _, full := cut(l.f.With); full || len(l.f.Text) > 0 {
		return 0, false // the index knows bare addresses only
	}
	for i := range l.weeks {
		part, exact := 0, false
		if l.byWeek {
			part, exact = l.count(i, lo, hi, countMax-n)
		} else {
			part, exact = l.countWeek(i, lo, hi)
		}
		if n += part; !exact {
			return 0, false
		}
	}
	return n, true
}

// countWeek counts what one week has from lo to hi, or what it has besides:
// how many it has in all is known.
func (l *shelf) countWeek(i int, lo, hi uint64) (n int, exact bool) {
	w := &l.weeks[i]
	last := uint64(math.MaxUint64)
	for _, next := range l.weeks[i+1:] {
		if next.count > 0 {
			last = next.first - 1
			break
		}
	}
	if w.count == 0 || hi < w.first || lo > last {
		return 0, true
	}
	before, after := 0, 0
	exact = true
	if lo > w.first {
		before, exact = l.count(0, w.first, lo-1, countMax)
	}
	if exact && hi < last {
		after, exact = l.count(0, hi+1, last, countMax)
	}
	if exact {
		return int(w.count) - before - after, true
	}
	return l.count(0, max(lo, w.first), min(hi, last), countMax)
}

// count goes over the numbers of one part.
func (l *shelf) count(i int, lo, hi uint64, most int) (n int, exact bool) {
	b, prefix := l.part(i)
	c := b.Cursor()
	for k, _ := c.Seek(binary.BigEndian.AppendUint64(bytes.Clone(prefix), lo)); bytes.HasPrefix(k, prefix) && numberOf(k) <= hi; k, _ = c.Next() {
		if n++; n > most {
			return 0, false
		}
	}
	return n, true
}
