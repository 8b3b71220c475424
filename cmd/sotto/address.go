// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"sotto/xmpp"
)

// find says where the server is now: as the settings say, or by DNS
// (RFC 6120 §3.2.1; XEP-0368 §3).
func (p *profile) find(ctx context.Context) (addr string, direct bool, err error) {
	if p.Server != "" {
		return p.Server, p.Direct, nil
	}
	all := lookUp(ctx, net.DefaultResolver, p.who.Domain)
	for _, t := range all[:len(all)-1] {
		short, stop := context.WithTimeout(ctx, 5*time.Second)
		nc, err := new(net.Dialer).DialContext(short, "tcp", t.addr)
		stop()
		if err == nil {
			return t.addr, t.direct, nc.Close()
		}
	}
	t := all[len(all)-1]
	return t.addr, t.direct, nil
}

type target struct {
	addr   string
	direct bool
}

// lookUp are the places where a domain's server may be, the best first; never none.
func lookUp(ctx context.Context, dns *net.Resolver, domain string) (all []target) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	if domain != "localhost" && net.ParseIP(domain) == nil {
		for _, service := range []string{"xmpps-client", "xmpp-client"} {
			_, found, _ := dns.LookupSRV(ctx, service, "tcp", domain)
			for _, s := range found {
				if s.Target == "." {
					continue // the service is not offered
				}
				at := net.JoinHostPort(strings.TrimSuffix(s.Target, "."), strconv.Itoa(int(s.Port)))
				all = append(all, target{at, service == "xmpps-client"})
			}
		}
	}
	if len(all) == 0 {
		all = append(all, target{net.JoinHostPort(domain, "5222"), false})
	}
	return all
}

// withPort completes an address that was typed.
func withPort(server string, direct bool) string {
	if _, _, err := net.SplitHostPort(server); err == nil {
		return server
	}
	port := "5222"
	if direct {
		port = "5223"
	}
	return net.JoinHostPort(strings.Trim(server, "[]"), port)
}

// explain turns why a login failed into words for people.
func explain(p *profile, addr string, err error) error {
	var auth *xmpp.AuthError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var cert *tls.CertificateVerificationError
	var op *net.OpError
	var told *failure
	switch {
	case errors.As(err, &told):
		return told
	case errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &auth) && (auth.Cond == "not-authorized" || auth.Cond == "invalid-authzid"):
		return &failure{Code: exitUser, What: "wrong password for " + p.who.String() + ", or there is no such account", Hint: "the server's admin makes accounts with: sottod user add " + p.who.Local}
	case errors.As(err, &auth):
		return &failure{Code: exitUser, What: "the server refuses the login: " + auth.Cond + " " + auth.Text}
	case errors.As(err, &unknown):
		return &failure{Code: exitNetwork, What: "the certificate of " + addr + " comes from an authority that is not known here", Hint: caHint}
	case errors.As(err, &name):
		return &failure{Code: exitNetwork, What: "the certificate of " + addr + " is not for " + p.who.Domain, Hint: "is it the right server? see --server"}
	case errors.As(err, &cert):
		return &failure{Code: exitNetwork, What: "the certificate of " + addr + " is not valid: " + cert.Err.Error(), Hint: caHint}
	case errors.As(err, &op) || errors.Is(err, context.DeadlineExceeded):
		return &failure{Code: exitNetwork, What: "cannot reach the server at " + addr + ": " + err.Error(), Hint: serverHint}
	}
	return &failure{Code: exitNetwork, What: "no login at " + addr + ": " + err.Error()}
}

const (
	caHint     = "give the authority's file: --ca FILE (a server started with make run has it in data/tls/ca.pem)"
	serverHint = "is the server running? its address is set with: login --server HOST:PORT"
)

// hintFor is the next thing to try when a connection does not come up.
func hintFor(p *profile, reason string) string {
	if strings.Contains(reason, "certificate") {
		return p.as + " login --ca FILE   sets another authority"
	}
	return "is the server running? " + p.as + " login --server HOST:PORT   sets another address"
}
