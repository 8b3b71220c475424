// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bytes"
	"encoding/xml"
	"os"
	"path/filepath"
	"testing"

	"sotto/xmpp"
)

// FuzzRead: whatever is in a file, reading it ends, and what is read can be
// written and read again as the same.
func FuzzRead(f *testing.F) {
	seeds, err := filepath.Glob("../../testdata/import/*/*.xml")
	if err != nil || len(seeds) < 4 {
		f.Fatal(seeds, err)
	}
	for _, s := range seeds {
		b, err := os.ReadFile(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte("<server-data xmlns='urn:xmpp:pie:0'><host jid='x'><user name='a'><a:b xmlns:a='urn:a' a:c='d' xml:lang='en'>&lt;&#x9;<![CDATA[<]]></a:b></user></host></server-data>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := &file{path: filepath.Join(t.TempDir(), "x.xml"), dec: xml.NewDecoder(bytes.NewReader(b))}
		r := reader{note: func(string) {}, user: func(f *file, _, _, _ string) error {
			for {
				start, err := f.next()
				if start == nil || err != nil {
					return err
				}
				el, err := f.part(start)
				if err != nil {
					return err
				}
				written := el.Append(nil, "")
				again, err := xmpp.Parse(written, "")
				if err != nil {
					continue // what streams do not take, as a control character or a depth of 100
				}
				if now := again.Append(nil, ""); !bytes.Equal(now, written) {
					t.Errorf("%s\n%s", written, now)
				}
			}
		}}
		if root, err := in.next(); err == nil && root != nil {
			_ = r.level(in, root, "")
		}
	})
}
