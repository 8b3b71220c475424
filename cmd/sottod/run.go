// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
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
	"sotto/relay/all"
	"sotto/relay/chat"
	"sotto/relay/info"
	"sotto/relay/muc"
	"sotto/relay/proxy"
	"sotto/relay/pubsub"
	"sotto/relay/web"
)

// A server is all that one process runs.
type server struct {
	conf  Config
	store *offline.Store
	relay *relay.Server
	admin net.Listener
	tls   *tls.Config
	stop  chan bool // an admin's order to end; true: and to begin again
}

func openStore(c *Config) (*offline.Store, error) {
	keep, _ := time.ParseDuration(c.KeepMail) // checked by loadConfig
	history, _ := time.ParseDuration(c.History)
	return offline.Open(filepath.Join(c.Data, "store"), offline.Options{KeepMail: keep, KeepHistory: history, Log: slog.Default()})
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
	if n, err := store.Histories(); err == nil && n > 0 && c.Mode == "forget" {
		slog.Warn("histories of mode = keep are still in the data folder, though nobody can read them; sottod erase-histories erases them", "n", n)
	}
	s := &server{conf: c, store: store, stop: make(chan bool, 1)}
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
	s.tls = conf
	keep, _ := time.ParseDuration(s.conf.KeepMail)
	history, _ := time.ParseDuration(s.conf.History)
	park, _ := time.ParseDuration(s.conf.Resume)
	login, _ := time.ParseDuration(s.conf.LoginTime)
	o := relay.Options{
		Domain: s.conf.Domain, Store: s.store, TLS: conf, Log: slog.Default(),
		E2E: s.conf.E2E == "required", Park: park, KeepMail: keep, Deadline: login, Limits: s.conf.limits(),
		URL: s.conf.webURL(), Keep: s.conf.Mode == "keep", History: history,
	}
	var door *account.Door
	if s.conf.Register || s.conf.Invites != "no" {
		door = account.NewDoor(s.store, s.conf.Register)
		door.Guest = s.conf.Invites == "people"
		o.Door = door.Door()
	}
	wakes, err := s.conf.wakes()
	if err != nil {
		return err
	}
	if s.relay, err = relay.New(o); err != nil {
		return err
	}
	links, err := s.conf.links()
	if err != nil {
		return err
	}
	return all.Add(s.relay, all.Options{
		Push: wakes, Door: door, Budget: s.conf.strangers(), Rooms: muc.Options{Domain: s.conf.Rooms, History: s.conf.RoomPast},
		Pubsub: pubsub.Options{Domain: s.conf.Pubsub},
		Upload: s.conf.files(), Info: info.Options{Contact: s.conf.Contact, Status: s.conf.Outage},
		Stop: func(again bool) {
			select {
			case s.stop <- again:
			default: // it ends already
			}
		},
		Link:  links,
		Proxy: proxy.Options{Addr: s.conf.proxyAddr()}, Calls: s.conf.calls(),
		Chat: chat.Options{File: s.conf.chatFile(), Rooms: s.conf.Rooms, Register: s.conf.Register},
	})
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
	var again bool
	select {
	case <-ctx.Done():
	case err = <-failed:
	case again = <-s.stop:
	}
	short, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	s.admin.Close()
	err = errors.Join(err, s.relay.Shutdown(short), s.store.Close())
	if again && err == nil {
		return restart()
	}
	return err
}

// restart begins again as what is in the file now: an upgrade is in force.
func restart() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(strings.TrimSuffix(self, " (deleted)"), os.Args, os.Environ())
}

func (s *server) listen(failed chan<- error) error {
	admin, err := listenAdmin(adminPath(&s.conf))
	if err != nil {
		return err
	}
	s.admin = admin
	go s.serveAdmin()
	for i, list := range [][]string{s.conf.Listen, s.conf.ListenTLS, s.conf.HTTPS} {
		for _, addr := range list {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			go func() { failed <- s.answer(l, i) }()
		}
	}
	for name, list := range s.conf.morePorts() {
		for _, addr := range list {
			l, err := net.Listen("tcp", addr)
			if err != nil {
				return err
			}
			go func() { failed <- s.relay.Ports[name](l) }()
		}
	}
	return nil
}

// answer serves one port: STARTTLS, TLS or HTTPS.
func (s *server) answer(l net.Listener, kind int) error {
	if kind < 2 {
		return s.relay.Serve(context.Background(), l, kind == 1)
	}
	return web.Serve(context.Background(), s.relay, l, s.tls)
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
