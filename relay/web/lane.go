// SPDX-License-Identifier: Apache-2.0

package web

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// A lane is the server's end of a WebSocket, without extensions (RFC 6455 §5).
// While nothing moves it holds no buffer.
type lane struct {
	// fixed: set before the first byte.
	nc   net.Conn
	most time.Duration // that a message may take from its first byte to its last

	// reader: only who reads touches these.
	in    *[laneSize]byte // nil while nothing is left
	data  []byte          // of in: what has come and was not looked at
	open  bool            // in the middle of a frame
	left  int64           // bytes of its payload that have not come
	final bool            // it is the last of its message
	text  bool            // in the middle of a message
	key   [4]byte         // of the frame
	turn  int             // place in the key
	late  *time.Timer     // runs while a message has come in part

	// shared: safe from anywhere, by type.
	bye sync.Once // our close frame
}

const (
	recordSize  = 16 << 10                // a read takes a TLS record whole, so that none of it is left in TLS
	headSize    = 14 + 125                // of a frame with what belongs to it
	laneSize    = recordSize + 2*headSize // what was left, and a record
	pongTime    = 30 * time.Second        // for a word that answers a ping; a login has no more
	messageTime = 2 * time.Minute         // as relay gives a stanza over TCP
	plain       = 0x1                     // opcodes, RFC 6455 §5.2
	binaryData  = 0x2
	closing     = 0x8
	ping        = 0x9
	pong        = 0xa
)

var lanes = sync.Pool{New: func() any { return new([laneSize]byte) }}

// Codes of RFC 6455 §7.4.1.
const (
	codeNormal   = 1000
	codeProtocol = 1002
)

var errBinary = errors.New("a binary frame")

// free gives the buffer back once nothing is in it.
func (l *lane) free() {
	if l.in != nil && len(l.data) == 0 {
		lanes.Put(l.in)
		l.in, l.data = nil, nil
	}
}

// peek waits until n bytes are there.
func (l *lane) peek(n int) error {
	for len(l.data) < n {
		if l.late == nil && (len(l.data) > 0 || l.text) {
			l.late = time.AfterFunc(l.most, func() { l.nc.Close() })
		}
		if l.in == nil {
			l.in = lanes.Get().(*[laneSize]byte)
		}
		k := copy(l.in[:], l.data)
		m, err := l.nc.Read(l.in[k:])
		if l.data = l.in[:k+m]; m == 0 && err != nil {
			l.free()
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // the end of a WebSocket is not that of a stream
			}
			return err
		}
	}
	return nil
}

// done says that a message, or a word between two, has come whole.
func (l *lane) done() {
	if l.late != nil && !l.text {
		l.late.Stop()
		l.late = nil
	}
}

// piece gives what is next of a text message, in place; last says that it is
// the end of one. It may be empty.
func (l *lane) piece() (b []byte, last bool, err error) {
	for !l.open {
		if err := l.head(); err != nil {
			return nil, false, err
		}
	}
	if l.left > 0 {
		if err := l.peek(1); err != nil {
			return nil, false, err
		}
	}
	n := int(min(l.left, int64(len(l.data))))
	b, l.data, l.left = l.data[:n], l.data[n:], l.left-int64(n)
	l.unmask(b)
	l.open = l.left > 0
	last = !l.open && l.final
	l.text = !last
	l.done()
	return b, last, nil
}

func (l *lane) unmask(b []byte) {
	for i := range b {
		b[i] ^= l.key[l.turn&3]
		l.turn++
	}
}

// head reads the start of a frame; what is no data it answers itself.
func (l *lane) head() error {
	if err := l.peek(2); err != nil {
		return err
	}
	first, size := l.data[0], int64(l.data[1]&0x7f)
	long := map[int64]int{126: 2, 127: 8}[size]
	op, final := first&0x0f, first&0x80 != 0
	switch {
	case first&0x70 != 0, l.data[1]&0x80 == 0: // §5.2: no extension was agreed; §5.1: a client masks
		return l.broken("bits that mean nothing here")
	case op >= closing && (!final || long > 0 || op > pong):
		return l.broken("a control frame that is none")
	case op > binaryData && op < closing, op < closing && (op == 0) != l.text: // §5.4
		return l.broken("a frame out of turn")
	}
	if err := l.peek(2 + long + 4); err != nil {
		return err
	}
	switch long {
	case 2:
		size = int64(binary.BigEndian.Uint16(l.data[2:]))
	case 8:
		if size = int64(binary.BigEndian.Uint64(l.data[2:])); size < 0 {
			return l.broken("a length that is none")
		}
	}
	l.key, l.turn = [4]byte(l.data[2+long:]), 0
	l.data = l.data[2+long+4:]
	if op >= closing {
		return l.control(op, int(size))
	}
	if op == binaryData {
		return errBinary
	}
	l.open, l.left, l.final, l.text = true, size, final, true
	return nil
}

// control answers a ping and a close (RFC 6455 §5.5).
func (l *lane) control(op byte, size int) error {
	if err := l.peek(size); err != nil {
		return err
	}
	b := l.data[:size]
	l.data = l.data[size:]
	l.unmask(b)
	switch op {
	case ping:
		_ = l.nc.SetWriteDeadline(time.Now().Add(pongTime))
		if _, err := l.nc.Write(frameOf(nil, pong, b)); err != nil {
			return err
		}
	case closing:
		l.end(codeNormal)
		return fmt.Errorf("%w: the WebSocket was closed", io.ErrUnexpectedEOF)
	}
	l.done()
	l.free()
	return nil
}

func (l *lane) broken(why string) error {
	l.end(codeProtocol)
	return fmt.Errorf("%w: %s", io.ErrUnexpectedEOF, why)
}

// end says once that no more comes from here (RFC 6455 §5.5.1).
func (l *lane) end(code uint16) {
	l.bye.Do(func() {
		_ = l.nc.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = l.nc.Write(frameOf(nil, closing, binary.BigEndian.AppendUint16(nil, code)))
	})
}

// drain reads until the other end has closed, too, or has no time any more.
func (l *lane) drain() {
	for {
		if _, _, err := l.piece(); err != nil {
			return
		}
	}
}

// frameOf writes one whole message behind b; a server does not mask.
func frameOf(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
	return append(b, payload...)
}
