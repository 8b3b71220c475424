// SPDX-License-Identifier: Apache-2.0

// Package command carries out what people ask for by forms.
//
// Promise: a command is shown to, and done for, those only who may.
//
// Spec:     XEP-0050.
// Runs:     in the goroutine of the session that asks.
// Touches:  nothing.
// Imports:  sotto/relay, sotto/xmpp.
package command
