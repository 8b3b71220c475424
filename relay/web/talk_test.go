// SPDX-License-Identifier: Apache-2.0

package web

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sotto/xmpp"
)

func never() bool { return false }

func quietTalk(end func()) *talk {
	t := newTalk("sid", "localhost", &net.TCPAddr{}, &net.TCPAddr{}, end)
	t.next, t.hold, t.wait = 1, 1, waitMax
	return t
}

// XEP-0124 §8, §10: a request is kept for as long as agreed; a client that does
// not come back for a minute is lost, and its session is off the table.
func TestTalkTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := false
		k := quietTalk(func() { ended = true })
		start := time.Now()
		if said, ok := k.hear(1, nil, never); !ok || !strings.Contains(string(said), "<body") {
			t.Fatal(string(said), ok)
		}
		if d := time.Since(start); d != waitMax {
			t.Error("answered after", d)
		}
		begun := time.Now()
		if _, err := k.Read(make([]byte, 1)); !errors.Is(err, io.ErrUnexpectedEOF) || time.Since(begun) != inactivity {
			t.Error(err, time.Since(begun))
		}
		synctest.Wait()
		if _, ok := k.hear(2, nil, never); ok || !ended {
			t.Error("a lost session goes on", ok, ended)
		}
	})
}

// Two requests: the older one is answered when the newer one comes.
func TestTalkHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := quietTalk(func() {})
		k.recent = []*ask{{rid: 0, done: true}}
		got := make(chan int, 2)
		for rid := uint64(1); rid <= 2; rid++ {
			go func() { _, _ = k.hear(rid, nil, never); got <- int(rid) }()
			synctest.Wait()
		}
		if len(got) != 1 || <-got != 1 {
			t.Error("the older request is not answered first")
		}
		if _, err := k.Write([]byte("<r xmlns='urn:xmpp:sm:3'/>")); err != nil || <-got != 2 {
			t.Error(err)
		}
		k.Close()
		time.Sleep(lastWords)
	})
}

// XEP-0124 §11: who asks more at once than was agreed is sent away; those that
// wait are not.
func TestTalkCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := quietTalk(func() {})
		got := make(chan bool, askingMax+5)
		for range cap(got) { // the same request, again and again
			go func() { _, ok := k.hear(1, nil, never); got <- ok }()
		}
		synctest.Wait()
		if len(got) != 5 || k.asking != askingMax {
			t.Fatal(len(got), "are told so,", k.asking, "wait")
		}
		for range 5 {
			if <-got {
				t.Error("one too many is answered")
			}
		}
		if _, err := k.Write([]byte("<r xmlns='urn:xmpp:sm:3'/>")); err != nil {
			t.Fatal(err)
		}
		for range askingMax {
			if !<-got {
				t.Error("who waited is not answered")
			}
		}
		k.Close()
		time.Sleep(lastWords)
	})
}

// What nobody fetches is bounded, and whoever writes gives up in time.
func TestTalkFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := quietTalk(func() {})
		b := []byte("<a xmlns='x'>" + strings.Repeat("y", 100<<10) + "</a>")
		_ = k.SetWriteDeadline(time.Now().Add(30 * time.Second))
		var err error
		for n := 0; err == nil; n++ {
			if n > 4 {
				t.Fatal("it takes everything")
			}
			_, err = k.Write(b)
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = k.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := k.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		k.Close()
		if _, err := k.Read(b); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		time.Sleep(lastWords)
	})
}

// A stream begins where it is awaited, and nowhere else (XEP-0206).
func TestTalkOrder(t *testing.T) {
	for _, header := range []bool{true, false} {
		k := quietTalk(func() {})
		k.Expect(header, xmpp.BeforeAuth)
		k.in = []word{{b: []byte("<x/>"), header: !header}}
		var all *xmpp.StreamError
		if _, err := k.Read(make([]byte, 9)); !errors.As(err, &all) {
			t.Error(header, err)
		}
		k.timer.Stop()
	}
}
