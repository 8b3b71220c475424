// SPDX-License-Identifier: Apache-2.0

// Package tidy holds the project to its own rules: sizes, imports, headers.
//
// Promise: there is no list of exceptions.
//
// Spec:     DESIGN §2 in docs/hacking.md.
// Runs:     as tests only.
// Touches:  nothing.
// Imports:  nothing of ours.
package tidy
