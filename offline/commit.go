// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

// commitLoop is the shard's only writer: it gathers what came in and makes it
// durable with one sync of each file.
func (sh *shard) commitLoop(done *sync.WaitGroup) {
	defer done.Done()
	debug.SetPanicOnFault(true)
	timer := time.NewTimer(time.Hour)
	for {
		select {
		case <-sh.kick:
		case <-timer.C:
		}
		wait, last := sh.whenDue()
		if wait > 0 {
			timer.Reset(wait)
			continue
		}
		sh.commit()
		timer.Reset(time.Hour)
		if last && sh.idle() {
			return
		}
	}
}

func (sh *shard) whenDue() (time.Duration, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.due.IsZero() {
		return time.Hour, sh.closing
	}
	return time.Until(sh.due), sh.closing
}

func (sh *shard) idle() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	idle := len(sh.fresh) == 0 && len(sh.notes) == 0 && len(sh.dropped) == 0 && len(sh.jobs) == 0
	if !idle {
		sh.wake(0)
	}
	return idle || sh.failed != nil
}

// A haul is what one commit carries.
type haul struct {
	fresh   []*entry
	notes   []*note
	begun   []*week // of notes
	dropped []drop
	jobs    []*job
	slots   []uint32 // of fresh
	tickets []*Ticket
}

// together is how much earlier than it must an entry is written when others
// are: commits are dear.
const together = time.Millisecond

// gather takes what is due. An entry that all devices ack before its time
// never sees the disk (DESIGN §3).
func (sh *shard) gather() *haul {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	h := &haul{dropped: sh.dropped, jobs: sh.jobs, notes: sh.notes}
	sh.dropped, sh.jobs, sh.notes, sh.due = nil, nil, nil, time.Time{}
	sh.writing = h.notes
	now := time.Now()
	soon := now.Add(together)
	take := map[id]bool{}
	var later []fresh
	for _, f := range slices.Backward(sh.fresh) {
		switch {
		case len(f.owed) == 0:
		case !take[f.acct] && !sh.closing && !f.due.After(soon) && sh.putOff(&f, now):
			later = append(later, f)
			sh.wakeAt(f.due)
		case take[f.acct] || sh.closing || !f.due.After(soon): // one order for each account
			take[f.acct] = true
			f.state, f.asked = committing, f.owed
			h.fresh = append(h.fresh, f.entry)
		default:
			later = append(later, f)
			sh.wakeAt(f.due)
		}
	}
	slices.Reverse(h.fresh)
	for _, e := range h.fresh {
		h.tickets = append(h.tickets, e.ticket)
	}
	slices.Reverse(later)
	sh.fresh, sh.held = later, 0
	for _, f := range later {
		sh.held += len(f.mail.Body)
	}
	return h
}

// putOffMax is how often mail is kept from the disk a little longer.
const putOffMax = 4

// putOff gives mail more time whose devices are all acking right now: in a rush
// their acks come late, and writing what they are about to ack makes it worse.
func (sh *shard) putOff(f *fresh, now time.Time) bool {
	linger := sh.s.opt.LingerLive
	for _, d := range f.owed {
		q := sh.boxes[boxID{f.acct, d}]
		if f.more == 0 || q == nil || now.Sub(q.heard) > linger {
			return false
		}
	}
	f.more--
	f.due = now.Add(linger)
	return true
}

func (sh *shard) commit() {
	h := sh.gather()
	err := sh.write(h)
	for _, d := range h.dropped {
		if err == nil && d.last {
			if e := sh.keys.wipe(d.slot); e != nil {
				sh.s.opt.Log.Error("key not wiped", "err", e)
			}
		}
	}
	verdict := make([]error, len(h.fresh))
	sh.mu.Lock()
	sh.writing = nil
	for i, e := range h.fresh {
		if len(e.owed) > 0 { // else all have acked it meanwhile
			verdict[i] = err
		}
	}
	if err != nil {
		sh.undo(h, err)
	} else {
		sh.failed = nil
		sh.stored(h)
	}
	sh.mu.Unlock()
	for i, t := range h.tickets {
		t.settle(verdict[i])
	}
	for _, n := range h.notes {
		n.ticket.settle(err)
	}
	for _, j := range h.jobs {
		if j.err == nil && err != nil {
			j.err = errors.Join(ErrReadOnly, err)
		}
		close(j.done)
	}
}

// write makes the keys durable before the entries that need them.
func (sh *shard) write(h *haul) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	sh.mu.Lock()
	failed := sh.failed
	sh.mu.Unlock()
	if failed != nil && !passing(failed) {
		return failed // after a failed sync the file's state is unknown
	}
	if failed == nil && len(h.fresh)+len(h.notes)+len(h.dropped)+len(h.jobs) == 0 {
		return nil
	}
	sealed := make([][]byte, len(h.fresh))
	for i, e := range h.fresh {
		n, key, err := sh.keys.take()
		if err != nil {
			return err
		}
		h.slots = append(h.slots, n)
		if sealed[i], err = sealOnce(key, e.mail.encode(e.user), e.key()); err != nil {
			return err
		}
	}
	if err := sh.sealNotes(h); err != nil {
		return err
	}
	if len(h.fresh)+len(h.begun) > 0 {
		if err := sh.keys.sync(); err != nil {
			return err
		}
	}
	return sh.db.Update(func(tx *bbolt.Tx) error { return h.apply(tx, sealed) })
}

// passing says whether an error can go away by itself: a disk that is full
// gets room again. A sync that failed does not: what it should have written may
// be gone, whatever the next one says, until a restart reads the files again.
func passing(err error) bool {
	var at *os.PathError
	sure := errors.As(err, &at) && at.Op != "sync"
	text, grew := strings.CutPrefix(err.Error(), "file resize error: truncate ") // bbolt keeps only the words
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if sure && errors.Is(err, e) || grew && strings.HasSuffix(text, e.Error()) {
			return true
		}
	}
	return false
}

func (h *haul) apply(tx *bbolt.Tx, sealed [][]byte) error {
	body, ref := tx.Bucket(bodies), tx.Bucket(refs)
	for i, e := range h.fresh {
		v := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(sealed[i])), h.slots[i])
		if err := body.Put(e.key(), append(v, sealed[i]...)); err != nil {
			return err
		}
		token := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, e.token), e.sid)
		for _, d := range e.asked {
			if err := ref.Put(e.refKey(d), token); err != nil {
				return err
			}
		}
	}
	if err := h.applyNotes(tx); err != nil {
		return err
	}
	for _, d := range h.dropped {
		if err := ref.Delete(d.refKey(d.device)); err != nil {
			return err
		}
		if d.last {
			if err := body.Delete(d.key()); err != nil {
				return err
			}
		}
	}
	for _, j := range h.jobs {
		if err := j.do(tx); err != nil {
			return err
		}
	}
	return nil
}

func (sh *shard) stored(h *haul) {
	sh.wrote += len(h.fresh)
	for i, e := range h.fresh {
		e.state, e.slot, e.mail, e.asked, e.ticket = stored, h.slots[i], nil, nil, nil
		for _, d := range e.gone {
			sh.dropped = append(sh.dropped, drop{e.place, d, false, e.slot})
		}
		if len(e.owed) == 0 && len(e.gone) > 0 {
			sh.dropped[len(sh.dropped)-1].last = true
			sh.lose(e)
		}
		e.gone = nil
	}
	if len(sh.dropped) > 0 {
		sh.wake(dropLinger)
	}
}

// dropLinger is how long acked mail may stay on disk before it is taken off,
// so that acks share commits.
const dropLinger = 200 * time.Millisecond

// undo keeps what was not written. The disk's state is unknown: from now on
// the shard takes no new mail until a later write succeeds (DESIGN §5).
func (sh *shard) undo(h *haul, err error) {
	if sh.failed == nil {
		sh.s.opt.Log.Error("commit failed; no new mail is taken", "err", err)
	}
	sh.failed = err
	for _, e := range h.fresh {
		for _, d := range e.owed {
			sh.box(boxID{e.acct, d}).remove(e.seq)
		}
		sh.lose(e)
	}
	for _, n := range h.slots {
		_ = sh.keys.wipe(n)
	}
	for _, n := range h.notes { // what is known of their weeks counts notes that are not there
		delete(sh.weeks, n.acct)
	}
	for _, w := range h.begun {
		_ = sh.keys.wipe(w.slot)
	}
	sh.dropped = append(h.dropped, sh.dropped...)
	if passing(err) && len(sh.jobs) < patience {
		again := slices.DeleteFunc(slices.Clone(h.jobs), func(j *job) bool { return !j.patient })
		h.jobs = slices.DeleteFunc(h.jobs, func(j *job) bool { return j.patient })
		sh.jobs = append(again, sh.jobs...)
	}
}

// patience is how many changes wait for room on a full disk.
const patience = 10_000

func (sh *shard) lose(e *entry) {
	delete(sh.entries, e.place)
	if e.token != 0 && sh.tokens[e.token] == e {
		delete(sh.tokens, e.token)
	}
}
