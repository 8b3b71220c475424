// SPDX-License-Identifier: Apache-2.0

package muc

import "sotto/xmpp"

// This file is the tables of who may do what. It is pure.

// A rank is a lasting affiliation (XEP-0045 §5.2).
type rank int

const (
	outcast rank = iota - 1
	stranger
	member
	admin
	owner
)

var rankNames = map[rank]string{outcast: "outcast", stranger: "none", member: "member", admin: "admin", owner: "owner"}

func (a rank) String() string { return rankNames[a] }

func rankOf(s string) (rank, bool) {
	for a, name := range rankNames {
		if name == s {
			return a, true
		}
	}
	return 0, false
}

// A role lasts as long as somebody is in the room (XEP-0045 §5.1).
type role int

const (
	gone role = iota
	visitor
	participant
	moderator
)

var roleNames = [...]string{"none", "visitor", "participant", "moderator"}

func (o role) String() string { return roleNames[o] }

func roleOf(s string) (role, bool) {
	for i, name := range roleNames {
		if name == s {
			return role(i), true
		}
	}
	return 0, false
}

// firstRole is the role on entering (XEP-0045 §5.1.2).
func firstRole(a rank, moderated bool) role {
	switch {
	case a >= admin:
		return moderator
	case a == member || !moderated:
		return participant
	}
	return visitor
}

// mayRank says whether somebody of rank a may make b what is of rank now
// (XEP-0045 §9, §10).
func mayRank(a, now, b rank, self bool) error {
	switch {
	case a < admin:
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	case self && b == outcast: // §9.1
		return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
	case a == owner:
		return nil
	case now >= admin && now != b: // §9.1, §10.4, §10.7
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	case b >= admin && now != b: // §10.3, §10.6
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	return nil
}

// A standing is what somebody is in a room.
type standing struct {
	rank rank
	role role
}

// mayRole says whether a may give b another role (XEP-0045 §8, §9.6, §9.7).
func mayRole(a, b standing, to role) error {
	no := xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	switch {
	case a.role != moderator:
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	case to == b.role:
		return nil
	case to == gone: // §8.2
		if b.rank > a.rank {
			return no
		}
		return nil
	case to == moderator: // §9.6
		if a.rank < admin {
			return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
		}
		return nil
	case b.rank >= admin: // §8.4, §9.7: they moderate by rank
		return no
	case b.role == moderator && a.rank < admin: // §9.7
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	return nil
}
