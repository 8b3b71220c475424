// SPDX-License-Identifier: Apache-2.0

// Package fast keeps the tokens by which a device logs in again in one round
// trip, without the password.
//
// Promise: a token is good for one device and one mechanism, until it is old,
// a newer one was used, or the password changes.
//
// Spec:     XEP-0484; draft-schmaus-kitten-sasl-ht-09.
// Runs:     nothing of its own.
// Touches:  records of kind "fast" of each account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package fast
