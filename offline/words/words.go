// SPDX-License-Identifier: Apache-2.0

package words

import (
	"bytes"
	"html"
	"strings"
)

var bodyStart, bodyEnd = []byte("<body"), []byte("</body>")

// In says whether the bodies of a written message have all the words, which
// are in small letters.
func In(message []byte, all []string) bool {
	if len(all) == 0 {
		return true
	}
	var text strings.Builder
	for rest := message; ; {
		at := bytes.Index(rest, bodyStart)
		if at < 0 {
			break
		}
		rest = rest[at+len(bodyStart):]
		open := bytes.IndexByte(rest, '>')
		if open < 0 {
			break
		}
		tag := rest[:open]
		rest = rest[open+1:]
		if len(tag) > 0 && (tag[0] != ' ' || tag[len(tag)-1] == '/') {
			continue // <bodyguard>, <body/>
		}
		end := bytes.Index(rest, bodyEnd)
		if end < 0 {
			break
		}
		text.Write(rest[:end])
		text.WriteByte(' ')
		rest = rest[end:]
	}
	said := strings.ToLower(html.UnescapeString(text.String()))
	for _, w := range all {
		if !strings.Contains(said, w) {
			return false
		}
	}
	return true
}
