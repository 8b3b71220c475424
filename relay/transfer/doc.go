// SPDX-License-Identifier: Apache-2.0

// Package transfer writes people's accounts into files that other servers
// read, and takes them from files that other servers wrote.
//
// Promise: no password is written, only what SCRAM needs; an import that was
// broken off goes on where it stopped, and changes nothing that is finished.
//
// Spec:     XEP-0227 (in part): no archives.
// Runs:     in the goroutine of who asks.
// Touches:  files that the operator names; the record "import" of an account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package transfer
