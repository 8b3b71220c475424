// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"sotto/relay"
)

// serve takes connections until the listener is closed.
func (p *proxy) serve(l net.Listener) error {
	return p.s.ServeGuests(context.Background(), l, func(nc net.Conn, g *relay.Guest) {
		if !p.s.Go(func(ctx context.Context) { p.attend(ctx, &end{nc, g}) }) {
			nc.Close()
			g.Leave()
		}
	})
}

// attend is the life of one connection: its request, the wait for the other
// end, and the bytes that come from it.
func (p *proxy) attend(ctx context.Context, e *end) {
	defer e.g.Leave()
	defer e.Close()
	defer context.AfterFunc(ctx, func() { e.Close() })()
	evicted := context.AfterFunc(e.g.Life(), func() { e.Close() })
	defer evicted()
	_ = e.SetDeadline(time.Now().Add(p.o.Wait))
	name, err := request(e)
	if err != nil {
		return
	}
	two := p.join(name, e)
	if two == nil {
		_, _ = e.Write(answer(2, name))
		return
	}
	defer p.leave(name, two)
	if _, err := e.Write(answer(0, name)); err != nil {
		return
	}
	late := time.NewTimer(p.o.Wait)
	defer late.Stop()
	select {
	case <-two.start:
	case <-late.C:
		return
	case <-ctx.Done():
		return
	case <-e.g.Life().Done():
		return
	}
	evicted()
	e.g.Welcome() // somebody of ours knows it
	p.pass(two.other(e), e, two)
}

var errSocks = errors.New("not what a bytestream begins with")

// request reads the greeting and the one command (RFC 1928 §3, §4; XEP-0065
// §9.2: CONNECT to a name of 40 digits).
func request(c net.Conn) (name string, err error) {
	var b [256]byte
	read := func(n int) []byte {
		if err == nil {
			_, err = io.ReadFull(c, b[:n])
		}
		return b[:n]
	}
	if h := read(2); err != nil || h[0] != 5 {
		return "", errSocks
	}
	if open := read(int(b[1])); err != nil || !slices.Contains(open, 0) {
		_, _ = c.Write([]byte{5, 0xff})
		return "", errSocks
	}
	if _, err := c.Write([]byte{5, 0}); err != nil {
		return "", err
	}
	if h := read(5); err != nil || h[0] != 5 || h[1] != 1 || h[3] != 3 || h[4] != 40 {
		return "", errSocks
	}
	name = strings.ToLower(string(read(42)[:40]))
	if _, bad := hex.DecodeString(name); err != nil || bad != nil {
		return "", errSocks
	}
	return name, nil
}

// answer has the name and port of the question (XEP-0065 §5.3.2).
func answer(code byte, name string) []byte {
	return append(append([]byte{5, code, 0, 3, 40}, name...), 0, 0)
}

// piece is how much is carried at a time.
const piece = 16 << 10

// pass carries bytes one way until that way ends. When both are quiet for too
// long, both end.
func (p *proxy) pass(dst, src *end, two *pair) {
	b := make([]byte, piece)
	for {
		_ = src.SetReadDeadline(time.Now().Add(p.o.Wait))
		n, err := src.Read(b)
		if n > 0 {
			two.moved.Store(time.Now().UnixNano())
			if two.speed.WaitN(context.Background(), n) != nil {
				return
			}
			_ = dst.SetWriteDeadline(time.Now().Add(p.o.Wait))
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
		switch quiet := time.Since(time.Unix(0, two.moved.Load())); {
		case err == nil, errors.Is(err, os.ErrDeadlineExceeded) && quiet < p.o.Wait:
		case errors.Is(err, io.EOF):
			half, ok := dst.Conn.(*net.TCPConn)
			if ok && half.CloseWrite() == nil && two.done.Add(1) < 2 {
				<-two.over
			}
			return
		default:
			return
		}
	}
}
