// SPDX-License-Identifier: Apache-2.0

// Package muc is the domain of rooms: who is in them, who may do what there,
// and who is owed what is said.
//
// Promise: what is said in a private group (members only, nobody anonymous) is
// owed to every device of every member, there or not, once; everybody sees
// messages in one order.
//
// Spec:     XEP-0045, XEP-0249, XEP-0313, XEP-0359, XEP-0410, XEP-0421, XEP-0424, XEP-0425, XEP-0433,
// XEP-0463, XEP-0486, XEP-0500.
// Runs:     nothing of its own; a room works in the readers of those who speak.
// Touches:  records of the owners "room:" (the list) and "room:NAME"; records
// of kind "rooms" of each account.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp.
package muc
