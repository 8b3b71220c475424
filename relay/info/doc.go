// SPDX-License-Identifier: Apache-2.0

// Package info answers what clients ask about the server and about people:
// discovery, capabilities, ping, version, time, last activity.
//
// Promise: nobody learns from it what he may not see; an account that does not
// exist looks like one that does not answer.
//
// Spec:     XEP-0030, XEP-0115, XEP-0199, XEP-0092, XEP-0202, XEP-0012,
// XEP-0128, XEP-0157, XEP-0455.
// Runs:     in the goroutine of the session that asks.
// Touches:  the record "last" of an account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package info
