// SPDX-License-Identifier: Apache-2.0

package muc

import (
	"slices"
	"strconv"
	"strings"

	"sotto/relay"
	"sotto/xmpp"
	"sotto/xmpp/rsm"
)

// A find is a room that wants to be found.
type find struct {
	name, addr string
	entry
}

// finds lists them by their names.
func (v *service) finds() (all []find) {
	v.listMu.Lock()
	for name, n := range v.index {
		if !n.Hidden {
			all = append(all, find{name, xmpp.JID{Local: name, Domain: v.jid.Domain}.String(), n})
		}
	}
	v.listMu.Unlock()
	slices.SortFunc(all, func(a, b find) int { return strings.Compare(a.name, b.name) })
	for i := range all {
		if all[i].Title == "" {
			all[i].Title = all[i].name
		}
	}
	return all
}

// page cuts a list of rooms as asked for (XEP-0059 §2); set is nil when nothing
// was asked and nothing is left out.
func page(q *xmpp.Element, all []find, most int) (some []find, set *xmpp.Element, err error) {
	ask, err := rsm.Parse(q.Child(xmpp.NSRSM, "set"))
	if err != nil || ask == nil && len(all) <= most {
		return all, nil, err
	}
	ids := make([]string, len(all))
	for i := range all {
		ids[i] = all[i].addr
	}
	from, to, err := ask.Cut(ids, most)
	if err != nil {
		return nil, nil, err
	}
	return all[from:to], rsm.Set(ids, from, to), nil
}

// roomList is §6.3.
func (v *service) roomList(ask *xmpp.Element) (*xmpp.Element, error) {
	all, set, err := page(ask, v.finds(), itemsShown)
	if err != nil {
		return nil, err
	}
	q := xmpp.El(xmpp.NSDiscoItems, "query")
	for _, f := range all {
		q.Add(xmpp.El(xmpp.NSDiscoItems, "item", "jid", f.addr, "name", f.Title))
	}
	return q.Add(set), nil
}

// The words of a search for rooms (XEP-0433 §4.2).
const (
	nsFind     = "urn:xmpp:channel-search:0:search"
	nsFindForm = "urn:xmpp:channel-search:0:search-params"
	nsFindErr  = "urn:xmpp:channel-search:0:error"
	byUsers    = "{urn:xmpp:channel-search:0:order}nusers"
	byAddress  = "{urn:xmpp:channel-search:0:order}address"
	findsShown = 100
	costFind   = 20
)

// findForm is §4.2.1.
func findForm() *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "form")
	field := func(name, typ, value, label string, options ...string) {
		f := xmpp.El(xmpp.NSData, "field", "var", name, "type", typ, "label", label)
		for _, v := range options {
			f.Add(xmpp.El(xmpp.NSData, "option").Add(xmpp.El(xmpp.NSData, "value").WithText(v)))
		}
		if value != "" {
			f.Add(xmpp.El(xmpp.NSData, "value").WithText(value))
		}
		x.Add(f)
	}
	field("FORM_TYPE", "hidden", nsFindForm, "")
	field("q", "text-single", "", "Search for")
	field("all", "boolean", "", "All rooms")
	field("sinname", "boolean", "1", "Search in names")
	field("sindescription", "boolean", "1", "Search in descriptions")
	field("sinaddress", "boolean", "1", "Search in addresses")
	field("min_users", "text-single", "0", "At least so many people")
	field("types", "list-multi", "xep-0045", "Kinds", "xep-0045")
	field("key", "list-single", byUsers, "Order", byUsers, byAddress)
	return xmpp.El(nsFind, "search").Add(x)
}

// searchRooms is XEP-0433 §4.2 among the rooms here.
func (v *service) searchRooms(e *relay.Errand, q *xmpp.Element) (*xmpp.Element, error) {
	x := q.Child(xmpp.NSData, "x")
	if x == nil {
		return findForm(), nil
	}
	if v.spend(e.From, costFind) != nil { // §4.2.2.4
		return nil, xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint).With(xmpp.El(nsFindErr, "rate-limit", "retry-after", "10"))
	}
	form := map[string]string{"sinname": "1", "sindescription": "1", "sinaddress": "1", "key": byUsers}
	for _, f := range x.Children() {
		form[f.Get("var")] = f.Child(xmpp.NSData, "value").Text()
	}
	words, err := terms(form)
	if err != nil {
		return nil, err
	}
	people := v.people()
	least, _ := strconv.Atoi(form["min_users"]) // what is no number asks for nothing
	all := slices.DeleteFunc(v.finds(), func(f find) bool { return people[f.name] < least || !f.has(words, form) })
	if form["key"] == byUsers {
		slices.SortStableFunc(all, func(a, b find) int { return people[b.name] - people[a.name] })
	}
	all, set, err := page(q, all, findsShown)
	if err != nil {
		return nil, err
	}
	res := xmpp.El(nsFind, "result")
	for _, f := range all {
		item := xmpp.El(nsFind, "item", "address", f.addr).Add(xmpp.El(nsFind, "name").WithText(f.Title))
		if f.About != "" {
			item.Add(xmpp.El(nsFind, "description").WithText(f.About))
		}
		item.Add(xmpp.El(nsFind, "nusers").WithText(strconv.Itoa(people[f.name])), xmpp.El(nsFind, "service-type").WithText("xep-0045"))
		if !f.Closed {
			item.Add(xmpp.El(nsFind, "is-open"))
		}
		res.Add(item)
	}
	return res.Add(set), nil
}

// terms are the words of a search, none for all rooms, or why it is none.
func terms(form map[string]string) ([]string, error) {
	all := form["all"] == "1" || form["all"] == "true"
	words := strings.Fields(strings.ToLower(form["q"]))
	switch {
	case form["key"] != byUsers && form["key"] != byAddress: // §4.2.2.2
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.FeatureNotImplemented).With(xmpp.El(nsFindErr, "invalid-sort-key"))
	case all && form["q"] != "": // §4.2.2.6
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(nsFindErr, "conflicting-fields").Add(
			xmpp.El(nsFindErr, "var").WithText("all"), xmpp.El(nsFindErr, "var").WithText("q")))
	case !all && form["q"] == "": // §4.2.2.7
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.BadRequest).With(xmpp.El(nsFindErr, "no-search-conditions"))
	case !all && (len(words) == 0 || len(words) > wordsMax || len(form["q"]) > 1024): // §4.2.2.3
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(xmpp.El(nsFindErr, "invalid-search-terms"))
	}
	return words, nil
}

const wordsMax = 16

// has says whether a room has all the words where one looks for them.
func (f *find) has(words []string, form map[string]string) bool {
	if len(words) == 0 {
		return true
	}
	var in strings.Builder
	for name, text := range map[string]string{"sinname": f.Title, "sindescription": f.About, "sinaddress": f.addr} {
		if form[name] == "1" || form[name] == "true" {
			in.WriteString(text + " ")
		}
	}
	text := strings.ToLower(in.String())
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}

// people counts who is in each room.
func (v *service) people() map[string]int {
	type place struct {
		who xmpp.JID
		r   *room
	}
	seen, n := map[place]bool{}, map[string]int{}
	v.listMu.Lock()
	defer v.listMu.Unlock()
	for who, rooms := range v.seats {
		for r := range rooms {
			if p := (place{who.Bare(), r}); !seen[p] {
				seen[p] = true
				n[r.name]++
			}
		}
	}
	return n
}
