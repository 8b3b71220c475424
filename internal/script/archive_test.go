// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// seed fills bob's history.
func (p *play) seed(n, size int) {
	pad := strings.Repeat("x", size)
	var last *offline.Ticket
	for i := range n {
		id := fmt.Sprintf("m%d", i)
		t, err := p.store.Keep("bob", &offline.Mail{
			At: time.Now(), From: "alice@localhost/a", ID: id, Archive: "archive-" + id,
			Body: []byte("<message from='alice@localhost/a' to='bob@localhost' id='" + id + "'><body>" + pad + "</body></message>"),
		}, true)
		p.must(err)
		last = t
	}
	for end := time.Now().Add(patience); !last.Done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatal("not safe")
		}
	}
}

// TestArchiveBound: who binds is told where the archive begins and ends, so that
// nothing is missed between it and what comes (XEP-0386 §4, XEP-0313 §6.3).
func TestArchiveBound(t *testing.T) {
	p := newPlay(t)
	p.act("keep")
	for n, want := range []string{"<metadata xmlns='urn:xmpp:mam:2'/>",
		"<metadata xmlns='urn:xmpp:mam:2'><start id='archive-m0' timestamp='*'/><end id='archive-m2' timestamp='*'/></metadata>"} {
		p.act("login bob/b agent")
		if got := p.actor("bob/b").w.Bound.Child(xmpp.NSMAM, "metadata"); got == nil || !p.matches(parse(want), got) {
			t.Fatalf("%d: %s", n, p.actor("bob/b").w.Bound.Bytes())
		}
		p.seed(3, 10)
	}
}

// TestArchivePages: a page is bounded in bytes, whatever is asked for; paging
// on gives each message once (XEP-0313 §4.3.1). Who asks without end and acks
// nothing is told to wait; his session lives (DESIGN §1 P5).
func TestArchivePages(t *testing.T) {
	p := newPlay(t)
	p.act("keep")
	p.seed(60, 100<<10)
	p.act("login bob/b sm")
	a := p.actor("bob/b")
	after, got := "", 0
	for page := 0; ; page++ {
		set := "<max>1000000</max>"
		if after != "" {
			set += "<after>" + after + "</after>"
		}
		a.send("<iq type='set' id='p'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>" + set + "</set></query></iq>")
		bytes := 0
		for _, el := range p.until(a, parse("<iq type='result' id='p'><fin xmlns='urn:xmpp:mam:2'/></iq>")) {
			if r := el.Child(xmpp.NSMAM, "result"); r != nil {
				if want := fmt.Sprintf("archive-m%d", got); r.Get("id") != want {
					t.Fatal(r.Get("id"), "came, not", want)
				}
				got, bytes = got+1, bytes+len(el.Bytes())
			}
		}
		if bytes > 600<<10 {
			t.Fatal("a page of", bytes)
		}
		fin := a.last.Child(xmpp.NSMAM, "fin")
		after = fin.Child(xmpp.NSRSM, "set").Child(xmpp.NSRSM, "last").Text()
		a.send(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", got+page+1))
		if fin.Get("complete") == "true" {
			break
		}
	}
	if got != 60 {
		t.Fatal(got, "came")
	}
	a.send(strings.Repeat("<iq type='set' id='x'><query xmlns='urn:xmpp:mam:2'/></iq>", 50) + "<iq type='get' id='end' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	waits, results := 0, 0
	for _, el := range p.until(a, parse("<iq type='result' id='end'/>")) {
		switch {
		case el.Child(xmpp.NSMAM, "result") != nil:
			results++
		case el.Get("type") == "error" && el.Child(xmpp.NSClient, "error").Child(xmpp.NSStanzas, "resource-constraint") != nil:
			waits++
		}
	}
	if waits < 40 || results == 0 || results > 40 {
		t.Fatal(waits, "refused,", results, "results without an ack")
	}
}

// TestArchiveOutlivesMail: mail that nobody fetched ends, and the sender is told
// what is true: in keep mode the receiver can still read it (DESIGN §4).
func TestArchiveOutlivesMail(t *testing.T) {
	for mode, words := range map[string]string{
		"":     "the receiver did not fetch this message in time; it has been deleted",
		"keep": "no device of the receiver fetched this message in time; it is in the receiver's archive",
	} {
		p := newPlay(t)
		p.act(mode + `
			login alice/a sm
			alice/a > <presence/>
			alice/a > <message to='bob@localhost' id='m' type='chat'><body>x</body></message><r xmlns='urn:xmpp:sm:3'/>
			alice/a < <a xmlns='urn:xmpp:sm:3' h='2'/>`)
		if n, err := p.store.Sweep(time.Now().Add(31 * 24 * time.Hour)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		p.act("alice/a < <message type='error' id='m'><error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/><text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>" + words + "</text></error></message>")
		p.act("mailbox bob 0\nlogin bob/b\nbob/b > <iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>\nbob/b < <iq type='result' id='q'/>")
		count := p.actor("bob/b").last.Child(xmpp.NSMAM, "fin").Child(xmpp.NSRSM, "set").Child(xmpp.NSRSM, "count").Text()
		if want := map[string]string{"": "0", "keep": "1"}[mode]; count != want {
			t.Errorf("%q: %s in the archive", mode, count)
		}
	}
}
