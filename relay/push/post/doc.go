// SPDX-License-Identifier: Apache-2.0

// Package post carries wakes by HTTPS to the services that browsers and phones
// listen to: Web Push, UnifiedPush and Firebase.
//
// Promise: a wake is the same bytes for everybody, but for whether it is a call;
// an address that a person gave is called only if it is public, and gets a few
// seconds and a few bytes of our time.
//
// Spec:     RFC 8030; RFC 8188; RFC 8291; RFC 8292; RFC 7523 §2.1.
// Runs:     nothing of its own.
// Touches:  the net.
// Imports:  nothing of ours.
package post
