// SPDX-License-Identifier: Apache-2.0

// Package relay decides who gets it: it knows sessions, devices and features,
// turns each stanza into a plan, and leaves mail where the receiver looks.
//
// Promise: a sender's ack moves only over messages that are safe; no session
// ever waits for another session.
//
// Spec:     RFC 6121 §8 (who gets it); XEP-0198 (acks, resumption), XEP-0280,
// XEP-0334, XEP-0352, XEP-0359.
// Runs:     one goroutine per listener and two per socket (xmpp.Conn.Run).
// Touches:  no file; the data folder belongs to offline.
// Imports:  sotto/xmpp, sotto/offline.
package relay
