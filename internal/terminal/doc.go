// SPDX-License-Identifier: Apache-2.0

// Package terminal is the chat on a whole terminal screen.
//
// Promise: what is typed is on our disk a moment later; nothing that others
// send can make the terminal do more than show text; a message counts as seen
// only when it was on the screen.
//
// Spec:     XEP-0085 and XEP-0333 as a person meets them.
// Runs:     the screen's own loop while Run lasts.
// Touches:  the terminal.
// Imports:  sotto/internal/client; sotto/xmpp and sotto/crypto for addresses and keys.
package terminal
