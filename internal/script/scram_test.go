// SPDX-License-Identifier: Apache-2.0

package script

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

const nonce = "rOprNGfwEbeRWgbNEkqO"

// TestWrongSCRAM: each message that is not as it must be gets its failure, says
// no more than that, and the stream goes on until the tries are used up.
func TestWrongSCRAM(t *testing.T) {
	s := rudeStage(t, nil)
	long := strings.Repeat("x", 2000)
	for _, c := range []struct{ name, mech, say, want, spec string }{
		{"no such mechanism", "SCRAM-MD5", "n,,n=alice,r=" + nonce, "invalid-mechanism", "RFC 6120 §6.5.7"},
		{"empty", "SCRAM-SHA-256", "", "malformed-request", "RFC 6120 §6.5.8"},
		{"no header", "SCRAM-SHA-256", "n=alice,r=" + nonce, "malformed-request", "RFC 5802 §7"},
		{"no name", "SCRAM-SHA-256", "n,,r=" + nonce, "not-authorized", "RFC 5802 §5.1"},
		{"no nonce", "SCRAM-SHA-256", "n,,n=alice", "malformed-request", "RFC 5802 §5.1"},
		{"short nonce", "SCRAM-SHA-256", "n,,n=alice,r=x", "malformed-request", "RFC 5802 §5.1"},
		{"nonce with a comma", "SCRAM-SHA-256", "n,,n=alice,r=,x" + nonce, "malformed-request", "RFC 5802 §5.1"},
		{"mandatory extension", "SCRAM-SHA-256", "n,,m=x,n=alice,r=" + nonce, "not-authorized", "RFC 5802 §5.1"},
		{"another's identity", "SCRAM-SHA-256", "n,a=bob@localhost,n=alice,r=" + nonce, "invalid-authzid", "RFC 6120 §6.5.6"},
		{"hidden -PLUS", "SCRAM-SHA-256", "y,,n=alice,r=" + nonce, "not-authorized", "RFC 5802 §6"},
		{"binding without -PLUS", "SCRAM-SHA-256", "p=tls-exporter,,n=alice,r=" + nonce, "malformed-request", "RFC 5802 §6"},
		{"-PLUS without binding", "SCRAM-SHA-256-PLUS", "n,,n=alice,r=" + nonce, "malformed-request", "RFC 5802 §6"},
		{"unknown binding", "SCRAM-SHA-256-PLUS", "p=tls-unique,,n=alice,r=" + nonce, "malformed-request", "RFC 5802 §6"},
		{"name with a domain", "SCRAM-SHA-256", "n,,n=alice@example.org,r=" + nonce, "not-authorized", "RFC 6120 §6.5.10"},
		{"name that is a resource", "SCRAM-SHA-256", "n,,n=alice/x,r=" + nonce, "not-authorized", "RFC 6120 §6.5.10"},
		{"long name", "SCRAM-SHA-256", "n,,n=" + long + ",r=" + nonce, "not-authorized", "RFC 7622 §3.3"},
		{"PLAIN without a password", "PLAIN", "\x00alice\x00", "malformed-request", "RFC 4616 §2"},
		{"PLAIN in parts", "PLAIN", "\x00alice", "malformed-request", "RFC 4616 §2"},
		{"PLAIN with one part more", "PLAIN", "\x00alice\x00password\x00", "malformed-request", "RFC 4616 §2"},
		{"PLAIN for another", "PLAIN", "bob@localhost\x00alice\x00password", "invalid-authzid", "RFC 4616 §2"},
	} {
		r := s.rude(t, "127.0.0.2", asked)
		text := basic64(c.say)
		if c.say == "" {
			text = "="
		}
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='"+c.mech+"'>"+text+"</auth>", "</failure>")
		if !strings.Contains(string(r.got), "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><"+c.want+"/>") {
			t.Errorf("%s (%s): %s", c.name, c.spec, r.got)
		}
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>"+basic("alice", "password")+"</auth>", "<success")
		r.Close()
	}
	for _, c := range []struct{ say, want string }{
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%%%</auth>", "incorrect-encoding"},
		{"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/><abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "aborted"},
		{"<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/><abort xmlns='urn:xmpp:sasl:2'/>", "aborted"},
	} {
		r := s.rude(t, "127.0.0.2", asked)
		r.say(c.say, "</failure>")
		if !strings.Contains(string(r.got), "<"+c.want) {
			t.Errorf("%s: %s", c.say, r.got)
		}
		r.Close()
	}
}

// TestReplayedSCRAM: what one login sent is worth nothing in another, and a
// message that was changed on the way is refused (RFC 5802 §9).
func TestReplayedSCRAM(t *testing.T) {
	s := rudeStage(t, nil)
	step := func(r *rude, text string, until string) string {
		r.say("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"+basic64(text)+"</response>", until)
		return string(r.got)
	}
	begin := func() (*rude, string) {
		r := s.rude(t, "127.0.0.3", asked)
		r.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='SCRAM-SHA-256'>"+basic64("n,,n=alice,r="+nonce)+"</auth>", "</challenge>")
		_, b, _ := strings.Cut(string(r.got), "'>")
		b, _, _ = strings.Cut(b, "<")
		first, err := base64.StdEncoding.DecodeString(b)
		if err != nil {
			t.Fatal(err)
		}
		return r, string(first)
	}
	final := func(challenge string) string {
		cl, err := scram.SHA256.NewClient("alice", "password", "")
		s.must(err)
		conv := cl.WithNonceGenerator(func() string { return nonce }).NewConversation()
		_, err = conv.Step("")
		s.must(err)
		out, err := conv.Step(challenge)
		s.must(err)
		return out
	}
	r, challenge := begin()
	proof := final(challenge)
	if got := step(r, proof, "</success>"); !strings.Contains(got, "<success") {
		t.Fatal(got)
	}
	r.Close()
	r, again := begin()
	if again == challenge {
		t.Fatal("the server's nonce is the same twice")
	}
	if got := step(r, proof, "</failure>"); !strings.Contains(got, "<not-authorized/>") {
		t.Error("a replay was answered with", got)
	}
	r.Close()
	for name, change := range map[string]func(string) string{
		"changed proof": func(f string) string {
			last := byte('A')
			if f[len(f)-3] == last {
				last = 'B'
			}
			return f[:len(f)-3] + string(last) + f[len(f)-2:]
		},
		"no proof":       func(f string) string { return f[:strings.Index(f, ",p=")] },
		"other nonce":    func(f string) string { return strings.Replace(f, nonce, "x"+nonce[1:], 1) },
		"other binding":  func(f string) string { return strings.Replace(f, "c=biws", "c=eSws", 1) },
		"something else": func(string) string { return "hello" },
		"nothing":        func(string) string { return "" },
	} {
		r, challenge := begin()
		if got := step(r, change(final(challenge)), "</failure>"); !strings.Contains(got, "<not-authorized/>") {
			t.Errorf("%s: %s", name, got)
		}
		r.Close()
	}
}
