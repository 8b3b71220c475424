// SPDX-License-Identifier: Apache-2.0

// Package xmpp is one stream, both ends: framing, stanzas, TLS, SASL, bind and
// the counting of stream management. It knows neither users nor disk.
//
// Promise: what Next returns is well-formed, within limits, and means the same
// to every parser; nothing is kept in memory while a stream is idle.
//
// Spec:     RFC 6120; RFC 7622 (addresses); XEP-0198, XEP-0386, XEP-0388,
// XEP-0440, XEP-0480.
// Runs:     two goroutines per Conn, started and awaited by Conn.Run.
// Touches:  the sockets it is given.
// Imports:  nothing of ours.
package xmpp
