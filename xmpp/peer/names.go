// SPDX-License-Identifier: Apache-2.0

package peer

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

var (
	oidSAN      = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidXMPPAddr = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}
	oidSRVName  = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}
)

// Proves says whether certificates, the peer's own first, prove that it speaks
// for a domain (RFC 6120 §13.7.1.2, §13.7.2): nil, or why not. The purpose of
// the certificate does not matter: public authorities give none any more that
// is for clients.
func Proves(chain []*x509.Certificate, roots *x509.CertPool, domain string, now time.Time) error {
	if len(chain) == 0 {
		return errors.New("no certificate was shown")
	}
	leaf := *chain[0]
	others := otherNames(&leaf)
	if len(others) > 0 { // a critical list of names that only we can read
		leaf.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), oidSAN.Equal)
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	if slices.Contains(others, domain) {
		return nil
	}
	host, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return fmt.Errorf("name of %s: %w", domain, err)
	}
	if err := leaf.VerifyHostname(host); err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	return nil
}

// otherNames are the domains that only XMPP knows how to name: id-on-xmppAddr
// (RFC 6120 §13.7.1.4) and SRV-ID (RFC 4985) for _xmpp-server.
func otherNames(c *x509.Certificate) (all []string) {
	for _, ext := range c.Extensions {
		var seq asn1.RawValue
		if !ext.Id.Equal(oidSAN) {
			continue
		}
		if rest, err := asn1.Unmarshal(ext.Value, &seq); err != nil || len(rest) > 0 || !seq.IsCompound {
			continue
		}
		for b := seq.Bytes; len(b) > 0; {
			var name asn1.RawValue
			rest, err := asn1.Unmarshal(b, &name)
			if err != nil {
				break
			}
			b = rest
			if name.Class == asn1.ClassContextSpecific && name.Tag == 0 {
				all = append(all, otherName(name.Bytes)...)
			}
		}
	}
	return all
}

func otherName(b []byte) []string {
	var kind asn1.ObjectIdentifier
	var outer, text asn1.RawValue
	rest, err := asn1.Unmarshal(b, &kind)
	if err != nil {
		return nil
	}
	if _, err := asn1.Unmarshal(rest, &outer); err != nil || outer.Class != asn1.ClassContextSpecific || outer.Tag != 0 {
		return nil
	}
	if _, err := asn1.Unmarshal(outer.Bytes, &text); err != nil {
		return nil
	}
	switch s := strings.ToLower(string(text.Bytes)); {
	case kind.Equal(oidXMPPAddr) && text.Tag == asn1.TagUTF8String:
		return []string{s}
	case kind.Equal(oidSRVName) && text.Tag == asn1.TagIA5String:
		if domain, ok := strings.CutPrefix(s, "_xmpp-server."); ok {
			return []string{domain}
		}
	}
	return nil
}
