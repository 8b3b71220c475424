// SPDX-License-Identifier: Apache-2.0

package tidy

import (
	"bytes"
	"cmp"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	fileMax    = 400
	funcMax    = 60
	packageMax = 15
	root       = "../.."
)

type size struct {
	what string
	n    int
}

// TestTidySizes prints the largest files and functions and fails over a limit.
func TestTidySizes(t *testing.T) {
	var files, funcs []size
	perPackage := map[string]int{}
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !bytes.HasPrefix(b, []byte("// SPDX-License-Identifier: Apache-2.0\n")) {
			t.Errorf("%s has no licence header", path)
		}
		if strings.HasSuffix(path, "_test.go") {
			return nil
		}
		perPackage[filepath.Dir(path)]++
		files = append(files, size{path, bytes.Count(b, []byte("\n"))})
		f, err := parser.ParseFile(set, path, b, 0)
		if err != nil {
			return err
		}
		for _, x := range f.Decls {
			if fn, ok := x.(*ast.FuncDecl); ok {
				n := set.Position(fn.End()).Line - set.Position(fn.Pos()).Line + 1
				funcs = append(funcs, size{path + " " + fn.Name.Name, n})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	report(t, "file", files, fileMax)
	report(t, "function", funcs, funcMax)
	for p, n := range perPackage {
		if n > packageMax {
			t.Errorf("%s has %d files, more than %d", p, n, packageMax)
		}
	}
}

func report(t *testing.T, kind string, all []size, limit int) {
	slices.SortFunc(all, func(a, b size) int { return cmp.Compare(b.n, a.n) })
	for i, s := range all {
		if s.n > limit {
			t.Errorf("%s %s has %d lines, more than %d", kind, s.what, s.n, limit)
		}
		if i < 5 {
			t.Logf("%-8s %4d %s", kind, s.n, s.what)
		}
	}
}

// allowed is the table of rooms: what each may import of ours.
var allowed = []struct {
	room string
	may  []string
}{
	{"sotto/xmpp", []string{"sotto/xmpp/wire"}},
	{"sotto/xmpp/dial", []string{"sotto/xmpp"}},
	{"sotto/xmpp/frame", []string{"sotto/xmpp"}},
	{"sotto/xmpp/mam", []string{"sotto/xmpp"}},
	{"sotto/xmpp/rsm", []string{"sotto/xmpp"}},
	{"sotto/xmpp/peer", []string{"sotto/xmpp"}},
	{"sotto/offline", []string{"sotto/xmpp", "sotto/offline/blob", "sotto/offline/page", "sotto/offline/words"}},
	{"sotto/relay", []string{"sotto/xmpp", "sotto/offline"}},
	{"sotto/relay/", []string{"sotto/xmpp", "sotto/offline", "sotto/relay"}},
	{"sotto/relay/push", []string{"sotto/xmpp", "sotto/offline", "sotto/relay", "sotto/relay/push/post"}},
	{"sotto/relay/push/post", nil},
	{"sotto/crypto", []string{"sotto/crypto"}},
	{"sotto/voip", nil},
	{"sotto/cmd/sottod", []string{"sotto/xmpp", "sotto/offline", "sotto/relay"}},
	{"sotto/cmd/sottoload", []string{"sotto/xmpp"}},
	{"sotto/internal/town", []string{"sotto/offline", "sotto/relay", "sotto/relay/account", "sotto/relay/all", "sotto/relay/web"}},
	{"sotto/internal/client", []string{"sotto/xmpp", "sotto/crypto"}},
	{"sotto/internal/terminal", []string{"sotto/xmpp", "sotto/crypto", "sotto/internal/client"}},
	{"sotto/cmd/sotto", []string{"sotto/xmpp", "sotto/crypto", "sotto/internal/client", "sotto/internal/terminal"}},
}

// TestTidyImports compares the imports with the table; a feature of relay does
// not import another one, and the server cannot decrypt (DESIGN P4).
func TestTidyImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range .Imports}} {{.}}{{end}}", "sotto/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		for _, imp := range f[1:] {
			if strings.HasPrefix(imp, "sotto/") && !mayImport(f[0], imp) {
				t.Errorf("%s must not import %s", f[0], imp)
			}
		}
	}
	deps, err := exec.Command("go", "list", "-deps", "sotto/cmd/sottod").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(deps), "sotto/crypto") {
		t.Error("sottod links code that could decrypt")
	}
}

func mayImport(pkg, imp string) bool {
	for i := len(allowed) - 1; i >= 0; i-- {
		a := allowed[i]
		if pkg != a.room && !(strings.HasPrefix(pkg, strings.TrimSuffix(a.room, "/")+"/")) {
			continue
		}
		for _, m := range a.may {
			if imp == m || strings.HasPrefix(imp, m+"/") && m != "sotto/relay" {
				return true
			}
			if m == "sotto/relay" && strings.HasPrefix(imp, m+"/") && (pkg == "sotto/cmd/sottod" || pkg == "sotto/relay/all") {
				return true
			}
		}
		return false
	}
	return false
}

// TestTidyReadme keeps the README short.
func TestTidyReadme(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(b, []byte("\n")); n > 80 {
		t.Errorf("README.md has %d lines, more than 80", n)
	}
}
