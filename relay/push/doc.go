// SPDX-License-Identifier: Apache-2.0

// Package push wakes devices that are away when mail is owed to them.
//
// Promise: who carries a wake learns that something waits, and whether it is a
// call: nothing of who wrote, to whom, what or how much. A device that is away
// is woken once, then again after a while, until it has fetched its mail; a
// restart forgets none that was not woken yet.
//
// Spec:     XEP-0357, XEP-0492 (in part).
// Runs:     one goroutine from Add to the server's end.
// Touches:  records of kind "push" of each account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package push
