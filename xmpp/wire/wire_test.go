// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"testing"
)

// pair is a real TCP connection on loopback.
func pair(t *testing.T) (*Conn, net.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	far, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	near, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close(); near.Close() })
	return New(near).(*Conn), far
}

// Whatever the pieces in which records come, a Read never crosses the end of
// one, and no byte is lost (RFC 8446 §5.1).
func TestFrames(t *testing.T) {
	w, far := pair(t)
	w.Frame()
	r := rand.New(rand.NewPCG(1, 2))
	var all []byte
	ends := map[int]bool{}
	for range 300 {
		n := r.IntN(3000)
		if n%7 == 0 {
			n = 0
		}
		all = append(all, 23, 3, 3, byte(n>>8), byte(n))
		for range n {
			all = append(all, byte(r.Uint32()))
		}
		ends[len(all)] = true
	}
	go func() {
		rest := all
		cut := rand.New(rand.NewPCG(3, 4))
		for len(rest) > 0 {
			n := min(len(rest), 1+cut.IntN(9000))
			if _, err := far.Write(rest[:n]); err != nil {
				return
			}
			rest = rest[n:]
		}
		far.Close()
	}()
	var got []byte
	b := make([]byte, 5000)
	for {
		if ends[len(got)] || len(got) == 0 {
			w.Wait() // must not wait for what is here already
		}
		n, err := w.Read(b[:1+r.IntN(len(b))])
		for i := 1; i < n; i++ {
			if ends[len(got)+i] {
				t.Fatalf("a read of %d bytes at %d crosses the end of a record at %d", n, len(got), len(got)+i)
			}
		}
		got = append(got, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(got, all) {
		t.Fatalf("%d bytes came, %d were sent", len(got), len(all))
	}
}

// Bytes, then the end of the connection: both are reported, in this order.
func TestEnd(t *testing.T) {
	w, far := pair(t)
	if _, err := far.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	far.Close()
	b, err := io.ReadAll(w)
	if string(b) != "last words" || err != nil {
		t.Fatal(string(b), err)
	}
	w.Close()
	if _, err := w.Read(make([]byte, 1)); err == nil {
		t.Fatal("a closed socket is read")
	}
}
