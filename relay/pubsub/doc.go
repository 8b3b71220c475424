// SPDX-License-Identifier: Apache-2.0

// Package pubsub is nodes that people publish to and subscribe to: each
// account's own (PEP: encryption keys above all), and those of a service.
//
// Promise: what was published with an access model is shown to nobody else; a
// publish whose preconditions do not hold changes nothing; what is answered
// with a result is durable.
//
// Spec:     XEP-0060, XEP-0163, XEP-0223, XEP-0059, XEP-0115 (who wants to be told).
// Runs:     in the goroutine of the session that acts.
// Touches:  the records "pep…" of an account, and of the owner "pubsub:".
// Imports:  sotto/relay, sotto/offline, sotto/xmpp, sotto/xmpp/rsm.
package pubsub
