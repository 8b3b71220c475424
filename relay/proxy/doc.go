// SPDX-License-Identifier: Apache-2.0

// Package proxy joins two clients who cannot reach each other for a stream of
// bytes, where bytes may be readable.
//
// Promise: nobody's stream is joined unless a person of ours says so; streams,
// those who wait and what flows have limits.
//
// Spec:     XEP-0065; RFC 1928.
// Runs:     one goroutine for each connection.
// Touches:  nothing.
// Imports:  sotto/relay, sotto/xmpp.
package proxy
