// SPDX-License-Identifier: Apache-2.0

package safety

import (
	"encoding/hex"
	"strings"
	"testing"
)

func key(t *testing.T, s string) [32]byte {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != 33 || b[0] != 5 {
		t.Fatal(s)
	}
	return [32]byte(b[1:])
}

// TestNumber holds the number against the published one of Signal's clients.
func TestNumber(t *testing.T) {
	a := Side{"+14152222222", [][32]byte{key(t, "0506863bc66d02b40d27b8d49ca7c09e9239236f9d7d25d6fcca5ce13c7064d868")}}
	b := Side{"+14153333333", [][32]byte{key(t, "05f781b6fb32fed9ba1cf2de978d4d5da28dc34046ae814402b5c0dbd96fda907b")}}
	want := "300354477692869396892869876765458257569162576843440918079131"
	if Number(a, b) != want || Number(b, a) != want {
		t.Error(Number(a, b))
	}
	both := Side{"+14152222222", [][32]byte{a.Keys[0], b.Keys[0]}}
	swap := Side{"+14152222222", [][32]byte{b.Keys[0], a.Keys[0]}}
	if Number(both, b) != Number(swap, b) || Number(both, b) == want {
		t.Error("the number must know all devices, in any order")
	}
	if l := Lines(want); strings.Count(l, "\n") != 4 || !strings.HasPrefix(l, "30035 44776 92869\n") {
		t.Error(l)
	}
}
