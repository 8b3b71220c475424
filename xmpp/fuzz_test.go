// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// FuzzStream holds the reading of whole streams against encoding/xml: what we
// take out of a stream, it takes out with the same meaning; the size of the
// pieces in which bytes come plays no part; and what we forward reads the same
// everywhere, whatever was declared around it.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"<message to='b@c' xml:lang='de'><body>a &amp; b</body></message> <presence/>",
		"<iq type='get' id='1'><h:q h:a='1'/></iq></stream:stream>", "<a><![CDATA[x]]>y</a><b/>", "<a b=\"c'\"/><!-- -->",
		"<p:iq xmlns:p='jabber:client'><p:x/><y xmlns='u'><z xmlns=''/></y></p:iq>", "<message to='@'/><presence/>",
		"<message><x xml:lang='en' xmlns:p='q' p:a='1'/></message>", "<message><x xmlns='u' xmlns:p='q' p:a='1'/></message>\r\n<a>\r\n&#x41;</a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = append([]byte(header), b...)
		got, err := stanzas(bytes.NewReader(b))
		slow, slowErr := stanzas(iotest.OneByteReader(bytes.NewReader(b)))
		if !slices.EqualFunc(got, slow, func(a, b read) bool { return a.flat == b.flat }) || fmt.Sprint(err) != fmt.Sprint(slowErr) {
			t.Fatalf("in pieces it reads differently:\n%+v %v\n%+v %v", got, err, slow, slowErr)
		}
		other := byXML(b, len(got))
		for i, r := range got {
			if i >= len(other) || blank.Replace(other[i]) != blank.Replace(r.flat) {
				t.Fatalf("encoding/xml reads it differently:\n%+v\n%q", got, other)
			}
			if r.forward == nil {
				continue
			}
			there, err := byStdlib(r.forward)
			if err != nil {
				t.Fatalf("what we forward is refused elsewhere: %v\n%s", err, r.forward)
			}
			if here := mustParse(t, r.forward); kidsOf(here) != r.kids || blank.Replace(kidsOf(there)) != blank.Replace(r.kids) {
				t.Fatalf("what we forward is another thing:\n%s\n%s", r.flat, r.forward)
			}
		}
	})
}

func mustParse(t *testing.T, b []byte) *Element {
	el, err := Parse(b, NSClient)
	if err != nil {
		t.Fatalf("we refuse what we forward: %v\n%s", err, b)
	}
	return el
}

func kidsOf(e *Element) (s string) {
	for _, k := range e.Children() {
		s += flat(k)
	}
	return s
}

// read is one stanza: what it says, and as it would be forwarded.
type read struct {
	flat, kids string
	forward    []byte
}

// stanzas reads a stream to its end or the first error that ends it.
func stanzas(r io.Reader) (got []read, err error) {
	d := NewDecoder(r, AfterAuth)
	if _, err := d.Header(); err != nil {
		return nil, err
	}
	var s Stanza
	for {
		err := d.Next(&s)
		var one *StanzaError
		if err != nil && (!errors.As(err, &one) || s.Raw == nil) {
			return got, err
		}
		el, elErr := s.Element()
		if elErr != nil {
			return got, elErr
		}
		g := read{flat: flat(el), kids: kidsOf(el)}
		if err == nil && s.Kind != KindNonza {
			g.forward = s.AppendAs(nil, JID{"a", "b", "c"}, s.To, nil, nil)
		}
		got = append(got, g)
	}
}

// byXML reads the first n children of the root by encoding/xml.
func byXML(b []byte, n int) (all []string) {
	d := xml.NewDecoder(bytes.NewReader(b))
	var open []*Element
	for len(all) < n {
		tok, err := d.Token()
		if err != nil {
			return all
		}
		switch x := tok.(type) {
		case xml.StartElement:
			e := startOf(x)
			if len(open) > 1 {
				open[len(open)-1].Add(e)
			}
			open = append(open, e)
		case xml.EndElement:
			last := open[len(open)-1]
			if open = open[:len(open)-1]; len(open) == 1 {
				all = append(all, flat(last))
			}
			if len(open) == 0 {
				return all
			}
		case xml.CharData:
			if len(open) > 1 {
				open[len(open)-1].WithText(string(x))
			}
		}
	}
	return all
}

func startOf(x xml.StartElement) *Element {
	e := &Element{Name: Name(x.Name)}
	for _, a := range x.Attr {
		if a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns" {
			continue
		}
		n := Name(a.Name)
		if n.Space == "xml" {
			n.Space = NSXML
		}
		e.Attr = append(e.Attr, Attr{n, a.Value})
	}
	return e
}

// FuzzSASL: no message of a client makes a login panic, and none logs in but
// the one that knows the password.
func FuzzSASL(f *testing.F) {
	c, err := NewCredentials("secret")
	if err != nil {
		f.Fatal(err)
	}
	for i := range Mechanisms {
		f.Add(byte(i), []byte("n,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL"), []byte("c=biws,r=x,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="))
		f.Add(byte(i), []byte("p=tls-exporter,,n=alice,r=fyko+d2lbbFgONRv9qkxdawL"), []byte("c=,r=,p="))
		f.Add(byte(i), []byte("y,a=bob@localhost,n=al=2Cice,r=fyko+d2lbbFgONRv9qkxdawL,m=x"), []byte(""))
		f.Add(byte(i), []byte("\x00alice\x00secret"), []byte("alice\x00alice\x00"))
	}
	f.Fuzz(func(t *testing.T, mech byte, first, second []byte) {
		a := &accept{setup: &Setup{Domain: "localhost", Lookup: func(local string) (Credentials, error) {
			if local == "alice" {
				return c, nil
			}
			return Credentials{}, ErrNoUser
		}}, bindings: map[string][]byte{CBExporter: []byte("0123456789abcdef")}}
		m := &Mechanisms[int(mech)%len(Mechanisms)]
		x, err := a.begin(m.Name)
		if err != nil {
			t.Fatal(err)
		}
		for _, in := range [][]byte{first, second} {
			if _, err = x.step(in); err != nil || x.ok {
				break
			}
		}
		known := m.Hash == nil && (bytes.HasSuffix(first, []byte("\x00alice\x00secret")) || bytes.Contains(bytes.ToLower(first), []byte("\x00alice\x00secret")))
		if x.ok && !known {
			t.Fatalf("%s: %q %q logged in as %q", m.Name, first, second, x.user)
		}
		var wrong *AuthError
		if err != nil && !errors.As(err, &wrong) {
			t.Fatalf("%s: %q: an error that the client is not told: %v", m.Name, first, err)
		}
	})
}
