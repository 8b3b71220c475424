// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"go.etcd.io/bbolt"
)

// Put owes a mail to the given devices ("" is the account's inbox). It is
// visible at once; the Ticket says when it is safe. live means that all of
// them are there and ack, so that the commit may wait a little longer.
func (s *Store) Put(user string, devices []string, m *Mail, live bool) (*Ticket, error) {
	sh, acct, err := s.of(user)
	if err != nil {
		return nil, err
	}
	if _, err := s.account(user); err != nil {
		return nil, err
	}
	owed := make([]id, 0, len(devices))
	for _, d := range devices {
		if x := s.device(user, d); !slices.Contains(owed, x) {
			owed = append(owed, x)
		}
	}
	return sh.put(user, acct, owed, m, live)
}

// Owe is Put for who is no account and has one mailbox: another server.
func (s *Store) Owe(owner string, m *Mail, live bool) (*Ticket, error) {
	sh, acct, err := s.of(owner)
	if err != nil {
		return nil, err
	}
	return sh.put(owner, acct, []id{s.device(owner, "")}, m, live)
}

func (sh *shard) put(user string, acct id, owed []id, m *Mail, live bool) (*Ticket, error) {
	if err := sh.reserve(acct); err != nil {
		return nil, err
	}
	defer sh.mu.Unlock() // reserve has locked it
	if m.Token != 0 {
		if twin := sh.tokens[m.Token]; twin != nil {
			return twin.answer(), nil
		}
	}
	if err := sh.takes(); err != nil {
		return nil, err
	}
	if owed = sh.without(owed, m); len(owed) == 0 {
		return &Ticket{done: true}, nil
	}
	if owed = sh.withRoom(acct, owed); len(owed) == 0 {
		return nil, ErrFull
	}
	m.Seq = sh.number(acct)
	e := &entry{
		place: place{acct, m.Seq}, user: user, token: m.Token, owed: owed,
		mail: m, ticket: &Ticket{}, expires: m.Expires.Unix(), sid: sh.s.archived(user, m.Archive),
	}
	sh.entries[e.place] = e
	if e.token != 0 {
		sh.tokens[e.token] = e
	}
	for _, d := range owed {
		sh.box(boxID{acct, d}).add(m.Seq)
	}
	linger, more := sh.s.opt.Linger, 0
	if live {
		linger, more = sh.s.opt.LingerLive, putOffMax
	}
	sh.wake(linger)
	sh.fresh = append(sh.fresh, fresh{e, time.Now().Add(linger), more})
	sh.held += len(m.Body)
	if m.Kept {
		e.ticket.more = 1
		sh.note(&note{place: e.place, user: user, mail: m, account: true, ticket: e.ticket})
	}
	return e.ticket, nil
}

// takes says why the shard takes no new mail.
func (sh *shard) takes() error {
	switch {
	case sh.closing:
		return ErrReadOnly
	case sh.failed != nil:
		sh.wake(0) // try again to empty what waits: the disk may be well by now
		return errors.Join(ErrReadOnly, sh.failed)
	case sh.held >= heldMax:
		return errors.Join(ErrReadOnly, errors.New("the disk is too slow for what comes"))
	}
	return nil
}

// number gives out the next one that reserve holds ready.
func (sh *shard) number(acct id) uint64 {
	r := sh.next[acct]
	sh.next[acct] = span{r.next + 1, r.end}
	return r.next
}

// heldMax is how many bytes of mail a shard keeps in memory for its commits;
// as much again may be in the one that runs (DESIGN §1 P5).
const heldMax = 32 << 20

// withRoom leaves out the devices whose mailbox is full: one that nobody has
// looked after for 50,000 messages must not keep the others from getting any.
func (sh *shard) withRoom(acct id, owed []id) []id {
	return slices.DeleteFunc(owed, func(d id) bool {
		q := sh.boxes[boxID{acct, d}]
		return q != nil && len(q.seqs) >= sh.s.opt.MailboxMax
	})
}

func (e *entry) answer() *Ticket {
	if e.ticket != nil {
		return e.ticket
	}
	return &Ticket{done: true}
}

// reserve makes sure that there is a number to give out, and holds the lock
// then: a number is never given out twice, even after a crash.
func (sh *shard) reserve(acct id) error {
	for {
		sh.mu.Lock()
		if r := sh.next[acct]; r.next < r.end {
			return nil
		}
		sh.mu.Unlock()
		var got span
		err := sh.do(func(tx *bbolt.Tx) error {
			b := tx.Bucket(numbers)
			got.next = 1
			if v := b.Get(acct[:]); len(v) == 8 {
				got.next = binary.BigEndian.Uint64(v)
			}
			got.end = got.next + sh.block
			return b.Put(acct[:], binary.BigEndian.AppendUint64(nil, got.end))
		})
		if err != nil {
			return errors.Join(ErrReadOnly, err)
		}
		sh.mu.Lock()
		if r := sh.next[acct]; r.next >= r.end { // nobody was quicker
			sh.next[acct] = got
		}
		sh.mu.Unlock()
	}
}

// A Mailbox is what one device has not acked.
type Mailbox struct {
	sh     *shard
	user   string
	acct   id
	device id
	err    error
}

// Mailbox opens a device's mailbox; "" is the account's inbox.
func (s *Store) Mailbox(user, device string) *Mailbox {
	sh, acct, err := s.of(user)
	return &Mailbox{sh, user, acct, s.device(user, device), err}
}

// Len is how many mails wait.
func (b *Mailbox) Len() int {
	if b.err != nil {
		return 0
	}
	b.sh.mu.Lock()
	defer b.sh.mu.Unlock()
	if q := b.sh.boxes[boxID{b.acct, b.device}]; q != nil {
		return len(q.seqs)
	}
	return 0
}

// Owes says whether a mail waits that is not acked.
func (b *Mailbox) Owes(seq uint64) bool {
	if b.err != nil {
		return false
	}
	b.sh.mu.Lock()
	defer b.sh.mu.Unlock()
	q := b.sh.boxes[boxID{b.acct, b.device}]
	if q == nil {
		return false
	}
	_, found := slices.BinarySearch(q.seqs, seq)
	return found
}

// After appends to dst at most max mails that are not acked, with numbers
// beyond cursor, in order. A mail that cannot be read is reported once and
// passed over: the ones behind it must not wait for it.
func (b *Mailbox) After(cursor uint64, max int, dst []Mail) ([]Mail, error) {
	if b.err != nil {
		return dst, b.err
	}
	first, onDisk := len(dst), false
	var slots []uint32
	b.sh.mu.Lock()
	if q := b.sh.boxes[boxID{b.acct, b.device}]; q != nil {
		for _, seq := range q.seqs[q.after(cursor):] {
			if len(slots) == max {
				break
			}
			e := b.sh.entries[place{b.acct, seq}]
			if e.mail != nil {
				dst, slots = append(dst, *e.mail), append(slots, 0)
				continue
			}
			dst, slots = append(dst, Mail{Seq: seq, Token: e.token}), append(slots, e.slot)
			onDisk = true
		}
	}
	b.sh.mu.Unlock()
	if !onDisk {
		return dst, nil
	}
	return b.fetch(dst, first, slots)
}

// fetch reads the mails that have no body yet from the disk.
func (b *Mailbox) fetch(dst []Mail, first int, slots []uint32) ([]Mail, error) {
	var lost []uint64
	err := b.sh.db.View(func(tx *bbolt.Tx) error {
		for i := range slots {
			m := &dst[first+i]
			if m.Body != nil {
				continue
			}
			got, err := b.sh.read(tx, place{b.acct, m.Seq}, slots[i])
			if err != nil {
				lost = append(lost, m.Seq)
				continue
			}
			got.Token = m.Token
			*m = got
		}
		return nil
	})
	if err != nil {
		return dst[:first], err
	}
	if lost == nil {
		return dst, nil
	}
	// Acked meanwhile, or damaged: either way there is nothing to give out.
	kept := slices.DeleteFunc(dst[first:], func(m Mail) bool { return m.Body == nil })
	b.sh.s.opt.Log.Warn("mail not readable", "n", len(lost))
	b.Ack(lost...)
	return dst[:first+len(kept)], nil
}

// read opens one sealed mail.
func (sh *shard) read(tx *bbolt.Tx, p place, slot uint32) (Mail, error) {
	_, m, err := sh.readFor(tx, p, slot)
	return m, err
}

func (sh *shard) readFor(tx *bbolt.Tx, p place, slot uint32) (string, Mail, error) {
	v := tx.Bucket(bodies).Get(p.key())
	if len(v) < 4 || binary.BigEndian.Uint32(v) != slot {
		return "", Mail{}, ErrGone
	}
	key, err := sh.keys.read(slot)
	if err != nil {
		return "", Mail{}, err
	}
	plain, err := openOnce(key, v[4:], p.key())
	if err != nil {
		return "", Mail{}, err
	}
	user, m, err := decodeMail(plain)
	m.Seq = p.seq
	return user, m, err
}

// Ack says that the device has these mails. The last device's ack forgets the
// content; what was never committed does not touch the disk.
func (b *Mailbox) Ack(seqs ...uint64) {
	if b.err != nil || len(seqs) == 0 {
		return
	}
	var safe []*Ticket
	b.sh.mu.Lock()
	q := b.sh.boxes[boxID{b.acct, b.device}]
	if q != nil {
		q.heard = time.Now()
	}
	for _, seq := range seqs {
		if q == nil || !q.remove(seq) {
			continue
		}
		if t := b.sh.acked(place{b.acct, seq}, b.device); t != nil {
			safe = append(safe, t)
		}
	}
	if q != nil && len(q.seqs) == 0 {
		delete(b.sh.boxes, boxID{b.acct, b.device})
	}
	b.sh.mu.Unlock()
	for _, t := range safe {
		t.settle(nil)
	}
}

// AckUpTo acks all mail up to a number.
func (b *Mailbox) AckUpTo(seq uint64) {
	if b.err != nil {
		return
	}
	var had []uint64
	b.sh.mu.Lock()
	if q := b.sh.boxes[boxID{b.acct, b.device}]; q != nil {
		had = slices.Clone(q.seqs[:q.after(seq)])
	}
	b.sh.mu.Unlock()
	b.Ack(had...)
}

// An arrival is mail that a device has, though a crash came before that was
// known: its sender will send it again.
type arrival struct {
	token  uint64
	device id
}

// arrivalsMax bounds what is remembered of one crash.
const arrivalsMax = 1 << 16

// Arrived says by tokens what the device has had since before the crash. What
// comes again is not given to it again.
func (b *Mailbox) Arrived(tokens ...uint64) {
	if b.err != nil {
		return
	}
	var again []uint64
	b.sh.mu.Lock()
	for _, t := range tokens {
		switch e := b.sh.tokens[t]; {
		case t == 0:
		case e != nil:
			again = append(again, e.seq)
		case len(b.sh.arrived) < arrivalsMax:
			b.sh.arrived[arrival{t, b.device}] = true
		}
	}
	b.sh.mu.Unlock()
	b.Ack(again...)
}

// without takes off the devices that have a mail already. A history wants it
// all the same.
func (sh *shard) without(owed []id, m *Mail) []id {
	if m.Token == 0 || m.Kept || len(sh.arrived) == 0 {
		return owed
	}
	return slices.DeleteFunc(owed, func(d id) bool { return sh.arrived[arrival{m.Token, d}] })
}

// acked takes one device off an entry; the ticket returned became safe by it.
func (sh *shard) acked(p place, device id) *Ticket {
	e := sh.entries[p]
	if e == nil {
		return nil
	}
	if e.state == committing {
		e.owed = slices.Clone(e.owed) // the commit reads the old one
	}
	e.owed = slices.DeleteFunc(e.owed, func(d id) bool { return d == device })
	last := len(e.owed) == 0
	switch e.state {
	case waiting:
		if last {
			sh.lose(e)
			e.mail = nil
			return e.ticket
		}
	case committing:
		e.gone = append(e.gone, device)
	case stored:
		sh.dropped = append(sh.dropped, drop{p, device, last, e.slot})
		sh.wake(dropLinger)
		if last {
			sh.lose(e)
		}
	}
	return nil
}
