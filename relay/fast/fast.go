// SPDX-License-Identifier: Apache-2.0

package fast

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

const (
	life    = 21 * 24 * time.Hour
	fresh   = 24 * time.Hour // then its device is given a new one
	devices = 64             // of one account; the token used least lately goes first
)

type fast struct {
	s  *relay.Server
	mu sync.Mutex // over each change of records, so that none is lost
}

// pair are the tokens of one device: a new one counts beside the current one
// until it has been used (XEP-0484 §"Server-side handling of multiple active tokens").
type pair struct{ Current, New xmpp.Token }

// Add registers the family.
func Add(s *relay.Server) {
	f := &fast{s: s}
	key := relay.AgentDevice // under the device's own key, so that unlinking it takes the token
	s.Tokens(&xmpp.Tokens{
		Of:   func(user, agent string) []xmpp.Token { return f.of(user, key(agent)) },
		Used: func(user, agent string, t xmpp.Token) bool { return f.used(user, key(agent), t) },
		Issue: func(user, agent, mechanism string) (xmpp.Token, error) {
			return f.issue(user, key(agent), mechanism)
		},
		Revoke: func(user, agent string, t xmpp.Token) { f.revoke(user, key(agent), t) },
	})
}

// read gives the good tokens of a device.
func (f *fast) read(user, device string) (p pair) {
	_ = f.s.Store().View(user, func(r *offline.Records) error {
		if v := r.Get(offline.KindFast, device); v != nil && json.Unmarshal(v, &p) != nil {
			p = pair{}
		}
		return nil
	})
	now := f.s.Now()
	for _, t := range []*xmpp.Token{&p.Current, &p.New} {
		if !now.Before(t.Expiry) {
			*t = xmpp.Token{}
		}
	}
	return p
}

func (f *fast) of(user, device string) (all []xmpp.Token) {
	p := f.read(user, device)
	for _, t := range []xmpp.Token{p.New, p.Current} {
		if t.Secret != "" {
			all = append(all, t)
		}
	}
	return all
}

// change edits a device's tokens; it is durable when it returns, so that no
// login waits for a token which a crash forgets.
func (f *fast) change(user, device string, edit func(p *pair)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.read(user, device)
	edit(&p)
	return f.s.Store().Update(user, func(r *offline.Records) error {
		if p == (pair{}) {
			r.Delete(offline.KindFast, device)
			return nil
		}
		v, err := json.Marshal(p)
		if err != nil {
			return err
		}
		r.Put(offline.KindFast, device, v)
		f.trim(r, device)
		return nil
	})
}

// trim keeps the number of devices small.
func (f *fast) trim(r *offline.Records, but string) {
	type old struct {
		device string
		made   time.Time
	}
	var all []old
	r.Each(offline.KindFast, func(device string, v []byte) bool {
		var p pair
		if json.Unmarshal(v, &p) == nil && device != but {
			all = append(all, old{device, p.Current.Made})
		}
		return true
	})
	slices.SortFunc(all, func(a, b old) int { return a.made.Compare(b.made) })
	for len(all) >= devices {
		r.Delete(offline.KindFast, all[0].device)
		all = all[1:]
	}
}

func (f *fast) issue(user, device, mechanism string) (xmpp.Token, error) {
	now := f.s.Now()
	t := xmpp.Token{Secret: relay.NewID(), Mechanism: mechanism, Made: now, Expiry: now.Add(life)}
	return t, f.change(user, device, func(p *pair) { p.New = t })
}

// used makes a new token the current one.
func (f *fast) used(user, device string, t xmpp.Token) (old bool) {
	if f.read(user, device).New.Secret == t.Secret {
		err := f.change(user, device, func(p *pair) { *p = pair{Current: t} })
		if err != nil {
			f.s.Log().Warn("token not noted", "err", err)
		}
	}
	return f.s.Now().Sub(t.Made) > fresh
}

func (f *fast) revoke(user, device string, t xmpp.Token) {
	err := f.change(user, device, func(p *pair) {
		for _, k := range []*xmpp.Token{&p.Current, &p.New} {
			if k.Secret == t.Secret {
				*k = xmpp.Token{}
			}
		}
	})
	if err != nil {
		f.s.Log().Error("token not revoked", "err", err)
	}
}
