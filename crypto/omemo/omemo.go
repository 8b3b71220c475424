// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"errors"
	"fmt"
	"strconv"

	"sotto/crypto/ratchet"
)

// What callers must tell apart.
var (
	ErrNotForUs  = errors.New("message has no key for this device")
	ErrNoSession = errors.New("no session with this device")
	ErrBundle    = errors.New("device's keys are not usable")
	ErrIdentity  = errors.New("device's identity key has changed")
	ErrUntrusted = errors.New("device is not trusted")
	ErrPreKey    = errors.New("message was made for a key that is gone")
	ErrPayload   = errors.New("payload does not belong to its key")
)

// Wire is one of the two OMEMO formats.
type Wire uint8

// The two wires. Old is what most clients speak, Two is urn:xmpp:omemo:2.
const (
	Old Wire = iota
	Two
)

// Wires are both, the preferred one first.
var Wires = [...]Wire{Two, Old}

func (w Wire) String() string { return w.suite().Name }

func (w Wire) suite() *ratchet.Suite {
	if w == Two {
		return ratchet.Two
	}
	return ratchet.Axolotl
}

// keyText writes a public key as a bundle of this wire has it.
func (w Wire) keyText(u [32]byte) []byte {
	if w == Two {
		return u[:]
	}
	return ratchet.Key33(u)
}

// keyOf reads keyText.
func (w Wire) keyOf(b []byte) ([32]byte, error) {
	if w == Old {
		return ratchet.Of33(b)
	}
	if len(b) != 32 {
		return [32]byte{}, ratchet.ErrFraming
	}
	return [32]byte(b), nil
}

// Address is one device of one account; User is a bare address.
type Address struct {
	User   string
	Device uint32
}

func (a Address) String() string { return a.User + "/" + strconv.FormatUint(uint64(a.Device), 10) }

// Bundle is what a device publishes, in the bytes that the XML carries as base64.
type Bundle struct {
	Identity  []byte
	SignedID  uint32
	Signed    []byte
	Signature []byte
	PreKeys   []PreKey
}

// PreKey is a one-time key on offer.
type PreKey struct {
	ID  uint32
	Key []byte
}

// Key is the message key, sealed for one device.
type Key struct {
	To   Address // User is empty on the old wire, which names devices only
	Data []byte
	Kex  bool
}

// Message is an encrypted element. Without a Payload it only moves the ratchet.
type Message struct {
	Wire    Wire
	Sender  uint32
	Keys    []Key
	IV      []byte // old wire only
	Payload []byte
}

// Left is a device that a message could not be sealed for.
type Left struct {
	To  Address
	Why error
}

func (l Left) String() string { return fmt.Sprintf("%s: %v", l.To, l.Why) }

// Opened is what came out of a message.
type Opened struct {
	From    Address
	Content []byte // nil when the message carried none
	Trust   Trust
	Answer  bool // an empty message should go back: a new session, or a long chain
	Keys    bool // a one-time key is used up: publish the bundle again
}
