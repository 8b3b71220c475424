// SPDX-License-Identifier: Apache-2.0

package ratchet

import (
	"sotto/crypto/xed"
)

const (
	maxSkip    = 1000 // keys one message may skip (XEP-0384, MAX_SKIP)
	maxSkipped = 1000 // keys a session keeps; the oldest go first
	maxOlder   = 5    // chains the peer has left
)

// skipped is the key of a message that has not come yet.
type skipped struct {
	dh [32]byte
	n  uint32
	mk [32]byte
}

// chain is the receiving end of a chain the peer has left. It is kept to know
// replays, and because some writers of the old wire announce the last index of
// the chain, not its length.
type chain struct {
	dh, key [32]byte
	n       uint32
}

// Session is one Double Ratchet (Double Ratchet §3.2).
type Session struct {
	suite         *Suite
	Local, Remote Identity
	initiator     bool
	base          [32]byte // the initiator's ephemeral key names the session
	pending       *Kex     // sent along until the peer answered

	root     [32]byte
	ours     xed.Pair
	theirs   [32]byte
	send     [32]byte
	hasSend  bool
	recv     [32]byte
	hasRecv  bool
	sent     uint32 // Ns
	received uint32 // Nr
	previous uint32 // PN
	missing  []skipped
	older    []chain
}

// Base names the session on both sides.
func (s *Session) Base() [32]byte { return s.base }

// Answered says that the peer has written in this session.
func (s *Session) Answered() bool { return s.pending == nil }

// Received is the number of the last message in the peer's chain.
func (s *Session) Received() uint32 { return s.received }

// turn makes a new ratchet pair of ours and its sending chain.
func (s *Session) turn() error {
	s.ours = xed.NewPair()
	dh, err := xed.Agree(s.ours.Priv, s.theirs)
	if err != nil {
		return err
	}
	s.root, s.send = s.suite.rootStep(s.root, dh)
	s.hasSend, s.previous, s.sent = true, s.sent, 0
	return nil
}

// Seal encrypts the next message; kex says that the frame is a key exchange.
func (s *Session) Seal(plain []byte) (raw []byte, kex bool, err error) {
	if !s.hasSend {
		return nil, false, ErrFraming // a responder first opens what made the session
	}
	mk, next := chainStep(s.send)
	k := s.suite.keys(mk)
	h := header{dh: s.ours.Pub, n: s.sent, pn: s.previous}
	frame := s.suite.frame(h, EncryptCBC(k.enc, k.iv, plain))
	raw = s.suite.seal(frame, s.suite.tag(k, s.suite.ad(s, true), frame))
	s.send = next
	s.sent++
	if s.pending != nil {
		return s.suite.SealKex(s.pending, raw), true, nil
	}
	return raw, false, nil
}

// Open decrypts a message without its key-exchange frame. When it fails, the
// session is as it was.
func (s *Session) Open(raw []byte) ([]byte, error) {
	h, frame, mac, err := s.suite.open(raw)
	if err != nil {
		return nil, err
	}
	try := *s // slices are replaced, never written in place
	mk, err := try.key(h)
	if err != nil {
		return nil, err
	}
	k := s.suite.keys(mk)
	if !s.suite.check(k, s.suite.ad(s, false), frame, mac) {
		return nil, ErrMAC
	}
	plain, err := DecryptCBC(k.enc, k.iv, h.body)
	if err != nil {
		return nil, err
	}
	try.pending = nil
	*s = try
	return plain, nil
}

// key finds the message key and moves the ratchet there (Double Ratchet §3.4, §3.5).
func (s *Session) key(h header) ([32]byte, error) {
	for i, m := range s.missing {
		if m.n == h.n && m.dh == h.dh {
			s.missing = append(append([]skipped{}, s.missing[:i]...), s.missing[i+1:]...)
			return m.mk, nil
		}
	}
	for i, c := range s.older {
		if c.dh == h.dh {
			return s.late(i, h.n)
		}
	}
	if !s.hasRecv || h.dh != s.theirs {
		if err := s.step(h); err != nil {
			return [32]byte{}, err
		}
	}
	c := chain{s.theirs, s.recv, s.received}
	mk, err := s.advance(&c, h.n)
	s.recv, s.received = c.key, c.n
	return mk, err
}

// late finds the key of a message in a chain that the peer has left.
func (s *Session) late(i int, n uint32) ([32]byte, error) {
	s.older = append([]chain{}, s.older...)
	return s.advance(&s.older[i], n)
}

// advance moves a chain behind message n and gives its key.
func (s *Session) advance(c *chain, n uint32) ([32]byte, error) {
	if n < c.n {
		return [32]byte{}, ErrReplay
	}
	if err := s.skip(c, n); err != nil {
		return [32]byte{}, err
	}
	mk, next := chainStep(c.key)
	c.key = next
	c.n++
	return mk, nil
}

// step follows the peer's new ratchet key and makes one of ours.
func (s *Session) step(h header) error {
	if s.hasRecv {
		c := chain{s.theirs, s.recv, s.received}
		if h.pn > c.n {
			if err := s.skip(&c, h.pn); err != nil {
				return err
			}
		}
		s.older = append(append([]chain{}, s.older...), c)
		s.older = s.older[max(0, len(s.older)-maxOlder):]
	}
	dh, err := xed.Agree(s.ours.Priv, h.dh)
	if err != nil {
		return err
	}
	s.root, s.recv = s.suite.rootStep(s.root, dh)
	s.theirs, s.hasRecv, s.received = h.dh, true, 0
	return s.turn()
}

// skip keeps the keys of messages before number n in a chain.
func (s *Session) skip(c *chain, n uint32) error {
	if n-c.n > maxSkip {
		return ErrTooFar
	}
	if n == c.n {
		return nil
	}
	keep := append([]skipped{}, s.missing...)
	for c.n < n {
		mk, next := chainStep(c.key)
		keep = append(keep, skipped{c.dh, c.n, mk})
		c.key = next
		c.n++
	}
	s.missing = keep[max(0, len(keep)-maxSkipped):]
	return nil
}
