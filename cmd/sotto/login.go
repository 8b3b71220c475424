// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"sotto/crypto/vault"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

type loginCmd struct {
	Server     string        `placeholder:"HOST:PORT" help:"Where the server is; dns: ask there, as at the first login without this."`
	CA         string        `name:"ca" placeholder:"FILE" help:"Trust only this authority's certificate (PEM); system: those of this machine."`
	Direct     bool          `help:"TLS from the first byte (port 5223) instead of STARTTLS."`
	Device     string        `placeholder:"NAME" help:"What people call this device; the machine's name if not given."`
	Passphrase bool          `xor:"lock" help:"Lock the keys with a passphrase instead of the system's keyring."`
	KeyFile    bool          `xor:"lock" help:"Lock the keys with a file beside them (0600); for machines without people."`
	Timeout    time.Duration `default:"30s" help:"How long to try."`
}

// run proves the password first: what is not right is not kept.
func (l *loginCmd) run(ctx context.Context, p *profile, wire func(bool, *xmpp.Element), say func(answer) error) error {
	word, err := readPassword(ctx, p.who.String())
	if err != nil {
		return err
	}
	return l.enter(ctx, p, word, tryLogin, wire, say)
}

// enter does first what shows that the password is right.
func (l *loginCmd) enter(ctx context.Context, p *profile, word string, first func(context.Context, dial.Login) error, wire func(bool, *xmpp.Element), say func(answer) error) error {
	ctx, stop := context.WithTimeout(ctx, l.Timeout)
	defer stop()
	if l.Server == "dns" {
		p.Server, p.Direct = "", false
	} else if l.Server != "" || l.Direct {
		p.Server, p.Direct = withPort(cmp.Or(l.Server, p.who.Domain), l.Direct), l.Direct
	}
	if l.Device != "" {
		p.Device = l.Device
	}
	conf, ca, err := l.authority(p)
	if err != nil {
		return err
	}
	addr, direct, err := p.find(ctx)
	if err != nil {
		return err
	}
	if err := first(ctx, dial.Login{Addr: addr, Direct: direct, JID: p.who, Password: word, TLS: conf, Log: slog.Default()}); err != nil {
		return explain(p, addr, err)
	}
	return l.keep(ctx, p, word, ca, wire, say)
}

// authority is whom to trust: the file that is given, or what was kept. An
// empty file takes off what was kept.
func (l *loginCmd) authority(p *profile) (*tls.Config, []byte, error) {
	if l.CA == "" {
		conf, err := p.trust()
		return conf, nil, err
	}
	if l.CA == "system" {
		return &tls.Config{}, []byte{}, nil
	}
	text, err := os.ReadFile(l.CA)
	if err != nil {
		return nil, nil, &failure{Code: exitUsage, What: err.Error(), Hint: "--ca FILE"}
	}
	conf, err := trustOnly(text, l.CA)
	return conf, text, err
}

// tryLogin opens a stream as nobody's device and closes it.
func tryLogin(ctx context.Context, l dial.Login) error {
	conn, _, err := dial.Dial(ctx, l)
	if err != nil {
		return err
	}
	conn.Close(nil)
	err = conn.Run(ctx, func(*xmpp.Stanza) error { return nil }, func(*xmpp.Writer) error { return nil })
	slog.Debug("test login closed", "err", err)
	return nil
}

// keep writes the profile and makes this device known to the server.
func (l *loginCmd) keep(ctx context.Context, p *profile, word string, ca []byte, wire func(bool, *xmpp.Element), say func(answer) error) error {
	if err := p.create(); err != nil {
		return err
	}
	lock := vault.Lock("")
	switch {
	case l.Passphrase:
		lock = vault.Passphrase
	case l.KeyFile:
		lock = vault.KeyFile
	}
	v, err := p.unlock(ctx, lock)
	if errors.Is(err, vault.ErrBusy) {
		return &failure{Code: exitUser, What: "another sotto of " + p.who.String() + " is running", Hint: "end it, then log in"}
	}
	if err != nil {
		return err
	}
	err = v.Commit(vault.Change{Kind: recordKind, Name: password, Value: []byte(word)})
	if err == nil && ca != nil {
		err = replaceFile(p.file("ca.pem"), ca)
	}
	if err == nil {
		err = p.save()
	}
	var d *desk
	if err == nil {
		d, err = newDesk(p, v, word, wire)
	}
	if err != nil {
		return errors.Join(err, v.Close())
	}
	d.start()
	if err = d.connected(ctx); err == nil {
		err = d.introduce(say)
	}
	_, bad := d.close()
	return errors.Join(err, bad)
}

// introduce says what device this is now.
func (d *desk) introduce(say func(answer) error) error {
	me, err := d.self()
	me.Name = d.p.Device
	return errors.Join(err, say(answer{Device: me}))
}

// readPassword asks on a terminal, or takes one line from a pipe.
func readPassword(ctx context.Context, who string) (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		return hiddenLine(ctx, "Password of "+who+": ")
	}
	line, err := typed(ctx, func() (string, error) { return bufio.NewReader(os.Stdin).ReadString('\n') })
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		if err == nil || errors.Is(err, io.EOF) {
			err = &failure{Code: exitUsage, What: "no password was given", Hint: "type it on a terminal, or pipe it in: ... login < password-file"}
		}
		return "", err
	}
	return line, nil
}
