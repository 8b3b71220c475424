// SPDX-License-Identifier: Apache-2.0

// Package script runs the little plays of testdata/script against a real
// server over real TLS sockets. Each play is a test and documents a clause.
//
// Promise: a play sees what a stock client would see, byte for byte.
//
// Spec:     the comment at the head of each play.
// Runs:     one goroutine per actor.
// Touches:  a temporary data folder.
// Imports:  all of the server.
package script
