// SPDX-License-Identifier: Apache-2.0

package block

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// What is kept of reports: so many of one person, so long, with so many words.
const (
	reportsMax = 50
	reportLife = 90 * 24 * time.Hour
	textMax    = 1000
	idsMax     = 20
)

// A Report is what somebody told the operator about whom he blocked (XEP-0377).
type Report struct {
	At           time.Time
	By, About    string
	Reason, Text string
	Messages     []string // ids of stanzas
}

// report keeps the reports inside a block request. One that makes no sense is
// passed over: the block counts (XEP-0377 §5).
func (b *block) report(rec *offline.Records, el *xmpp.Element) {
	now := b.s.Now()
	var all []string
	rec.Each("report", func(key string, v []byte) bool {
		var r Report
		if json.Unmarshal(v, &r) != nil || now.Sub(r.At) > reportLife {
			rec.Delete("report", key)
			return true
		}
		all = append(all, key)
		return true
	})
	slices.Sort(all)
	for _, item := range el.Children() {
		r, ok := readReport(item)
		if !ok {
			continue
		}
		r.At = now
		v, err := json.Marshal(r)
		if err != nil {
			continue
		}
		key := now.UTC().Format("20060102T150405.000000000") + " " + relay.NewID()
		rec.Put("report", key, v)
		all = append(all, key)
		for len(all) > reportsMax {
			rec.Delete("report", all[0])
			all = all[1:]
		}
	}
}

// toOperator tells those who run the server of new reports.
func (b *block) toOperator(r *relay.Request) {
	for _, item := range r.Payload.Children() {
		if k, ok := readReport(item); ok {
			_, why, _ := strings.Cut(k.Reason, "reporting:")
			b.s.Tell(r.From.Bare().String() + " reports " + k.About + ": " + cmp.Or(why, k.Reason) + " (sottod reports lists all)")
		}
	}
}

func readReport(item *xmpp.Element) (r Report, ok bool) {
	el := item.Child(xmpp.NSReport, "report")
	j, err := xmpp.ParseJID(item.Get("jid"))
	r.Reason = el.Get("reason")
	if el == nil || err != nil || r.Reason == "" || len(r.Reason) > 200 {
		return r, false
	}
	r.About = j.String()
	for _, k := range el.Children() {
		switch {
		case k.Is(xmpp.NSReport, "text") && r.Text == "":
			r.Text = strings.ToValidUTF8(k.Text()[:min(len(k.Text()), textMax)], "")
		case k.Is(xmpp.NSSID, "stanza-id") && len(r.Messages) < idsMax && len(k.Get("id")) <= 200:
			r.Messages = append(r.Messages, k.Get("id"))
		}
	}
	return r, true
}

// Reports lists what people reported, the oldest first.
func Reports(st *offline.Store) (all []Report, err error) {
	err = st.Every("report", func(user, _ string, v []byte) {
		var r Report
		if json.Unmarshal(v, &r) == nil {
			r.By = user
			all = append(all, r)
		}
	})
	slices.SortFunc(all, func(a, b Report) int { return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.By, b.By)) })
	return all, err
}
