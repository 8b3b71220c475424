// SPDX-License-Identifier: Apache-2.0

package services

import (
	"testing"
	"time"
)

// TestCredentials: as coturn's use-auth-secret has them; the password was made
// by openssl.
func TestCredentials(t *testing.T) {
	user, password := Credentials("north", "abc", time.Unix(1_700_000_000, 0))
	if user != "1700000000:abc" || password != "g5HTmCBrPDhYXFpM/1dHUtfE+c4=" {
		t.Fatal(user, password)
	}
}

// TestAddresses: RFC 7064 §3.1, RFC 7065 §3.1.
func TestAddresses(t *testing.T) {
	for uri, want := range map[string]service{
		"stun:a.example":                     {"stun", "a.example", "3478", "udp"},
		"stun:[2001:db8::1]:99":              {"stun", "2001:db8::1", "99", "udp"},
		"stuns:[2001:db8::1]":                {"stuns", "2001:db8::1", "5349", "tcp"},
		"turn:a.example:80?transport=tcp":    {"turn", "a.example", "80", "tcp"},
		"turns:192.0.2.1":                    {"turns", "192.0.2.1", "5349", "tcp"},
		"turns:a.example:5349?transport=udp": {"turns", "a.example", "5349", "udp"},
	} {
		if got, err := parse(uri); err != nil || got != want {
			t.Error(uri, got, err)
		}
	}
	for _, uri := range []string{
		"", "a.example", "http:a.example", "stun:", "stun:a.example:0", "stun:a.example:70000", "stun:a.example:b",
		"turn:a.example?transport=sctp", "turn:a.example?x", "stun://a.example", "turn:user@a.example", "stun:a:b:c",
	} {
		if got, err := parse(uri); err == nil {
			t.Error(uri, "is", got)
		}
	}
	if (Options{URIs: []string{"turn:a.example"}}).Check() == nil {
		t.Error("a relay without a secret")
	}
}
