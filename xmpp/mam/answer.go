// SPDX-License-Identifier: Apache-2.0

package mam

import (
	"strconv"
	"time"

	"sotto/xmpp"
)

// A Page is what the end of an answer says of the results before it.
type Page struct {
	Complete     bool
	First, Last  string // archive ids
	Count, Index int    // -1: unknown
}

// Stamp writes a moment as archives show it (XEP-0082 §3.2).
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Result is one message of an answer (XEP-0313 §4.2).
func (q *Query) Result(owner string, to xmpp.JID, msgID, id string, at time.Time, message *xmpp.Element) *xmpp.Element {
	return xmpp.El(xmpp.NSClient, "message", "from", owner, "to", to.String(), "id", msgID).Add(
		xmpp.El(xmpp.NSMAM, "result", "queryid", q.ID, "id", id).Add(
			xmpp.El(xmpp.NSForward, "forwarded").Add(
				xmpp.El(xmpp.NSDelay, "delay", "stamp", Stamp(at)), message)))
}

// Fin ends an answer (XEP-0313 §4.3). The last page has no index, which is
// optional: slixmpp 1.17 takes the end of the list for the end of its way back.
func (q *Query) Fin(p Page) *xmpp.Element {
	set := xmpp.El(xmpp.NSRSM, "set")
	if p.First != "" {
		first := xmpp.El(xmpp.NSRSM, "first").WithText(p.First)
		if p.Index >= 0 && !q.Last {
			first.Set("index", strconv.Itoa(p.Index))
		}
		set.Add(first)
	}
	if p.Last != "" {
		set.Add(xmpp.El(xmpp.NSRSM, "last").WithText(p.Last))
	}
	if p.Count >= 0 {
		set.Add(xmpp.El(xmpp.NSRSM, "count").WithText(strconv.Itoa(p.Count)))
	}
	fin := xmpp.El(xmpp.NSMAM, "fin")
	if p.Complete {
		fin.Set("complete", "true")
	}
	return fin.Add(set)
}

// An End is the first or the last message of an archive.
type End struct {
	ID string
	At time.Time
}

// Metadata says where an archive begins and ends; an empty one has neither
// (XEP-0313 §5).
func Metadata(first, last *End) *xmpp.Element {
	el := xmpp.El(xmpp.NSMAM, "metadata")
	if first != nil {
		el.Add(xmpp.El(xmpp.NSMAM, "start", "id", first.ID, "timestamp", Stamp(first.At)))
	}
	if last != nil {
		el.Add(xmpp.El(xmpp.NSMAM, "end", "id", last.ID, "timestamp", Stamp(last.At)))
	}
	return el
}
