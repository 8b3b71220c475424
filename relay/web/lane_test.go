// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"sotto/xmpp"
)

// A wireless connection has said all that it will, and remembers the answers.
type wireless struct {
	net.Conn
	in    []byte
	piece int // bytes of a read
	out   bytes.Buffer
	late  bool
}

func (w *wireless) Read(p []byte) (int, error) {
	if len(w.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), w.piece)], w.in)
	w.in = w.in[n:]
	return n, nil
}

func (w *wireless) Write(b []byte) (int, error)        { return w.out.Write(b) }
func (w *wireless) SetWriteDeadline(t time.Time) error { w.late = true; return nil }

// said is a client's frame.
func said(first byte, payload string) []byte {
	b := frameOf(nil, 0, []byte(payload))
	b[0] = first
	b[1] |= 0x80
	at := len(b) - len(payload)
	key := [4]byte{1, 200, 3, 77}
	out := append(append(b[:at:at], key[:]...), b[at:]...)
	for i := range len(payload) {
		out[at+4+i] ^= key[i&3]
	}
	return out
}

func hearing(in []byte, piece int, l xmpp.Limits) (*framed, *wireless) {
	w := &wireless{in: in, piece: piece}
	f := newFramed(&visit{Conn: w})
	f.lim = l
	return f, w
}

const stanza = "<presence xmlns='jabber:client'/>"

// RFC 6455 §5.4, §5.5: however a message comes, in frames and in reads, with
// control frames between, it is the same.
func TestLanePieces(t *testing.T) {
	long := "<message xmlns='jabber:client'><body>" + strings.Repeat("long ", 20<<10) + "</body></message>"
	for _, piece := range []int{1, 2, 7, 1000, recordSize} {
		var in []byte
		in = append(in, said(0x81, stanza)...)
		in = append(in, said(0x89, "are you there")...)
		in = append(in, said(0x01, stanza[:5])...)
		in = append(in, said(0x8a, "")...)
		in = append(in, said(0x00, "")...)
		in = append(in, said(0x89, "")...)
		in = append(in, said(0x80, stanza[5:])...)
		in = append(in, said(0x81, long)...)
		in = append(in, said(0x01, stanza[:1])...)
		in = append(in, said(0x00, stanza[1:])...)
		in = append(in, said(0x80, "")...)
		in = append(in, said(0x88, "\x03\xe8")...)
		f, w := hearing(in, piece, xmpp.AfterAuth)
		got, err := io.ReadAll(f)
		if string(got) != stanza+stanza+long+stanza || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("by %d: %d bytes, %v", piece, len(got), err)
		}
		want := string(frameOf(frameOf(frameOf(nil, pong, []byte("are you there")), pong, nil), closing, []byte{3, 0xe8}))
		if w.out.String() != want || !w.late {
			t.Fatalf("by %d: answers %q", piece, w.out.String())
		}
		if f.lane.in != nil || f.whole != nil || f.rest != nil {
			t.Fatal("something is held")
		}
	}
}

// RFC 6455 §5: what is no frame of a client ends it, with the code that says so.
func TestLaneBroken(t *testing.T) {
	unmasked := frameOf(nil, plain, []byte(stanza))
	far := append([]byte{0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}, 1, 2, 3, 4)
	for _, row := range []struct {
		what string
		in   []byte
		spec string
	}{
		{"not masked", unmasked, "RFC 6455 §5.1"},
		{"a reserved bit", said(0xc1, stanza), "RFC 6455 §5.2"},
		{"an unknown kind", said(0x83, stanza), "RFC 6455 §5.2"},
		{"an unknown control", said(0x8b, ""), "RFC 6455 §5.2"},
		{"a negative length", far, "RFC 6455 §5.2"},
		{"no beginning", said(0x80, stanza), "RFC 6455 §5.4"},
		{"two beginnings", append(said(0x01, "<"), said(0x81, stanza)...), "RFC 6455 §5.4"},
		{"a ping in two", said(0x09, ""), "RFC 6455 §5.5"},
		{"a long ping", said(0x89, strings.Repeat("x", 126)), "RFC 6455 §5.5"},
	} {
		f, w := hearing(row.in, 5, xmpp.AfterAuth)
		got, err := io.ReadAll(f)
		if len(got) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) || w.out.String() != string(frameOf(nil, closing, []byte{3, 0xea})) {
			t.Errorf("%s (%s): %q %v, answer %q", row.what, row.spec, got, err, w.out.String())
		}
	}
}

// A message that is too long is not kept: from strangers it ends the stream,
// from others it goes by.
func TestLaneLong(t *testing.T) {
	long := strings.Repeat("x", 3*xmpp.BeforeAuth.Bytes)
	var pieces []byte
	for i := 0; i < len(long); i += 1000 {
		first := byte(0)
		if i == 0 {
			first = 1
		}
		pieces = append(pieces, said(first, long[i:min(i+1000, len(long))])...)
	}
	pieces = append(pieces, said(0x80, "end")...)
	for what, in := range map[string][]byte{"whole": said(0x81, long), "in pieces": pieces} {
		f, _ := hearing(in, recordSize, xmpp.BeforeAuth)
		var se *xmpp.StreamError
		if _, err := io.ReadAll(f); !errors.As(err, &se) || se.Cond != xmpp.StreamPolicyViolation {
			t.Error(what, err)
		}
		lim := xmpp.BeforeAuth
		lim.Forgive = true
		f, _ = hearing(append(in, said(0x81, stanza)...), recordSize, lim)
		most := 0
		var all bytes.Buffer
		b := make([]byte, 512)
		for {
			n, err := f.Read(b)
			all.Write(b[:n])
			if most = max(most, cap(f.whole)); err != nil {
				break
			}
		}
		if !strings.HasPrefix(all.String(), long) || !strings.HasSuffix(all.String(), stanza) || most > 4*lim.Bytes {
			t.Error(what, all.Len(), most)
		}
	}
}

// Who sends half a message, or half of its head, holds a buffer for a time, not for ever.
func TestLaneHalf(t *testing.T) {
	for what, in := range map[string][]byte{"a head": {0x81}, "a frame": said(0x81, stanza)[:20], "a message": said(0x01, stanza[:9])} {
		here, there := net.Pipe()
		f := newFramed(&visit{Conn: here})
		f.lim, f.lane.most = xmpp.AfterAuth, 10*time.Millisecond
		go there.Write(in)
		over := make(chan error, 1)
		go func() { _, err := f.Read(make([]byte, 100)); over <- err }()
		select {
		case err := <-over:
			if err == nil {
				t.Error(what, "is taken for a whole")
			}
		case <-time.After(patience):
			t.Error(what, "is waited for")
		}
		there.Close()
	}
	// Between two messages nothing runs.
	here, there := net.Pipe()
	f := newFramed(&visit{Conn: here})
	f.lim, f.lane.most = xmpp.AfterAuth, time.Hour
	go func() {
		for _, b := range said(0x81, stanza) {
			there.Write([]byte{b})
		}
	}()
	got, err := io.ReadAll(io.LimitReader(f, int64(len(stanza))))
	if string(got) != stanza || err != nil || f.lane.late != nil {
		t.Fatal(string(got), err)
	}
}

const patience = 5 * time.Second

// Whatever comes, nothing breaks, and nothing grows.
func FuzzLane(f *testing.F) {
	f.Add(said(0x81, stanza), 3)
	f.Add(append(said(0x01, stanza[:4]), said(0x80, stanza[4:])...), 100)
	f.Add(append(said(0x89, "x"), said(0x88, "")...), 1)
	f.Add(binary.BigEndian.AppendUint64([]byte{0x81, 0xff}, 1<<62), 9)
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		c, w := hearing(in, max(1, piece&0x3fff), xmpp.BeforeAuth)
		n, err := io.Copy(io.Discard, c)
		if err == nil && len(w.in) > 0 && !c.polite.Load() {
			t.Fatal("it ends where it does not end")
		}
		if n > int64(len(in)) && n > 1000 || cap(c.whole) > 4*xmpp.BeforeAuth.Bytes || w.out.Len() > 2*len(in)+4 {
			t.Fatal(n, cap(c.whole), w.out.Len())
		}
	})
}
