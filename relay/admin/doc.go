// SPDX-License-Identifier: Apache-2.0

// Package admin lets people whom the operator trusts run the service from
// their clients, and says the operator's words to all.
//
// Promise: who is no admin of this very domain is refused, whatever he asks.
//
// Spec:     XEP-0133.
// Runs:     in the goroutine of the session that asks.
// Touches:  the record "admin" of an account, "motd" of each, and what the
// operator says to all, which is of nobody.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package admin
