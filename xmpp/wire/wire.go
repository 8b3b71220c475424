// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Conn is a socket that is read in large pieces, yet holds no buffer while
// it waits: TLS alone would ask the system twice for each record.
//
// Under TLS a Read never goes beyond one record. So between two records all
// that has come is here, and Wait can tell whether more must come; it waits
// with far less stack than TLS does.
type Conn struct {
	net.Conn
	raw  syscall.RawConn
	buf  *[size]byte // nil while nothing is left
	rest []byte
	errs error
	try  func(fd uintptr) bool // made once

	framed bool // TLS records (RFC 8446 §5.1)
	heads  int  // bytes of the record's head that were read
	left   int  // bytes of its body that were not
	length [2]byte
}

const size = 16 << 10

var buffers = sync.Pool{New: func() any { return new([size]byte) }}

// New gives the socket itself where the system does not let us wait without a
// buffer.
func New(nc net.Conn) net.Conn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nc
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nc
	}
	w := &Conn{Conn: nc, raw: raw}
	w.try = w.once
	return w
}

// Frame says that TLS records begin with the next byte.
func (w *Conn) Frame() { w.framed = true }

// once reads what is there; false waits for more.
func (w *Conn) once(fd uintptr) bool {
	b := buffers.Get().(*[size]byte)
	for {
		n, err := syscall.Read(int(fd), b[:])
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.EAGAIN:
			buffers.Put(b)
			return false
		case err != nil:
			w.errs = os.NewSyscallError("read", err)
		case n == 0:
			w.errs = io.EOF
		}
		if n <= 0 {
			buffers.Put(b)
			return true
		}
		w.buf, w.rest = b, b[:n]
		return true
	}
}

// load waits until something has come, or the connection has ended.
func (w *Conn) load() {
	if err := w.raw.Read(w.try); err != nil {
		w.errs = err
	}
}

// Wait returns when a Read of whoever is above will find something.
func (w *Conn) Wait() {
	if w.framed && w.buf == nil && w.errs == nil && w.heads == 0 && w.left == 0 {
		w.load()
	}
}

const recordHead = 5

// frame says how many of the bytes belong to the present record.
func (w *Conn) frame(b []byte) int {
	n := 0
	for w.left == 0 && n < len(b) {
		if w.heads >= recordHead-2 {
			w.length[w.heads-(recordHead-2)] = b[n]
		}
		n++
		if w.heads++; w.heads == recordHead {
			w.heads, w.left = 0, int(w.length[0])<<8|int(w.length[1])
			if w.left == 0 {
				return n
			}
		}
	}
	body := min(w.left, len(b)-n)
	w.left -= body
	return n + body
}

// Read implements net.Conn; only one goroutine may read.
func (w *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if w.buf == nil && w.errs == nil {
		w.load()
	}
	if err := w.errs; err != nil {
		w.errs = nil
		return 0, err
	}
	n := min(len(p), len(w.rest))
	if w.framed {
		n = w.frame(w.rest[:n])
	}
	copy(p, w.rest[:n])
	if w.rest = w.rest[n:]; len(w.rest) == 0 {
		buffers.Put(w.buf)
		w.buf, w.rest = nil, nil
	}
	return n, nil
}
