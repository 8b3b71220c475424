// SPDX-License-Identifier: Apache-2.0

package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// errNowhere says that a domain has no server, as far as names can tell.
var errNowhere = errors.New("no server of that name")

// How long one try may take: to a host, and in all.
const (
	reachTime = 10 * time.Second
	callTime  = 45 * time.Second
)

// A way finds the servers of domains.
type way struct{ names *net.Resolver }

func newWay(server string) *way {
	if server == "" {
		return &way{net.DefaultResolver}
	}
	return &way{&net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, server)
	}}}
}

// A target is one place where a domain may be served.
type target struct {
	host   string
	port   int
	direct bool // TLS from the first byte (XEP-0368)
	prio   uint16
}

// targets are the places to try, in their order (RFC 6120 §3.2, XEP-0368 §3).
func (w *way) targets(ctx context.Context, domain string) (all []target, err error) {
	name, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return nil, errors.Join(errNowhere, err)
	}
	found := false
	for _, service := range []string{"xmpps-server", "xmpp-server"} {
		_, list, bad := w.names.LookupSRV(ctx, service, "tcp", name+".")
		if len(list) == 0 && bad != nil && !missing(bad) {
			err = errors.Join(err, bad)
		}
		for _, r := range list {
			found = true
			if host := strings.TrimSuffix(r.Target, "."); host != "" { // "." says that there is none (RFC 2782)
				all = append(all, target{host, int(r.Port), service == "xmpps-server", r.Priority})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b target) int { return cmp.Compare(a.prio, b.prio) })
	switch {
	case len(all) > 0:
		return all, nil
	case err != nil:
		return nil, err
	case found:
		return nil, errNowhere
	}
	return []target{{host: name, port: 5269}}, nil // RFC 6120 §3.2.2
}

func missing(err error) bool {
	no, ok := errors.AsType[*net.DNSError](err)
	return ok && no.IsNotFound
}

// reach opens a socket to a target.
func (w *way) reach(ctx context.Context, t target) (nc net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	addrs, err := w.names.LookupIPAddr(ctx, t.host+".")
	if net.ParseIP(t.host) != nil {
		addrs, err = []net.IPAddr{{IP: net.ParseIP(t.host)}}, nil
	}
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	for _, a := range addrs {
		one, bad := d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(t.port)))
		if bad == nil {
			return one, nil
		}
		err = errors.Join(err, bad)
	}
	return nil, err
}

// each tries the places of a domain until one of them will do.
func (w *way) each(ctx context.Context, domain string, try func(nc net.Conn, direct bool) error) error {
	all, err := w.targets(ctx, domain)
	if err != nil {
		return err
	}
	nowhere := true
	for _, t := range all {
		nc, bad := w.reach(ctx, t)
		if bad == nil {
			nowhere = false
			if bad = try(nc, t.direct); bad == nil {
				return nil
			}
		}
		nowhere = nowhere && missing(bad)
		err = errors.Join(err, fmt.Errorf("%s port %d: %w", t.host, t.port, bad))
	}
	if nowhere {
		err = errors.Join(errNowhere, err)
	}
	return err
}

// call makes a stream to another server.
func (l *links) call(ctx context.Context, p pair) (s *stream, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	err = l.way.each(ctx, p.them, func(nc net.Conn, direct bool) error {
		got, err := l.trust.Dial(ctx, nc, direct, p.us, p.them)
		if err == nil {
			s = l.stream(got, true)
		}
		return err
	})
	return s, err
}

// confirm asks the server of a domain about a key (XEP-0220 §2.3).
func (l *links) confirm(ctx context.Context, us, them, id, key string) (valid bool, err error) {
	select {
	case l.asks <- struct{}{}:
		defer func() { <-l.asks }()
	default:
		return false, errors.New("too many keys are being confirmed")
	}
	err = l.way.each(ctx, them, func(nc net.Conn, direct bool) (err error) {
		valid, err = l.trust.Verify(ctx, nc, direct, us, them, id, key)
		return err
	})
	return valid, err
}
