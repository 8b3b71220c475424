// SPDX-License-Identifier: Apache-2.0

// Package vault keeps a device's secrets: in one sealed file, or in memory.
//
// Promise: a Commit is all there or not there at all, also after a power cut;
// without the key the file shows sizes and nothing else.
//
// Spec:     XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha §2); Argon2id (RFC 9106 §4).
// Runs:     no goroutine; methods may be called by anyone.
// Touches:  its file, mode 0600, held with a lock; the key file or the OS keyring.
// Imports:  nothing of ours.
package vault
