// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pinned says which text of a specification the clauses in the code mean:
// sections move between versions. One a line: name, version, title.
var pinned = func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(pinnedLines) {
		name := line[:strings.IndexByte(line[5:]+" ", ' ')+5]
		m[name] = strings.TrimSpace(line[len(name):])
	}
	return m
}()

var (
	citation = regexp.MustCompile(`(XEP-\d{4}|RFC \d{4,5})((?:(?:,| and|;)? §(?:"[^"]+"|[0-9A-Za-z]+(?:[.-][0-9A-Za-z]+)*))*)`)
	section  = regexp.MustCompile(`§("[^"]+"|[0-9A-Za-z]+(?:[.-][0-9A-Za-z]+)*)`)
)

// A clause is where a section of a specification is met.
type clause struct{ code, tests map[string]bool }

// TestTidySpecs compares docs/specs.md with the clauses in code, tests and
// plays; make specs writes it.
func TestTidySpecs(t *testing.T) {
	want := specs(t)
	file := filepath.Join(root, "docs", "specs.md")
	if os.Getenv("SOTTO_WRITE") != "" {
		if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != want {
		t.Error("docs/specs.md is not up to date; run make specs", err)
	}
}

func specs(t *testing.T) string {
	all := map[string]map[string]*clause{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return fs.SkipDir
		}
		play := filepath.Ext(path) == ".txt" && filepath.Base(filepath.Dir(path)) == "script"
		if d.IsDir() || !play && filepath.Ext(path) != ".go" || strings.HasSuffix(path, "specs_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		cite(all, rel, string(b), play || strings.HasSuffix(path, "_test.go"))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for spec := range all {
		if pinned[spec] == "" {
			t.Errorf("%s is cited; say in specs_test.go which version is meant", spec)
		}
	}
	return page(all)
}

// cite finds what a file cites. Comments may break between the lines.
func cite(all map[string]map[string]*clause, file, text string, test bool) {
	text = regexp.MustCompile(`\s*\n\s*(//\s*)?`).ReplaceAllString(text, " ")
	for _, m := range citation.FindAllStringSubmatch(text, -1) {
		sections := section.FindAllStringSubmatch(m[2], -1)
		if sections == nil {
			sections = [][]string{{"", ""}}
		}
		for _, s := range sections {
			if all[m[1]] == nil {
				all[m[1]] = map[string]*clause{}
			}
			name := strings.TrimRight(s[1], ".-")
			c := all[m[1]][name]
			if c == nil {
				c = &clause{map[string]bool{}, map[string]bool{}}
				all[m[1]][name] = c
			}
			if test {
				c.tests[file] = true
			} else {
				c.code[file] = true
			}
		}
	}
}

func page(all map[string]map[string]*clause) string {
	var b strings.Builder
	b.WriteString("# Clauses and where they are met\n\nWritten by `make specs` from the clauses that code, tests and plays cite; `make check` fails when it is old. Versions as of 2026-06-30.\n")
	for _, spec := range slices.Sorted(maps.Keys(all)) {
		fmt.Fprintf(&b, "\n## %s — %s\n| clause | code | tests and plays |\n|---|---|---|\n", spec, pinned[spec])
		for _, name := range slices.SortedFunc(maps.Keys(all[spec]), byNumber) {
			c := all[spec][name]
			shown := "§" + name
			if name == "" {
				shown = "as a whole"
			}
			fmt.Fprintf(&b, "| %s | %s | %s |\n", shown, files(c.code), files(c.tests))
		}
	}
	return b.String()
}

func files(m map[string]bool) string {
	var l []string
	for _, f := range slices.Sorted(maps.Keys(m)) {
		if name, ok := strings.CutPrefix(f, "testdata/script/"); ok {
			f = strings.TrimSuffix(name, ".txt")
		}
		l = append(l, f)
	}
	return strings.Join(l, ", ")
}

// byNumber puts §4.10 behind §4.9.
func byNumber(a, b string) int {
	x, y := strings.FieldsFunc(a, dotted), strings.FieldsFunc(b, dotted)
	return slices.CompareFunc(x, y, func(p, q string) int {
		m, err1 := strconv.Atoi(p)
		n, err2 := strconv.Atoi(q)
		if err1 == nil && err2 == nil {
			return m - n
		}
		return strings.Compare(p, q)
	})
}

func dotted(r rune) bool { return r == '.' || r == '-' }

const pinnedLines = `XEP-0012 2.0 Last Activity
XEP-0004 2.13.1 Data Forms
XEP-0030 2.5.0 Service Discovery
XEP-0033 1.2.1 Extended Stanza Addressing
XEP-0045 1.35.5 Multi-User Chat
XEP-0048 1.2 Bookmarks
XEP-0049 1.2 Private XML Storage
XEP-0050 1.3.0 Ad-Hoc Commands
XEP-0054 1.3.0 vcard-temp
XEP-0059 1.0 Result Set Management
XEP-0060 1.30.0 Publish-Subscribe
XEP-0065 1.8.2 SOCKS5 Bytestreams
XEP-0066 1.5 Out of Band Data
XEP-0077 2.4 In-Band Registration
XEP-0082 1.1.1 XMPP Date and Time Profiles
XEP-0084 1.1.4 User Avatar
XEP-0085 2.1 Chat State Notifications
XEP-0086 1.0 Error Condition Mappings
XEP-0092 1.1 Software Version
XEP-0114 1.6 Jabber Component Protocol
XEP-0115 1.6.0 Entity Capabilities
XEP-0124 1.11.2 Bidirectional-streams Over Synchronous HTTP (BOSH)
XEP-0128 1.0.1 Service Discovery Extensions
XEP-0133 1.3.1 Service Administration
XEP-0147 1.2 XMPP URI Scheme Query Components
XEP-0153 1.1.1 vCard-Based Avatars
XEP-0156 1.4.0 Discovering Alternative XMPP Connection Methods
XEP-0157 1.1.1 Contact Addresses for XMPP Services
XEP-0158 1.0.1 CAPTCHA Forms
XEP-0160 1.0.1 Best Practices for Handling Offline Messages
XEP-0163 1.2.2 Personal Eventing Protocol
XEP-0166 1.1.2 Jingle
XEP-0167 1.2.3 Jingle RTP Sessions
XEP-0176 1.1.1 Jingle ICE-UDP Transport Method
XEP-0177 1.1.1 Jingle Raw UDP Transport Method
XEP-0178 1.2 SASL EXTERNAL with Certificates
XEP-0184 1.4.0 Message Delivery Receipts
XEP-0185 1.0 Dialback Key Generation and Validation
XEP-0191 1.3 Blocking Command
XEP-0198 1.6.3 Stream Management
XEP-0199 2.0.1 XMPP Ping
XEP-0202 2.0 Entity Time
XEP-0203 2.0 Delayed Delivery
XEP-0206 1.4 XMPP Over BOSH
XEP-0215 1.0.0 External Service Discovery
XEP-0220 1.1.1 Server Dialback
XEP-0223 1.1.1 Persistent Storage of Private Data via PubSub
XEP-0227 1.1 Portable Import/Export Format for XMPP-IM Servers
XEP-0248 0.5.0 PubSub Collection Nodes
XEP-0249 1.2 Direct MUC Invitations
XEP-0280 1.0.1 Message Carbons
XEP-0283 0.2.0 Moved
XEP-0288 1.0.1 Bidirectional Server-to-Server Connections
XEP-0292 0.12.0 vCard4 Over XMPP
XEP-0293 1.0.2 Jingle RTP Feedback Negotiation
XEP-0294 1.1.2 Jingle RTP Header Extensions Negotiation
XEP-0297 1.0 Stanza Forwarding
XEP-0300 1.0.0 Use of Cryptographic Hash Functions in XMPP
XEP-0308 1.2.1 Last Message Correction
XEP-0313 1.1.3 Message Archive Management
XEP-0319 1.0.2 Last User Interaction in Presence
XEP-0320 1.0.0 Use of DTLS-SRTP in Jingle Sessions
XEP-0333 1.0.0 Displayed Markers
XEP-0334 1.0.0 Message Processing Hints
XEP-0338 1.0.0 Jingle Grouping Framework
XEP-0339 1.0.1 Source-Specific Media Attributes in Jingle
XEP-0352 1.0.0 Client State Indication
XEP-0353 0.8.0 Jingle Message Initiation
XEP-0357 0.4.1 Push Notifications
XEP-0359 0.7.0 Unique and Stable Stanza IDs
XEP-0363 1.2.0 HTTP File Upload
XEP-0368 1.1.0 SRV records for XMPP over TLS
XEP-0377 0.4.1 Blocking Command Reports
XEP-0379 0.3.3 Pre-Authenticated Roster Subscription
XEP-0380 0.4.0 Explicit Message Encryption
XEP-0384 0.9.1 OMEMO Encryption, and 0.3.0 for the older wire
XEP-0386 1.1.0 Bind 2
XEP-0388 1.0.4 Extensible SASL Profile
XEP-0393 1.1.1 Message Styling
XEP-0398 1.0.0 User Avatar to vCard-Based Avatars Conversion
XEP-0401 0.6.0 Ad-hoc Account Invitation Generation
XEP-0402 1.2.0 PEP Native Bookmarks
XEP-0410 1.1.0 MUC Self-Ping (Schrödinger's Chat)
XEP-0411 1.1.0 Bookmarks Conversion
XEP-0413 0.2.1 Order-By
XEP-0420 0.5.0 Stanza Content Encryption
XEP-0421 1.0.1 Occupant identifiers for semi-anonymous MUCs
XEP-0424 0.4.2 Message Retraction
XEP-0425 0.3.0 Moderated Message Retraction
XEP-0428 0.2.1 Fallback Indication
XEP-0431 0.2.0 Full Text Search in MAM
XEP-0433 0.2.1 Extended Channel Search
XEP-0434 0.6.0 Trust Messages (TM)
XEP-0440 1.0.0 SASL Channel-Binding Type Capability
XEP-0441 0.2.0 Message Archive Management Preferences
XEP-0442 0.2.0 Pubsub Message Archive Management
XEP-0444 0.2.1 Message Reactions
XEP-0445 0.2.0 Pre-Authenticated In-Band Registration
XEP-0446 0.2.0 File metadata element
XEP-0447 0.3.1 Stateless file sharing
XEP-0448 0.2.0 Encryption for stateless file sharing
XEP-0449 0.2.0 Stickers
XEP-0450 0.4.0 Automatic Trust Management (ATM)
XEP-0454 0.1.0 OMEMO Media sharing
XEP-0455 0.4.0 Service Outage Status
XEP-0461 0.2.1 Message Replies
XEP-0463 0.2.0 MUC Affiliations Versioning
XEP-0466 0.1.0 Ephemeral Messages
XEP-0472 0.2.1 Pubsub Social Feed
XEP-0474 0.5.0 SASL SCRAM Downgrade Protection
XEP-0480 0.2.0 SASL Upgrade Tasks
XEP-0482 0.1.0 Call Invites
XEP-0484 0.2.0 Fast Authentication Streamlining Tokens
XEP-0486 0.1.0 MUC Avatars
XEP-0487 0.1.0 Host Meta 2 - One Method To Rule Them All
XEP-0490 1.0.1 Message Displayed Synchronization
XEP-0492 0.2.0 Chat notification settings
XEP-0494 0.1.0 Client Access Management
XEP-0500 0.1.1 MUC Slow Mode
XEP-0501 0.2.0 Pubsub Stories
XEP-0504 0.1.0 Data Policy
XEP-0509 0.2.0 Initial Authentication Pipelining
XEP-0515 0.1.0 TLS Channel-Binding Downgrade Protection
RFC 1952 gzip
RFC 1928 SOCKS Protocol Version 5
RFC 2782 DNS SRV
RFC 3550 RTP
RFC 3711 SRTP
RFC 3921 XMPP IM of 2004
RFC 4568 SDES
RFC 4616 SASL PLAIN
RFC 4985 SRV names in certificates
RFC 5122 xmpp: URIs
RFC 5245 ICE of 2010
RFC 5280 Certificates
RFC 5764 DTLS-SRTP
RFC 5802 SCRAM
RFC 5929 Channel bindings for TLS
RFC 6052 IPv6 addressing of IPv4 translators
RFC 6120 XMPP Core
RFC 6121 XMPP Instant Messaging and Presence
RFC 6125 Domains in certificates
RFC 6415 Web Host Metadata
RFC 6455 The WebSocket Protocol
RFC 6585 Additional HTTP status codes
RFC 6716 Opus
RFC 6761 Special-use domain names
RFC 7064 STUN URI
RFC 7065 TURN URI
RFC 7395 XMPP over WebSocket
RFC 7523 JWT for OAuth 2.0
RFC 7587 RTP payload for Opus
RFC 7622 XMPP addresses
RFC 7677 SCRAM-SHA-256
RFC 7748 Curve25519
RFC 8030 Web Push
RFC 8032 Ed25519
RFC 8188 Encrypted content encoding
RFC 8291 Web Push encryption
RFC 8292 VAPID
RFC 8445 ICE
RFC 8446 TLS 1.3
RFC 8489 STUN
RFC 8656 TURN
RFC 8838 Trickle ICE
RFC 9106 Argon2
RFC 9110 HTTP Semantics
RFC 9266 Channel bindings for TLS 1.3
RFC 9562 UUID
`
