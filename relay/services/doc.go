// SPDX-License-Identifier: Apache-2.0

// Package services tells clients of STUN and TURN servers beside this one, and
// lets them in there for the time of a call.
//
// Promise: only people of this server get credentials; those name nobody and
// end after ten minutes.
//
// Spec:     XEP-0215; RFC 7064, RFC 7065 (addresses); RFC 8489 §9.2 (what the
// password is for).
// Runs:     in the goroutine of the session that asks.
// Touches:  nothing.
// Imports:  sotto/relay, sotto/xmpp.
package services
