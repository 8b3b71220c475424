// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"cmp"
	"encoding/json"
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
