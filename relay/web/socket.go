// SPDX-License-Identifier: Apache-2.0

package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"sotto/xmpp"
	"sotto/xmpp/frame"
)

// subprotocol is RFC 7395 §3.1.
const subprotocol = "xmpp"

// socket makes a stream of a WebSocket. A page of any site may open one: whoever
// does must log in, and no cookie does it for him.
func socket(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r)
	if v == nil || !speaks(r, subprotocol) {
		http.Error(w, "this is for WebSockets with the subprotocol xmpp", http.StatusBadRequest)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return // the client was told
	}
	ws.SetReadLimit(-1) // framed has its own
	v.stop()
	v.g.Stream(v.ctx, &framed{visit: v, ws: ws}, false)
}

func speaks(r *http.Request, protocol string) bool {
	all := strings.Split(strings.Join(r.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
	return slices.ContainsFunc(all, func(p string) bool { return strings.TrimSpace(p) == protocol })
}

// framed is a WebSocket as a stream; addresses and deadlines are those of the
// socket below.
type framed struct {
	*visit

	// fixed: set before the stream begins.
	ws *websocket.Conn

	// reader: only who reads touches these.
	header bool
	lim    xmpp.Limits
	rest   []byte    // of a frame
	tail   io.Reader // of one that is longer than a stanza may be

	// shared: safe from anywhere, by type.
	polite atomic.Bool // one end has said <close/>
}

func (f *framed) Expect(header bool, l xmpp.Limits) { f.header, f.lim = header, l }

// Read gives the bytes of one frame; the end of a frame is never passed.
func (f *framed) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if f.tail != nil {
			n, err := f.tail.Read(p)
			if err == io.EOF {
				f.tail = nil
			}
			if n > 0 || err != nil && err != io.EOF {
				return n, err
			}
			continue
		}
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// next takes one frame. One that is too long goes on to the decoder as it
// comes, which passes over it and says so, if this is no stranger's.
func (f *framed) next() error {
	kind, r, err := f.ws.Reader(context.Background())
	if err != nil {
		return gone(err)
	}
	if kind != websocket.MessageText {
		return &xmpp.StreamError{Cond: xmpp.StreamBadFormat, Text: "only text frames are taken"} // RFC 7395 §3.2
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(f.lim.Bytes)+1))
	if err != nil {
		return gone(err)
	}
	if len(b) > f.lim.Bytes && f.lim.Forgive && !f.header {
		f.rest, f.tail = b, r
		return nil
	}
	if len(b) > f.lim.Bytes {
		return &xmpp.StreamError{Cond: xmpp.StreamPolicyViolation, Text: "the frame is too long"}
	}
	if f.rest, err = frame.In(b, f.header, f.lim); err != nil {
		if err == io.EOF {
			f.polite.Store(true)
		}
		return err
	}
	f.header = false
	return nil
}

// gone tells the end of a WebSocket, which is not the end of a stream.
func gone(err error) error {
	var ce websocket.CloseError
	if errors.As(err, &ce) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: %v", io.ErrUnexpectedEOF, err)
	}
	return err
}

// Write sends whole elements, each as a frame.
func (f *framed) Write(b []byte) (int, error) {
	err := frame.Out(b, func(one []byte) error {
		if frame.IsClose(one) {
			f.polite.Store(true)
		}
		return f.ws.Write(context.Background(), websocket.MessageText, one)
	})
	if err != nil {
		return 0, err
	}
	return len(b), nil
}

// Close drops the socket; after a <close/> it first closes the WebSocket as
// RFC 7395 §3.6 wants, for a moment.
func (f *framed) Close() error {
	if f.polite.Load() {
		_ = f.SetDeadline(time.Now().Add(time.Second))
		_ = f.ws.Close(websocket.StatusNormalClosure, "")
	} else {
		_ = f.ws.CloseNow()
	}
	return f.visit.Close()
}
