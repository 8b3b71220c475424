// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"log/slog"
	"time"

	"sotto/xmpp"
)

// ALPN of direct TLS between servers (XEP-0368 §4).
const ALPN = "xmpp-server"

// A Stream is one stream between our domain Us and theirs.
type Stream struct {
	*xmpp.Hand
	Us, Them string
	ID       string // that the called end gave it
	Proven   bool   // their certificate is theirs
	Dialback bool   // they were let in, or let us in, by dialback
	Bidi     bool   // stanzas flow both ways (XEP-0288)
	SM       bool   // we have asked that what we send is acked (XEP-0198 §3)
	features *xmpp.Element
}

// Trust is how a server proves itself, and how others prove themselves to it.
type Trust struct {
	TLS    *tls.Config    // with our certificates
	Roots  *x509.CertPool // nil: the system's
	Lax    bool           // dialback alone is proof enough, whatever their certificate
	Secret []byte         // of dialback keys
	Log    *slog.Logger
	Now    func() time.Time
}

// Key is the dialback key that we, as the domain us, give to them for a stream
// (XEP-0185 §3).
func (t *Trust) Key(us, them, id string) string {
	secret := sha256.Sum256(t.Secret)
	m := hmac.New(sha256.New, []byte(hex.EncodeToString(secret[:])))
	m.Write([]byte(them + " " + us + " " + id))
	return hex.EncodeToString(m.Sum(nil))
}

// Knows says whether a key is ours.
func (t *Trust) Knows(us, them, id, key string) bool {
	return hmac.Equal([]byte(t.Key(us, them, id)), []byte(key))
}

// proves says whether the other end's certificate is for a domain.
func (t *Trust) proves(c *tls.Conn, domain string) error {
	return Proves(c.ConnectionState().PeerCertificates, t.Roots, domain, t.Now())
}

// certificate is ours for a domain.
func (t *Trust) certificate(us string) (*tls.Certificate, error) {
	if t.TLS.GetCertificate != nil {
		if c, err := t.TLS.GetCertificate(&tls.ClientHelloInfo{ServerName: us}); c != nil && err == nil {
			return c, nil
		}
	}
	for i := range t.TLS.Certificates {
		c := &t.TLS.Certificates[i]
		if x, err := leaf(c); err == nil && x.VerifyHostname(us) == nil {
			return c, nil
		}
	}
	if len(t.TLS.Certificates) > 0 {
		return &t.TLS.Certificates[0], nil
	}
	return &tls.Certificate{}, nil
}

func leaf(c *tls.Certificate) (*x509.Certificate, error) {
	if c.Leaf != nil {
		return c.Leaf, nil
	}
	return x509.ParseCertificate(c.Certificate[0])
}

// header is the start tag of a stream between servers.
func header(us, them, id string) []byte {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='"+xmpp.NSServer+"' xmlns:stream='"+xmpp.NSStream+"' xmlns:db='"+xmpp.NSDialback+"' version='1.0' xml:lang='en'"...)
	b = xmpp.AppendAttr(b, "id", id)
	b = xmpp.AppendAttr(b, "from", us)
	b = xmpp.AppendAttr(b, "to", them)
	return append(b, '>')
}

// word is one of dialback, with the prefix that old servers look for.
func word(name, from, to, id, typ, text string) []byte {
	b := append([]byte("<db:"), name...)
	for _, a := range [][2]string{{"from", from}, {"to", to}, {"id", id}, {"type", typ}} {
		b = xmpp.AppendAttr(b, a[0], a[1])
	}
	if text == "" {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = append(b, text...) // hexadecimal digits
	return append(append(append(b, "</db:"...), name...), '>')
}

// Answer takes what the other end says of dialback while stanzas flow: keys of
// ours are confirmed, further domains are not taken on the same stream
// (XEP-0220 §2.4). Nil: it was neither.
func (t *Trust) Answer(el *xmpp.Element) []byte {
	us, them := el.Get("to"), el.Get("from")
	switch {
	case el.Get("type") != "":
	case el.Is(xmpp.NSDialback, "verify"): // §2.3
		typ := "invalid"
		if t.Knows(us, them, el.Get("id"), el.Text()) {
			typ = "valid"
		}
		return word("verify", us, them, el.Get("id"), typ, "")
	case el.Is(xmpp.NSDialback, "result"):
		return refused(us, them, xmpp.PolicyViolation)
	}
	return nil
}

// refused is the error form of an answer to a key (XEP-0220 §2.4).
func refused(us, them string, why xmpp.Condition) []byte {
	b := word("result", us, them, "", "error", "")
	b = append(b[:len(b)-2], '>')
	b = append(b, "<error type='cancel'><"+string(why)+" xmlns='"+xmpp.NSStanzas+"'/></error></db:result>"...)
	return b
}
