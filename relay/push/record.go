// SPDX-License-Identifier: Apache-2.0

package push

import (
	"encoding/json"
	"slices"

	"sotto/offline"
)

// inbox is the mailbox of an account that no device owns, and the key of what
// sessions register that are no devices.
const inbox = ""

// A reg is one way to wake a device (XEP-0357 §5).
type reg struct {
	JID, Node string
	Options   []field `json:",omitempty"`
	Fails     int     `json:",omitempty"` // in a row
}

// A field is one of the publish options, which only the push service reads.
type field struct {
	Var    string
	Values []string
}

// A record is what is known of one device. It holds no time: when somebody got
// mail is forgotten with it (DESIGN §1 P3).
type record struct {
	Regs  []reg
	Told  uint64 `json:",omitempty"` // the first mail that it was last woken for
	Times int    `json:",omitempty"` // how often
}

// load reads a device's record; what cannot be read is none.
func load(rec *offline.Records, key string) (r record) {
	if b := rec.Get(offline.KindPush, key); b != nil && json.Unmarshal(b, &r) != nil {
		return record{}
	}
	return r
}

// every lists the records of an account by device.
func every(rec *offline.Records) map[string]*record {
	all := map[string]*record{}
	rec.Each(offline.KindPush, func(key string, b []byte) bool {
		r := &record{}
		if json.Unmarshal(b, r) != nil {
			r = &record{}
		}
		all[key] = r
		return true
	})
	return all
}

func (r *record) put(rec *offline.Records, key string) {
	if len(r.Regs) == 0 {
		rec.Delete(offline.KindPush, key)
		return
	}
	if b, err := json.Marshal(r); err == nil { // it always is
		rec.Put(offline.KindPush, key, b)
	}
}

// drop takes off what is registered with a service, or with one node of it.
func (r *record) drop(jid string, node *string) {
	r.Regs = slices.DeleteFunc(r.Regs, func(g reg) bool { return g.JID == jid && (node == nil || g.Node == *node) })
}

func (r *record) find(g *reg) *reg {
	for i := range r.Regs {
		if r.Regs[i].JID == g.JID && r.Regs[i].Node == g.Node {
			return &r.Regs[i]
		}
	}
	return nil
}

// keyOf is where the registrations for a mailbox are.
func (p *push) keyOf(sp spot) string {
	devices, err := p.s.Store().Devices(sp.user)
	if err == nil && slices.ContainsFunc(devices, func(d offline.Device) bool { return d.ID == sp.device }) {
		return sp.device
	}
	return inbox
}

func (p *push) recordOf(sp spot) (r record) {
	key := p.keyOf(sp)
	err := p.s.Store().View(sp.user, func(rec *offline.Records) error {
		r = load(rec, key)
		return nil
	})
	if err != nil {
		p.s.Log().Error("who is to be woken", "err", err)
	}
	return r
}

// change edits a device's record, by the store's Later or Update.
func (p *push) change(sp spot, by func(string, func(*offline.Records) error) error, edit func(r *record)) {
	key := p.keyOf(sp)
	err := by(sp.user, func(rec *offline.Records) error {
		if r := load(rec, key); len(r.Regs) > 0 {
			edit(&r)
			r.put(rec, key)
		}
		return nil
	})
	if err != nil {
		p.s.Log().Warn("wake not noted", "err", err)
	}
}
