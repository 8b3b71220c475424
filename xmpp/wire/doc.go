// SPDX-License-Identifier: Apache-2.0

// Package wire reads sockets in large pieces and waits for them with nothing
// in its hands: an idle session costs no buffer and little stack.
//
// Promise: between two TLS records no byte is held back by what is above.
//
// Spec:     RFC 8446 §5.1.
// Runs:     nothing; one goroutine reads a Conn.
// Touches:  one socket.
// Imports:  nothing of ours.
package wire
