// SPDX-License-Identifier: Apache-2.0

// Package offline keeps what must outlive a connection: mail, accounts,
// devices, records and what a resumption needs.
//
// Promise: when a Put's Ticket is done, the mail survives a power cut or has
// been acked by all it was for; once the last Ack is saved, nothing of it can
// be read from the data folder.
//
// Spec:     XEP-0160; XEP-0198 §5 reads the same mailboxes after a resume.
// Runs:     one committer goroutine per shard; methods may be called by anyone.
// Touches:  the data folder, and nobody else does.
// Imports:  sotto/offline/page.
package offline
