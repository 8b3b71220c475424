// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"runtime"
	"time"
)

// measureIdle is what a session costs that does nothing.
func measureIdle(ctx context.Context, c *commands, p *peer) ([]figure, error) {
	const accounts = 100
	if err := p.register(users(accounts)...); err != nil {
		return nil, err
	}
	before, err := statusOf(p.pid, "VmRSS")
	if err != nil {
		return nil, err
	}
	all := make([]*device, c.Sessions)
	err = each(c.Sessions, 8, func(i int) (err error) {
		all[i], err = p.login(ctx, fmt.Sprintf("user%d", i%accounts), fmt.Sprintf("r%d", i), true, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(10 * time.Second): // let collectors do their work
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	after, err := statusOf(p.pid, "VmRSS")
	if err != nil {
		return nil, err
	}
	total := (after - before) / 1024 / float64(c.Sessions)
	figures := []figure{{fmt.Sprintf("memory per idle TLS session (%d)", c.Sessions), "KiB", total, true}}
	if p.status != nil {
		more, err := p.split(c.Sessions, total)
		if err != nil {
			return nil, err
		}
		figures = append(figures, more...)
	}
	for _, d := range all {
		d.conn.Drop()
	}
	return figures, nil
}

// split says what an idle session's memory is: stacks by the server's own
// word, TLS as measured here, the rest is ours and the collector's.
func (p *peer) split(sessions int, total float64) ([]figure, error) {
	kib, err := p.status("memory of stacks")
	if err != nil {
		return nil, err
	}
	stack := kib / float64(sessions)
	tls, err := p.tlsAlone(200)
	if err != nil {
		return nil, err
	}
	return []figure{
		{"of it stacks", "KiB", stack, true},
		{"of it crypto/tls", "KiB", tls, true},
		{"of it all else", "KiB", total - stack - tls, true},
	}, nil
}

// tlsAlone is the heap of one server-side TLS connection and its socket.
func (p *peer) tlsAlone(n int) (kib float64, err error) {
	crt, err := tls.LoadX509KeyPair(filepath.Join(p.dir, "crt.pem"), filepath.Join(p.dir, "key.pem"))
	if err != nil {
		return 0, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	conf := &tls.Config{Certificates: []tls.Certificate{crt}}
	held := make([]*tls.Conn, 0, n)
	defer func() {
		for _, t := range held {
			t.Close()
		}
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		t, err := p.oneTLS(l, conf)
		if err != nil {
			return 0, err
		}
		held = append(held, t)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	return (float64(after.HeapAlloc) - float64(before.HeapAlloc)) / 1024 / float64(n), nil
}

// oneTLS makes one connection and keeps only the server's end of it.
func (p *peer) oneTLS(l net.Listener, conf *tls.Config) (*tls.Conn, error) {
	failed := make(chan error, 1)
	go func() {
		nc, err := tls.Dial("tcp", l.Addr().String(), p.tls())
		if err == nil {
			_, err = nc.Read(make([]byte, 1))
			nc.NetConn().Close()
		}
		failed <- err
	}()
	nc, err := l.Accept()
	if err != nil {
		return nil, err
	}
	t := tls.Server(nc, conf)
	if _, err := t.Write([]byte{0}); err != nil {
		return nil, err
	}
	return t, <-failed
}
