// SPDX-License-Identifier: Apache-2.0

package pep

import (
	"slices"
	"strconv"

	"sotto/xmpp"
)

const nodeConfig = xmpp.NSPubsub + "#node_config"

// form shows the configuration (XEP-0060 §8.2).
func (c *config) form() *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "form")
	field := func(name, typ, value string) {
		x.Add(xmpp.El(xmpp.NSData, "field", "var", name, "type", typ).Add(xmpp.El(xmpp.NSData, "value").WithText(value)))
	}
	field("FORM_TYPE", "hidden", nodeConfig)
	field("pubsub#title", "text-single", c.Title)
	field("pubsub#type", "text-single", c.Type)
	field("pubsub#access_model", "list-single", c.Access)
	groups := xmpp.El(xmpp.NSData, "field", "var", "pubsub#roster_groups_allowed", "type", "list-multi")
	for _, g := range c.Groups {
		groups.Add(xmpp.El(xmpp.NSData, "value").WithText(g))
	}
	x.Add(groups)
	field("pubsub#item_expire", "text-single", strconv.Itoa(c.Expire))
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
		known := true
		var err error
		switch f.Get("var") {
		case "FORM_TYPE", "":
		case "pubsub#access_model":
			c.Access, err = oneOf(v, "open", "presence", "roster", "whitelist")
		case "pubsub#roster_groups_allowed":
			c.Groups, err = values(f)
		case "pubsub#max_items":
			c.MaxItems, err = number(v, itemsMax, 1)
		case "pubsub#item_expire":
			c.Expire, err = number(v, 0, 0)
		case "pubsub#persist_items":
			c.Persist = v == "1" || v == "true"
		case "pubsub#send_last_published_item":
			c.Last, err = oneOf(v, "never", "on_sub", "on_sub_and_presence")
		case "pubsub#title":
			c.Title, err = v, short(v)
		case "pubsub#type":
			c.Type, err = v, short(v)
		case "pubsub#deliver_payloads", "pubsub#notify_retract", "pubsub#notify_delete", "pubsub#deliver_notifications":
			known = v == "1" || v == "true"
		case "pubsub#publish_model":
			known = v == "publishers"
		default:
			known = false
		}
		if err != nil {
			return err
		}
		if strict && !known {
			return unmet()
		}
	}
	return nil
}

func oneOf(v string, all ...string) (string, error) {
	if !slices.Contains(all, v) {
		return "", xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	return v, nil
}

// number reads a count; "max" is the most that there may be, 0 = no limit.
func number(v string, most, least int) (int, error) {
	n, err := strconv.Atoi(v)
	if v == "max" || v == "" {
		n, err = most, nil
	}
	if err != nil || n < least {
		return 0, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	if most > 0 {
		n = min(n, most)
	}
	return n, nil
}

func short(v string) error {
	if len(v) > titleMax {
		return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
	}
	return nil
}

func values(f *xmpp.Element) (all []string, err error) {
	for _, k := range f.Children() {
		all = append(all, k.Text())
		if len(all) > groupsMax || len(k.Text()) > 1023 {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
		}
	}
	return all, nil
}

// unmet is XEP-0060 §7.1.5.
func unmet() error {
	return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict).With(xmpp.El(xmpp.NSPubsubErrors, "precondition-not-met"))
}
