// SPDX-License-Identifier: Apache-2.0

// Package xed has one key in its two shapes: X25519 to agree, Ed25519 to sign.
//
// Promise: a signature made here opens under plain Ed25519 with the Edwards form of the key.
//
// Spec:     XEdDSA §2; RFC 7748 §4.1; RFC 8032 §5.1.
// Runs:     no goroutine; functions are pure but for randomness.
// Touches:  nothing.
// Imports:  nothing of ours.
package xed
