// SPDX-License-Identifier: Apache-2.0

// Package budget keeps people from being flooded by those they do not know.
//
// Promise: friends are never slowed; a stranger gets a few words, then one a
// second, and is told so; what is held is not lost, and nothing shows that it is.
//
// Spec:     RFC 6121 §3 says who knows whom; RFC 6120 §8.3.3.12.
// Runs:     nothing of its own.
// Touches:  the records "met" of an account, under names that only the server
// can tell, and the mailbox "held". A restart gives everybody a full budget.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package budget
