// SPDX-License-Identifier: Apache-2.0

package archive

import (
	"encoding/json"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/mam"
)

const kindPrefs = "mamprefs"

// knownMax bounds how many choices are kept in memory.
const knownMax = 1 << 14

// choice is what a person chose, or all.
func (a *archive) choice(user string) (mam.Choice, error) {
	a.mu.Lock()
	c, ok := a.known[user]
	turn := a.turns
	a.mu.Unlock()
	if ok {
		return c, nil
	}
	c = mam.Choice{Usual: "always"}
	err := a.s.Store().View(user, func(r *offline.Records) error {
		if v := r.Get(kindPrefs, ""); v != nil {
			return json.Unmarshal(v, &c)
		}
		return nil
	})
	if err != nil {
		return mam.Choice{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= knownMax {
		clear(a.known)
	}
	if a.turns == turn { // else it may be old already
		a.known[user] = c
	}
	return c, nil
}

// archives implements relay.Server.Archives. When the choice cannot be read,
// nothing is kept that somebody may not want to be kept.
func (a *archive) archives(user string, j xmpp.JID) bool {
	c, err := a.choice(user)
	if err != nil {
		a.s.Log().Error("choice of archive", "err", err)
		return false
	}
	return c.Archives(j, func() bool { return a.s.InRoster(user, j) })
}

func (a *archive) forget(user string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.turns++
	delete(a.known, user)
}

// prefs is XEP-0441 §2.1. In forget mode nothing is archived, whatever people
// choose: the answer says so.
func (a *archive) prefs(r *relay.Request) (*xmpp.Element, error) {
	if err := own(r); err != nil {
		return nil, err
	}
	user := r.From.Local
	var c mam.Choice
	var err error
	if r.Type == "set" {
		c, err = mam.ParsePrefs(r.Payload)
	} else {
		c, err = a.choice(user)
	}
	if err != nil {
		return nil, err
	}
	if !a.s.Keeps() {
		return mam.Choice{Usual: "never"}.Element(), nil
	}
	if r.Type == "set" {
		v, err := json.Marshal(c)
		if err != nil {
			return nil, err
		}
		err = a.s.Store().Update(user, func(rec *offline.Records) error {
			rec.Put(kindPrefs, "", v)
			return nil
		})
		a.forget(user)
		if err != nil {
			return nil, err
		}
	}
	return c.Element(), nil
}
