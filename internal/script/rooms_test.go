// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strings"
	"testing"
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
