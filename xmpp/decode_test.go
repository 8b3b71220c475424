// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const header = "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' xmlns:h='urn:h'>"

func readAll(r io.Reader, l Limits) (got []string, err error) {
	d := NewDecoder(r, l)
	if _, err := d.Header(); err != nil {
		return nil, err
	}
	var s Stanza
	for {
		if err := d.Next(&s); err != nil {
			return got, err
		}
		from := JID{"alice", "localhost", "a"}
		got = append(got, string(s.AppendAs(nil, from, s.To, nil, nil)))
	}
}

func TestDecoder(t *testing.T) {
	long := strings.Repeat("x", 300<<10)
	for _, c := range []struct{ name, in, want, cond, spec string }{
		{"plain", "<message to='bob@localhost' id='1' type='chat'><body>hi</body></message></stream:stream>",
			"<message from='alice@localhost/a' to='bob@localhost' id='1' type='chat'><body>hi</body></message>", "EOF", "RFC 6120 §8"},
		{"keepalive", " \n <presence/>\n</stream:stream>", "<presence from='alice@localhost/a'></presence>", "EOF", "RFC 6120 §4.6.1"},
		{"outer prefix is written again", "<iq id='1' type='get'><h:q h:a='1'/></iq>",
			"<iq from='alice@localhost/a' id='1' type='get'><q xmlns='urn:h' xmlns:n0='urn:h' n0:a='1'/></iq>", "EOF", "DESIGN §6"},
		{"own prefix", "<iq id='1' xmlns:p='urn:p'><p:q/></iq>", "<iq from='alice@localhost/a' id='1'><q xmlns='urn:p'/></iq>", "EOF", "DESIGN §6"},
		{"cdata", "<message><body><![CDATA[a<b]]></body></message>", "<message from='alice@localhost/a'><body><![CDATA[a<b]]></body></message>", "EOF", "RFC 6120 §11"},
		{"garbage", "hello", "", StreamBadFormat, "RFC 6120 §4.9.3.1"},
		{"doctype", "<!DOCTYPE x [<!ENTITY a 'b'>]>", "", StreamRestrictedXML, "RFC 6120 §11.1"},
		{"comment", "<message><!-- x --></message>", "", StreamRestrictedXML, "RFC 6120 §11.1"},
		{"instruction", "<message><?x y?></message>", "", StreamRestrictedXML, "RFC 6120 §11.1"},
		{"entity", "<message><body>&lol;</body></message>", "", StreamRestrictedXML, "RFC 6120 §11.1"},
		{"bad reference", "<message><body>&#0;</body></message>", "", StreamNotWellFormed, "XML §4.1"},
		{"unknown prefix", "<p:message/>", "", StreamBadNamespacePrefix, "RFC 6120 §4.9.3.2"},
		{"wrong end", "<message><a></b></message>", "", StreamNotWellFormed, "XML §3"},
		{"twin attributes", "<message id='1' id='2'/>", "", StreamNotWellFormed, "XML §3.1"},
		{"twin by namespace", "<message><a xmlns:p='u' xmlns:q='u' p:x='1' q:x='2'/></message>", "", StreamNotWellFormed, "Namespaces §6.3"},
		{"bad utf-8", "<message><body>\xff</body></message>", "", StreamUnsupportedEncoding, "RFC 6120 §11.6"},
		{"surrogate", "<message><body>\xed\xa0\x80</body></message>", "", StreamUnsupportedEncoding, "RFC 6120 §11.6"},
		{"control", "<message><body>\x01</body></message>", "", StreamNotWellFormed, "XML §2.2"},
		{"no end", "<message", "", "unexpected EOF", "XML §3"},
		{"long and then fine", "<message id='9' to='b@c'><body>" + long + "<a x='>'/></body></message><presence/>", "", "policy-violation", "DESIGN §6"},
		{"endless tag", "<message x='" + long, "", StreamPolicyViolation, "DESIGN §6"},
		{"deep", strings.Repeat("<a>", 100), "", StreamPolicyViolation, "DESIGN §6"},
		{"bad address", "<message to='@'/><presence/>", "", "jid-malformed", "RFC 6120 §8.3.3.8"},
	} {
		for _, slow := range []bool{false, true} {
			var r io.Reader = strings.NewReader(header + c.in)
			if slow {
				if len(c.in) > 1<<16 {
					continue
				}
				r = iotest.OneByteReader(r)
			}
			got, err := readAll(r, AfterAuth)
			if s := strings.Join(got, "\n"); s != c.want {
				t.Errorf("%s (%s): got %s", c.name, c.spec, s)
			}
			if err == nil || !strings.Contains(err.Error(), c.cond) {
				t.Errorf("%s (%s): error %v, want %s", c.name, c.spec, err, c.cond)
			}
		}
	}
}

// After an over-long stanza the next one is read as if nothing had been.
func TestStreamLivesOn(t *testing.T) {
	in := header + "<message id='9' to='b@c'><body>" + strings.Repeat("x", 300<<10) + "</body></message><presence id='p'/>"
	d := NewDecoder(strings.NewReader(in), AfterAuth)
	if _, err := d.Header(); err != nil {
		t.Fatal(err)
	}
	var s Stanza
	var one *StanzaError
	if err := d.Next(&s); !errors.As(err, &one) || s.ID != "9" || s.To.Domain != "c" {
		t.Fatal(err, s.ID)
	}
	if err := d.Next(&s); err != nil || s.ID != "p" {
		t.Fatal(err, s.ID)
	}
}

type endless struct{ n, max int }

func (e *endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	e.n += len(b)
	if e.n > e.max {
		panic("read far beyond the limit")
	}
	return len(b), nil
}

// 1 GiB without '>' must end early and never be held.
func TestEndlessTag(t *testing.T) {
	r := io.MultiReader(strings.NewReader(header+"<"), &endless{max: 4 * AfterAuth.Bytes})
	if _, err := readAll(r, AfterAuth); err == nil || !strings.Contains(err.Error(), StreamPolicyViolation) {
		t.Fatal(err)
	}
}

func TestIdleHoldsNothing(t *testing.T) {
	d := NewDecoder(iotest.OneByteReader(strings.NewReader(header+"<presence/> ")), AfterAuth)
	if _, err := d.Header(); err != nil {
		t.Fatal(err)
	}
	var s Stanza
	if err := d.Next(&s); err != nil {
		t.Fatal(err)
	}
	if err := d.Next(&s); err == nil || d.desk != nil {
		t.Fatal("a buffer is held while the stream is idle", err)
	}
}

// FuzzDecoder holds the decoder against encoding/xml: what we accept, it must
// accept with the same meaning, and what we write must read the same again.
func FuzzDecoder(f *testing.F) {
	for _, s := range []string{
		"<message to='b@c' xml:lang='de'><body>a &amp; b</body><x xmlns='u' p:a='1' xmlns:p='q'/></message>",
		"<iq><p:q xmlns:p='u' p:a='1'><b xmlns=''/></p:q></iq>", "<a><![CDATA[x]]></a>", "<a b=\"c'\"/>", "<a>\r\n&#x41;</a>",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		el, err := Parse(b, NSClient)
		if err != nil {
			return
		}
		other, err := byStdlib(b)
		if err != nil {
			t.Fatalf("encoding/xml refuses what we take: %v", err)
		}
		if a, b := blank.Replace(flat(el)), blank.Replace(flat(other)); a != b {
			t.Fatalf("read differently:\n%s\n%s", a, b)
		}
		again, err := Parse(el.Bytes(), NSClient)
		if err != nil || flat(again) != flat(el) {
			t.Fatalf("written differently: %v\n%s", err, el.Bytes())
		}
	})
}

func byStdlib(b []byte) (*Element, error) {
	d := xml.NewDecoder(bytes.NewReader(append([]byte("<r xmlns='jabber:client'>"), append(b, "</r>"...)...)))
	var open []*Element
	for {
		tok, err := d.Token()
		if err != nil {
			return nil, err
		}
		switch x := tok.(type) {
		case xml.StartElement:
			e := startOf(x)
			if len(open) > 0 {
				open[len(open)-1].Add(e)
			}
			open = append(open, e)
		case xml.EndElement:
			if len(open) == 2 {
				return open[1], nil
			}
			open = open[:len(open)-1]
		case xml.CharData:
			open[len(open)-1].WithText(string(x))
		}
	}
}

// blank makes white space one thing: encoding/xml does not know XML
// 1.0 §3.3.3. TestValues and TestExpat hold us to it.
var blank = strings.NewReplacer("\t", " ", "\n", " ", "\r", " ")

func flat(e *Element) string {
	s := "{" + e.Name.Space + "}" + e.Name.Local + "["
	for _, a := range e.Attr {
		s += "{" + a.Name.Space + "}" + a.Name.Local + "=" + a.Value + ";"
	}
	s += "]("
	for _, n := range e.Nodes {
		if n.El != nil {
			s += flat(n.El)
		} else {
			s += n.Text
		}
	}
	return s + ")"
}

// White space of a value is a space unless it is a reference, and what we write
// says the same again (XML 1.0 §3.3.3).
func TestValues(t *testing.T) {
	el, err := Parse([]byte("<a v='1\t2\n3\r\n4\r5&#9;6&#10;7&#13;8'>\t\n</a>"), NSClient)
	if err != nil || el.Get("v") != "1 2 3 4 5\t6\n7\r8" || el.Text() != "\t\n" {
		t.Fatalf("%q %v", el.Get("v"), err)
	}
	if again, err := Parse(el.Bytes(), NSClient); err != nil || again.Get("v") != el.Get("v") || again.Text() != el.Text() {
		t.Fatalf("%s %v", el.Bytes(), err)
	}
}

func FuzzJID(f *testing.F) {
	f.Add("alice@localhost/phone")
	f.Add("ALICE@Exämple.org/Ω x")
	f.Fuzz(func(t *testing.T, s string) {
		j, err := ParseJID(s)
		if err != nil {
			return
		}
		k, err := ParseJID(j.String())
		if err != nil || k != j {
			t.Fatalf("%q is not stable: %q %v", s, k, err)
		}
	})
}

func omemo() []byte {
	key := "<key rid='12345'>" + strings.Repeat("MwohBe", 22) + "</key>"
	return []byte("<message to='bob@localhost' id='0b6b1ee4' type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='77'>" +
		strings.Repeat(key, 6) + "<iv>AAAAAAAAAAAAAAAA</iv></header><payload>" + strings.Repeat("QUJD", 25) +
		"</payload></encrypted><encryption xmlns='urn:xmpp:eme:0' namespace='eu.siacs.conversations.axolotl'/><store xmlns='urn:xmpp:hints'/></message>")
}

type ring struct {
	b  []byte
	at int
}

func (r *ring) Read(p []byte) (int, error) {
	n := copy(p, r.b[r.at:])
	r.at = (r.at + n) % len(r.b)
	return n, nil
}

func BenchmarkScan(b *testing.B) {
	m := omemo()
	d := NewDecoder(io.MultiReader(strings.NewReader(header), &ring{b: m}), AfterAuth)
	if _, err := d.Header(); err != nil {
		b.Fatal(err)
	}
	var s Stanza
	b.SetBytes(int64(len(m)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Next(&s); err != nil {
			b.Fatal(err)
		}
	}
}
