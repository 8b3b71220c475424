// SPDX-License-Identifier: Apache-2.0

package frame_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"sotto/xmpp"
	"sotto/xmpp/frame"
)

// FuzzFrame: what passes as a frame is one element for the decoder of the
// stream, and comes out on the other side as one frame that stands by itself
// and means the same.
func FuzzFrame(f *testing.F) {
	for _, s := range []string{
		"<message xmlns='jabber:client' to='a@b'><body>x</body></message>", "<presence/>", "<a><b xmlns='c'/></a>",
		"<r xmlns='urn:xmpp:sm:3'/>", "<open xmlns='" + frame.NS + "' to='localhost' version='1.0'/>", "<close xmlns='" + frame.NS + "'/>",
		"<f:open xmlns:f='" + frame.NS + "'/>", "<p:iq xmlns:p='jabber:client'><p:x/></p:iq>", "<a/><b/>", "<a", "</a>", "<a b='>'/>",
		"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>", "<![CDATA[x]]>", "<xmlns xmlns=''/>", "<a\txmlns='u'/>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := frame.In(b, true, xmpp.BeforeAuth); err == nil {
			d := xmpp.NewDecoder(bytes.NewReader(h), xmpp.BeforeAuth)
			_, _ = d.Header() // addresses may be bad
			if d.Ahead() {
				t.Fatalf("more than a header: %q", h)
			}
		}
		in, err := frame.In(b, false, xmpp.AfterAuth)
		if err != nil {
			return
		}
		const head = "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
		d := xmpp.NewDecoder(strings.NewReader(head+string(in)), xmpp.AfterAuth)
		if _, err := d.Header(); err != nil {
			t.Fatal(err)
		}
		var st xmpp.Stanza
		err = d.Next(&st)
		if err == io.EOF && string(in) == "</stream:stream>" {
			return
		}
		if err != nil {
			if len(b) < xmpp.AfterAuth.Bytes && st.Name.Local == "" {
				t.Fatalf("%q passed, but the stream does not go on: %v", b, err)
			}
			return
		}
		el, err := st.Element()
		if err != nil {
			return
		}
		if err := d.Next(&st); err != io.EOF {
			t.Fatalf("more than one element: %q", b)
		}
		n := 0
		err = frame.Out(el.Bytes(), func(one []byte) error {
			n++
			again, err := xmpp.Parse(one, "outside")
			if err != nil || again.Name != el.Name {
				t.Fatalf("%q became %q: %v", el.Bytes(), one, err)
			}
			return nil
		})
		if err != nil || n != 1 {
			t.Fatalf("%q became %d frames: %v", el.Bytes(), n, err)
		}
	})
}
