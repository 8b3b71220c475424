// SPDX-License-Identifier: Apache-2.0

package rsm

import (
	"slices"
	"strconv"

	"sotto/xmpp"
)

// An Ask is what somebody wants of a list.
type Ask struct {
	Max           int // as asked; see Cut
	After, Before string
	Last          bool // the page before Before, or the last one
	Index         int  // -1: not given
}

// Parse reads a <set/>; nil when there is none.
func Parse(el *xmpp.Element) (*Ask, error) {
	if el == nil {
		return nil, nil
	}
	a := &Ask{Max: -1, Index: -1}
	for _, k := range el.Children() {
		n, err := strconv.Atoi(k.Text())
		switch k.Name.Local {
		case "max":
			a.Max = n
		case "index":
			a.Index = n
		case "after":
			a.After, err = k.Text(), nil
		case "before":
			a.Before, a.Last, err = k.Text(), true, nil
		default:
			continue
		}
		if err != nil || n < 0 {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
		}
	}
	return a, nil
}

// Cut says which part of a list is the page, of at most most. Without an Ask
// it is the beginning.
func (a *Ask) Cut(ids []string, most int) (from, to int, err error) {
	n := len(ids)
	if a == nil {
		return 0, min(n, most), nil
	}
	if a.Max >= 0 {
		most = min(a.Max, most)
	}
	to = n
	if from, err = place(ids, a.After, -1); err != nil {
		return 0, 0, err
	}
	from++
	if a.Last {
		if to, err = place(ids, a.Before, n); err != nil {
			return 0, 0, err
		}
		return max(from, to-most, 0), max(from, to), nil
	}
	if a.Index >= 0 {
		if a.Index > n { // XEP-0059 §2.5
			return 0, 0, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
		}
		from = a.Index
	}
	return from, min(to, from+most), nil
}

// place is where an id is in the list (XEP-0059 §2.2).
func place(ids []string, id string, none int) (int, error) {
	if id == "" {
		return none, nil
	}
	i := slices.Index(ids, id)
	if i < 0 {
		return 0, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return i, nil
}

// Set is the <set/> of an answer with ids[from:to].
func Set(ids []string, from, to int) *xmpp.Element {
	set := xmpp.El(xmpp.NSRSM, "set")
	if from < to {
		set.Add(xmpp.El(xmpp.NSRSM, "first", "index", strconv.Itoa(from)).WithText(ids[from]),
			xmpp.El(xmpp.NSRSM, "last").WithText(ids[to-1]))
	}
	return set.Add(xmpp.El(xmpp.NSRSM, "count").WithText(strconv.Itoa(len(ids))))
}
