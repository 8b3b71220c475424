// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"sotto/crypto/vault"
	"sotto/xmpp"
)

// One process has the vault open. It serves a socket; any other command hands
// its request over: one line of JSON in, lines of JSON back, the last an ending.
const socketName = "sotto.sock"

var (
	errNobody = errors.New("no other process serves this profile")
	errMoved  = errors.New("the process that served us has ended")
)

// busyFor is how long a command waits for a process that has the vault open
// and does not serve, as a login.
var busyFor = 10 * time.Second

// ask has a request carried out, by the process that has the vault or by us.
// When that process ends before the request does, it is asked again elsewhere.
func (p *profile) ask(ctx context.Context, r *request, wire func(bool, *xmpp.Element), say func(answer) error) error {
	for since := time.Now(); ; {
		err := p.handOver(ctx, r, say)
		if errors.Is(err, errNobody) {
			err = p.alone(ctx, r, wire, say)
		}
		switch {
		case errors.Is(err, errMoved):
			since = time.Now()
		case !errors.Is(err, vault.ErrBusy):
			return err
		case time.Since(since) > busyFor:
			return &failure{Code: exitUser, What: "another sotto has the keys of " + p.who.String() + " open and does not answer", Hint: "end it, or try again"}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// alone opens the vault and does the work here; others may hand over to us meanwhile.
func (p *profile) alone(ctx context.Context, r *request, wire func(bool, *xmpp.Element), say func(answer) error) error {
	d, err := openDesk(ctx, p, wire)
	if err != nil {
		return err
	}
	d.start()
	err = d.do(ctx, r, say)
	queued, bad := d.close()
	if queued > 0 && r.Verb != "send" {
		err = errors.Join(err, say(answer{Done: &done{Did: "queued", Count: queued, Say: queuedText(queued)}}))
	}
	return errors.Join(err, bad)
}

func (p *profile) handOver(ctx context.Context, r *request, say func(answer) error) error {
	nc, err := net.Dial("unix", p.file(socketName))
	if err != nil {
		return errNobody
	}
	defer nc.Close()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	if !r.Until.IsZero() {
		_ = nc.SetDeadline(r.Until.Add(linger)) // it keeps to the time itself, unless it hangs
	}
	if err := json.NewEncoder(nc).Encode(r); err != nil {
		return errMoved
	}
	lines := json.NewDecoder(nc)
	for {
		var a answer
		err := lines.Decode(&a)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return &failure{Code: exitUser, What: "the running sotto of " + p.who.String() + " does not answer", Hint: "end it, then try again"}
		case err != nil:
			return errMoved
		case a.End != nil && a.End.Failure != nil:
			return a.End.Failure
		case a.End != nil:
			return nil
		}
		if err := say(a); err != nil {
			return err
		}
	}
}

// listenSocket opens the socket for this user only. We have the vault, so a
// socket that is left over belongs to nobody.
func listenSocket(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

// serve takes requests until the socket is closed.
func (d *desk) serve(ctx context.Context, l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		d.work.Go(func() {
			defer nc.Close()
			d.serveOne(ctx, nc)
		})
	}
}

// serveOne carries out one request. It ends with the process that asked; when
// ours ends first it gives no ending, and the other one looks elsewhere.
func (d *desk) serveOne(ctx context.Context, nc net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { nc.Close() })()
	in := bufio.NewReaderSize(nc, 4<<10)
	line, err := in.ReadBytes('\n')
	var r request
	if err != nil || json.Unmarshal(line, &r) != nil {
		return
	}
	d.work.Go(func() {
		_, _ = io.Copy(io.Discard, in)
		cancel()
	})
	out := json.NewEncoder(nc)
	err = d.do(ctx, &r, func(a answer) error { return out.Encode(a) })
	if ctx.Err() != nil || errors.Is(err, errMoved) {
		return
	}
	_ = out.Encode(answer{End: &ending{failureOf(err)}})
}
