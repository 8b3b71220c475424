// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"hash"
)

// ALPN of direct TLS (XEP-0368 §4).
const ALPN = "xmpp-client"

// The channel bindings that we can do (XEP-0440).
const (
	cbExporter = "tls-exporter"         // RFC 9266
	cbEndPoint = "tls-server-end-point" // RFC 5929 §4
)

// bindings gives the channel-binding data of a connection. The certificate is
// the one that the server showed.
func bindings(cs *tls.ConnectionState, cert *x509.Certificate) map[string][]byte {
	m := map[string][]byte{}
	if cs.Version == tls.VersionTLS13 {
		if b, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			m[cbExporter] = b
		}
	}
	if cert != nil {
		h := endPointHash(cert)
		h.Write(cert.Raw)
		m[cbEndPoint] = h.Sum(nil)
	}
	return m
}

// endPointHash is RFC 5929 §4.1: the signature's own hash, but SHA-256 for the
// weak ones and for those without one.
func endPointHash(c *x509.Certificate) hash.Hash {
	switch c.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return sha512.New384()
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return sha512.New()
	}
	return sha256.New()
}

// upgrade makes the server's side of TLS and remembers the certificate shown.
func (a *accept) upgrade() error {
	conf := a.setup.TLS.Clone()
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	if a.direct {
		conf.NextProtos = []string{ALPN}
	}
	get := conf.GetCertificate
	conf.GetCertificate = func(hi *tls.ClientHelloInfo) (*tls.Certificate, error) {
		var crt *tls.Certificate
		var err error
		if get != nil {
			crt, err = get(hi)
		}
		if crt == nil && err == nil && len(a.setup.TLS.Certificates) > 0 {
			crt = &a.setup.TLS.Certificates[0]
		}
		if err == nil && crt != nil && len(crt.Certificate) > 0 {
			a.shown, _ = x509.ParseCertificate(crt.Certificate[0])
		}
		return crt, err
	}
	conf.Certificates = nil
	t := tls.Server(a.c.nc, conf)
	if err := t.Handshake(); err != nil {
		return err
	}
	cs := t.ConnectionState()
	a.bindings = bindings(&cs, a.shown)
	a.c.nc = t
	a.c.dec.Reset(t)
	return nil
}
