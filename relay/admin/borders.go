// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// A border is a list of addresses on other servers, as XEP-0191 §4 compares them.
type border struct {
	key, field string
	list       atomic.Pointer[map[string]bool] // never changed, only replaced; nil: empty
}

const borderMax = 5000

func (b *border) has(j xmpp.JID) bool {
	l := b.list.Load()
	if l == nil {
		return false
	}
	host := xmpp.JID{Domain: j.Domain, Resource: j.Resource}
	return (*l)[j.String()] || (*l)[j.Bare().String()] || (*l)[host.String()] || (*l)[j.Domain]
}

func (b *border) empty() bool {
	l := b.list.Load()
	return l == nil || len(*l) == 0
}

// foreign says whether nothing may go to somebody of another server, or come
// from there (XEP-0133 §4.11, §4.12).
func (a *admin) foreign(j xmpp.JID) bool {
	return a.s.Elsewhere(j) && (a.black.has(j) || !a.white.empty() && !a.white.has(j))
}

// borders adds the commands for them, and sees that they hold.
func (a *admin) borders() {
	a.black.key, a.black.field = "black", "blacklistjids"
	a.white.key, a.white.field = "white", "whitelistjids"
	err := a.s.Store().View(nobody, func(r *offline.Records) error {
		for _, b := range []*border{&a.black, &a.white} {
			var all []string
			if v := r.Get("border", b.key); v != nil && json.Unmarshal(v, &all) == nil {
				b.set(all)
			}
		}
		return nil
	})
	if err != nil {
		a.s.Log().Error("the lists of other servers cannot be read", "err", err)
	}
	a.command("edit-blacklist", "Edit Blacklist", a.listed(&a.black, "Addresses and domains on other servers that nothing goes to or comes from"), a.edit(&a.black))
	a.command("edit-whitelist", "Edit Whitelist", a.listed(&a.white, "Addresses and domains on other servers that alone are reached; empty: all"), a.edit(&a.white))
	no := func() error {
		return xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed).Say("the operator of this server does not allow it")
	}
	a.s.OnStanza(func(x *relay.Session, st *xmpp.Stanza) error {
		if a.foreign(x.JID()) || st.HasTo && a.foreign(st.To) {
			return no()
		}
		return nil
	})
	if away := a.s.Away; away != nil { // what we say by ourselves
		a.s.Away = func(l *relay.Letter) (*offline.Ticket, error) {
			if l.Type != "error" && a.foreign(l.To) { // whoever is refused is told so
				return nil, no()
			}
			return away(l)
		}
	}
}

func (b *border) set(all []string) {
	m := map[string]bool{}
	for _, v := range all {
		m[v] = true
	}
	b.list.Store(&m)
}

func (a *admin) listed(b *border, label string) func() []*xmpp.Element {
	return func() []*xmpp.Element {
		var all []string
		if l := b.list.Load(); l != nil {
			all = slices.Sorted(maps.Keys(*l))
		}
		return []*xmpp.Element{field(b.field, "jid-multi", label, all...)}
	}
}

func (a *admin) edit(b *border) func(*relay.Request, form) (*xmpp.Element, error) {
	return func(_ *relay.Request, f form) (*xmpp.Element, error) {
		var all []string
		for _, v := range f.all(b.field) {
			if v = strings.TrimSpace(v); v == "" {
				continue
			}
			j, err := xmpp.ParseJID(v)
			if err != nil || !a.s.Elsewhere(j) {
				return nil, relay.Sorry(v + " is not an address of another server")
			}
			all = append(all, j.String())
		}
		if len(all) > borderMax {
			return nil, relay.Sorry("the list is too long")
		}
		v, err := json.Marshal(all)
		if err != nil {
			return nil, err
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		err = a.s.Store().Update(nobody, func(r *offline.Records) error {
			r.Put("border", b.key, v)
			return nil
		})
		if err == nil {
			b.set(all)
		}
		return nil, err
	}
}
