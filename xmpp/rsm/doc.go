// SPDX-License-Identifier: Apache-2.0

// Package rsm pages through a list that is at hand.
//
// Promise: what is asked about an id that is not there is refused, not guessed.
//
// Spec:     XEP-0059 §2.
// Runs:     nothing of its own.
// Touches:  nothing.
// Imports:  sotto/xmpp.
package rsm
