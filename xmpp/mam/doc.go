// SPDX-License-Identifier: Apache-2.0

// Package mam is the words of archive queries and their answers.
//
// Promise: whoever keeps an archive, an account or a room, speaks of it alike.
//
// Spec:     XEP-0313 §3, §4, §5; XEP-0059 §2; XEP-0441 §2.
// Runs:     nothing of its own.
// Touches:  nothing.
// Imports:  sotto/xmpp.
package mam
