// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"errors"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
	"sotto/crypto/xed"
)

const (
	maxSessions = 6  // with one device: two that crossed, and what a repair left behind
	longChain   = 53 // a chain this long without an answer asks for one (XEP-0384 §5.6)
)

func sessionName(w Wire, at Address) string { return w.String() + "\n" + nameOf(at) }

// sessions reads all sessions with a device, the one in use first.
func (a *Account) sessions(w Wire, at Address) (all []*ratchet.Session, err error) {
	b, err := a.store.Get(kindSession, sessionName(w, at))
	for err == nil && len(b) > 0 {
		var s *ratchet.Session
		if s, b, err = ratchet.Load(w.suite(), a.me, b); err == nil {
			all = append(all, s)
		}
	}
	return all, err
}

func sessionsChange(w Wire, at Address, all []*ratchet.Session) vault.Change {
	var b []byte
	for _, s := range all[:min(len(all), maxSessions)] {
		b = s.Append(b)
	}
	return vault.Change{Kind: kindSession, Name: sessionName(w, at), Value: b}
}

// front puts session i first.
func front(all []*ratchet.Session, i int) []*ratchet.Session {
	out := []*ratchet.Session{all[i]}
	for j, s := range all {
		if j != i {
			out = append(out, s)
		}
	}
	return out
}

// dropped are the changes that forget all sessions with a device.
func (a *Account) dropped(at Address) (changes []vault.Change) {
	for _, w := range Wires {
		changes = append(changes, vault.Change{Kind: kindSession, Name: sessionName(w, at)})
	}
	return changes
}

// Forget drops the sessions with a device; its key and trust stay known.
func (a *Account) Forget(at Address) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store.Commit(a.dropped(at)...)
}

// HasSession says whether a message can be sealed for a device at once.
func (a *Account) HasSession(w Wire, at Address) (bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	all, err := a.sessions(w, at)
	return len(all) > 0, err
}

// Begin starts a new session from a device's bundle; older ones stay readable.
func (a *Account) Begin(w Wire, at Address, b *Bundle) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id, spk, opk, opkID, err := w.check(b)
	if err != nil {
		return err
	}
	_, changes, err := a.meet(at, id)
	if err != nil {
		return err
	}
	s, err := ratchet.Initiate(w.suite(), a.id, a.me, id, spk, opk,
		ratchet.Kex{PreKey: opkID, SignedPreKey: b.SignedID, Registration: a.self.Device})
	if err != nil {
		return errors.Join(ErrBundle, err)
	}
	all, err := a.sessions(w, at)
	if err != nil {
		return err
	}
	return a.store.Commit(append(changes, sessionsChange(w, at, append([]*ratchet.Session{s}, all...)))...)
}

// Encrypt seals content for devices. It returns once the ratchets' new state
// is durable; devices that it could not serve are listed. Nil content makes an
// empty message, which goes to untrusted devices too: it says nothing. What
// with gives is made durable in the same commit; it may be nil.
func (a *Account) Encrypt(w Wire, to []Address, content []byte, with func(*Message) []vault.Change) (*Message, []Left, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	secret, iv, payload := w.seal(content)
	m := &Message{Wire: w, Sender: a.self.Device, IV: iv, Payload: payload}
	var changes []vault.Change
	var left []Left
	for _, at := range to {
		key, change, err := a.sealKey(w, at, secret, content == nil)
		if err != nil {
			left = append(left, Left{at, err})
			continue
		}
		m.Keys = append(m.Keys, key)
		changes = append(changes, change)
	}
	if len(m.Keys) == 0 {
		return m, left, nil
	}
	if with != nil {
		changes = append(changes, with(m)...)
	}
	return m, left, a.store.Commit(changes...)
}

func (a *Account) sealKey(w Wire, at Address, secret []byte, empty bool) (Key, vault.Change, error) {
	d, err := a.known(at)
	if err != nil {
		return Key{}, vault.Change{}, err
	}
	if d != nil && d.Changed() {
		return Key{}, vault.Change{}, ErrIdentity
	}
	if d != nil && !empty && d.Trust != FirstUse && d.Trust != Verified {
		return Key{}, vault.Change{}, ErrUntrusted
	}
	all, err := a.sessions(w, at)
	if err != nil {
		return Key{}, vault.Change{}, err
	}
	if len(all) == 0 {
		return Key{}, vault.Change{}, ErrNoSession
	}
	raw, kex, err := all[0].Seal(secret)
	if err != nil {
		return Key{}, vault.Change{}, err
	}
	k := Key{To: at, Data: raw, Kex: kex}
	if w == Old {
		k.To.User = ""
	}
	return k, sessionsChange(w, at, all), nil
}

// Decrypt opens a message from a user's device. Ratchet, one-time key and what
// with gives move in one commit, and only when everything opened: so a message
// is never opened and then lost. With may be nil.
func (a *Account) Decrypt(user string, m *Message, with func(*Opened) []vault.Change) (*Opened, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := Address{user, m.Sender}
	result := error(ErrNotForUs)
	for _, k := range m.Keys {
		if k.To.Device != a.self.Device || m.Wire == Two && k.To.User != a.self.User {
			continue
		}
		o, err := a.decryptKey(&opening{at, m, k, with})
		if err == nil {
			return o, nil
		}
		// On the old wire another account's device may have our number.
		if result == ErrNotForUs || errors.Is(err, ratchet.ErrReplay) {
			result = err
		}
	}
	return nil, result
}

// opening is one try to open a message.
type opening struct {
	at   Address
	m    *Message
	k    Key
	with func(*Opened) []vault.Change
}

func (a *Account) decryptKey(t *opening) (*Opened, error) {
	all, err := a.sessions(t.m.Wire, t.at)
	if err != nil {
		return nil, err
	}
	if t.k.Kex {
		return a.decryptKex(t, all)
	}
	if len(all) == 0 {
		return nil, ErrNoSession
	}
	i, secret, err := openAny(all, t.k.Data)
	if err != nil {
		return nil, err
	}
	d, err := a.known(t.at)
	if err != nil {
		return nil, err
	}
	o := &Opened{From: t.at, Answer: all[i].Received()%longChain == 0}
	if d != nil {
		o.Trust = d.Trust
	}
	return a.finish(o, t, secret, front(all, i), nil)
}

// openAny tries the sessions in turn; a replay in any is a replay.
func openAny(all []*ratchet.Session, raw []byte) (int, []byte, error) {
	var last error
	for i, s := range all {
		secret, err := s.Open(raw)
		if err == nil {
			return i, secret, nil
		}
		if last == nil || errors.Is(err, ratchet.ErrReplay) {
			last = err
		}
	}
	return 0, nil, last
}

// decryptKex opens a key exchange: of a session we have, or of a new one.
func (a *Account) decryptKex(t *opening, all []*ratchet.Session) (*Opened, error) {
	at, suite := t.at, t.m.Wire.suite()
	kex, inner, err := suite.OpenKex(t.k.Data)
	if err != nil {
		return nil, err
	}
	d, changes, err := a.meet(at, kex.Identity)
	if err != nil {
		return nil, err
	}
	for i, s := range all {
		if s.Base() == kex.Base {
			secret, err := s.Open(inner)
			if err != nil {
				return nil, err
			}
			return a.finish(&Opened{From: at, Trust: d.Trust}, t, secret, front(all, i), changes)
		}
	}
	ring := a.rings[t.m.Wire]
	spk, ok := ring.signed(kex.SignedPreKey)
	opk := ring.preKey(kex.PreKey)
	if !ok || opk == nil {
		return nil, ErrPreKey
	}
	s, err := ratchet.Respond(suite, a.id, a.me, spk, xed.Pair{Priv: opk.Priv, Pub: opk.Pub}, *kex)
	if err != nil {
		return nil, err
	}
	secret, err := s.Open(inner)
	if err != nil {
		return nil, err
	}
	o := &Opened{From: at, Trust: d.Trust, Answer: true, Keys: opk.Used.IsZero()}
	was := opk.Used
	if opk.Used.IsZero() {
		opk.Used = a.now()
	}
	c, err := ring.change(t.m.Wire)
	if err == nil {
		o, err = a.finish(o, t, secret, append([]*ratchet.Session{s}, all...), append(changes, c))
	}
	if err != nil {
		opk.Used = was
	}
	return o, err
}

// finish opens the payload and makes the new state durable.
func (a *Account) finish(o *Opened, t *opening, secret []byte, all []*ratchet.Session, changes []vault.Change) (*Opened, error) {
	if t.m.Payload != nil {
		content, err := t.m.Wire.open(secret, t.m.IV, t.m.Payload)
		if err != nil {
			return nil, err
		}
		o.Content = content
	}
	if t.with != nil {
		changes = append(changes, t.with(o)...)
	}
	return o, a.store.Commit(append(changes, sessionsChange(t.m.Wire, o.From, all))...)
}
