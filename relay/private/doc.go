// SPDX-License-Identifier: Apache-2.0

// Package private keeps what a client stores for itself, and shows bookmarks
// the same by all three roads that clients know.
//
// Promise: nobody but the account reads or writes it; a bookmark written by one
// road is there by the others.
//
// Spec:     XEP-0049, XEP-0048, XEP-0402, XEP-0411, XEP-0490.
// Runs:     in the goroutine of the session that acts.
// Touches:  the records "private" of an account; its shelf.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package private
