// SPDX-License-Identifier: Apache-2.0

// Package account makes, changes and ends accounts: for the operator, and for
// people themselves where that is allowed.
//
// Promise: no password is kept, only what SCRAM needs; a deleted account
// leaves nothing behind.
//
// Spec:     XEP-0077, XEP-0445, XEP-0379, XEP-0401; RFC 5802 §3.
// Runs:     in the goroutine of who asks.
// Touches:  accounts; invitations, which are records of nobody.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package account
