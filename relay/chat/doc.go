// SPDX-License-Identifier: Apache-2.0

// Package chat gives browsers a client at /chat: Converse.js, as its makers
// publish it, from a file that Install made of the published one.
//
// Promise: what is served is what was pinned by its hash; nothing is ever
// loaded from anywhere else, and nothing but that file's content is given.
//
// Spec:     none.
// Runs:     nothing.
// Touches:  one file that it only reads; Install writes it.
// Imports:  sotto/relay.
package chat
