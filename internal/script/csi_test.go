// SPDX-License-Identifier: Apache-2.0

package script

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// A wiretap passes one connection on and keeps what the server wrote.
type wiretap struct {
	mu  sync.Mutex
	got bytes.Buffer
}

func (w *wiretap) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.Write(b)
}

// take gives what came since it was asked last.
func (w *wiretap) take() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.got.Reset()
	return bytes.Clone(w.got.Bytes())
}

// tap puts a wiretap before the server; the address is for one client.
func tap(t *testing.T, server string) (*wiretap, string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w := &wiretap{}
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", server)
		if err != nil {
			near.Close()
			return
		}
		go func() {
			_, _ = io.Copy(far, near)
			far.Close()
		}()
		_, _ = io.Copy(io.MultiWriter(w, near), far)
		near.Close()
	}()
	return w, l.Addr().String()
}

// records counts the TLS records in b.
func records(b []byte) (n int) {
	for len(b) >= 5 {
		b = b[min(len(b), 5+int(b[3])<<8+int(b[4])):]
		n++
	}
	return n
}

// TestBackgroundPhone: XEP-0352 §3.2. A hundred presence changes of ten devices
// and as many typing notices cost a phone in the background nothing, until a
// message comes: then all is one flight.
func TestBackgroundPhone(t *testing.T) {
	p := newPlay(t)
	do := func(format string, args ...any) { p.line = fmt.Sprintf(format, args...); p.do(p.line) }
	ping := func(who, id string) {
		do("%s > <iq type='get' id='%s' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", who, id)
		do("%s < <iq type='result' id='%s'/>", who, id)
	}
	server := p.addr
	w, addr := tap(t, server)
	p.addr = addr
	do("login alice/phone sm")
	p.addr = server
	do("alice/phone > <presence/>")
	do("alice/phone < <presence from='alice@localhost/phone'/>")
	for i := range 10 {
		do("login alice/d%d", i)
		do("alice/d%d > <presence/>", i)
		do("alice/phone < <presence from='alice@localhost/d%d'/>", i)
	}
	do("alice/phone > <inactive xmlns='urn:xmpp:csi:0'/>")
	ping("alice/phone", "quiet")
	w.take()
	for i := range 100 {
		who := fmt.Sprintf("alice/d%d", i%10)
		do("%s > <presence><status>%d</status></presence><message to='alice@localhost/phone' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>", who, i)
		ping(who, fmt.Sprint("p", i))
	}
	if b := w.take(); len(b) > 0 {
		t.Fatalf("%d bytes came to a phone in the background", len(b))
	}
	do("alice/d0 > <message to='alice@localhost/phone' type='chat' id='m'><body>hello</body></message>")
	got := p.until(p.actor("alice/phone"), parse("<message id='m'/>"))
	presences, typing := 0, 0
	for _, el := range got {
		switch {
		case el.Name.Local == "presence":
			presences++
			if st := el.Child("", "status").Text(); len(st) != 2 || !strings.HasPrefix(st, "9") {
				t.Error("an old presence:", string(el.Bytes()))
			}
		case el.Name.Local == "message":
			typing++
		}
	}
	if n := records(w.take()); n != 1 || presences != 10 || typing != 10 {
		t.Fatalf("%d flights, %d presences, %d typing notices; want 1, 10, 10", n, presences, typing)
	}
}

// TestHeldIsBounded: what is held for a client in the background has an end;
// then it is written, and nothing of it was lost.
func TestHeldIsBounded(t *testing.T) {
	p := newPlay(t)
	do := func(line string) { p.line = line; p.do(line) }
	do("login alice/phone sm")
	do("alice/phone > <presence/>")
	do("alice/phone < <presence from='alice@localhost/phone'/>")
	do("alice/phone > <inactive xmlns='urn:xmpp:csi:0'/><iq type='get' id='quiet' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	do("alice/phone < <iq type='result' id='quiet'/>")
	do("login bob/x")
	for i := range 401 {
		do(fmt.Sprintf("bob/x > <message to='alice@localhost/phone' type='chat' id='t%d'><received xmlns='urn:xmpp:receipts' id='%d'/><no-store xmlns='urn:xmpp:hints'/></message>", i, i))
	}
	for i := range 400 {
		do(fmt.Sprintf("alice/phone first <message id='t%d'/>", i))
	}
}

// TestMutedRoomWaits: XEP-0352 §3.2, XEP-0492 §2.1. A room that its member wants
// to hear nothing of keeps the radio off.
func TestMutedRoomWaits(t *testing.T) {
	p := newPlay(t)
	server := p.addr
	w, addr := tap(t, server)
	p.addr = addr
	for i, line := range []string{
		"login bob/phone sm",
		"login alice/a",
		"alice/a > <presence to='club@rooms.localhost/Alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
		"alice/a < <presence from='club@rooms.localhost/Alice'><x xmlns='http://jabber.org/protocol/muc#user'><status code='201'/></x></presence>",
		"alice/a > <iq type='set' id='c' to='club@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>",
		"alice/a < <iq type='result' id='c'/>",
		"bob/phone > <presence/><presence to='club@rooms.localhost/Bob'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
		"bob/phone < <message from='club@rooms.localhost'><subject/></message>",
		"bob/phone > <iq type='set' id='b'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'><item id='club@rooms.localhost'><conference xmlns='urn:xmpp:bookmarks:1'><extensions><notify xmlns='urn:xmpp:notification-settings:1'><never/></notify></extensions></conference></item></publish></pubsub></iq>",
		"bob/phone < <iq type='result' id='b'/>",
		"bob/phone > <inactive xmlns='urn:xmpp:csi:0'/><iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
		"bob/phone < <iq type='result' id='p'/>",
		"alice/a > <message to='club@rooms.localhost' type='groupchat' id='g'><body>hello</body></message><iq type='get' id='p' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>",
		"alice/a < <iq type='result' id='p'/>",
		"mailbox bob/phone 1",
		"bob/phone > <active xmlns='urn:xmpp:csi:0'/>",
		"bob/phone < <message id='g'/>",
	} {
		switch p.line = line; i {
		case 1:
			p.addr = server
		case 12:
			w.take()
		case 15:
			if b := w.take(); len(b) > 0 {
				t.Fatalf("%d bytes came to a phone in the background", len(b))
			}
		}
		p.do(line)
	}
}
