// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"slices"
	"strconv"

	"sotto/xmpp"
)

const nodeConfig = xmpp.NSPubsub + "#node_config"

// A field is one thing that may be set of a node (XEP-0060 §16.4.4).
type field struct {
	name, typ string
	options   []string
	host      bool // only at the service
	get       func(c *config) string
	set       func(c *config, v string) error
}

// fields in the order in which a form shows them. Roster groups are beside
// them, for they are many values.
var fields = []field{
	text("title", func(c *config) *string { return &c.Title }),
	text("description", func(c *config) *string { return &c.About }),
	text("type", func(c *config) *string { return &c.Type }),
	{"node_type", "list-single", []string{"leaf"}, false, func(*config) string { return "leaf" }, leaf},
	{"access_model", "list-single", []string{"authorize", "open", "presence", "roster", "whitelist"}, false,
		func(c *config) string { return c.Access }, func(c *config, v string) error { c.Access = v; return nil }},
	choice("publish_model", "publishers", func(c *config) *string { return &c.Publish }, "publishers", "subscribers", "open"),
	{"max_items", "text-single", nil, false, func(c *config) string { return strconv.Itoa(c.MaxItems) },
		func(c *config, v string) (err error) { c.MaxItems, err = number(v, itemsMax, 1); return err }},
	{"item_expire", "text-single", nil, false, func(c *config) string { return strconv.Itoa(c.Expire) },
		func(c *config, v string) (err error) { c.Expire, err = number(v, 0, 0); return err }},
	{"max_payload_size", "text-single", nil, false, func(c *config) string { return strconv.Itoa(c.payloadMax()) },
		func(c *config, v string) (err error) { c.Payload, err = number(v, payloadMax, 1); return err }},
	flag("persist_items", false, func(c *config) *bool { return &c.Persist }),
	flag("deliver_payloads", true, func(c *config) *bool { return &c.Bare }),
	flag("deliver_notifications", true, func(c *config) *bool { return &c.Mute }),
	flag("notify_retract", true, func(c *config) *bool { return &c.NoRetract }),
	flag("notify_delete", true, func(c *config) *bool { return &c.NoDelete }),
	flag("notify_config", false, func(c *config) *bool { return &c.TellConfig }),
	flag("notify_sub", false, func(c *config) *bool { return &c.TellSub }).only(),
	flag("presence_based_delivery", false, func(c *config) *bool { return &c.OnlyHere }).only(),
	choice("notification_type", "headline", func(c *config) *string { return &c.Mail }, "headline", "normal", "chat").only(),
	choice("itemreply", "none", func(c *config) *string { return &c.Reply }, "none", "owner", "publisher"),
	{"send_last_published_item", "list-single", []string{"never", "on_sub", "on_sub_and_presence"}, false,
		func(c *config) string { return c.Last }, func(c *config, v string) error { c.Last = v; return nil }},
	{"publish_node_full", "list-single", []string{"discard-oldest", "reject"}, false,
		func(c *config) string { return map[bool]string{true: "reject", false: "discard-oldest"}[c.RejectsFull] },
		func(c *config, v string) error { c.RejectsFull = v == "reject"; return nil }},
}

func (f field) only() field { f.host = true; return f }

func text(name string, at func(c *config) *string) field {
	return field{name, "text-single", nil, false, func(c *config) string { return *at(c) }, func(c *config, v string) error {
		*at(c) = v
		return short(v)
	}}
}

// choice is one word of several; the usual one is kept as none.
func choice(name, usual string, at func(c *config) *string, all ...string) field {
	return field{name, "list-single", all, false,
		func(c *config) string {
			if *at(c) == "" {
				return usual
			}
			return *at(c)
		},
		func(c *config, v string) error {
			if v == usual {
				v = ""
			}
			*at(c) = v
			return nil
		}}
}

func flag(name string, not bool, at func(c *config) *bool) field {
	return field{name, "boolean", nil, false,
		func(c *config) string { return bit(*at(c) != not) },
		func(c *config, v string) error { *at(c) = yes(v) != not; return nil }}
}

// leaf refuses collections, which we do not have (XEP-0248 §4).
func leaf(_ *config, v string) error {
	if v != "leaf" {
		return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented).With(fault("unsupported").Set("feature", "collections"))
	}
	return nil
}

func yes(v string) bool { return v == "1" || v == "true" }

func bit(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func (c *config) payloadMax() int {
	if c.Payload == 0 {
		return payloadMax
	}
	return c.Payload
}

func value(v string) *xmpp.Element { return xmpp.El(xmpp.NSData, "value").WithText(v) }

func formField(name, typ string, values ...string) *xmpp.Element {
	f := xmpp.El(xmpp.NSData, "field", "var", name, "type", typ)
	for _, v := range values {
		f.Add(value(v))
	}
	return f
}

// models are the access models that a place knows: only a service can ask an
// owner for approval (XEP-0060 §8.6).
func (p *place) models(f *field) []string {
	if p.pep && f.name == "access_model" {
		return f.options[1:]
	}
	return f.options
}

// form shows the configuration (§8.2).
func (p *place) form(c *config, typ string) *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", typ).Add(formField("FORM_TYPE", "hidden", nodeConfig))
	for i := range fields {
		f := &fields[i]
		if f.host && p.pep {
			continue
		}
		el := formField("pubsub#"+f.name, f.typ, f.get(c))
		if typ == "form" {
			for _, o := range p.models(f) {
				el.Add(xmpp.El(xmpp.NSData, "option").Add(value(o)))
			}
		}
		x.Add(el)
	}
	return x.Add(formField("pubsub#roster_groups_allowed", "list-multi", c.Groups...))
}

// readForm takes the fields that a form sets. Fields that we do not keep are
// passed over in a configuration, but a precondition on one cannot hold.
func (p *place) readForm(c *config, form *xmpp.Element, strict bool) error {
	for _, el := range form.Children() {
		name, v := el.Get("var"), el.Child(xmpp.NSData, "value").Text()
		if name == "FORM_TYPE" || !el.Is(xmpp.NSData, "field") {
			continue
		}
		known, err := p.readField(c, el, name, v)
		if err != nil {
			return err
		}
		if strict && !known {
			return unmet()
		}
	}
	return nil
}

func (p *place) readField(c *config, el *xmpp.Element, name, v string) (known bool, err error) {
	if name == "pubsub#roster_groups_allowed" {
		c.Groups, err = values(el)
		return true, err
	}
	for i := range fields {
		f := &fields[i]
		if "pubsub#"+f.name != name || f.host && p.pep {
			continue
		}
		if o := p.models(f); o != nil && f.name != "node_type" && !slices.Contains(o, v) {
			if f.name == "publish_node_full" && v == "retract-oldest" {
				return true, nil // the default word for what we do (§7.1.2.5)
			}
			no := xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
			if f.name == "access_model" { // §8.1.2
				no.With(fault("unsupported-access-model"))
			}
			return true, no
		}
		return true, f.set(c, v)
	}
	return false, nil
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
		if !k.Is(xmpp.NSData, "value") {
			continue
		}
		all = append(all, k.Text())
		if len(all) > groupsMax || len(k.Text()) > 1023 {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable)
		}
	}
	return all, nil
}

// unmet is XEP-0060 §7.1.5.
func unmet() error {
	return xmpp.Refuse(xmpp.Cancel, xmpp.Conflict).With(fault("precondition-not-met"))
}
