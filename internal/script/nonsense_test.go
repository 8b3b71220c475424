// SPDX-License-Identifier: Apache-2.0

package script

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sotto/xmpp"
)

// conditions are the words of RFC 6120 §8.3.3.
var conditions = strings.Fields(`bad-request conflict feature-not-implemented forbidden gone internal-server-error item-not-found
	jid-malformed not-acceptable not-allowed not-authorized policy-violation recipient-unavailable redirect registration-required
	remote-server-not-found remote-server-timeout resource-constraint service-unavailable subscription-required undefined-condition
	unexpected-request`)

// proper says what is wrong with the answer to a question (RFC 6120 §8.2.3, §8.3.2).
func proper(el *xmpp.Element) string {
	switch el.Get("type") {
	case "result":
		if len(el.Children()) > 1 {
			return "a result with two payloads"
		}
		return ""
	case "error":
	default:
		return "it is neither a result nor an error"
	}
	e := el.Child(xmpp.NSClient, "error")
	if !slices.Contains([]string{"auth", "cancel", "continue", "modify", "wait"}, e.Get("type")) {
		return "an error without a type"
	}
	n := 0
	for _, k := range e.Children() {
		if k.Name.Space == xmpp.NSStanzas && k.Name.Local != "text" {
			n++
			if !slices.Contains(conditions, k.Name.Local) || k.Name.Local == string(xmpp.InternalError) {
				return "the condition " + k.Name.Local
			}
		}
	}
	if n != 1 {
		return fmt.Sprint(n, " conditions")
	}
	return ""
}

// shapes are payloads that are well-formed and wrong: each fills an element of
// the name that is asked.
func shapes(q xmpp.Name) (all []*xmpp.Element) {
	top := func(attrs ...string) *xmpp.Element { return xmpp.El(q.Space, q.Local, attrs...) }
	kid := func(attrs ...string) *xmpp.Element { return xmpp.El(q.Space, "item", attrs...) }
	long := strings.Repeat("z", 60_000)
	deep := top()
	for at, n := deep, 0; n < 50; n++ { // as deep as a stanza may be (DESIGN §6)
		k := xmpp.El(q.Space, "item")
		at.Add(k)
		at = k
	}
	crowd, twins, form := top(), top(), xmpp.El(xmpp.NSData, "x", "type", "submit")
	for n := range 1000 {
		crowd.Add(kid("jid", fmt.Sprintf("p%d@localhost", n), "node", "n", "id", "i"))
		form.Add(xmpp.El(xmpp.NSData, "field", "var", fmt.Sprintf("f%d", n%500)).Add(xmpp.El(xmpp.NSData, "value").WithText("1")))
	}
	for range 3 {
		twins.Add(kid("jid", "bob@localhost"), kid())
	}
	all = []*xmpp.Element{
		top(), top().WithText("words"), top().WithText(long), top("node", long), top("node", "urn:n", "jid", "@@", "id", long[:2000], "sessionid", "x"),
		top("xml:lang", "\u202e"), top().Add(kid()), top().Add(kid("jid", "@")), top().Add(kid("jid", long)), top().Add(kid("jid", "bob@localhost/\u202ex")),
		top().Add(kid("jid", "\u0130\u0130@localhost")), top().Add(xmpp.El("urn:strange", "strange")), deep, crowd, twins, top().Add(form),
		top().Add(xmpp.El(xmpp.NSData, "x")), top().Add(xmpp.El(xmpp.NSData, "x", "type", "cancel")), top("action", "complete").Add(form.Clone()),
		top().Add(xmpp.El(q.Space, q.Local).Add(xmpp.El(q.Space, q.Local))), top().Add(xmpp.El(xmpp.NSRSM, "set").Add(xmpp.El(xmpp.NSRSM, "max").WithText("-1"))),
		top().Add(xmpp.El(xmpp.NSRSM, "set").Add(xmpp.El(xmpp.NSRSM, "max").WithText(long), xmpp.El(xmpp.NSRSM, "before"), xmpp.El(xmpp.NSRSM, "after").WithText(long))),
	}
	for _, name := range strings.Fields(`items item publish retract create configure subscribe options unsubscribe affiliations subscriptions
		delete purge default username password remove always never list history destroy PHOTO`) {
		all = append(all, top().Add(xmpp.El(q.Space, name)), top().Add(xmpp.El(q.Space, name, "node", "urn:n", "jid", "x@y@z", "max_items", "-9", "subid", "x").
			Add(xmpp.El(q.Space, "item", "jid", "@", "affiliation", "god", "subscription", "maybe", "id", ""), form.Clone())))
	}
	return all
}

// TestNonsense asks every question that the server answers, both ways, of all
// that can be asked, with payloads of every wrong shape: each gets one proper
// answer, the server lives, and nothing of it stays in memory.
func TestNonsense(t *testing.T) {
	p := newPlay(t)
	p.line = "nonsense"
	p.login("alice/a", nil)
	a := p.actor("alice/a")
	answers := p.relay.Answers()
	slices.SortFunc(answers, func(a, b xmpp.Name) int { return cmp.Or(cmp.Compare(a.Space, b.Space), cmp.Compare(a.Local, b.Local)) })
	answers = append(answers, xmpp.Name{Space: xmpp.NSMUCAdmin, Local: "query"}, xmpp.Name{Space: xmpp.NSMUCOwner, Local: "query"}, xmpp.Name{Space: "urn:strange", Local: "strange"})
	tos := []string{"", "localhost", "alice@localhost", "bob@localhost", "nobody@localhost", "alice@localhost/a", "bob@localhost/gone", "localhost/x",
		"rooms.localhost", "a@rooms.localhost", "a@rooms.localhost/nick", "pubsub.localhost", "a@pubsub.localhost", "upload.localhost", "elsewhere.example", "x@elsewhere.example"}
	before := heap()
	n, said := 0, map[string]int{}
	for _, q := range answers {
		if q.Space == xmpp.NSRegister { // <remove/> ends the account; register-remove.txt has it
			continue
		}
		for i, payload := range shapes(q) {
			for _, typ := range []string{"get", "set"} {
				to := tos[(i*7+n)%len(tos)] // each shape meets each address, over the questions
				if i < 8 {
					to = tos[i%3] // and the plain ones those that answer most
				}
				id := fmt.Sprint("q", n)
				n++
				iq := xmpp.El(xmpp.NSClient, "iq", "type", typ, "id", id, "to", to).Add(payload)
				raw := iq.Bytes()
				a.send(string(raw))
				if to == "alice@localhost/a" { // it comes to ourselves; nobody answers
					p.until(a, parse("<iq type='"+typ+"' id='"+id+"'/>"))
					continue
				}
				p.until(a, parse("<iq id='"+id+"'/>"))
				said[a.last.Get("type")]++
				if why := proper(a.last); why != "" {
					t.Errorf("%s: %.300s\n\tanswer: %.300s", why, raw, a.last.Bytes())
				}
			}
		}
	}
	a.send("<iq type='get' id='end' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>")
	p.until(a, parse("<iq type='result' id='end'/>"))
	if grown := heap() - before; grown > 48<<20 {
		t.Errorf("%d KiB stay in memory", grown>>10)
	}
	if said["result"] < 100 || said["error"] < 1000 {
		t.Error("the questions do not reach far:", said)
	}
	t.Log(n, "questions to", len(answers), "names:", said)
}

// TestNonsenseFromFar is the same from another server, whose people have no
// account here: nothing is done for them.
func TestNonsenseFromFar(t *testing.T) {
	p := newPlay(t)
	p.script("links\nlogin bob@far/b\nlogin alice/a\nalice/a > <presence/>\nalice/a < <presence from='alice@localhost/a'/>")
	p.line = "nonsense from far"
	b := p.actor("bob@far/b")
	n := 0
	for _, q := range p.relay.Answers() {
		for i, payload := range shapes(q) {
			to := []string{"localhost", "alice@localhost", "nobody@localhost", "rooms.localhost", "a@rooms.localhost", "pubsub.localhost"}[(i+n)%6]
			id, typ := fmt.Sprint("f", n), []string{"get", "set"}[n%2]
			n++
			raw := xmpp.El(xmpp.NSClient, "iq", "type", typ, "id", id, "to", to).Add(payload).Bytes()
			p.line = fmt.Sprintf("%s: %.400s", id, raw)
			b.send(string(raw))
			p.until(b, parse("<iq id='"+id+"'/>"))
			if why := proper(b.last); why != "" {
				t.Errorf("%s: %.300s\n\tanswer: %.300s", why, raw, b.last.Bytes())
			}
		}
	}
	if users, err := p.store.Users(); err != nil || !slices.Contains(users, "alice") || !slices.Contains(users, "bob") {
		t.Error("somebody is gone:", users, err)
	}
	t.Log(n, "questions")
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
