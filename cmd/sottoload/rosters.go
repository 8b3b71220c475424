// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"

	"sotto/xmpp"
)

// prepare makes accounts who see each other. By the wire that takes the peers
// minutes, so they get their rosters as files.
func (s *storm) prepare(ctx context.Context) error {
	switch {
	case strings.HasPrefix(s.p.title, "Prosody"):
		return s.prosody()
	case strings.HasPrefix(s.p.title, "ejabberd"):
		return s.ejabberd(ctx)
	}
	return s.wire(ctx)
}

// prosody reads a roster when its owner logs in (internal storage).
func (s *storm) prosody() error {
	dir := filepath.Join(s.p.dir, "data", strings.NewReplacer(".", "%2e").Replace(domain), "roster")
	if err := s.p.register(users(s.n)...); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i := range s.n {
		var b strings.Builder
		b.WriteString("return {\n\t[false] = { version = 1; pending = {}; };\n")
		for _, f := range s.friends(i) {
			fmt.Fprintf(&b, "\t[\"%s@%s\"] = { subscription = \"both\"; groups = {}; };\n", f, domain)
		}
		b.WriteString("};\n")
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("user%d.dat", i)), []byte(b.String()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ejabberd takes accounts and rosters as XEP-0227 has them.
func (s *storm) ejabberd(ctx context.Context) error {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version='1.0'?><server-data xmlns='urn:xmpp:pie:0'><host jid='%s'>", domain)
	for i := range s.n {
		fmt.Fprintf(&b, "<user name='user%d' password='%s'><query xmlns='%s'>", i, password, xmpp.NSRoster)
		for _, f := range s.friends(i) {
			fmt.Fprintf(&b, "<item jid='%s@%s' subscription='both'/>", f, domain)
		}
		b.WriteString("</query></user>")
	}
	b.WriteString("</host></server-data>")
	if err := s.p.write("people.xml", []byte(b.String())); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, s.p.control[0], append(s.p.control[1:], "import_piefxis", filepath.Join(s.p.dir, "people.xml"))...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("import_piefxis: %w: %s", err, out)
	}
	return nil
}

// wire approves everybody in advance (RFC 6121 §3.4), then asks everybody.
func (s *storm) wire(ctx context.Context) error {
	if err := s.p.register(users(s.n)...); err != nil {
		return err
	}
	all := make([]*device, s.n)
	var done atomic.Int64
	err := each(s.n, 4, func(i int) (err error) {
		all[i], err = s.p.login(ctx, fmt.Sprintf("user%d", i), "storm", false, func(_ *device, st *xmpp.Stanza) error {
			if st.Kind == xmpp.KindIQ && st.Type == "result" {
				done.Add(1)
			}
			return nil
		})
		return err
	})
	for round, typ := range []string{"subscribed", "subscribe"} {
		if err != nil {
			return err
		}
		for i, d := range all {
			for _, f := range s.friends(i) {
				d.send(fmt.Appendf(nil, "<presence type='%s' to='%s@%s'/>", typ, f, domain))
			}
			d.send([]byte("<iq type='get' id='done'><ping xmlns='urn:xmpp:ping'/></iq>"))
		}
		err = until(ctx, &done, int64((round+1)*s.n))
	}
	for _, d := range all {
		d.close()
	}
	return err
}
