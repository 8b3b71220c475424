// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"encoding/json"
	"errors"
	"strings"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// listOwner holds the list of rooms, roomOwner one room: no account can have
// a name with a colon (RFC 7622 §3.3.1).
const listOwner = "room:"

func roomOwner(name string) string { return listOwner + name }

// aboutMax is how much of a room's description the list has.
const aboutMax = 256

// An entry is what is known of each room without reading it.
type entry struct {
	Title  string `json:",omitempty"`
	Temp   bool   `json:",omitempty"` // ends with its last occupant
	Hidden bool   `json:",omitempty"`
	About  string `json:",omitempty"` // as far as a search looks
	Closed bool   `json:",omitempty"` // for members, or behind a password
}

// kept is the record of a room's settings.
type kept struct {
	Config config
	Secret []byte
	Locked bool   `json:",omitempty"`
	Photo  string `json:",omitempty"`
}

// load reads the list. Where that shard is damaged the others serve, and
// whether there is a room its own shard says.
func (v *service) load() {
	err := v.s.Store().View(listOwner, func(rec *offline.Records) (err error) {
		rec.Each("index", func(name string, b []byte) bool {
			var n entry
			err = json.Unmarshal(b, &n)
			v.index[name] = n
			return err == nil
		})
		return err
	})
	if v.blind = err != nil; v.blind {
		v.s.Log().Error("the list of rooms cannot be read; no room is listed", "err", err)
	}
}

func (v *service) listed(name string) bool {
	v.listMu.Lock()
	_, ok := v.index[name]
	v.listMu.Unlock()
	if !ok && v.blind {
		_, err := v.read(name)
		return !notFound(err)
	}
	return ok
}

// read loads a room from the store.
func (v *service) read(name string) (*room, error) {
	r := v.fresh(name)
	var bad error
	err := v.s.Store().View(roomOwner(name), func(rec *offline.Records) error {
		b := rec.Get("config", "")
		if b == nil {
			return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		var k kept
		bad = json.Unmarshal(b, &k)
		r.conf, r.secret, r.locked, r.photo = k.Config, k.Secret, k.Locked, k.Photo
		if b := rec.Get("subject", ""); b != nil {
			bad = errors.Join(bad, json.Unmarshal(b, &r.subject))
		}
		if b := rec.Get("edition", ""); b != nil {
			bad = errors.Join(bad, json.Unmarshal(b, &r.edition))
		}
		rec.Each("rank", func(who string, b []byte) bool {
			var f affiliate
			j, err := xmpp.ParseJID(who)
			bad = errors.Join(bad, err, json.Unmarshal(b, &f))
			r.ranks[j] = f
			return true
		})
		return nil
	})
	return r, errors.Join(err, bad)
}

// later writes to the store, in this order, without waiting for the disk; who
// must know that it is there calls settle, without the room's lock.
func (v *service) later(owner string, f func(rec *offline.Records)) {
	err := v.s.Store().Later(owner, func(rec *offline.Records) error {
		f(rec)
		return nil
	})
	if err != nil {
		v.s.Log().Error("room not written", "err", err)
	}
}

// settle waits until what was changed in a room is durable.
func (v *service) settle(name string) error {
	return v.s.Store().Update(roomOwner(name), func(*offline.Records) error { return nil })
}

func (v *service) put(owner, kind, key string, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		v.s.Log().Error("room not written", "err", err)
		return
	}
	v.later(owner, func(rec *offline.Records) { rec.Put(kind, key, b) })
}

func (r *room) saveConfig() {
	r.v.put(roomOwner(r.name), "config", "", kept{r.conf, r.secret, r.locked, r.photo})
	n := entry{Title: r.conf.Title, Temp: !r.conf.Persistent || r.locked, Hidden: !r.conf.Public || r.locked,
		Closed: r.conf.MembersOnly || r.conf.Password != ""}
	if !n.Hidden {
		n.About = strings.ToValidUTF8(r.conf.Desc[:min(len(r.conf.Desc), aboutMax)], "")
	}
	r.v.listMu.Lock()
	old, was := r.v.index[r.name]
	r.v.index[r.name] = n
	r.v.listMu.Unlock()
	if !was || old != n {
		r.v.put(listOwner, "index", r.name, n)
	}
}

func (r *room) saveSubject() { r.v.put(roomOwner(r.name), "subject", "", r.subject) }

// saveRank writes what the room remembers of one person, also with the
// account, so that the end of the account is the end of it here.
func (r *room) saveRank(who xmpp.JID) {
	key := who.String()
	f, ok := r.ranks[who]
	if !ok {
		r.v.later(roomOwner(r.name), func(rec *offline.Records) { rec.Delete("rank", key) })
	} else {
		r.v.put(roomOwner(r.name), "rank", key, f)
	}
	r.v.noteMember(who, r.name, f.Rank)
}

func (v *service) noteMember(who xmpp.JID, name string, a rank) {
	if !v.s.Local(who) {
		return
	}
	if _, err := v.s.Store().Account(who.Local); err != nil {
		return
	}
	if a == stranger {
		v.later(who.Local, func(rec *offline.Records) { rec.Delete("rooms", name) })
		return
	}
	v.put(who.Local, "rooms", name, a)
}

// roomsOf lists the rooms that know an account.
func (v *service) roomsOf(user string) map[string]rank {
	all := map[string]rank{}
	err := v.s.Store().Update(user, func(*offline.Records) error { return nil }) // what is on its way comes first
	if err == nil {
		err = v.s.Store().View(user, func(rec *offline.Records) error {
			rec.Each("rooms", func(name string, b []byte) bool {
				var a rank
				if json.Unmarshal(b, &a) == nil {
					all[name] = a
				}
				return true
			})
			return nil
		})
	}
	if err != nil {
		v.s.Log().Error("rooms of an account", "err", err)
	}
	return all
}

// erase removes all that was kept of a room.
func (v *service) erase(name string) {
	v.listMu.Lock()
	delete(v.index, name)
	v.listMu.Unlock()
	v.later(listOwner, func(rec *offline.Records) { rec.Delete("index", name) })
	v.later(roomOwner(name), func(rec *offline.Records) { rec.DeleteAll() })
}

// seatAgain gives the sessions that outlived a crash their seats back: their
// clients resume and believe that they are still in their rooms. Rooms that
// lived with their occupants and now have none end.
func (v *service) seatAgain() {
	for _, x := range v.s.Everybody() {
		for _, j := range x.Directed() {
			if j.Domain == v.jid.Domain && j.Resource != "" {
				v.seatOne(x, j)
			}
		}
	}
	v.listMu.Lock()
	var temp []string
	for name, n := range v.index {
		if n.Temp {
			temp = append(temp, name)
		}
	}
	v.listMu.Unlock()
	for _, name := range temp {
		_ = v.with(name, func(r *room) error {
			if len(r.seats) == 0 {
				r.destroy(nil)
			}
			return nil
		})
	}
}

func (v *service) seatOne(x *relay.Session, at xmpp.JID) {
	err := v.with(at.Local, func(r *room) error {
		if a := r.rankOf(x.JID()); a == outcast || r.conf.MembersOnly && a < member {
			return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
		}
		if o := r.nicks[at.Resource]; o != nil && o.who != x.JID().Bare() {
			return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict)
		}
		r.take(x, at, shown(x.Presence()))
		return nil
	})
	if err != nil {
		x.Direct(at, false)
	}
}
