// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestNeverReads: a device that takes nothing off its socket slows neither its
// owner's other device nor the sender, and misses nothing (DESIGN §1 P5).
func TestNeverReads(t *testing.T) {
	p := newPlay(t)
	p.act(`login alice/deaf
		logout alice/deaf`) // from its second login on it is a device
	deaf := p.rude(t, "", inside)
	if _, err := io.WriteString(deaf, "<presence/>"); err != nil {
		t.Fatal(err)
	}
	p.act(`login alice/phone agent sm
		alice/phone > <presence/>
		alice/phone < <presence from='alice@localhost/deaf'/>
		login bob/b sm`)
	const n = 300 // more than the window, and more bytes than sockets hold
	body := strings.Repeat("x", 100<<10)
	start := time.Now()
	for i := range n {
		p.actor("bob/b").send(fmt.Sprintf("<message to='alice@localhost' id='m%d' type='chat'><body>%s</body></message>", i, body))
		if i%32 == 31 {
			p.act(fmt.Sprintf("alice/phone < <message id='m%d'/>", i))
			p.act(fmt.Sprintf("alice/phone > <a xmlns='urn:xmpp:sm:3' h='%d'/>", i+3))
		}
	}
	p.act(fmt.Sprintf(`alice/phone < <message id='m%d'/>
		bob/b > <r xmlns='urn:xmpp:sm:3'/>
		bob/b < <a xmlns='urn:xmpp:sm:3' h='%d'/>
		mailbox alice/deaf %d`, n-1, n, n))
	if d := time.Since(start); d > 2*patience {
		t.Error("the others waited for", d)
	}
	deaf.Close()
	p.act("login alice/deaf sm")
	p.act("alice/deaf > <presence/>")
	for i := range n {
		before := p.until(p.actor("alice/deaf"), parse(fmt.Sprintf("<message id='m%d'/>", i)))
		for _, el := range before {
			if el.Name.Local == "message" {
				t.Fatalf("%s before m%d", el.Get("id"), i)
			}
		}
		if i%100 == 99 {
			p.act(fmt.Sprintf("alice/deaf > <a xmlns='urn:xmpp:sm:3' h='%d'/>", i+2))
		}
	}
}

// TestAsksAndNeverReads: who asks and asks without reading an answer is cut
// off, and so is who reads but never acks; neither costs much memory.
func TestAsksAndNeverReads(t *testing.T) {
	p := newPlay(t)
	r := p.rude(t, "", inside)
	ping := strings.Repeat("<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", 500)
	sent := 0
	var err error
	for ; err == nil && sent < 64<<20; sent += len(ping) {
		_, err = io.WriteString(r, ping)
	}
	if err == nil {
		t.Error("took", sent>>20, "MiB of questions")
	}
	p.act("login bob/x sm")
	x := p.actor("bob/x")
	for range 50 {
		x.send(strings.Repeat("<iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>", 200))
	}
	p.act("gone bob/x policy-violation")
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if held := m.HeapInuse >> 20; held > 64 {
		t.Error("holds", held, "MiB")
	}
}

// TestOthersFillNoOutbox: what a stranger sends to a device that does not read
// is refused long before it costs that device its session.
func TestOthersFillNoOutbox(t *testing.T) {
	p := newPlay(t)
	p.act(`login alice/a sm
		cut alice/a
		login bob/b`)
	refused := "bob/b < <iq type='error' id='last'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
	for range 1000 {
		p.actor("bob/b").send("<iq type='get' id='1' to='alice@localhost/a'><q xmlns='urn:q'/></iq>")
	}
	p.act("bob/b > <iq type='get' id='last' to='alice@localhost/a'><q xmlns='urn:q'/></iq>")
	p.act(refused)
	p.act("login alice/a resume h=0")
	p.act("alice/a < <iq type='get' id='1' from='bob@localhost/b'/>")
}

// TestHalfAndNoMore: who begins a stanza must finish it in time; who is idle
// between stanzas may be so for ever, and who goes on sending is not hurried.
func TestHalfAndNoMore(t *testing.T) {
	p := newPlay(t)
	p.close()
	p.opt.Stanza = 200 * time.Millisecond
	p.open()
	r := p.rude(t, "", inside)
	p.act("login bob/quiet")
	if _, err := io.WriteString(r, "<message to='bob@localhost'><body>hal"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if got := r.rest(); !strings.Contains(got, "<connection-timeout") || time.Since(start) > patience {
		t.Errorf("after %v: %s", time.Since(start), got)
	}
	p.act(`bob/quiet > <iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>
		bob/quiet < <iq type='result' id='1'/>`)
}

// TestManySessions: an account has so many sessions and no more; the oldest that
// is parked gives way.
func TestManySessions(t *testing.T) {
	p := newPlay(t)
	p.close()
	p.opt.Limits.Sessions = 3
	p.open()
	p.act(`login alice/a sm
		login alice/b
		login alice/c sm
		login alice/d fails=resource-constraint
		cut alice/c
		cut alice/a
		login alice/e
		login alice/c resume h=0
		login alice/a previd=alice/a fails
		login alice/f fails=resource-constraint
		login bob/x`)
}
