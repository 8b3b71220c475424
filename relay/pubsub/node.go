// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// A config is how a node is set up (XEP-0060 §16.4.4).
type config struct {
	Access   string // open, presence, roster, authorize, whitelist
	MaxItems int
	Persist  bool
	Last     string            // send_last_published_item
	Next     uint64            // number of the next item
	Bytes    int               `json:",omitempty"` // of all items
	Subs     int               `json:",omitempty"` // how many subscriptions
	Title    string            `json:",omitempty"`
	About    string            `json:",omitempty"` // description
	Type     string            `json:",omitempty"` // of the payloads
	Expire   int               `json:",omitempty"` // seconds that an item is kept
	Groups   []string          `json:",omitempty"` // who may see, by the roster model
	Who      map[string]string `json:",omitempty"` // affiliations, by bare address
	Publish  string            `json:",omitempty"` // publish_model; "": publishers
	Mail     string            `json:",omitempty"` // notification_type; "": headline
	Reply    string            `json:",omitempty"` // itemreply; "": none
	Payload  int               `json:",omitempty"` // max_payload_size; 0: ours
	Creator  string            `json:",omitempty"`
	Made     int64             `json:",omitempty"`

	Mute, Bare            bool `json:",omitempty"` // deliver_notifications, deliver_payloads: not
	NoRetract, NoDelete   bool `json:",omitempty"` // nobody is told
	TellConfig, TellSub   bool `json:",omitempty"` // subscribers and owners are told
	OnlyHere, RejectsFull bool `json:",omitempty"` // presence_based_delivery; publish_node_full
}

// fresh is a node whose maker says nothing about it. At an account, a client
// that publishes its keys without options must not hide them (XEP-0384 §5.3.2),
// and what a person keeps for himself is for nobody else (XEP-0223 §3).
func (p *place) fresh(node string) config {
	if !p.pep {
		return config{Access: "open", MaxItems: itemsUsual, Persist: true, Last: "on_sub"}
	}
	c := config{Access: "presence", MaxItems: 1, Persist: true, Last: "on_sub_and_presence"}
	switch {
	case strings.HasPrefix(node, xmpp.NSOmemoAxolotl+"."), strings.HasPrefix(node, xmpp.NSOmemo2+":"):
		c.Access = "open"
		if node == xmpp.NSOmemo2+":bundles" {
			c.MaxItems = itemsMax
		}
	case node == xmpp.NSBookmarks, node == xmpp.NSDisplayed:
		c.Access, c.MaxItems, c.Last = "whitelist", itemsMax, "never"
	case node == xmpp.NSBookmarksOld:
		c.Access = "whitelist"
	}
	return c
}

// same compares two configurations.
func (c *config) same(d *config) bool {
	a, err1 := json.Marshal(c)
	b, err2 := json.Marshal(d)
	return err1 == nil && err2 == nil && string(a) == string(b)
}

// An item is one published thing; Seq is its place in time.
type item struct {
	ID  string
	Seq uint64
	XML string
	At  int64  `json:",omitempty"` // when it was published
	By  string `json:",omitempty"` // who did
}

func load(r *offline.Records, node string) (c config, ok bool) {
	b := r.Get("pepnode", node)
	return c, b != nil && json.Unmarshal(b, &c) == nil
}

func save(r *offline.Records, node string, c *config) {
	if b, err := json.Marshal(c); err == nil {
		r.Put("pepnode", node, b)
	}
}

// itemsOf are those of a node, the oldest first.
func itemsOf(r *offline.Records, node string) (all []item) {
	r.Each("pep/"+node, func(_ string, v []byte) bool {
		var i item
		if json.Unmarshal(v, &i) == nil {
			all = append(all, i)
		}
		return true
	})
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(a.Seq, b.Seq) })
	return all
}

// unexpired are the items that are still to be shown (XEP-0060 §16.4.4 item_expire).
func (c *config) unexpired(all []item, now time.Time) []item {
	if c.Expire == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(i item) bool { return now.Unix()-i.At >= int64(c.Expire) })
}

// element shows an item, with who published it if the node says so (XEP-0060 §12.17).
func (i *item) element(ns string, c *config) *xmpp.Element {
	el := xmpp.El(ns, "item", "id", i.ID)
	switch c.Reply {
	case "publisher":
		el.Set("publisher", i.By)
	case "owner":
		el.Set("publisher", c.Creator)
	}
	if ns == xmpp.NSPubsubEvent && c.Bare {
		return el // §7.1.2.2
	}
	if k, err := xmpp.Parse([]byte(i.XML), xmpp.NSClient); i.XML != "" && err == nil {
		el.Add(k)
	}
	return el
}

// look reads a node's configuration.
func (b *broker) look(p place, node string) (c config, err error) {
	err = b.s.Store().View(p.owner, func(rec *offline.Records) error {
		var ok bool
		if c, ok = load(rec, node); !ok {
			return notFound()
		}
		return nil
	})
	return c, err
}

// edit changes a node that must be there.
func (b *broker) edit(p place, node string, f func(rec *offline.Records, c *config) error) (c config, err error) {
	err = b.s.Store().Update(p.owner, func(rec *offline.Records) error {
		var ok bool
		if c, ok = load(rec, node); !ok {
			return notFound()
		}
		return f(rec, &c)
	})
	return c, err
}

// A spot is one node of any place.
type spot struct{ owner, node string }

// expires notes that items of a node are over some time.
func (b *broker) expires(owner, node string, c *config, at time.Time) {
	if c.Expire == 0 || !c.Persist {
		return
	}
	b.dueMu.Lock()
	defer b.dueMu.Unlock()
	k, when := spot{owner, node}, at.Add(time.Duration(c.Expire)*time.Second)
	if old, ok := b.due[k]; !ok || when.Before(old) {
		b.due[k] = when
	}
}

// findExpiring looks, after a start, for nodes whose items end.
func (b *broker) findExpiring(context.Context) {
	look := func(owner, node string, v []byte) {
		var c config
		if json.Unmarshal(v, &c) == nil {
			b.expires(owner, node, &c, time.Unix(0, 0))
		}
	}
	err := b.s.Store().View(b.host.owner, func(rec *offline.Records) error {
		rec.Each("pepnode", func(node string, v []byte) bool {
			look(b.host.owner, node, v)
			return true
		})
		return nil
	})
	err = errors.Join(err, b.s.Store().Every("pepnode", look))
	if err != nil {
		b.s.Log().Error("nodes whose items end", "err", err)
	}
}

// pruneMost is how many nodes are cleaned at a time.
const pruneMost = 200

// prune takes items off the disk whose time is up.
func (b *broker) prune(now time.Time) {
	var some []spot
	b.dueMu.Lock()
	for k, when := range b.due {
		if !now.Before(when) && len(some) < pruneMost {
			some = append(some, k)
			delete(b.due, k)
		}
	}
	b.dueMu.Unlock()
	for _, k := range some {
		if err := b.pruneOne(k, now); err != nil {
			b.s.Log().Error("items whose time is up", "err", err)
		}
	}
}

func (b *broker) pruneOne(k spot, now time.Time) error {
	var c config
	var over, left []item
	err := b.s.Store().View(k.owner, func(rec *offline.Records) error {
		c, _ = load(rec, k.node)
		all := itemsOf(rec, k.node)
		left = c.unexpired(slices.Clone(all), now)
		over = all[:len(all)-len(left)] // the oldest
		return nil
	})
	if err != nil || c.Access == "" {
		return err
	}
	if len(left) > 0 {
		b.expires(k.owner, k.node, &c, time.Unix(left[0].At, 0))
	}
	if len(over) == 0 {
		return nil
	}
	p := b.host
	if k.owner != b.host.owner {
		p = b.of(k.owner)
	}
	was := c.Next
	_, err = b.edit(p, k.node, func(rec *offline.Records, c *config) error {
		if c.Next != was { // somebody publishes: the next time
			b.expires(k.owner, k.node, c, time.Unix(over[0].At, 0))
			return nil
		}
		size := 0
		for i := range over {
			rec.Delete("pep/"+k.node, over[i].ID)
			size += len(over[i].XML)
		}
		c.Next++
		c.Bytes = max(0, c.Bytes-size)
		save(rec, k.node, c)
		return p.publishes(rec, c.Creator, 0, -size)
	})
	return err
}
