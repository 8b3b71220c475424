// SPDX-License-Identifier: Apache-2.0

package client

import (
	"time"

	"sotto/xmpp"
)

// typingEvery is how often composing is repeated while somebody types on;
// a notice of ours or theirs is good for a few of these.
const typingEvery = 10 * time.Second

// said is the last typing notice that a chat got from us.
type said struct {
	word string
	at   time.Time
}

// Type tells a chat that we are typing, or have stopped (XEP-0085 §5.1). Only
// contacts who can see our presence are told, and only while we are online;
// the notice is stored nowhere. It may be called for each key.
func (c *Client) Type(chat string, typing bool) {
	if typing {
		c.chatState(chat, "composing")
	} else {
		c.chatState(chat, "paused")
	}
}

// TypedNothing tells a chat that what was typed has been taken back.
func (c *Client) TypedNothing(chat string) { c.chatState(chat, "active") }

func (c *Client) chatState(chat, word string) {
	now := time.Now()
	c.mu.Lock()
	p, s, last := c.people[chat], c.session, c.said[chat]
	told := last.word == word && (word != "composing" || now.Sub(last.at) < typingEvery)
	idle := last.word != "composing" && word != "composing" // nothing to take back
	if !c.online || told || idle || p == nil || p.Sub != "both" && p.Sub != "from" {
		c.mu.Unlock()
		return
	}
	c.said[chat] = said{word, now}
	c.mu.Unlock()
	s.send(xmpp.El(xmpp.NSClient, "message", "type", "chat", "to", chat).Add(
		xmpp.El(xmpp.NSChatStates, word), xmpp.El(xmpp.NSHints, "no-store")))
}

// fleeting says whether a stanza is worth nothing later.
func fleeting(el *xmpp.Element) bool { return el.Child(xmpp.NSHints, "no-store") != nil }

// typing takes a chat state of somebody else.
func (c *Client) typing(l *letter) {
	if l.out {
		return
	}
	for _, word := range []string{"composing", "paused", "active", "inactive", "gone"} {
		if l.el.Child(xmpp.NSChatStates, word) == nil {
			continue
		}
		e := Event{Kind: Typing, Chat: l.chat}
		if word != "composing" {
			e.Why = "paused"
		}
		c.emit(e)
		return
	}
}
