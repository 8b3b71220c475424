// SPDX-License-Identifier: Apache-2.0

//go:build interop

package xmpp

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestExpat holds what we accept against libexpat, the parser of most clients:
// it must accept it, too, and read the same (DESIGN §6). Run by make interop.
func TestExpat(t *testing.T) {
	docs := documents(100_000)
	var in bytes.Buffer
	var want []string
	for _, d := range docs {
		if el, err := Parse(d, NSClient); err == nil {
			in.WriteString(base64.StdEncoding.EncodeToString(append(append([]byte("<r xmlns='jabber:client'>"), d...), "</r>"...)) + "\n")
			want = append(want, "{jabber:client}r[]("+flat(el)+")")
		}
	}
	cmd := exec.Command("python3", "../testdata/interop/expat.py")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal("python3 with its own pyexpat: ", err)
	}
	got := strings.Fields(string(out))
	if len(got) != len(want) || len(want) < 1000 {
		t.Fatal("documents", len(docs), "accepted", len(want), "answered", len(got))
	}
	for i := range want {
		said, _ := base64.StdEncoding.DecodeString(got[i])
		if got[i] == "!" || string(said) != want[i] {
			t.Errorf("we read %q, libexpat %q", want[i], said)
		}
	}
	t.Logf("%d documents, %d accepted and read alike", len(docs), len(want))
}

var (
	names = []string{"a", "b", "p:a", "q:b", "body", "é"}
	attrs = []string{
		" x='1'", " p:x='2'", " q:x=\"3\"", " xml:lang='de'", " xmlns='u'", " xmlns='v'", " xmlns=''", " xmlns:p='u'", " xmlns:q='u'",
		" xmlns:p='w'", " xmlns:xml='http://www.w3.org/XML/1998/namespace'", " y = 'z'", " z='&#10;'", " z='\n\t'", " z='&lt;\r\n&apos;'", " n='>'", "\n x='1'",
	}
	texts = []string{
		"text", "&amp;", "&lt;", "&#x41;", "&#65;", "&quot;", "&#13;", "\r\n", "\r", "\t", " ", "]]&gt;", "]]", "é", "\u2028", "😀", "\ufeff",
		"<![CDATA[<x>&amp;]]>", "<![CDATA[\r\n]]>", "'", "\"", "\x7f", "\u0085", ">",
	}
	traps = []string{"<", "&", "\x00", "]]>", "\uffff", "<?x?>", "<!-- -->", "&lol;", "&#0;", "</a>", "\xff", "<![CDATA[", "=", "'"}
)

// documents are made of pieces that parsers differ on; some are spoilt.
func documents(n int) (all [][]byte) {
	r := rand.New(rand.NewPCG(6120, 1))
	for i := range n {
		b := document(r, nil, 0)
		if i%4 == 0 {
			at := r.IntN(len(b))
			b = slices.Insert(b, at, []byte(traps[r.IntN(len(traps))])...)
		}
		all = append(all, b)
	}
	return all
}

func document(r *rand.Rand, b []byte, depth int) []byte {
	pick := func(l []string) string { return l[r.IntN(len(l))] }
	name := pick(names)
	b = append(append(b, '<'), name...)
	if strings.HasPrefix(name, "p:") && r.IntN(4) > 0 {
		b = append(b, " xmlns:p='u'"...)
	}
	for range r.IntN(3) {
		b = append(b, pick(attrs)...)
	}
	if r.IntN(4) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	for range r.IntN(4) {
		if depth < 4 && r.IntN(2) == 0 {
			b = document(r, b, depth+1)
		} else {
			b = append(b, pick(texts)...)
		}
	}
	return append(append(append(b, "</"...), name...), '>')
}
