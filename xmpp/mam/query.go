// SPDX-License-Identifier: Apache-2.0

package mam

import (
	"strconv"
	"strings"
	"time"

	"sotto/xmpp"
)

// How many messages one page has, and the most that it may have.
const (
	pageUsual = 100
	pageMax   = 250
	idsMax    = 500
	wordsMax  = 16 // that are looked for at once
)

// NSText is full text search (XEP-0431 §2.1).
const NSText = "urn:xmpp:fulltext:0"

// Find is what a query asks for.
type Find struct {
	With          string // a bare or a full address; "" = anybody
	Start, End    time.Time
	After, Before string   // archive ids that narrow what counts
	IDs           []string // only these
	Max           int
	Last          bool     // the end of the list, not its beginning
	From          string   // the page begins behind this id, or with Last ends before it
	Text          []string // words, in small letters, that the body must have
}

// A Query is one question to an archive.
type Query struct {
	Find
	ID   string // goes into each result
	Flip bool   // results are sent backwards
}

func wrong(text string) error { return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).Say(text) }

// Parse reads a <query/> (XEP-0313 §4).
func Parse(el *xmpp.Element) (*Query, error) {
	q := &Query{ID: el.Get("queryid")}
	q.Max = pageUsual
	if el.Get("node") != "" { // XEP-0442 §2: archives of nodes
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
	}
	for _, k := range el.Children() {
		var err error
		switch {
		case k.Is(xmpp.NSData, "x"):
			err = q.form(k)
		case k.Is(xmpp.NSRSM, "set"):
			err = q.set(k)
		case k.Is(xmpp.NSMAM, "flip-page"):
			q.Flip = true
		}
		if err != nil {
			return nil, err
		}
	}
	return q, nil
}

// form reads the filters (XEP-0313 §4.1).
func (q *Query) form(x *xmpp.Element) error {
	typ := ""
	for _, f := range x.Children() {
		if !f.Is(xmpp.NSData, "field") {
			continue
		}
		var values []string
		for _, v := range f.Children() {
			if t := strings.TrimSpace(v.Text()); v.Is(xmpp.NSData, "value") && t != "" {
				values = append(values, t)
			}
		}
		if f.Get("var") == "FORM_TYPE" {
			typ = strings.Join(values, "")
			continue
		}
		if err := q.field(f.Get("var"), values); err != nil {
			return err
		}
	}
	if typ != xmpp.NSMAM || x.Get("type") != "submit" {
		return wrong("the form is not one for archives")
	}
	return nil
}

func (q *Query) field(name string, values []string) (err error) {
	one := ""
	if len(values) > 0 {
		one = values[0]
	}
	switch name {
	case "with":
		if one == "" {
			return nil
		}
		j, err := xmpp.ParseJID(one)
		if err != nil {
			return xmpp.Refuse(xmpp.Modify, xmpp.JIDMalformed)
		}
		q.With = j.String()
	case "start":
		q.Start, err = moment(one)
	case "end":
		q.End, err = moment(one)
	case "after-id":
		q.After = one
	case "before-id":
		q.Before = one
	case "ids":
		if len(values) > idsMax {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("too many ids in one query")
		}
		q.IDs = values
	case "{" + NSText + "}fulltext": // XEP-0431 §3.1
		q.Text = strings.Fields(strings.ToLower(one))
		if len(q.Text) > wordsMax || len(one) > 1024 {
			return xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("too many words in one query")
		}
	default: // XEP-0313 §4.1.5: a field that we do not know
		return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
	}
	return err
}

// moment reads a DateTime (XEP-0082 §3.2).
func moment(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}, wrong("start and end are times like 2002-09-10T23:41:07Z")
	}
	return t, nil
}

// set reads which page is wanted (XEP-0059 §2).
func (q *Query) set(el *xmpp.Element) error {
	for _, k := range el.Children() {
		text := strings.TrimSpace(k.Text())
		switch k.Name.Local {
		case "max":
			n, err := strconv.ParseUint(text, 10, 63)
			if err != nil {
				return wrong("max is a number")
			}
			q.Max = int(min(n, pageMax)) // XEP-0313 §4.3: a reasonable limit
		case "index": // XEP-0059 §2.6
			return xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented)
		}
	}
	after, before := el.Child(xmpp.NSRSM, "after"), el.Child(xmpp.NSRSM, "before")
	q.From = strings.TrimSpace(after.Text())
	if before == nil {
		return nil
	}
	if q.From != "" { // together, they are a range
		if q.After != "" && q.After != q.From {
			return wrong("give after or after-id, not both")
		}
		q.After = q.From
	}
	q.Last, q.From = true, strings.TrimSpace(before.Text())
	return nil
}

// Form lists the fields that a query may have (XEP-0313 §4.1.5); words says
// whether they can be looked for.
func Form(words bool) *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "form").Add(
		xmpp.El(xmpp.NSData, "field", "type", "hidden", "var", "FORM_TYPE").Add(xmpp.El(xmpp.NSData, "value").WithText(xmpp.NSMAM)),
		xmpp.El(xmpp.NSData, "field", "type", "jid-single", "var", "with"))
	for _, name := range []string{"start", "end", "before-id", "after-id"} {
		x.Add(xmpp.El(xmpp.NSData, "field", "type", "text-single", "var", name))
	}
	if words {
		x.Add(xmpp.El(xmpp.NSData, "field", "type", "text-single", "var", "{"+NSText+"}fulltext"))
	}
	ids := xmpp.El(xmpp.NSData, "field", "type", "list-multi", "var", "ids").Add(
		xmpp.El(xmpp.NSValidate, "validate", "datatype", "xs:string").Add(xmpp.El(xmpp.NSValidate, "open")))
	return xmpp.El(xmpp.NSMAM, "query").Add(x.Add(ids))
}
