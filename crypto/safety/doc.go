// SPDX-License-Identifier: Apache-2.0

// Package safety makes the number that two people compare.
//
// Promise: both sides see the same 60 digits exactly when both hold the same keys.
//
// Spec:     the numeric fingerprint of Signal's clients, version 1.
// Runs:     no goroutine; functions are pure.
// Touches:  nothing.
// Imports:  nothing of ours.
package safety
