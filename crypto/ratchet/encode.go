// SPDX-License-Identifier: Apache-2.0

package ratchet

import (
	"encoding/binary"
	"errors"
)

const stateVersion = 1

// Flags of a stored session.
const (
	isInitiator = 1 << iota
	isPending
	canSend
	canReceive
)

// Append writes the session's state; the local identity is the account's and
// is not part of it.
func (s *Session) Append(b []byte) []byte {
	var flags byte
	for _, f := range [...]struct {
		on  bool
		bit byte
	}{{s.initiator, isInitiator}, {s.pending != nil, isPending}, {s.hasSend, canSend}, {s.hasRecv, canReceive}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, stateVersion, flags)
	for _, k := range s.fixed() {
		b = append(b, k[:]...)
	}
	for _, n := range [...]uint32{s.sent, s.received, s.previous} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	if p := s.pending; p != nil {
		for _, n := range [...]uint32{p.PreKey, p.SignedPreKey, p.Registration} {
			b = binary.BigEndian.AppendUint32(b, n)
		}
	}
	b = append(b, byte(len(s.older)))
	for _, c := range s.older {
		b = append(append(b, c.dh[:]...), c.key[:]...)
		b = binary.BigEndian.AppendUint32(b, c.n)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(s.missing)))
	for _, m := range s.missing {
		b = append(append(b, m.dh[:]...), m.mk[:]...)
		b = binary.BigEndian.AppendUint32(b, m.n)
	}
	return b
}

func (s *Session) fixed() [9]*[32]byte {
	return [...]*[32]byte{
		&s.Remote.Curve, &s.Remote.Edwards, &s.base, &s.root, &s.ours.Priv, &s.ours.Pub, &s.theirs, &s.send, &s.recv,
	}
}

// errState says that stored bytes are no session; the vault's seal makes this our bug.
var errState = errors.New("stored session is malformed")

// reader takes fields from stored bytes and remembers when they ran out.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.b, r.bad = nil, true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

// Load reads what Append wrote and returns the rest.
func Load(su *Suite, me Identity, b []byte) (*Session, []byte, error) {
	r := &reader{b: b}
	head := r.take(2)
	if head[0] != stateVersion {
		return nil, nil, errState
	}
	s := &Session{suite: su, Local: me, initiator: head[1]&isInitiator != 0, hasSend: head[1]&canSend != 0, hasRecv: head[1]&canReceive != 0}
	for _, k := range s.fixed() {
		copy(k[:], r.take(32))
	}
	s.sent, s.received, s.previous = r.u32(), r.u32(), r.u32()
	if head[1]&isPending != 0 {
		s.pending = &Kex{PreKey: r.u32(), SignedPreKey: r.u32(), Registration: r.u32(), Identity: me, Base: s.base}
	}
	for range r.take(1)[0] {
		s.older = append(s.older, chain{[32]byte(r.take(32)), [32]byte(r.take(32)), r.u32()})
	}
	for n := binary.BigEndian.Uint16(r.take(2)); n > 0 && !r.bad; n-- {
		m := skipped{dh: [32]byte(r.take(32)), mk: [32]byte(r.take(32))}
		m.n = r.u32()
		s.missing = append(s.missing, m)
	}
	if r.bad {
		return nil, nil, errState
	}
	return s, r.b, nil
}
