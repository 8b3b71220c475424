// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTidyCompliance holds docs/compliance.md to its word: each line names what
// holds it, and that is there.
func TestTidyCompliance(t *testing.T) {
	page, err := os.ReadFile(filepath.Join(root, "docs", "compliance.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests := testsOf(t)
	runs, err := os.ReadFile(filepath.Join(root, "testdata", "interop", "run.py"))
	if err != nil {
		t.Fatal(err)
	}
	exists := func(name string) bool {
		switch {
		case strings.HasSuffix(name, ".txt"):
			_, err := os.Stat(filepath.Join(root, "testdata", "script", name))
			return err == nil
		case strings.HasPrefix(name, "Test"):
			test, sub, _ := strings.Cut(name, "/")
			file, ok := tests[test]
			return ok && (sub == "" || strings.Contains(file, `{"`+sub+`", `))
		}
		return strings.Contains(string(runs), `yield "`+name+`"`)
	}
	lines := 0
	for line := range strings.Lines(string(page)) {
		f := strings.Split(line, " | ")
		if len(f) != 4 || f[0] == "| suite" {
			continue
		}
		lines++
		held, todo, _ := strings.Cut(strings.TrimSuffix(strings.TrimSpace(f[3]), " |"), "not yet: ")
		held = strings.TrimSuffix(strings.TrimSpace(held), ";")
		if held == "" && todo == "" {
			t.Errorf("nothing holds %s: %s", f[1], line)
		}
		for name := range strings.SplitSeq(held, ", ") {
			if held != "" && !exists(name) {
				t.Errorf("%s: there is no %s", f[1], name)
			}
		}
	}
	if lines < 25 {
		t.Errorf("%d lines are read", lines)
	}
}

var testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)

// testsOf gives each test of the project with the file that it is in.
func testsOf(t *testing.T) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range testFunc.FindAllSubmatch(b, -1) {
			all[string(m[1])] += string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
