// SPDX-License-Identifier: Apache-2.0

// Package link carries stanzas to other servers and takes theirs.
//
// Promise: a message for another server is mail in a mailbox: what a sender's
// ack covers is on disk until that server has it, or the sender is told that it
// never will. Nothing comes in but from a domain that has proved itself.
//
// Spec:     RFC 6120 §8.3.3, §10.4; XEP-0114, XEP-0178, XEP-0185, XEP-0198, XEP-0220,
// XEP-0288, XEP-0368.
// Runs:     a goroutine for each domain that something waits for, one for each
// stream, one that looks after all.
// Touches:  mailboxes and records of the owners "link ..."; the network.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp, sotto/xmpp/peer.
package link
