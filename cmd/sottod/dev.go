// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sotto/offline"
	"sotto/relay/account"
)

// dev makes alice and bob, and says what to type next.
func (s *server) dev() error {
	dir := filepath.Join(s.conf.Data, "dev")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, user := range []string{"alice", "bob"} {
		file := filepath.Join(dir, user+".password")
		if _, err := os.Stat(file); err == nil {
			continue
		}
		password := rand.Text()[:16]
		if err := account.Create(s.store, user, password); err != nil && !errors.Is(err, offline.ErrExists) {
			return err
		}
		if err := account.SetPassword(s.store, user, password); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
			return err
		}
	}
	return s.invite(dir)
}

// invite prints the lines to type next, as they are.
func (s *server) invite(dir string) error {
	sotto, at, ca := "sotto", "", ""
	if strings.Contains(os.Args[0], "/") {
		sotto = filepath.Join(filepath.Dir(os.Args[0]), sotto)
	}
	if s.conf.Domain != "localhost" {
		at = "@" + s.conf.Domain
	}
	if s.conf.Cert == "" {
		ca = near(caFile(&s.conf))
	}
	login := ""
	if len(s.conf.Listen) > 0 {
		login = " --server " + s.conf.Listen[0]
	} else if len(s.conf.ListenTLS) > 0 {
		login = " --direct --server " + s.conf.ListenTLS[0]
	}
	if ca != "" {
		login += " --ca " + ca
	}
	dir = near(dir)
	fmt.Printf("sottod serves %s. Ctrl-C stops it; the data stays in %s.\n", s.conf.Domain, near(s.conf.Data))
	for i, user := range []string{"alice", "bob"} {
		other := []string{"bob", "alice"}[i]
		fmt.Printf("\nIn a %s terminal, %s:\n", []string{"second", "third"}[i], user)
		fmt.Printf("    %s -as %s%s login%s < %s/%s.password\n", sotto, user, at, login, dir, user)
		fmt.Printf("    %s -as %s%s chat %s\n", sotto, user, at, other)
	}
	fmt.Printf(`
In a script: %s -as alice%s send bob hello

Or log in with any XMPP client that speaks OMEMO (Gajim, Dino, profanity, ...):
    address   alice@%s, bob@%s     password  cat %s/alice.password
`, sotto, at, s.conf.Domain, s.conf.Domain, dir)
	for _, row := range []struct {
		all  []string
		what string
	}{{s.conf.Listen, "STARTTLS"}, {s.conf.ListenTLS, "TLS from the first byte"}, {s.conf.HTTPS, "HTTPS: WebSocket at /ws, BOSH at /http-bind"}} {
		if len(row.all) > 0 {
			fmt.Printf("    server    %s (%s)\n", strings.Join(row.all, ", "), row.what)
		}
	}
	if ca != "" {
		fmt.Printf("    trust     %s\n", ca)
	}
	return s.page(ca)
}

// page says where browsers chat, once the client for them is installed.
func (s *server) page(ca string) error {
	url, file := s.conf.webURL(), s.conf.chatFile()
	if url == "" || file == "" {
		return nil
	}
	if _, err := os.Stat(file); err != nil {
		fmt.Printf("\nFor browsers there is nothing yet: sottod chat install\n")
		return nil
	}
	fmt.Printf("\nIn a browser: %s/chat, as bob", url)
	if ca != "" {
		fmt.Printf("; it warns of the certificate until you have it trust %s", ca)
	}
	fmt.Println()
	return nil
}

// near is a path as short as it can be typed here.
func near(path string) string {
	here, err := os.Getwd()
	if err != nil || !filepath.IsAbs(path) {
		return path
	}
	if short, err := filepath.Rel(here, path); err == nil && !strings.HasPrefix(short, "..") {
		return short
	}
	return path
}
