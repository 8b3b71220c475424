// SPDX-License-Identifier: Apache-2.0

package xmpp

// A Ledger counts what was sent on a stream and not yet acked (XEP-0198 §4).
// Counters wrap at 2^32.
type Ledger struct {
	acked uint32
	tags  []uint64
}

// Sent notes one stanza and returns its number; the tag is the caller's.
func (l *Ledger) Sent(tag uint64) uint32 {
	l.tags = append(l.tags, tag)
	return l.acked + uint32(len(l.tags))
}

// Acked takes the peer's h and returns the tags that it newly covers. An h
// beyond what was sent ends the stream; an old one covers nothing.
func (l *Ledger) Acked(h uint32) ([]uint64, error) {
	n := h - l.acked
	if n > uint32(len(l.tags)) {
		if n > 1<<31 {
			return nil, nil
		}
		app := El(NSSM, "handled-count-too-high", "h", itoa(int(h)), "send-count", itoa(int(l.Out())))
		return nil, &StreamError{Cond: StreamUndefined, App: app}
	}
	got := l.tags[:n:n]
	l.tags = l.tags[n:]
	if len(l.tags) == 0 {
		l.tags = nil
	}
	l.acked = h
	return got, nil
}

// Waiting is how many stanzas are not acked.
func (l *Ledger) Waiting() int { return len(l.tags) }

// Out is the number of the stanza sent last.
func (l *Ledger) Out() uint32 { return l.acked + uint32(len(l.tags)) }

// Tags are those of the stanzas that are not acked, in order.
func (l *Ledger) Tags() []uint64 { return append([]uint64(nil), l.tags...) }

// Restore begins at a known state, after a resumption.
func (l *Ledger) Restore(acked uint32, tags []uint64) {
	l.acked, l.tags = acked, append([]uint64(nil), tags...)
}
