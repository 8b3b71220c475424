// SPDX-License-Identifier: Apache-2.0

// Package unified takes pushes for the other apps of a phone by HTTPS, and gives
// them to the client there that hands them on, as Conversations does: we are
// its UnifiedPush provider.
//
// Promise: an endpoint holds all there is to know of it, sealed; nothing is
// stored, and who sends is told whether it arrived. Where content must be
// sealed, only what is encrypted (RFC 8291) is taken.
//
// Spec:     RFC 8030 §5, in part; RFC 8188.
// Runs:     in the goroutines of HTTP and of the sessions.
// Touches:  a record of the owner "up:", its key.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package unified
