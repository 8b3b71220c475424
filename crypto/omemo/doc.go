// SPDX-License-Identifier: Apache-2.0

// Package omemo is one device's end-to-end account, on both OMEMO wires.
//
// Promise: the state that a message needs is durable before the message is
// handed out; what fails to open changes nothing.
//
// Spec:     XEP-0384 0.3.0 (axolotl) and 0.8 on (omemo:2); XEP-0454 is not here.
// Runs:     no goroutine; an Account may be called by anyone.
// Touches:  a vault.
// Imports:  sotto/crypto/{xed,ratchet,vault}.
package omemo
