// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"
)

// other is one name of kind otherName (RFC 5280 §4.2.1.6).
func other(t testing.TB, oid asn1.ObjectIdentifier, tag int, text string) []byte {
	value, err := asn1.Marshal(asn1.RawValue{Tag: tag, Bytes: []byte(text)})
	if err != nil {
		t.Fatal(err)
	}
	b, err := asn1.Marshal(oid)
	if err != nil {
		t.Fatal(err)
	}
	in, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: value})
	name, _ := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: append(b, in...)})
	return name
}

func names(all ...[]byte) []byte {
	var b []byte
	for _, n := range all {
		b = append(b, n...)
	}
	seq, _ := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: b})
	return seq
}

// RFC 6120 §13.7.1.2: which names of a certificate prove a domain.
func TestProves(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, row := range []struct {
		spec, domain string
		dns          []string
		others       []byte
		good         bool
	}{
		{"RFC 6125 §6.4.1", "far.test", []string{"far.test"}, nil, true},
		{"RFC 6125 §6.4.1", "Far.test", []string{"far.test"}, nil, true},
		{"RFC 6125 §6.4.3: one label", "rooms.far.test", []string{"*.far.test"}, nil, true},
		{"RFC 6125 §6.4.3: not none", "far.test", []string{"*.far.test"}, nil, false},
		{"RFC 6125 §6.4.3: not two", "a.b.far.test", []string{"*.far.test"}, nil, false},
		{"RFC 6125 §6.4.4: no common name", "far.test", []string{"else.test"}, nil, false},
		{"RFC 6125 §6.4.2", "b\u00fccher.test", []string{"xn--bcher-kva.test"}, nil, true},
		{"RFC 6120 §13.7.1.4", "far.test", nil, names(other(t, oidXMPPAddr, asn1.TagUTF8String, "far.test")), true},
		{"RFC 6120 §13.7.1.4: a person's", "far.test", nil, names(other(t, oidXMPPAddr, asn1.TagUTF8String, "x@far.test")), false},
		{"RFC 6120 §13.7.1.4: no wildcard", "rooms.far.test", nil, names(other(t, oidXMPPAddr, asn1.TagUTF8String, "*.far.test")), false},
		{"RFC 6120 §13.7.1.4: of another type", "far.test", nil, names(other(t, oidXMPPAddr, asn1.TagIA5String, "far.test")), false},
		{"RFC 4985 §2", "far.test", nil, names(other(t, oidSRVName, asn1.TagIA5String, "_xmpp-server.far.test")), true},
		{"RFC 4985 §2: of another service", "far.test", nil, names(other(t, oidSRVName, asn1.TagIA5String, "_imaps.far.test")), false},
	} {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "far.test"}, DNSNames: row.dns, IsCA: true,
			BasicConstraintsValid: true, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}
		if row.others != nil {
			c.ExtraExtensions = []pkix.Extension{{Id: oidSAN, Critical: true, Value: row.others}}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		x, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(row.spec, err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(x)
		if err := Proves([]*x509.Certificate{x}, roots, row.domain, now); (err == nil) != row.good {
			t.Errorf("%s %s: %v", row.domain, row.spec, err)
		}
		if Proves([]*x509.Certificate{x}, roots, row.domain, now.Add(2*time.Hour)) == nil || Proves([]*x509.Certificate{x}, x509.NewCertPool(), row.domain, now) == nil || Proves(nil, roots, row.domain, now) == nil {
			t.Error(row.domain, "is proved by what has ended, by nobody, or by nothing")
		}
	}
}

// XEP-0185 §4, its example.
func TestKey(t *testing.T) {
	trust := &Trust{Secret: []byte("s3cr3tf0rd14lb4ck")}
	const want = "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"
	if got := trust.Key("example.org", "xmpp.example.com", "D60000229F"); got != want {
		t.Error(got)
	}
	if !trust.Knows("example.org", "xmpp.example.com", "D60000229F", want) || trust.Knows("example.org", "xmpp.example.com", "D60000229G", want) {
		t.Error("a key is of one stream")
	}
}

// The names of a certificate come from anybody.
func FuzzNames(f *testing.F) {
	f.Add(names(other(f, oidXMPPAddr, asn1.TagUTF8String, "far.test"), other(f, oidSRVName, asn1.TagIA5String, "_xmpp-server.far.test")))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		otherNames(&x509.Certificate{Extensions: []pkix.Extension{{Id: oidSAN, Value: b}}})
	})
}
