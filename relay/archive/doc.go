// SPDX-License-Identifier: Apache-2.0

// Package archive answers what a person asks of his own archive, and says what
// this server keeps.
//
// Promise: nobody reads the archive of somebody else; reading acks nothing; an
// answer is one page, whatever is asked for.
//
// In forget mode the archive of a device is what still waits for it. In keep
// mode it is the account's history. Others who keep archives, as rooms, write
// by offline.Store.Keep under an owner of their own ("room:name": with a colon
// it is no account), read by History, erase by EraseHistory, and speak by
// xmpp/mam.
//
// Spec:     XEP-0313, XEP-0059, XEP-0431, XEP-0441, XEP-0504, XEP-0386 §4.
// Runs:     nothing of its own.
// Touches:  records of kind "mamprefs"; relay writes histories, with the mail.
// Imports:  sotto/relay, sotto/offline, sotto/xmpp and sotto/xmpp/mam.
package archive
