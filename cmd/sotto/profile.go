// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
	"golang.org/x/term"

	"sotto/crypto/vault"
	"sotto/xmpp"
)

// A profile is one person's folder: settings, vault, socket.
type profile struct {
	who xmpp.JID // bare
	as  string   // what to type to be this person
	dir string
	settings
}

// settings is settings.toml. Nothing in it is secret.
type settings struct {
	Server string `toml:"server"` // host:port; empty: ask DNS
	Direct bool   `toml:"direct"` // TLS from the first byte
	Agent  string `toml:"agent"`  // this device's name to the server (XEP-0388 §2.3)
	Device string `toml:"device"` // what people call this device
}

// home is the folder of all profiles.
func home() (string, error) {
	if h := os.Getenv("SOTTO_HOME"); h != "" {
		return filepath.Abs(h)
	}
	c, err := os.UserConfigDir()
	if err != nil {
		return "", fmt.Errorf("find the folder for settings: %w", err)
	}
	return filepath.Join(c, "sotto"), nil
}

// openProfile finds the person that -as means.
func openProfile(as string) (*profile, error) {
	h, err := home()
	if err != nil {
		return nil, err
	}
	known, err := profiles(h)
	if err != nil {
		return nil, err
	}
	who, err := whoIs(as, known)
	if err != nil {
		return nil, err
	}
	program := "sotto"
	if filepath.Base(os.Args[0]) == program {
		program = os.Args[0]
	}
	p := &profile{who: who, dir: filepath.Join(h, who.String()), as: program + " -as " + who.String()}
	if fit := fitting(who.Local, known); len(fit) == 0 && who.Domain == "localhost" || len(fit) == 1 && fit[0] == who {
		p.as = program + " -as " + who.Local
	}
	_, err = toml.DecodeFile(p.file("settings.toml"), &p.settings)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return p, nil
}

// profiles are the people who have a folder.
func profiles(home string) (known []xmpp.JID, err error) {
	entries, err := os.ReadDir(home)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		if j, err := xmpp.ParseJID(e.Name()); err == nil && e.IsDir() && j.Local != "" {
			known = append(known, j)
		}
	}
	return known, err
}

func fitting(local string, known []xmpp.JID) (fit []xmpp.JID) {
	for _, k := range known {
		if k.Local == local {
			fit = append(fit, k)
		}
	}
	return fit
}

// whoIs reads an address, or a name without a domain: the one profile that fits.
func whoIs(as string, known []xmpp.JID) (xmpp.JID, error) {
	if as == "" && len(known) == 1 {
		return known[0], nil
	}
	if as == "" {
		return xmpp.JID{}, &failure{Code: exitUsage, What: "it is not said who you are", Hint: "sotto -as alice COMMAND, or set SOTTO_AS"}
	}
	full := as
	if !strings.Contains(as, "@") {
		full += "@localhost"
	}
	j, err := xmpp.ParseJID(full)
	if err != nil || j.Local == "" || !j.IsBare() {
		return j, &failure{Code: exitUsage, What: fmt.Sprintf("%q is no address", as), Hint: "an address looks like alice@example.org"}
	}
	if full == as {
		return j, nil
	}
	fit := fitting(j.Local, known)
	switch len(fit) {
	case 0:
		return j, nil
	case 1:
		return fit[0], nil
	}
	return j, &failure{Code: exitUsage, What: fmt.Sprintf("there are %d people called %s", len(fit), j.Local), Hint: "sotto -as " + fit[0].String() + " COMMAND"}
}

func (p *profile) file(name string) string { return filepath.Join(p.dir, name) }

// create makes the folder; a new profile gets its agent id here, for ever.
func (p *profile) create() error {
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	if p.Agent == "" {
		var u [16]byte
		rand.Read(u[:])
		u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80 // RFC 9562 §5.4
		p.Agent = fmt.Sprintf("%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
	}
	if p.Device == "" {
		p.Device, _ = os.Hostname()
	}
	return nil
}

func (p *profile) save() error {
	text, err := toml.Marshal(p.settings)
	if err != nil {
		return err
	}
	return replaceFile(p.file("settings.toml"), text)
}

// replaceFile leaves the old file or the new one, never half of it.
func replaceFile(path string, text []byte) error {
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// trust is whom this profile believes when a server shows its certificate.
func (p *profile) trust() (*tls.Config, error) {
	text, err := os.ReadFile(p.file("ca.pem"))
	if errors.Is(err, os.ErrNotExist) || err == nil && len(text) == 0 {
		return &tls.Config{}, nil // the machine's own
	}
	if err != nil {
		return nil, err
	}
	return trustOnly(text, p.file("ca.pem"))
}

func trustOnly(text []byte, name string) (*tls.Config, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, &failure{Code: exitUser, What: name + " holds no certificate", Hint: "--ca takes a file in PEM form, as data/tls/ca.pem"}
	}
	return &tls.Config{RootCAs: pool}, nil
}

// unlock opens the vault; a new one gets the lock that is asked for.
func (p *profile) unlock(ctx context.Context, lock vault.Lock) (*vault.Disk, error) {
	v, err := vault.Open(p.file("vault"), vault.Unlock{
		New: lock, Entry: p.who.String() + " " + p.Agent,
		Ask:  func(fresh bool) (string, error) { return askPassphrase(ctx, fresh) },
		Wait: 100 * time.Millisecond,
	})
	if errors.Is(err, vault.ErrLocked) {
		return nil, &failure{Code: exitUser, What: err.Error(), Hint: "if it is lost, so are these keys: remove " + p.dir + " and log in as a new device"}
	}
	return v, err
}

func askPassphrase(ctx context.Context, fresh bool) (string, error) {
	if s := os.Getenv("SOTTO_PASSPHRASE"); s != "" {
		return s, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", &failure{Code: exitUser, What: "the keys are locked by a passphrase", Hint: "run it on a terminal, or set SOTTO_PASSPHRASE"}
	}
	word, err := hiddenLine(ctx, "Passphrase of your keys: ")
	if err != nil || !fresh {
		return word, err
	}
	again, err := hiddenLine(ctx, "Once more: ")
	if err == nil && again != word {
		err = &failure{Code: exitUser, What: "the two are not the same"}
	}
	if err == nil && word == "" {
		err = &failure{Code: exitUser, What: "the passphrase is empty"}
	}
	return word, err
}

// hiddenLine asks for what nobody shall see; Ctrl-C leaves the terminal as it was.
func hiddenLine(ctx context.Context, prompt string) (string, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", err
	}
	defer fmt.Fprintln(os.Stderr)
	defer func() { _ = term.Restore(fd, before) }()
	fmt.Fprint(os.Stderr, prompt)
	return typed(ctx, func() (string, error) {
		b, err := term.ReadPassword(fd)
		return string(b), err
	})
}

// typed waits for what somebody types, or for Ctrl-C.
func typed(ctx context.Context, read func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := read()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}
