// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const (
	enterX   = "<x xmlns='http://jabber.org/protocol/muc'/>"
	ownerSet = "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'>%s</x></query>"
)

// open makes a room and leaves it to who made it.
func (p *play) openRoom(who, room, fields string) {
	p.act(fmt.Sprintf("%s > <presence to='%s@rooms.localhost/%s'>%s</presence>", who, room, who[:1], enterX))
	p.act(fmt.Sprintf("%s > <iq type='set' id='open-%s' to='%s@rooms.localhost'>"+ownerSet+"</iq>", who, room, room, fields))
	p.act(fmt.Sprintf("%s < <iq type='result' id='open-%s'/>", who, room))
}

// TestRoomFlood: what one account may do in rooms is bounded, and what it does
// there ends no session of those who sleep.
func TestRoomFlood(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nalice/a > <presence/>\nlogin bob/b sm\nbob/b > <presence/>")
	p.openRoom("alice/a", "r", "")
	p.act("bob/b > <presence to='r@rooms.localhost/B'>" + enterX + "</presence>\nbob/b < <presence from='r@rooms.localhost/B'/>")
	p.act("cut bob/b")
	a := p.actor("alice/a")
	for i := range 1500 {
		a.send(fmt.Sprintf("<presence id='n%d' to='r@rooms.localhost/nick%d'/>", i, i))
		a.send(fmt.Sprintf("<message id='m%d' to='r@rooms.localhost' type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>", i))
	}
	p.act("alice/a < <presence type='error'><error type='wait'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
	p.act("alice/a < <message type='error'><error type='wait'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
	p.act("login bob/b resume h=0\nbob/b > <iq type='get' id='1' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>\nbob/b < <iq type='result' id='1'/>")
}

// TestRoomBounds: rooms of one account, and whom a room remembers.
func TestRoomBounds(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nalice/a > <presence/>")
	for i := range 50 {
		p.openRoom("alice/a", fmt.Sprintf("r%d", i), "<field var='muc#roomconfig_persistentroom'><value>1</value></field>")
	}
	p.act("alice/a > <presence id='p' to='more@rooms.localhost/A'>" + enterX + "</presence>")
	p.act("alice/a < <presence type='error' id='p'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>")
	for i := range 3 {
		var items strings.Builder
		for j := range 900 {
			fmt.Fprintf(&items, "<item affiliation='outcast' jid='x%d-%d@localhost'/>", i, j)
		}
		p.act(fmt.Sprintf("alice/a > <iq type='set' id='l%d' to='r0@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#admin'>%s</query></iq>", i, items.String()))
		if i < 2 {
			p.act(fmt.Sprintf("alice/a < <iq type='result' id='l%d'/>", i))
		}
	}
	p.act("alice/a < <iq type='error' id='l2'><error type='wait'><resource-constraint xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
	// An account that ends is the end of what it alone owned (XEP-0077 §3.2).
	p.act("alice/a > <iq type='set' id='rm'><query xmlns='jabber:iq:register'><remove/></query></iq>\nalice/a < <iq type='result' id='rm'/>")
	p.act("login bob/b\nbob/b > <iq type='get' id='i' to='r0@rooms.localhost'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>")
	p.act("bob/b < <iq type='error' id='i'><error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>")
}

// nonsense writes stanzas of the words of rooms in no order that makes sense.
type nonsense struct{ *rand.Rand }

func (n nonsense) of(l ...string) string { return l[n.IntN(len(l))] }

func (n nonsense) element(depth int) string {
	name := n.of("x", "query", "item", "invite", "decline", "destroy", "history", "password", "subject", "body", "reason",
		"actor", "field", "value", "vCard", "moderate", "retract", "remove", "status", "delay", "stanza-id", "occupant-id", "ping")
	ns := n.of("", "", "http://jabber.org/protocol/muc", "http://jabber.org/protocol/muc#user", "http://jabber.org/protocol/muc#admin",
		"http://jabber.org/protocol/muc#owner", "jabber:x:data", "jabber:iq:register", "http://jabber.org/protocol/disco#info",
		"http://jabber.org/protocol/disco#items", "vcard-temp", "urn:xmpp:ping", "urn:xmpp:message-moderate:1", "urn:xmpp:message-retract:1",
		"urn:xmpp:sid:0", "urn:xmpp:occupant-id:0", "urn:xmpp:delay")
	var b strings.Builder
	b.WriteString("<" + name)
	if ns != "" {
		b.WriteString(" xmlns='" + ns + "'")
	}
	for _, a := range []string{"role", "affiliation", "nick", "jid", "to", "type", "var", "id", "node", "by", "maxstanzas"} {
		if n.IntN(3) == 0 {
			b.WriteString(" " + a + "='" + n.of("", "none", "owner", "member", "outcast", "moderator", "visitor", "n0", "n1", "n2", "bob@localhost",
				"alice@localhost", "@", "submit", "cancel", "FORM_TYPE", "muc#roomconfig_membersonly", "muc#roomconfig_whois", "-1", "99999999999999999999", "x-roomuser-item") + "'")
		}
	}
	b.WriteString(">" + n.of("", "1", "0", "anyone", "http://jabber.org/protocol/muc#request", "&lt;"))
	for depth < 4 && n.IntN(3) > 0 {
		b.WriteString(n.element(depth + 1))
	}
	return b.String() + "</" + name + ">"
}

func (n nonsense) stanza(i int) string {
	to := n.of("rooms.localhost", "q@rooms.localhost", "q@rooms.localhost", "q@rooms.localhost/n0", "q@rooms.localhost/n1", "q@rooms.localhost/n2", "w@rooms.localhost/n0")
	kind := n.of("message", "presence", "iq", "iq", "iq")
	typ := n.of("get", "set", "set", "result", "error")
	switch kind {
	case "message":
		typ = n.of("groupchat", "chat", "normal", "headline", "error", "odd")
	case "presence":
		typ = n.of("unavailable", "subscribe", "probe", "error", "odd")
	}
	inner := n.element(0)
	if n.IntN(3) > 0 { // what a room would take, with nonsense in it
		root := n.of("query xmlns='http://jabber.org/protocol/muc#admin'", "query xmlns='http://jabber.org/protocol/muc#owner'",
			"x xmlns='http://jabber.org/protocol/muc#user'", "x xmlns='http://jabber.org/protocol/muc'", "query xmlns='jabber:iq:register'",
			"moderate xmlns='urn:xmpp:message-moderate:1' id='1'", "vCard xmlns='vcard-temp'", "x xmlns='jabber:x:data' type='submit'", "body", "subject")
		inner = "<" + root + ">"
		for range n.IntN(4) {
			inner += fmt.Sprintf("<%s nick='n%d' %s='%s'>%s</%[1]s>", n.of("item", "item", "invite", "destroy", "field", "remove"), n.IntN(3),
				n.of("role", "affiliation", "to", "jid", "var"), n.of("none", "visitor", "moderator", "member", "outcast", "owner", "bob@localhost"), n.element(3))
		}
		inner += "</" + strings.Fields(root)[0] + ">"
	}
	if n.IntN(6) == 0 { // so that there is somebody to do nonsense with
		return fmt.Sprintf("<presence to='q@rooms.localhost/n%d'>%s</presence>", n.IntN(3), enterX)
	}
	return fmt.Sprintf("<%s id='i%d' to='%s' type='%s'>%s</%s>", kind, i, to, typ, inner, kind)
}

// TestRoomNonsense: whatever is said to rooms, the server is well afterwards.
func TestRoomNonsense(t *testing.T) {
	p := newPlay(t)
	seed := uint64(4)
	if long {
		seed = uint64(time.Now().UnixNano())
	}
	t.Log("seed", seed)
	n := nonsense{rand.New(rand.NewPCG(seed, 0))}
	names := []string{"alice/a", "bob/b", "carol/c"}
	for _, a := range names {
		p.act("login " + a + "\n" + a + " > <presence/>")
	}
	for i := range 3000 {
		p.actor(names[n.IntN(3)]).send(n.stanza(i))
		if i%100 == 99 { // what came is passed over, and the room set up again
			for _, a := range names {
				p.act(fmt.Sprintf("%s > <iq type='get' id='end%d' to='localhost'><ping xmlns='urn:xmpp:ping'/></iq>\n%s < <iq type='result' id='end%d'/>", a, i, a, i))
			}
			p.actor(names[0]).send(fmt.Sprintf("<iq type='set' id='s%d' to='q@rooms.localhost'>"+ownerSet+"</iq>", i, ""))
		}
	}
}

// TestRoomVersions: with the version that he had, somebody hears only what
// changed; with the last one nothing (XEP-0463 §5.2).
func TestRoomVersions(t *testing.T) {
	p := newPlay(t)
	p.act("login alice/a\nalice/a > <presence/>\nlogin bob/b\nbob/b > <presence/>")
	p.openRoom("alice/a", "v", "<field var='muc#roomconfig_whois'><value>anyone</value></field>")
	enter := func(since string) {
		p.act("bob/b > <presence to='v@rooms.localhost/Bob'><x xmlns='http://jabber.org/protocol/muc'><mav xmlns='urn:xmpp:muc:affiliations:1' since='" + since + "'/></x></presence>")
	}
	const heard = "bob/b < <message from='v@rooms.localhost'><x xmlns='http://jabber.org/protocol/muc#user'><mav xmlns='urn:xmpp:muc:affiliations:1' until='*'/></x></message>"
	enter("")
	p.act(heard)
	was := p.actor("bob/b").last.Child("", "x").Child("", "mav").Get("until")
	p.act("bob/b > <presence type='unavailable' to='v@rooms.localhost/Bob'/>\nbob/b < <presence type='unavailable' from='v@rooms.localhost/Bob'/>")
	p.act("alice/a > <iq type='set' id='m' to='v@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='carol@localhost' affiliation='admin'/></query></iq>\nalice/a < <iq type='result' id='m'/>")
	p.act("alice/a > <iq type='set' id='n' to='v@rooms.localhost'><query xmlns='http://jabber.org/protocol/muc#admin'><item jid='carol@localhost' affiliation='member'/></query></iq>\nalice/a < <iq type='result' id='n'/>")
	enter(was)
	p.act(heard)
	x := p.actor("bob/b").last.Child("", "x")
	mav, items := x.Child("", "mav"), len(x.Children())-1
	if mav.Get("since") != was || items != 1 || x.Child("", "item").Get("jid") != "carol@localhost" || x.Child("", "item").Get("affiliation") != "member" {
		t.Fatalf("heard %s", p.actor("bob/b").last.Bytes())
	}
	p.act("bob/b > <presence type='unavailable' to='v@rooms.localhost/Bob'/>")
	enter(mav.Get("until"))
	p.act("bob/b <! <message from='v@rooms.localhost'><x xmlns='http://jabber.org/protocol/muc#user'/></message>")
}
