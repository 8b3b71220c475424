// SPDX-License-Identifier: Apache-2.0

// Package frame translates between frames of one element each and the bytes of
// a stream, so that the web is served by the same decoder and the same login.
//
// Promise: a frame that is not exactly one element never reaches a stream.
//
// Spec:     RFC 7395 §3.3, §3.4, §3.6.
// Runs:     nothing.
// Touches:  nothing.
// Imports:  sotto/xmpp.
package frame
