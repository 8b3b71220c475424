// SPDX-License-Identifier: Apache-2.0

// Package peer is both ends of a stream between two servers, up to where
// stanzas flow, and the server's end of one to a component.
//
// Promise: no stanza flows before the other end has proved its domain; nothing
// flows outside TLS but to a component, which the operator keeps near.
//
// Spec:     RFC 6120 (streams between servers), RFC 6125; XEP-0114, XEP-0178, XEP-0185,
// XEP-0220, XEP-0288, XEP-0368.
// Runs:     nothing.
// Touches:  the sockets it is given.
// Imports:  sotto/xmpp.
package peer
