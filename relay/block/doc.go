// SPDX-License-Identifier: Apache-2.0

// Package block lets people refuse others.
//
// Promise: nothing of a blocked sender reaches the user, and nothing of the
// user's presence reaches him.
//
// Spec:     XEP-0191, XEP-0377.
// Runs:     in the goroutine of the session that acts.
// Touches:  the record "block" of an account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package block
