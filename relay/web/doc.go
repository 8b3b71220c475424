// SPDX-License-Identifier: Apache-2.0

// Package web is the HTTPS side: one port for HTTP and, by ALPN, for XMPP;
// where clients find it; XMPP in WebSockets and, for those that have only
// requests, in BOSH.
//
// Promise: a stream over the web meets the same decoder, login and limits as
// one over TCP.
//
// Spec:     RFC 7395, RFC 6455; XEP-0124; XEP-0206; XEP-0156; XEP-0368 §4.
// Runs:     one HTTP server for each listener.
// Touches:  nothing.
// Imports:  sotto/relay, sotto/xmpp.
package web
