// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"
	"time"

	"go.etcd.io/bbolt"

	"sotto/offline/page"
)

// Mail is one message as it waits. All but Seq and Token is sealed on disk.
type Mail struct {
	Seq         uint64
	At, Expires time.Time
	From, ID    string
	Body        []byte
	Archive     string // its id in the owner's archive (XEP-0359); "" = it is in none
	With        string // the other side, where that is not From
	Kept        bool   // Put writes it into the owner's history, too
	Token       uint64 // names a stanza that its sender may send twice; 0 = none
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode writes the part that is sealed: length-prefixed fields and a CRC32C.
func (m *Mail) encode(user string) []byte {
	b := make([]byte, 0, 64+len(user)+len(m.From)+len(m.ID)+len(m.Body))
	b = binary.BigEndian.AppendUint64(b, uint64(m.At.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Expires.UnixNano()))
	for _, s := range []string{user, m.From, m.ID} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	b = binary.AppendUvarint(b, uint64(len(m.Body)))
	b = append(b, m.Body...)
	if m.Archive != "" {
		for _, s := range []string{m.Archive, m.With} {
			b = binary.AppendUvarint(b, uint64(len(s)))
			b = append(b, s...)
		}
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeMail reads what encode wrote; anything else is ErrCorrupt.
func decodeMail(b []byte) (user string, m Mail, err error) {
	if len(b) < 24 || crc32.Checksum(b[:len(b)-4], castagnoli) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return "", m, ErrCorrupt
	}
	m.At = time.Unix(0, int64(binary.BigEndian.Uint64(b)))
	m.Expires = time.Unix(0, int64(binary.BigEndian.Uint64(b[8:])))
	rest := b[16 : len(b)-4]
	var f [6][]byte
	for i := range f {
		if i == 4 && len(rest) == 0 {
			break // it is in no archive
		}
		n, w := binary.Uvarint(rest)
		if w <= 0 || n > uint64(len(rest)-w) {
			return "", m, ErrCorrupt
		}
		f[i], rest = rest[w:w+int(n)], rest[w+int(n):]
	}
	if len(rest) != 0 {
		return "", m, ErrCorrupt
	}
	m.From, m.ID, m.Body, m.Archive, m.With = string(f[1]), string(f[2]), f[3], string(f[4]), string(f[5])
	return string(f[0]), m, nil
}

// A Ticket says when a Put is safe.
type Ticket struct {
	mu   sync.Mutex
	done bool
	err  error
	more int // how much must be safe besides
	then Waiter
	too  []Waiter
}

// A Waiter is told when a Ticket is decided.
type Waiter interface{ Settled(err error) }

// Done says whether it is decided; then Err is final.
func (t *Ticket) Done() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.done
}

// Err is why the mail may not be stored; an error means unknown, never "not
// stored".
func (t *Ticket) Err() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// Then tells w once, when it is decided; at once if it is already.
func (t *Ticket) Then(w Waiter) {
	t.mu.Lock()
	switch {
	case t.done:
		err := t.err
		t.mu.Unlock()
		w.Settled(err)
		return
	case t.then == nil:
		t.then = w
	default: // a twin
		t.too = append(t.too, w)
	}
	t.mu.Unlock()
}

func (t *Ticket) settle(err error) {
	t.mu.Lock()
	if t.done || err == nil && t.more > 0 {
		t.more--
		t.mu.Unlock()
		return
	}
	t.done, t.err = true, err
	then, more := t.then, t.too
	t.then, t.too = nil, nil
	t.mu.Unlock()
	if then != nil {
		then.Settled(err)
	}
	for _, w := range more {
		w.Settled(err)
	}
}

// Waiting searches what waits for a device and in the account's inbox, behind
// what has been written to it of each. Nothing is acked by it.
func (s *Store) Waiting(user, device string, written [2]uint64, f Find) (r Found, err error) {
	sh, acct, err := s.of(user)
	if err != nil {
		return r, err
	}
	l := &tray{owner: user, s: s}
	if f.After != "" || f.Before != "" || f.From != "" || len(f.IDs) > 0 {
		l.sids = map[uint64]uint64{}
	}
	for i, d := range []id{s.device(user, device), s.device(user, "")} {
		l.gather(sh, boxID{acct, d}, written[i])
	}
	l.sort()
	err = sh.db.View(func(tx *bbolt.Tx) error {
		l.hand = &hand{f: f, read: func(n uint64) (Mail, error) { return sh.waits(tx, place{acct, n}) }}
		r, err = search(l, l.hand, &f)
		return err
	})
	return r, err
}

// A tray is what waits for one device.
type tray struct {
	page.Numbers
	*hand
	s     *Store
	owner string
	sids  map[uint64]uint64
}

// gatherStep is how many entries are looked at while others wait.
const gatherStep = 1000

// gather lists the numbers of mail that is in the archive, without opening it;
// of what has been written only the ids are known.
func (l *tray) gather(sh *shard, b boxID, written uint64) {
	for cursor, more := uint64(0), true; more; {
		sh.mu.Lock()
		var some []uint64
		if q := sh.boxes[b]; q != nil {
			some = q.seqs[q.after(cursor):]
		}
		more = len(some) > gatherStep
		for _, n := range some[:min(len(some), gatherStep)] {
			cursor = n
			if e := sh.entries[place{b.acct, n}]; e != nil && e.sid != 0 {
				if n > written {
					l.Numbers = append(l.Numbers, n)
				}
				if l.sids != nil {
					l.sids[e.sid] = n
				}
			}
		}
		sh.mu.Unlock()
	}
}

func (l *tray) sort() {
	slices.Sort(l.Numbers)
	l.Numbers = slices.Compact(l.Numbers)
}

func (l *tray) find(archive string) (uint64, bool) {
	n, ok := l.sids[l.s.archived(l.owner, archive)]
	return n, ok
}

// Count implements page.List.
func (l *tray) Count(lo, hi uint64) (int, bool) {
	if l.f.With != "" {
		return 0, false // only opening them would tell
	}
	return l.Numbers.Count(lo, hi)
}

// waits reads mail that waits for somebody.
func (sh *shard) waits(tx *bbolt.Tx, p place) (Mail, error) {
	sh.mu.Lock()
	e := sh.entries[p]
	if e == nil {
		sh.mu.Unlock()
		return Mail{}, ErrGone
	}
	if m := e.mail; m != nil {
		sh.mu.Unlock()
		return *m, nil
	}
	slot := e.slot
	sh.mu.Unlock()
	return sh.read(tx, p, slot)
}
