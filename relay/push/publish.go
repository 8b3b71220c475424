// SPDX-License-Identifier: Apache-2.0

package push

import (
	"container/heap"
	"errors"
	"time"

	"sotto/relay"
	"sotto/xmpp"
)

// A result is what came of one wake.
type result struct {
	spot
	reg   reg
	gone  bool          // the registration is worth nothing any more
	again bool          // it failed, and is tried again
	ours  bool          // it failed by our own fault
	after time.Duration // not before; 0: as we like
}

// failsMax is how many temporary failures in a row end a registration
// (XEP-0357 §7.1).
const failsMax = 14

// send hands a wake to its service.
func (p *push) send(sp spot, g reg, ring bool) {
	if p.post != nil && g.JID == p.host.String() {
		p.carry(&job{spot: sp, reg: g, ring: ring, target: g.target()})
		return
	}
	el := publish(&g)
	err := p.s.Query(el, func(st *xmpp.Stanza) {
		res := result{spot: sp, reg: g, again: st == nil}
		if st != nil && st.Type == "error" {
			if el, err := st.Element(); err == nil {
				res.judge(xmpp.StanzaErrorOf(el))
			}
		}
		p.report(res)
	})
	if err != nil {
		res := result{spot: sp, reg: g}
		no, _ := errors.AsType[*xmpp.StanzaError](err)
		res.judge(no)
		p.report(res)
	}
}

// judge tells errors that pass from others.
func (r *result) judge(no *xmpp.StanzaError) {
	if no == nil {
		r.again = true
		return
	}
	switch no.Cond {
	case xmpp.RemoteServerNotFound, xmpp.ServiceUnavailable, "remote-server-timeout", xmpp.InternalError, xmpp.ResourceConstraint, xmpp.RecipientUnavailable:
		r.again = true
	default:
		r.again = no.Type == xmpp.Wait
		r.gone = !r.again
	}
}

// words stand where the text of a message would: services for iOS take a wake
// without any for one that need not be shown, and let it wait for hours.
const words = "New message"

// publish is XEP-0357 §7. Of what the summary may say there is only that
// something waits: the count is always one, and the words are the same.
func publish(g *reg) *xmpp.Element {
	form := func(typ string) *xmpp.Element {
		x := xmpp.El(xmpp.NSData, "x", "type", "submit")
		return x.Add(xmpp.El(xmpp.NSData, "field", "var", "FORM_TYPE", "type", "hidden").Add(value(typ)))
	}
	sum := form(xmpp.NSPushSummary).Add(xmpp.El(xmpp.NSData, "field", "var", "message-count").Add(value("1")),
		xmpp.El(xmpp.NSData, "field", "var", "last-message-body").Add(value(words)))
	pub := xmpp.El(xmpp.NSPubsub, "publish")
	if g.Node != "" {
		pub.Set("node", g.Node)
	}
	pub.Add(xmpp.El(xmpp.NSPubsub, "item").Add(xmpp.El(xmpp.NSPush, "notification").Add(sum)))
	all := xmpp.El(xmpp.NSPubsub, "pubsub").Add(pub)
	if len(g.Options) > 0 {
		x := form(xmpp.NSPubsubOptions)
		for _, f := range g.Options {
			el := xmpp.El(xmpp.NSData, "field", "var", f.Var)
			for _, v := range f.Values {
				el.Add(value(v))
			}
			x.Add(el)
		}
		all.Add(xmpp.El(xmpp.NSPubsub, "publish-options").Add(x))
	}
	return xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", relay.NewID(), "to", g.JID).Add(all)
}

func value(s string) *xmpp.Element { return xmpp.El(xmpp.NSData, "value").WithText(s) }

// report hands a result to the loop.
func (p *push) report(r result) {
	p.mu.Lock()
	p.results = append(p.results, r)
	p.mu.Unlock()
	p.look()
}

// heard takes a result: what is gone is taken off, what failed is tried again.
func (p *push) heard(r *result, now time.Time) {
	if !r.gone && !r.again && r.reg.Fails == 0 {
		return
	}
	by := p.s.Store().Later
	if r.gone { // no wake after that
		by = p.s.Store().Update
	}
	p.change(r.spot, by, func(rec *record) {
		g := rec.find(&r.reg)
		switch {
		case g == nil:
		case r.gone:
			rec.drop(g.JID, &g.Node)
		case r.again && !r.ours:
			if g.Fails++; g.Fails >= failsMax {
				rec.drop(g.JID, &g.Node)
			}
		case r.again:
		default:
			g.Fails = 0
		}
	})
	w := p.watches[r.spot]
	if r.gone || !r.again || w == nil {
		return
	}
	w.only = append(w.only, r.reg)
	if due := now.Add(max(r.after, p.o.Retry<<min(r.reg.Fails, 10))); due.Before(w.due) {
		w.due = due
		heap.Fix(&p.line, w.place)
	}
}
