// SPDX-License-Identifier: Apache-2.0

// Package pep is personal eventing: small things that people publish about
// themselves, encryption keys above all.
//
// Promise: what was published with an access model is shown to nobody else; a
// publish whose preconditions do not hold changes nothing.
//
// Spec:     XEP-0163, XEP-0060 (in part), XEP-0223, XEP-0115 (who wants to be told).
// Runs:     in the goroutine of the session that acts.
// Touches:  the records "pepnode" and "pep/NODE" of an account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package pep
