// SPDX-License-Identifier: Apache-2.0

// Package client is one device of one person: what sotto's commands, the chat
// screen and the tests share.
//
// Promise: a message is on our disk before it is sent, and before the server
// is told that we have it; each is shown once.
//
// Spec:     RFC 6121; XEP-0184, 0198, 0280, 0333, 0384, 0420.
// Runs:     two goroutines of the stream and one for chores while Run lasts.
// Touches:  a vault, one socket.
// Imports:  sotto/xmpp, sotto/crypto.
package client
