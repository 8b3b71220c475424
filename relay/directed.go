// SPDX-License-Identifier: Apache-2.0

package relay

import "sotto/xmpp"

// directedMax bounds how many entities a session shows itself to.
const directedMax = 500

// Direct notes that an entity was shown this session's presence, or no longer
// is (RFC 6121 §4.6).
func (x *Session) Direct(to xmpp.JID, shown bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !shown {
		delete(x.shown, to)
		return
	}
	if x.shown == nil {
		x.shown = map[xmpp.JID]bool{}
	}
	if len(x.shown) < directedMax {
		x.shown[to] = true
	}
}

// Directed lists who must be told when the session goes.
func (x *Session) Directed() []xmpp.JID {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []xmpp.JID
	for j := range x.shown {
		all = append(all, j)
	}
	return all
}
