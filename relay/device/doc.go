// SPDX-License-Identifier: Apache-2.0

// Package device shows a person which devices are on the account, and takes
// one off.
//
// Promise: a device that was taken off is out at once, and has no token and no
// mail; by its old password it does not come back under its name.
//
// Spec:     XEP-0494.
// Runs:     in the goroutine of the session that acts.
// Touches:  nothing by itself.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package device
