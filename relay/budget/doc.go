// SPDX-License-Identifier: Apache-2.0

// Package budget keeps people from being flooded by those they do not know.
//
// Promise: friends are never slowed; a stranger gets a few words, then one a
// second, and is told so.
//
// Spec:     RFC 6121 §3 says who knows whom; RFC 6120 §8.3.3.12.
// Runs:     nothing of its own.
// Touches:  memory only: a restart gives everybody a full budget.
// Imports:  sotto/relay, sotto/xmpp.
package budget
