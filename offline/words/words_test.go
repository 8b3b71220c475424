// SPDX-License-Identifier: Apache-2.0

package words

import (
	"strings"
	"testing"
)

func TestIn(t *testing.T) {
	for _, c := range []struct {
		message, words string
		want           bool
	}{
		{"<message><body>Soup at NOON?</body></message>", "noon soup", true},
		{"<message><body>Soup at NOON?</body></message>", "soup dinner", false},
		{"<message><body xml:lang='de'>Suppe &amp; Brot, \u00c4pfel</body></message>", "& \u00e4pfel", true},
		{"<message><body/><subject>soup</subject></message>", "soup", false},
		{"<message><bodyguard>soup</bodyguard></message>", "soup", false},
		{"<message><sent><message><body>soup</body></message></sent></message>", "soup", true},
		{"<message from='soup'><body>bread</body></message>", "soup", false},
		{"<message><body>a</body><body xml:lang='fr'>b</body></message>", "a b", true},
		{"<message><body>cut off", "cut", false},
		{"<message><body", "", true},
		{"", "x", false},
	} {
		if got := In([]byte(c.message), strings.Fields(c.words)); got != c.want {
			t.Errorf("%q in %s: %v", c.words, c.message, got)
		}
	}
}
