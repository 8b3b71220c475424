// SPDX-License-Identifier: Apache-2.0

package xmpp

// The namespaces, spelled here only.
const (
	NSXML        = "http://www.w3.org/XML/1998/namespace"
	NSClient     = "jabber:client"
	NSStream     = "http://etherx.jabber.org/streams"
	NSStreams    = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzas    = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSTLS        = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL       = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSBind       = "urn:ietf:params:xml:ns:xmpp-bind"
	NSSession    = "urn:ietf:params:xml:ns:xmpp-session"
	NSSASL2      = "urn:xmpp:sasl:2"
	NSBind2      = "urn:xmpp:bind:0"
	NSCBTypes    = "urn:xmpp:sasl-cb:0"
	NSSM         = "urn:xmpp:sm:3"
	NSCSI        = "urn:xmpp:csi:0"
	NSRoster     = "jabber:iq:roster"
	NSRosterVer  = "urn:xmpp:features:rosterver"
	NSPreApprove = "urn:xmpp:features:pre-approval"
	NSDiscoInfo  = "http://jabber.org/protocol/disco#info"
	NSDiscoItems = "http://jabber.org/protocol/disco#items"
	NSCaps       = "http://jabber.org/protocol/caps"
	NSPing       = "urn:xmpp:ping"
	NSVersion    = "jabber:iq:version"
	NSTime       = "urn:xmpp:time"
	NSLast       = "jabber:iq:last"
	NSIdle       = "urn:xmpp:idle:1"
	NSBlock      = "urn:xmpp:blocking"
	NSBlockErr   = "urn:xmpp:blocking:errors"
	NSDelay      = "urn:xmpp:delay"
	NSSID        = "urn:xmpp:sid:0"
	NSCarbons    = "urn:xmpp:carbons:2"
	NSForward    = "urn:xmpp:forward:0"
	NSHints      = "urn:xmpp:hints"
	NSEME        = "urn:xmpp:eme:0"
	NSReceipts   = "urn:xmpp:receipts"
	NSMarkers    = "urn:xmpp:chat-markers:0"
	NSChatStates = "http://jabber.org/protocol/chatstates"
	NSData       = "jabber:x:data"
	NSRegister   = "jabber:iq:register"
	NSRegFeature = "http://jabber.org/features/iq-register"

	NSPubsub        = "http://jabber.org/protocol/pubsub"
	NSPubsubEvent   = "http://jabber.org/protocol/pubsub#event"
	NSPubsubOwner   = "http://jabber.org/protocol/pubsub#owner"
	NSPubsubErrors  = "http://jabber.org/protocol/pubsub#errors"
	NSPubsubOptions = "http://jabber.org/protocol/pubsub#publish-options"

	NSOmemoAxolotl = "eu.siacs.conversations.axolotl"
	NSOmemo2       = "urn:xmpp:omemo:2"
	NSSCE          = "urn:xmpp:sce:1"
)

// known are the words that streams are full of: they cost no memory each time.
var known = func() map[string]string {
	m := map[string]string{}
	for _, w := range []string{
		NSClient, NSStream, NSSASL, NSSASL2, NSBind, NSBind2, NSSM, NSCSI, NSRoster, NSDiscoInfo, NSDiscoItems,
		NSCaps, NSPing, NSVersion, NSTime, NSLast, NSBlock, NSDelay, NSSID, NSCarbons, NSForward, NSHints, NSEME,
		NSReceipts, NSMarkers, NSChatStates, NSData, NSPubsub, NSPubsubEvent, NSPubsubOwner, NSOmemoAxolotl,
		NSOmemo2, NSSCE, NSStanzas, NSTLS, "message", "presence", "iq", "get", "set", "result", "error", "chat",
		"normal", "groupchat", "headline", "unavailable", "subscribe", "subscribed", "unsubscribe", "unsubscribed",
		"probe", "en", "body", "subject", "thread", "encrypted", "encryption", "store", "no-store", "no-copy",
		"no-permanent-store", "request", "received", "displayed", "markable", "origin-id", "stanza-id", "delay",
		"active", "inactive", "composing", "paused", "gone", "query", "item", "items", "group", "pubsub", "publish",
		"r", "a", "enable", "resume", "auth", "response", "authenticate", "bind", "resource", "session", "starttls",
		"ping", "priority", "show", "status", "c", "header", "keys", "key", "iv", "payload", "private", "x", "field",
		"value", "sent", "forwarded", "event", "list", "device", "devices", "bundle", "retry", "abort",
	} {
		m[w] = w
	}
	return m
}()

func intern(b []byte) string {
	if s, ok := known[string(b)]; ok {
		return s
	}
	return unescape(b)
}
