// SPDX-License-Identifier: Apache-2.0

// Package peer is both ends of a stream between two servers, up to where
// stanzas flow.
//
// Promise: no stanza flows before the other end has proved its domain, and
// nothing flows outside TLS.
//
// Spec:     RFC 6120 (streams between servers), RFC 6125; XEP-0178, XEP-0185,
// XEP-0220, XEP-0288, XEP-0368.
// Runs:     nothing.
// Touches:  the sockets it is given.
// Imports:  sotto/xmpp.
package peer
