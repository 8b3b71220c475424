// SPDX-License-Identifier: Apache-2.0

// Package crypto is the room of end-to-end secrets; its rooms inside are
// xed (keys in two shapes), ratchet (X3DH and Double Ratchet), omemo (both
// wires), safety (numbers to compare) and vault (secrets at rest).
//
// Promise: what fails to open changes nothing; what opened once never opens again.
//
// Spec:     X3DH §3; Double Ratchet §3; XEdDSA §2; XEP-0384.
// Runs:     no goroutine; an Account may be called by anyone.
// Touches:  the vault's file.
// Imports:  nothing of ours; the server never imports this room.
package crypto
