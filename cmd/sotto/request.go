// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	"sotto/internal/client"
)

// Exit codes.
const (
	exitUser    = 1
	exitUsage   = 2
	exitNetwork = 3
)

// A request is one command, as the process that has the vault open carries it
// out: this one, or another one over its socket.
type request struct {
	Verb   string       `json:"verb"`
	Who    string       `json:"who,omitempty"` // bare address
	Text   string       `json:"text,omitempty"`
	ID     string       `json:"id,omitempty"` // of the message: asked twice, it is sent once
	Name   string       `json:"name,omitempty"`
	Token  string       `json:"token,omitempty"` // of an invitation
	Device uint32       `json:"device,omitempty"`
	Number string       `json:"number,omitempty"` // the safety number that was compared
	Wait   client.State `json:"wait,omitempty"`
	Count  int          `json:"count,omitempty"`
	Seen   bool         `json:"seen,omitempty"`
	Undo   bool         `json:"undo,omitempty"`
	Until  time.Time    `json:"until,omitzero"`
}

// An answer is one line of what a request gives; one field is set.
type answer struct {
	Event   *client.Event   `json:"event,omitempty"`
	Message *client.Message `json:"message,omitempty"`
	Contact *contact        `json:"contact,omitempty"`
	Device  *device         `json:"device,omitempty"`
	Safety  *safetyNumber   `json:"safety,omitempty"`
	Done    *done           `json:"done,omitempty"`
	End     *ending         `json:"end,omitempty"` // the last line on the socket
}

// contact is somebody in the list of contacts.
type contact struct {
	client.Contact
	Unread int `json:"unread"`
}

// device is one device of somebody.
type device struct {
	User        string    `json:"user"`
	Device      uint32    `json:"device"`
	Name        string    `json:"name,omitempty"` // of this device
	Fingerprint string    `json:"fingerprint"`
	Trust       string    `json:"trust"` // this, first-use, undecided, verified, distrusted
	Listed      bool      `json:"listed"`
	Since       time.Time `json:"since,omitzero"`
	Changed     string    `json:"changed,omitempty"` // fingerprint of another key that claims this number
}

// safetyNumber is what two people compare.
type safetyNumber struct {
	User     string `json:"user"`
	Number   string `json:"number"`
	Verified bool   `json:"verified"`
}

// done is a thing that was done and has no other sign.
type done struct {
	Did   string `json:"did"`
	Who   string `json:"who,omitempty"`
	Count int    `json:"count,omitempty"`
	Say   string `json:"say,omitempty"`
}

// ending closes the answers on a socket.
type ending struct {
	Failure *failure `json:"failure,omitempty"`
}

// failure is an error for people, with the code that scripts see.
type failure struct {
	Code int    `json:"code"`
	What string `json:"error"`
	Hint string `json:"hint,omitempty"`
}

func (f *failure) Error() string { return f.What }

// failureOf gives any error a code.
func failureOf(err error) *failure {
	var f *failure
	switch {
	case err == nil || errors.As(err, &f):
		return f
	case errors.Is(err, context.Canceled):
		return &failure{Code: exitUser, What: "interrupted"}
	}
	return &failure{Code: exitUser, What: err.Error()}
}
