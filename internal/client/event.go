// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"time"
)

// EventKind says what happened.
type EventKind string

// The kinds of events.
const (
	Online     EventKind = "online"     // the stream is up
	Offline    EventKind = "offline"    // the stream is down; Why says why
	Incoming   EventKind = "message"    // a message of somebody
	Outgoing   EventKind = "sent-here"  // a message that we sent, from here or another device
	Changed    EventKind = "state"      // a message of ours has another state
	Typing     EventKind = "typing"     // Chat is typing, or has stopped (Why: paused)
	Presence   EventKind = "presence"   // a contact came, went or changed
	Asked      EventKind = "asked"      // somebody asks to see our presence
	Unreadable EventKind = "unreadable" // a message could not be opened; it was asked for again
	NewDevice  EventKind = "new-device" // a contact, or we, have another device
	Ready      EventKind = "ready"      // keys are published, the roster is here
)

// Event is one thing that happened, for a screen or a script.
type Event struct {
	Kind    EventKind `json:"event"`
	At      time.Time `json:"at"`
	Chat    string    `json:"chat,omitempty"`
	Message *Message  `json:"message,omitempty"`
	Contact *Contact  `json:"contact,omitempty"` // presence: how it is now
	Device  uint32    `json:"device,omitempty"`
	Why     string    `json:"why,omitempty"`
}

// State says how far a message has come; it only moves up.
type State uint8

// The states of a message of ours; Failed stands apart. What others sent us is Received.
const (
	Queued State = iota
	Sent
	Delivered
	Read
	Failed
	Received
)

var stateNames = [...]string{"queued", "sent", "delivered", "read", "failed", "received"}

func (s State) String() string { return stateNames[s] }

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(stateNames[s]), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(b []byte) error {
	for i, n := range stateNames {
		if n == string(b) {
			*s = State(i)
		}
	}
	return nil
}

// Message is one message of a chat.
type Message struct {
	ID     string    `json:"id"`
	Chat   string    `json:"chat"`
	Out    bool      `json:"out"`
	Body   string    `json:"body"`
	At     time.Time `json:"at"`
	State  State     `json:"state"`
	Why    string    `json:"why,omitempty"`    // why it failed, or which devices were left out
	Device uint32    `json:"device,omitempty"` // the sender's
	Trust  string    `json:"trust,omitempty"`  // of the sender's key
	Seen   bool      `json:"seen,omitempty"`   // incoming: the person has seen it
	Seq    uint64    `json:"seq"`
}

// Chat is a talk with one person.
type Chat struct {
	With   string    `json:"with"`
	Last   uint64    `json:"last"`
	At     time.Time `json:"at"`
	Unread int       `json:"unread"`
	Draft  string    `json:"draft,omitempty"`
}

func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // our own plain structs
	}
	return b
}
