// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/block"
	"sotto/relay/info"
	"sotto/relay/pep"
	"sotto/relay/roster"
)

// A server is all that one process runs.
type server struct {
	conf  Config
	store *offline.Store
	relay *relay.Server
	admin net.Listener
}

func openStore(c *Config) (*offline.Store, error) {
	keep, _ := time.ParseDuration(c.KeepMail) // checked by loadConfig
	return offline.Open(filepath.Join(c.Data, "store"), offline.Options{KeepMail: keep, Log: slog.Default()})
}

func newServer(c Config) (*server, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return nil, fmt.Errorf("log is %q; take debug, info, warn or error", c.LogLevel)
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})))
	store, err := openStore(&c)
	if err != nil {
		return nil, err
	}
	s := &server{conf: c, store: store}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return s, nil
}

func (s *server) build() error {
	conf, err := tlsConfig(&s.conf)
	if err != nil {
		return err
	}
	keep, _ := time.ParseDuration(s.conf.KeepMail)
	park, _ := time.ParseDuration(s.conf.Resume)
	login, _ := time.ParseDuration(s.conf.LoginTime)
	o := relay.Options{
		Domain: s.conf.Domain, Store: s.store, TLS: conf, Log: slog.Default(),
		E2E: s.conf.E2E == "required", Park: park, KeepMail: keep, Deadline: login, Limits: s.conf.limits(),
	}
	if s.conf.Register {
		o.Register = account.Registrar(s.store)
	}
	if s.relay, err = relay.New(o); err != nil {
		return err
	}
	info.Add(s.relay)
	roster.Add(s.relay)
	block.Add(s.relay)
	pep.Add(s.relay)
	if s.conf.Register {
		account.Add(s.relay)
	}
	return nil
}

// serve opens the ports and runs until the context ends; then it drains.
func (s *server) serve(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 8)
	if err := s.listen(failed); err != nil {
		return errors.Join(err, s.store.Close())
	}
	ready()
	go giveBack(ctx)
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	short, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	s.admin.Close()
	return errors.Join(err, s.relay.Shutdown(short), s.store.Close())
}

func (s *server) listen(failed chan<- error) error {
	admin, err := listenAdmin(adminPath(&s.conf))
	if err != nil {
		return err
	}
	s.admin = admin
	go s.serveAdmin()
	for i, list := range [][]string{s.conf.Listen, s.conf.ListenTLS} {
		for _, addr := range list {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			go func() { failed <- s.relay.Serve(context.Background(), l, i == 1) }()
		}
	}
	return nil
}

func runServer(c Config, ready func(*server)) error {
	s, err := newServer(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return s.serve(ctx, func() { ready(s) })
}

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
	sotto := "sotto"
	if strings.Contains(os.Args[0], "/") {
		sotto = filepath.Join(filepath.Dir(os.Args[0]), sotto)
	}
	fmt.Printf("sottod serves %s. Ctrl-C stops it; the data stays in %s.\n", s.conf.Domain, s.conf.Data)
	server := ""
	if len(s.conf.Listen) > 0 {
		server = " --server " + s.conf.Listen[0]
	} else if len(s.conf.ListenTLS) > 0 {
		server = " --direct --server " + s.conf.ListenTLS[0]
	}
	for i, user := range []string{"alice", "bob"} {
		other := []string{"bob", "alice"}[i]
		fmt.Printf("\nIn a %s terminal, %s:\n", []string{"second", "third"}[i], user)
		fmt.Printf("    %s -as %s login%s --ca %s < %s/%s.password\n", sotto, user, server, caFile(&s.conf), dir, user)
		fmt.Printf("    %s -as %s chat %s\n", sotto, user, other)
	}
	fmt.Printf(`
In a script: %s -as alice send bob hello

Or log in with any XMPP client that speaks OMEMO (Gajim, Dino, profanity, ...):
    address   alice@%s, bob@%s     password  cat %s/alice.password
    server    %s (STARTTLS), %s (TLS); trust %s
`, sotto, s.conf.Domain, s.conf.Domain, dir, strings.Join(s.conf.Listen, ", "), strings.Join(s.conf.ListenTLS, ", "), caFile(&s.conf))
	return nil
}
