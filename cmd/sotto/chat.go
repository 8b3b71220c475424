// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"golang.org/x/term"

	"sotto/crypto/vault"
	"sotto/internal/terminal"
	"sotto/xmpp"
)

type chatCmd struct {
	With string `arg:"" optional:"" help:"bob, or bob@example.org; the latest talk if not given."`
}

// run shows the chat until the person leaves. The desk serves other commands
// meanwhile.
func (c *chatCmd) run(ctx context.Context, p *profile, wire func(bool, *xmpp.Element)) error {
	if !term.IsTerminal(int(os.Stdin.Fd())) || !term.IsTerminal(int(os.Stdout.Fd())) {
		return &failure{Code: exitUsage, What: "chat needs a terminal", Hint: p.as + " listen   and   " + p.as + " send   work in pipes"}
	}
	with := ""
	if c.With != "" {
		var err error
		if with, err = p.address(c.With); err != nil {
			return err
		}
	}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		slog.SetDefault(slog.New(slog.DiscardHandler)) // it would be written over the screen
	}
	d, err := openDesk(ctx, p, wire)
	for since := time.Now(); errors.Is(err, vault.ErrBusy) && time.Since(since) < 2*time.Second; { // a command that is about to end
		d, err = openDesk(ctx, p, wire)
	}
	if errors.Is(err, vault.ErrBusy) {
		return &failure{Code: exitUser, What: "another sotto has the keys of " + p.who.String() + " open", Hint: "end the chat or listen that runs elsewhere"}
	}
	if err != nil {
		return err
	}
	screen := terminal.New(terminal.Options{})
	d.also = screen.Event
	d.client.Appear()
	d.start()
	ctx, stop := context.WithCancel(ctx)
	d.work.Go(func() {
		<-d.ended
		stop()
	})
	err = screen.Run(ctx, d.client, with)
	stop()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	var gone error
	select {
	case <-d.ended:
		gone = d.gaveUp()
	default:
	}
	queued, bad := d.close()
	if queued > 0 {
		fmt.Println("sotto:", queuedText(queued))
	}
	return errors.Join(err, gone, bad)
}
