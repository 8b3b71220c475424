// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"cmp"
	"encoding/json"
	"slices"
	"strconv"

	"sotto/offline"
	"sotto/xmpp"
)

// The limits of one account: nobody's nodes may grow without bound.
const (
	nodesMax   = 200
	itemsMax   = 256
	payloadMax = 64 << 10
)

// A config is how a node is set up (XEP-0060 §16.4.4).
type config struct {
	Access   string // open, presence, whitelist
	MaxItems int
	Persist  bool
	Last     string // send_last_published_item
	Next     uint64 // number of the next item
}

func fresh() config {
	return config{Access: "presence", MaxItems: 1, Persist: true, Last: "on_sub_and_presence"}
}

// An item is one published thing; Seq is its place in time.
type item struct {
	ID  string
	Seq uint64
	XML string
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

func (i *item) element(ns string) *xmpp.Element {
	el := xmpp.El(ns, "item", "id", i.ID)
	if k, err := xmpp.Parse([]byte(i.XML), xmpp.NSClient); i.XML != "" && err == nil {
		el.Add(k)
	}
	return el
}

const nodeConfig = xmpp.NSPubsub + "#node_config"

// form shows the configuration (XEP-0060 §8.2).
func (c *config) form() *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "form")
	field := func(name, typ, value string) {
		x.Add(xmpp.El(xmpp.NSData, "field", "var", name, "type", typ).Add(xmpp.El(xmpp.NSData, "value").WithText(value)))
	}
	field("FORM_TYPE", "hidden", nodeConfig)
	field("pubsub#access_model", "list-single", c.Access)
	field("pubsub#max_items", "text-single", strconv.Itoa(c.MaxItems))
	field("pubsub#persist_items", "boolean", bit(c.Persist))
	field("pubsub#send_last_published_item", "list-single", c.Last)
	return x
}

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// read takes the fields that a form sets. Fields that we do not keep are
// passed over in a configuration, but a precondition on one cannot hold.
func (c *config) read(form *xmpp.Element, strict bool) error {
	for _, f := range form.Children() {
		v := f.Child(xmpp.NSData, "value").Text()
		switch f.Get("var") {
		case "FORM_TYPE", "":
		case "pubsub#access_model":
			if v != "open" && v != "presence" && v != "whitelist" {
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("access models are open, presence and whitelist")
			}
			c.Access = v
		case "pubsub#max_items":
			n, err := strconv.Atoi(v)
			if v == "max" {
				n, err = itemsMax, nil
			}
			if err != nil || n < 1 {
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			}
			c.MaxItems = min(n, itemsMax)
		case "pubsub#persist_items":
			c.Persist = v == "1" || v == "true"
		case "pubsub#send_last_published_item":
			if v != "never" && v != "on_sub" && v != "on_sub_and_presence" {
				return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			}
			c.Last = v
		case "pubsub#deliver_payloads", "pubsub#notify_retract", "pubsub#deliver_notifications":
			if strict && v != "1" && v != "true" {
				return unmet()
			}
		default:
			if strict {
				return unmet()
			}
		}
	}
	return nil
}

// unmet is XEP-0060 §7.1.5.
func unmet() error {
	return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict).With(xmpp.El(xmpp.NSPubsubErrors, "precondition-not-met"))
}
