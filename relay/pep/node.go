// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// The limits of one account: nobody's nodes may grow without bound.
const (
	nodesMax   = 200
	itemsMax   = 256
	payloadMax = 128 << 10
	nodeMax    = 1 << 20 // bytes, so that an answer with all of them is no flood
	accountMax = 8 << 20
	titleMax   = 256
	groupsMax  = 50
)

// A config is how a node is set up (XEP-0060 §16.4.4).
type config struct {
	Access   string // open, presence, roster, whitelist
	MaxItems int
	Persist  bool
	Last     string            // send_last_published_item
	Next     uint64            // number of the next item
	Bytes    int               `json:",omitempty"` // of all items
	Title    string            `json:",omitempty"`
	Type     string            `json:",omitempty"` // of the payloads
	Expire   int               `json:",omitempty"` // seconds that an item is kept
	Groups   []string          `json:",omitempty"` // who may see, by the roster model
	Who      map[string]string `json:",omitempty"` // affiliations, by bare address
}

// fresh is a node whose maker says nothing about it. A client that publishes its
// keys without options must not hide them (XEP-0384 §5.3.2), and what a person
// keeps for himself is for nobody else (XEP-0223 §3).
func fresh(node string) config {
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
	At  int64 `json:",omitempty"` // when it was published, where items expire
}

func loadConfig(r *offline.Records, node string) (c config, ok bool) {
	b := r.Get("pepnode", node)
	return c, b != nil && json.Unmarshal(b, &c) == nil
}

func saveConfig(r *offline.Records, node string, c config) {
	if b, err := json.Marshal(c); err == nil {
		r.Put("pepnode", node, b)
	}
}

// items are those of a node, the oldest first.
func items(r *offline.Records, node string) (all []item) {
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

func (i *item) element(ns string) *xmpp.Element {
	el := xmpp.El(ns, "item", "id", i.ID)
	if k, err := xmpp.Parse([]byte(i.XML), xmpp.NSClient); i.XML != "" && err == nil {
		el.Add(k)
	}
	return el
}
