// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A wire is a socket that is read in large pieces, yet holds no buffer while
// it waits: TLS alone would ask the system twice for each record.
type wire struct {
	net.Conn
	raw  syscall.RawConn
	buf  *[wireSize]byte // nil while nothing is left
	rest []byte
	errs error
	try  func(fd uintptr) bool // made once
}

const wireSize = 16 << 10

var wires = sync.Pool{New: func() any { return new([wireSize]byte) }}

// newWire gives the socket itself where the system does not let us wait
// without a buffer.
func newWire(nc net.Conn) net.Conn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nc
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nc
	}
	w := &wire{Conn: nc, raw: raw}
	w.try = w.once
	return w
}

// once reads what is there; false waits for more.
func (w *wire) once(fd uintptr) bool {
	b := wires.Get().(*[wireSize]byte)
	for {
		n, err := syscall.Read(int(fd), b[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			wires.Put(b)
			return false
		case err != nil:
			w.errs = os.NewSyscallError("read", err)
		case n == 0:
			w.errs = io.EOF
		}
		if n <= 0 {
			wires.Put(b)
			return true
		}
		w.buf, w.rest = b, b[:n]
		return true
	}
}

// Read implements net.Conn; only one goroutine may read.
func (w *wire) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.buf == nil {
		w.errs = nil
		err := w.raw.Read(w.try)
		if err == nil {
			err = w.errs
		}
		if err != nil {
			return 0, err
		}
	}
	n := copy(p, w.rest)
	if w.rest = w.rest[n:]; len(w.rest) == 0 {
		wires.Put(w.buf)
		w.buf, w.rest = nil, nil
	}
	return n, nil
}
