// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPushConfig: what the options for push may be, and what is said of the
// rest before anything runs.
func TestPushConfig(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	user := file("user.json", `{"type":"authorized_user"}`)
	for _, row := range []struct{ conf, says string }{
		{"", ""},
		{"push = false\nfcm_key = \"nowhere.json\"", ""}, // it is not read then
		{`push_allow = ["10.0.0.0/8", "fd00::/8"]`, ""},
		{`push_allow = ["10.0.0.1"]`, "push_allow has \"10.0.0.1\"; write networks like"},
		{`fcm_key = "nowhere.json"`, "fcm_key: open nowhere.json"},
		{`fcm_key = "` + user + `"`, "fcm_key: service account"},
	} {
		c, err := loadConfig(file("sottod.toml", row.conf))
		if err == nil {
			_, err = c.wakes()
		}
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%q: %v", row.conf, err)
		}
	}
	c := defaults()
	c.Contact = []string{"xmpp:op@chat.example", "mailto:op@chat.example", "https://chat.example"}
	if o, err := c.wakes(); err != nil || o.Off || o.Post.Contact != "mailto:op@chat.example" {
		t.Errorf("%+v, %v", o, err)
	}
}
