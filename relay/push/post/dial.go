// SPDX-License-Identifier: Apache-2.0

package post

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"
)

// How long a service may take, and how much it may say.
const (
	dialTime   = 5 * time.Second
	wholeTime  = 10 * time.Second // from the first packet to the last
	headersMax = 16 << 10
	bodyMax    = 4 << 10
	hostMax    = 16 // connections
)

// errPrivate is an address that we do not call because somebody asks us to.
var errPrivate = errors.New("not a public address")

// client calls only public addresses, and those of allow. It looks at the
// address that is dialled, so that no name can lead elsewhere meanwhile.
func client(allow []netip.Prefix, roots *x509.CertPool, whole time.Duration) *http.Client {
	d := &net.Dialer{Timeout: dialTime, ControlContext: func(_ context.Context, network, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || network != "tcp4" && network != "tcp6" || !mayCall(at.Addr(), allow) {
			return errPrivate
		}
		return nil
	}}
	return &http.Client{
		Timeout:       whole,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: dialTime, MaxResponseHeaderBytes: headersMax, MaxConnsPerHost: hostMax,
			MaxIdleConns: 64, MaxIdleConnsPerHost: hostMax, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true, DisableCompression: true,
		},
	}
}

// closed are the networks that the standard library does not call private: of
// providers, of protocols, for tests, and those by which IPv6 reaches IPv4.
var closed = func() (all []netip.Prefix) {
	for _, p := range []string{
		"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
		"203.0.113.0/24", "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32",
		"2002::/16", "3fff::/20", "5f00::/16", "fec0::/10",
	} {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}()

// nat64 is how hosts without IPv4 reach it (RFC 6052 §2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func mayCall(ip netip.Addr, allow []netip.Prefix) bool {
	if ip = ip.Unmap().WithZone(""); nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	in := func(p netip.Prefix) bool { return p.Contains(ip) }
	if slices.ContainsFunc(allow, in) {
		return true
	}
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && !slices.ContainsFunc(closed, in)
}
