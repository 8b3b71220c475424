// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"encoding/xml"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	specLine = regexp.MustCompile(`(?s)// Spec: (.*?)\n// Runs:`)
	absent   = regexp.MustCompile(`XEP-\d{4} is not here`)
	named    = regexp.MustCompile(`XEP-(\d{4}(?:, \d{4})*)( \(in part\))?`)
)

// A feature is one XEP that packages say, in their cards, they speak.
type feature struct {
	part           bool
	server, client []string // packages
}

// TestTidyXEPs compares docs/xeps.md and docs/sotto.doap with the cards of the
// packages that the programs link; make specs writes them.
func TestTidyXEPs(t *testing.T) {
	all := map[string]*feature{}
	collect(t, all, "sotto/cmd/sottod", func(f *feature) *[]string { return &f.server })
	collect(t, all, "sotto/cmd/sotto", func(f *feature) *[]string { return &f.client })
	for x := range all {
		if pinned[x] == "" {
			t.Fatalf("%s is in a card; say in specs_test.go which version is meant", x)
		}
	}
	for name, want := range map[string]string{"xeps.md": list(t, all), "sotto.doap": doap(t, all)} {
		file := filepath.Join(root, "docs", name)
		if os.Getenv("SOTTO_WRITE") != "" {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("docs/%s is not up to date; run make specs %v", name, err)
		}
	}
}

// collect reads the cards of what a program links.
func collect(t *testing.T, all map[string]*feature, program string, side func(*feature) *[]string) {
	out, err := exec.Command("go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}} {{.Dir}}{{end}}", program).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		pkg, dir, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, ours := strings.CutPrefix(pkg, "sotto/")
		card, err := os.ReadFile(filepath.Join(dir, "doc.go"))
		if !ours || err != nil {
			continue
		}
		m := specLine.FindSubmatch(card)
		if m == nil {
			t.Fatalf("the card of %s has no Spec", pkg)
		}
		text := absent.ReplaceAllString(strings.ReplaceAll(string(m[1]), "\n//", " "), "")
		for _, n := range named.FindAllStringSubmatch(text, -1) {
			for _, number := range strings.Split(n[1], ", ") {
				x := "XEP-" + number
				if all[x] == nil {
					all[x] = &feature{}
				}
				all[x].part = all[x].part || n[2] != ""
				l := side(all[x])
				if !slices.Contains(*l, name) {
					*l = append(*l, name)
					slices.Sort(*l)
				}
			}
		}
	}
}

// since is the first release whose changes name the XEP.
func since(t *testing.T, x string) string {
	b, err := os.ReadFile(filepath.Join(root, "CHANGELOG.md"))
	if err != nil {
		t.Fatal(err)
	}
	release, first := "", ""
	for line := range strings.Lines(string(b)) {
		if h, ok := strings.CutPrefix(line, "## "); ok {
			release = strings.ToLower(strings.TrimSpace(h))
			if first == "" {
				first = release
			}
		} else if strings.Contains(line, strings.TrimPrefix(x, "XEP-")) {
			first = release
		}
	}
	return first
}

func list(t *testing.T, all map[string]*feature) string {
	var b strings.Builder
	b.WriteString("# XEPs\n\nWritten by `make specs` from the cards of the packages; `make check` fails when it is old. `docs/specs.md` has the clauses.\n\n" +
		"| XEP | version | name | server | client | since |\n|---|---|---|---|---|---|\n")
	for _, x := range slices.Sorted(maps.Keys(all)) {
		version, name, _ := strings.Cut(pinned[x], " ")
		if all[x].part {
			name += " (in part)"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", strings.TrimPrefix(x, "XEP-"), version, name,
			strings.Join(all[x].server, ", "), strings.Join(all[x].client, ", "), since(t, x))
	}
	return b.String()
}

// doap is the same for machines, as the lists of xmpp.org read it.
func doap(t *testing.T, all map[string]*feature) string {
	var b strings.Builder
	b.WriteString(`<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#' xmlns='http://usefulinc.com/ns/doap#' xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>sotto</name>
    <shortdesc xml:lang='en'>An XMPP server that carries messages it cannot read, and a client for it</shortdesc>
    <license rdf:resource='https://spdx.org/licenses/Apache-2.0'/>
    <programming-language>Go</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-client'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc6120.html'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc6121.html'/>
    <implements rdf:resource='https://xmpp.org/rfcs/rfc7622.html'/>
`)
	for _, x := range slices.Sorted(maps.Keys(all)) {
		version, _, _ := strings.Cut(pinned[x], " ")
		status := "complete"
		if all[x].part {
			status = "partial"
		}
		var where strings.Builder
		_ = xml.EscapeText(&where, []byte(strings.Join(slices.Concat(all[x].server, all[x].client), ", ")))
		fmt.Fprintf(&b, `    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='https://xmpp.org/extensions/%s.html'/>
        <xmpp:status>%s</xmpp:status>
        <xmpp:version>%s</xmpp:version>
        <xmpp:since>%s</xmpp:since>
        <xmpp:note xml:lang='en'>%s</xmpp:note>
      </xmpp:SupportedXep>
    </implements>
`, strings.ToLower(x), status, version, since(t, x), where.String())
	}
	b.WriteString("  </Project>\n</rdf:RDF>\n")
	return b.String()
}
