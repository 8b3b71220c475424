// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"errors"
	"strings"

	"mellium.im/xmpp/jid"
)

// JID is an address, prepared by RFC 7622; equal addresses are equal values.
type JID struct{ Local, Domain, Resource string }

var errJID = errors.New("not an address")

// ParseJID reads and prepares an address. Plain ASCII is done here, anything
// else by the PRECIS rules.
func ParseJID(s string) (JID, error) {
	if j, ok := parseASCII(s); ok {
		return j, nil
	}
	if len(s) > jidMax {
		return JID{}, errJID
	}
	p, err := jid.Parse(s)
	if err != nil {
		return JID{}, err
	}
	j := JID{p.Localpart(), p.Domainpart(), p.Resourcepart()}
	if j.Domain == "" || strings.Contains("."+j.Domain+".", "..") { // RFC 7622 §3.2: no empty labels
		return JID{}, errJID
	}
	return j, nil
}

// jidMax is the longest address (RFC 7622 §3.1): preparing a longer one would
// only cost time.
const jidMax = 3071

// MustJID is for addresses that are part of the program.
func MustJID(s string) JID {
	j, err := ParseJID(s)
	if err != nil {
		panic(err)
	}
	return j
}

// parseASCII handles the addresses that need no tables: letters, digits and
// harmless punctuation. ok is false when the full rules must decide.
func parseASCII(s string) (j JID, ok bool) {
	bare := s
	if i := strings.IndexByte(s, '/'); i >= 0 {
		bare, j.Resource = s[:i], s[i+1:]
		if j.Resource == "" || len(j.Resource) > 1023 || !all(j.Resource, resourceByte) {
			return JID{}, false
		}
	}
	j.Domain = bare
	if i := strings.IndexByte(bare, '@'); i >= 0 {
		j.Local, j.Domain = bare[:i], bare[i+1:]
		if j.Local == "" || len(j.Local) > 1023 || !all(j.Local, localByte) {
			return JID{}, false
		}
	}
	if j.Domain == "" || len(j.Domain) > 253 || !all(j.Domain, domainByte) {
		return JID{}, false
	}
	if strings.HasPrefix(j.Domain, ".") || strings.HasSuffix(j.Domain, ".") || strings.Contains(j.Domain, "xn--") ||
		strings.Contains(j.Domain, "..") || strings.Contains(j.Domain, "-.") || strings.Contains(j.Domain, ".-") ||
		j.Domain[0] == '-' || j.Domain[len(j.Domain)-1] == '-' {
		return JID{}, false
	}
	j.Local, j.Domain = strings.ToLower(j.Local), strings.ToLower(j.Domain)
	return j, true
}

func all(s string, ok func(c byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !ok(s[i]) {
			return false
		}
	}
	return true
}

func domainByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '-'
}

func localByte(c byte) bool { // RFC 7622 §3.3.1
	return c > ' ' && c < 0x7f && strings.IndexByte("\"&'/:<>@", c) < 0
}

func resourceByte(c byte) bool { return c > ' ' && c < 0x7f }

// IsZero says whether there is no address.
func (j JID) IsZero() bool { return j == JID{} }

// IsBare says whether there is no resource.
func (j JID) IsBare() bool { return j.Resource == "" }

// Bare is the address without its resource.
func (j JID) Bare() JID { return JID{Local: j.Local, Domain: j.Domain} }

// Host is the address of the domain.
func (j JID) Host() JID { return JID{Domain: j.Domain} }

// With is the address with another resource, prepared.
func (j JID) With(resource string) (JID, error) {
	if resource != "" && len(resource) <= 1023 && all(resource, resourceByte) {
		j.Resource = resource
		return j, nil
	}
	if len(resource) > jidMax {
		return JID{}, errJID
	}
	p, err := jid.New(j.Local, j.Domain, resource)
	if err != nil {
		return JID{}, err
	}
	if p.Resourcepart() == "" {
		return JID{}, errJID
	}
	j.Resource = p.Resourcepart()
	return j, nil
}

// AppendTo writes the address.
func (j JID) AppendTo(dst []byte) []byte {
	if j.Local != "" {
		dst = append(append(dst, j.Local...), '@')
	}
	dst = append(dst, j.Domain...)
	if j.Resource != "" {
		dst = append(append(dst, '/'), j.Resource...)
	}
	return dst
}

func (j JID) String() string { return string(j.AppendTo(make([]byte, 0, 64))) }

// The namespaces, spelled here only.
const (
	NSXML        = "http://www.w3.org/XML/1998/namespace"
	NSClient     = "jabber:client"
	NSServer     = "jabber:server"
	NSComponent  = "jabber:component:accept"
	NSDialback   = "jabber:server:dialback"
	NSBidi       = "urn:xmpp:bidi"
	NSStream     = "http://etherx.jabber.org/streams"
	NSStreams    = "urn:ietf:params:xml:ns:xmpp-streams"
	NSStanzas    = "urn:ietf:params:xml:ns:xmpp-stanzas"
	NSTLS        = "urn:ietf:params:xml:ns:xmpp-tls"
	NSSASL       = "urn:ietf:params:xml:ns:xmpp-sasl"
	NSBind       = "urn:ietf:params:xml:ns:xmpp-bind"
	NSSession    = "urn:ietf:params:xml:ns:xmpp-session"
	NSSASL2      = "urn:xmpp:sasl:2"
	NSBind2      = "urn:xmpp:bind:0"
	NSFast       = "urn:xmpp:fast:0"
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
	NSReport     = "urn:xmpp:reporting:1"
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
	NSMAM        = "urn:xmpp:mam:2"
	NSRSM        = "http://jabber.org/protocol/rsm"
	NSValidate   = "http://jabber.org/protocol/xdata-validate"
	NSPolicy     = "urn:xmpp:data-policy:0"
	NSRegister   = "jabber:iq:register"
	NSCommands   = "http://jabber.org/protocol/commands"
	NSRegToken   = "urn:xmpp:ibr-token:0"
	NSPars       = "urn:xmpp:pars:0"
	NSRegFeature = "http://jabber.org/features/iq-register"

	NSPubsub        = "http://jabber.org/protocol/pubsub"
	NSPubsubEvent   = "http://jabber.org/protocol/pubsub#event"
	NSPubsubOwner   = "http://jabber.org/protocol/pubsub#owner"
	NSPubsubErrors  = "http://jabber.org/protocol/pubsub#errors"
	NSPubsubOptions = "http://jabber.org/protocol/pubsub#publish-options"

	NSVCard         = "vcard-temp"
	NSVCardUpdate   = "vcard-temp:x:update"
	NSVCard4        = "urn:ietf:params:xml:ns:vcard-4.0"
	NSVCard4Node    = "urn:xmpp:vcard4"
	NSAvatarData    = "urn:xmpp:avatar:data"
	NSAvatar        = "urn:xmpp:avatar:metadata"
	NSCam           = "urn:xmpp:cam:0"
	NSPrivate       = "jabber:iq:private"
	NSPush          = "urn:xmpp:push:0"
	NSPushSummary   = "urn:xmpp:push:summary"
	NSJingleMessage = "urn:xmpp:jingle-message:0"
	NSNotify        = "urn:xmpp:notification-settings:1"
	NSBookmarks     = "urn:xmpp:bookmarks:1"
	NSBookmarksOld  = "storage:bookmarks"
	NSDisplayed     = "urn:xmpp:mds:displayed:0"

	NSMUC        = "http://jabber.org/protocol/muc"
	NSMUCUser    = NSMUC + "#user"
	NSMUCAdmin   = NSMUC + "#admin"
	NSMUCOwner   = NSMUC + "#owner"
	NSConference = "jabber:x:conference"
	NSOccupantID = "urn:xmpp:occupant-id:0"

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
	return valueOf(b)
}
