// SPDX-License-Identifier: Apache-2.0

// Package all puts the families of features together: one line for each.
//
// Promise: the server, its plays and its tests run the same features.
//
// Spec:     DESIGN §2.
// Runs:     nothing.
// Touches:  nothing.
// Imports:  sotto/relay and every family in it.
package all
