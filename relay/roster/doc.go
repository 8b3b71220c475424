// SPDX-License-Identifier: Apache-2.0

// Package roster keeps who knows whom: contacts, subscriptions, and presence
// along them.
//
// Promise: presence goes only to those whose subscription was approved; a
// request is shown until it is answered.
//
// Spec:     RFC 6121 §2 (roster), §3 (subscriptions), §4 (presence); XEP-0283.
// Runs:     in the goroutine of the session that acts.
// Touches:  the records "roster" and "rosterver" of an account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package roster
