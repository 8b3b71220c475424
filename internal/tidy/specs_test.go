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
// sections move between versions.
var pinned = map[string]string{
	"XEP-0012": "2.0 Last Activity", "XEP-0030": "2.5.0 Service Discovery", "XEP-0060": "1.30.0 Publish-Subscribe",
	"XEP-0077": "2.4 In-Band Registration", "XEP-0085": "2.1 Chat State Notifications", "XEP-0086": "1.0 Error Condition Mappings",
	"XEP-0092": "1.1 Software Version", "XEP-0115": "1.6.0 Entity Capabilities", "XEP-0160": "1.0.1 Offline Messages",
	"XEP-0163": "1.2.2 Personal Eventing Protocol", "XEP-0184": "1.4.0 Message Delivery Receipts", "XEP-0191": "1.3 Blocking Command",
	"XEP-0198": "1.6.3 Stream Management", "XEP-0199": "2.0.1 XMPP Ping", "XEP-0202": "2.0 Entity Time", "XEP-0203": "2.0 Delayed Delivery",
	"XEP-0280": "1.0.1 Message Carbons", "XEP-0333": "1.0.0 Displayed Markers", "XEP-0334": "1.0.0 Message Processing Hints",
	"XEP-0352": "1.0.0 Client State Indication", "XEP-0359": "0.7.0 Unique and Stable Stanza IDs", "XEP-0368": "1.1.0 SRV records for XMPP over TLS",
	"XEP-0384": "0.9.1 OMEMO Encryption, and 0.3.0 for the older wire", "XEP-0386": "1.1.0 Bind 2", "XEP-0388": "1.0.4 Extensible SASL Profile",
	"XEP-0420": "0.5.0 Stanza Content Encryption", "XEP-0440": "1.0.0 SASL Channel-Binding Type Capability", "XEP-0454": "0.1.0 OMEMO Media sharing",

	"RFC 2782": "DNS SRV", "RFC 3921": "XMPP IM of 2004", "RFC 4616": "SASL PLAIN", "RFC 5802": "SCRAM", "RFC 5929": "Channel bindings for TLS",
	"RFC 6120": "XMPP Core", "RFC 6121": "XMPP Instant Messaging and Presence", "RFC 6761": "Special-use domain names",
	"RFC 7622": "XMPP addresses", "RFC 7677": "SCRAM-SHA-256", "RFC 7748": "Curve25519", "RFC 8032": "Ed25519", "RFC 8446": "TLS 1.3",
	"RFC 9106": "Argon2", "RFC 9266": "Channel bindings for TLS 1.3", "RFC 9562": "UUID",
}

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
