// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What an operator writes about links is understood, or he is told what to
// write; by itself nothing is open to other servers or components.
func TestLinkConfig(t *testing.T) {
	for text, hint := range map[string]string{
		"":               "",
		`s2s = "open"`:   "",
		`s2s = "maybe"`:  "off, listed or open",
		`s2s_wait = "x"`: "s2s_wait",
		"s2s = \"listed\"\ns2s_allow = [\"chat.example\", \"rooms.chat.example\"]": "",
		`s2s_allow = ["me@chat.example"]`:                                          "s2s_allow",
		`s2s_certificates = "no"`:                                                  "required or optional",
		`s2s_resolver = "127.0.0.1"`:                                               "s2s_resolver",
		`components = ["bot.localhost sesame"]`:                                    "",
		`components = ["bot.localhost"]`:                                           "components",
		`components = ["localhost sesame"]`:                                        "components",
		`components = ["a@b sesame"]`:                                              "components",
		`components = ["bot.localhost one", "bot.localhost two"]`:                  "twice",
	} {
		file := filepath.Join(t.TempDir(), "sottod.toml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := loadConfig(file)
		if (err == nil) != (hint == "") || err != nil && !strings.Contains(err.Error(), hint) {
			t.Errorf("%s: %v", text, err)
		}
		if err != nil && strings.Contains(err.Error(), "sesame") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	c := defaults()
	for _, name := range []string{"s2s", "s2s_tls", "component"} {
		if len(c.morePorts()[name]) != 0 {
			t.Error(name, "is open by itself")
		}
	}
	c.S2S, c.Beside = "open", []string{"bot.localhost sesame"}
	p := c.morePorts()
	if !slices.Equal(p["s2s"], []string{":5269"}) || !slices.Equal(p["component"], []string{"127.0.0.1:5347"}) || len(p["s2s_tls"]) != 0 {
		t.Error(p)
	}
}
