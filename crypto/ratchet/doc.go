// SPDX-License-Identifier: Apache-2.0

// Package ratchet is X3DH and the Double Ratchet, in the two dialects that
// OMEMO clients speak; a Suite says how a dialect differs.
//
// Promise: Open changes nothing when it fails, and opens no message twice.
//
// Spec:     X3DH §3; Double Ratchet §3, §4.1; XEP-0384 (0.3.0 and 0.8 on).
// Runs:     no goroutine; a Session is a value for one caller at a time.
// Touches:  nothing.
// Imports:  sotto/crypto/xed.
package ratchet
