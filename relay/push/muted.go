// SPDX-License-Identifier: Apache-2.0

package push

import (
	"sync"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// mutes knows which rooms people want to hear nothing of (XEP-0492 §2.1).
type mutes struct {
	s  *relay.Server
	mu sync.Mutex
	of map[string]muted
}

// muted is what one person's bookmarks said.
type muted struct {
	at    time.Time
	rooms map[string]bool
}

// What is remembered of bookmarks, and how long.
const (
	mutesMax  = 10_000
	mutesTime = time.Minute
)

func newMutes(s *relay.Server) *mutes {
	m := &mutes{s: s, of: map[string]muted{}}
	s.Muted = m.muted
	s.OnPublish(func(user, node string) {
		if node == xmpp.NSBookmarks {
			m.mu.Lock()
			delete(m.of, user)
			m.mu.Unlock()
		}
	})
	return m
}

// muted says it of one room. Of <on-mention/> only the device can find out what
// it means: it is woken.
func (m *mutes) muted(user string, room xmpp.JID) bool {
	now := time.Now()
	m.mu.Lock()
	known, ok := m.of[user]
	m.mu.Unlock()
	if !ok || now.Sub(known.at) > mutesTime {
		known = muted{now, m.read(user)}
		m.mu.Lock()
		if len(m.of) >= mutesMax {
			clear(m.of)
		}
		m.of[user] = known
		m.mu.Unlock()
	}
	return known.rooms[room.String()]
}

// read looks into the bookmarks. What is said of some clients only is for them.
func (m *mutes) read(user string) map[string]bool {
	if m.s.Shelf.Items == nil {
		return nil
	}
	items, err := m.s.Shelf.Items(user, xmpp.NSBookmarks, xmpp.JID{Local: user, Domain: m.s.Domain()})
	if err != nil {
		return nil
	}
	var rooms map[string]bool
	for _, it := range items {
		n := it.Child(xmpp.NSBookmarks, "conference").Child(xmpp.NSBookmarks, "extensions").Child(xmpp.NSNotify, "notify")
		never := n.Child(xmpp.NSNotify, "never")
		if never == nil || len(n.Children()) != 1 || never.Get("identity-category") != "" {
			continue
		}
		if rooms == nil {
			rooms = map[string]bool{}
		}
		rooms[it.Get("id")] = true
	}
	return rooms
}
