// SPDX-License-Identifier: Apache-2.0

// Package dial is the client's end of a stream: it connects, makes TLS, logs in
// and binds or resumes.
//
// Promise: no password and no token goes to a server that did not show a
// certificate for its domain.
//
// Spec:     RFC 6120; XEP-0198, XEP-0368, XEP-0386, XEP-0388, XEP-0440,
// XEP-0484.
// Runs:     nothing.
// Touches:  one socket for each Dial.
// Imports:  sotto/xmpp.
package dial
