// SPDX-License-Identifier: Apache-2.0

// Package upload takes files by HTTP and gives them to whoever has the link.
//
// Promise: a file is served only when it is whole, and never after its time;
// where content must be sealed, a file that is plainly readable is refused.
//
// Spec:     XEP-0363; RFC 9110 §14.
// Runs:     nothing of its own; the store's housekeeping erases what is old.
// Touches:  the store's folder of files.
// Imports:  sotto/relay, sotto/offline/blob, sotto/xmpp.
package upload
