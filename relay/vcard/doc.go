// SPDX-License-Identifier: Apache-2.0

// Package vcard is who a person says to be: name and picture, in the old form
// and in the new.
//
// Promise: a picture has one place, the shelf; both forms show it, and a vCard
// shows nothing to those whom the shelf would not show it to.
//
// Spec:     XEP-0054, XEP-0153, XEP-0084, XEP-0292, XEP-0398.
// Runs:     in the goroutine of the session that acts.
// Touches:  the records "vcard" of an account; its shelf.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package vcard
