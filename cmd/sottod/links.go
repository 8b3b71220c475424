// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/link"
	"sotto/xmpp"
)

// checkS2S looks at the options for other servers.
func (c *Config) checkS2S() error {
	if c.S2S != "off" && c.S2S != "listed" && c.S2S != "open" {
		return fmt.Errorf("s2s is %q; take off, listed or open", c.S2S)
	}
	if _, err := c.components(); err != nil {
		return err
	}
	if c.S2SCerts != "required" && c.S2SCerts != "optional" {
		return fmt.Errorf("s2s_certificates is %q; take required or optional", c.S2SCerts)
	}
	for _, d := range c.S2SAllow {
		if j, err := xmpp.ParseJID(d); err != nil || j != j.Host() || j.Domain != d {
			return fmt.Errorf("s2s_allow has %q; write domains like chat.example", d)
		}
	}
	if _, _, err := net.SplitHostPort(c.S2SNames); c.S2SNames != "" && err != nil {
		return fmt.Errorf("s2s_resolver is %q; write an address like 127.0.0.1:53", c.S2SNames)
	}
	return nil
}

// components are the secrets by domain.
func (c *Config) components() (map[string]string, error) {
	all := map[string]string{}
	for _, s := range c.Beside {
		domain, secret, _ := strings.Cut(s, " ")
		j, err := xmpp.ParseJID(domain)
		if err != nil || j != j.Host() || j.Domain != domain || domain == c.Domain || strings.TrimSpace(secret) != secret || secret == "" {
			return nil, errors.New("components: write each as its domain, a blank and its secret, like bot.chat.example correct-horse")
		}
		if _, twice := all[domain]; twice {
			return nil, fmt.Errorf("components has %s twice", domain)
		}
		all[domain] = secret
	}
	return all, nil
}

// links are how this server talks with others.
func (c *Config) links() (link.Options, error) {
	wait, _ := time.ParseDuration(c.S2SWait) // checked by loadConfig
	o := link.Options{Servers: c.S2S, Listed: c.S2SAllow, Lax: c.S2SCerts == "optional", Resolver: c.S2SNames, Wait: wait}
	o.Components, _ = c.components() // checked by loadConfig
	if c.S2S == "off" || c.S2SRoots == "" {
		return o, nil
	}
	b, err := os.ReadFile(c.S2SRoots)
	if err != nil {
		return o, err
	}
	if o.Roots, err = x509.SystemCertPool(); err != nil {
		o.Roots = x509.NewCertPool()
	}
	if !o.Roots.AppendCertsFromPEM(b) {
		return o, fmt.Errorf("s2s_roots: no certificate is in %s", c.S2SRoots)
	}
	return o, nil
}

// morePorts are the addresses of ports that are not for clients' streams, by
// the names that families give them.
func (c *Config) morePorts() map[string][]string {
	all := map[string][]string{"proxy": c.Proxy}
	if c.S2S != "off" {
		all["s2s"], all["s2s_tls"] = c.ListenS2S, c.DirectS2S
	}
	if len(c.Beside) > 0 {
		all["component"] = c.ListenOwn
	}
	return all
}

// statusLines are what sottod status prints.
func statusLines(st *offline.Store, r *relay.Server) []string {
	h := st.Health()
	all := []string{
		fmt.Sprintf("waiting messages  %d", h.Entries),
		fmt.Sprintf("takes new mail    %v", !h.ReadOnly),
		fmt.Sprintf("came to the disk  %d since the start", h.Written),
	}
	all = append(all, memoryLines()...)
	for _, q := range h.Quarantined {
		all = append(all, "damaged           "+q)
	}
	if r != nil && r.Links != nil {
		all = append(all, r.Links()...)
	}
	return all
}
