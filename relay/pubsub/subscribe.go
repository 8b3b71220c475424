// SPDX-License-Identifier: Apache-2.0

package pubsub

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"sotto/offline"
	"sotto/xmpp"
)

// A sub is a subscription. What is not said in it is the usual.
type sub struct {
	jid     xmpp.JID
	Pending bool     `json:",omitempty"` // waits for an owner (XEP-0060 §8.6)
	Off     bool     `json:",omitempty"` // deliver: not
	Show    []string `json:",omitempty"` // show-values: only to who is present so
	Until   int64    `json:",omitempty"` // expire
}

// subsOf are those who asked to hear of a node (§6.1), whoever else hears of
// it by his capabilities.
func subsOf(rec *offline.Records, node string) (all []sub) {
	rec.Each("pepsub/"+node, func(jid string, v []byte) bool {
		if s, ok := subOf(jid, v); ok {
			all = append(all, s)
		}
		return true
	})
	return all
}

func subOf(jid string, v []byte) (s sub, ok bool) {
	j, err := xmpp.ParseJID(jid)
	if v == nil || err != nil {
		return s, false
	}
	if json.Unmarshal(v, &s) != nil { // of before options: just there
		s = sub{}
	}
	s.jid = j
	return s, true
}

func (s *sub) save(rec *offline.Records, node string) error {
	v, err := json.Marshal(s)
	if err == nil {
		rec.Put("pepsub/"+node, s.jid.String(), v)
	}
	return err
}

// relate notes that somebody has so many subscriptions to a node, or is
// something there, so that what he has is found without looking through all
// nodes (§5.6, §5.7), nor through all subscriptions.
func relate(rec *offline.Records, node string, who xmpp.JID, subs int, ranked bool) {
	kind := "pepof/" + who.Bare().String()
	if subs > 0 || ranked {
		rec.Put(kind, node, []byte(strconv.Itoa(subs)))
	} else {
		rec.Delete(kind, node)
	}
}

// related is how many subscriptions to a node somebody has.
func related(rec *offline.Records, node string, who xmpp.JID) int {
	n, err := strconv.Atoi(string(rec.Get("pepof/"+who.Bare().String(), node)))
	if err != nil {
		return 0
	}
	return n
}

// state is the word of §4.2.
func (s *sub) state() string {
	if s.Pending {
		return "pending"
	}
	return "subscribed"
}

func (s *sub) element(ns, node string) *xmpp.Element {
	return xmpp.El(ns, "subscription", "node", node, "jid", s.jid.String(), "subscription", s.state())
}

// over says whether a lease has ended (§12.19).
func (s *sub) over(now time.Time) bool { return s.Until != 0 && now.Unix() >= s.Until }

// subscriber is the address in a wish; it must be the sender's own.
func (w *wish) subscriber(no error) (xmpp.JID, error) {
	j, err := xmpp.ParseJID(w.el.Get("jid"))
	if err != nil || j.Bare() != w.from.Bare() {
		return j, no
	}
	return j, nil
}

func wrongJID() error { // §6.1.3.1
	return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("invalid-jid"))
}

// subscribe is §6.1. Twice is once (§6.1.6).
func (b *broker) subscribe(w *wish) (*xmpp.Element, error) {
	j, err := w.subscriber(wrongJID())
	if err != nil {
		return nil, err
	}
	c, err := b.look(w.place, w.node)
	if err != nil {
		return nil, err
	}
	s := sub{jid: j}
	err = b.mayRead(w.place, w.node, &c, w.from)
	if err != nil && c.Access == "authorize" && c.rank(w.place, w.from) == "" { // §6.1.4
		s.Pending, err = true, nil
	}
	if err != nil {
		return nil, err
	}
	options := w.pubsub.Child(xmpp.NSPubsub, "options").Child(xmpp.NSData, "x") // §6.3.7
	if err := s.read(options, b.s.Now()); err != nil {
		return nil, err
	}
	fresh := false
	c, err = b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		fresh, err = b.enlist(rec, w, c, &s)
		return err
	})
	if err != nil {
		return nil, err
	}
	if fresh {
		b.welcome(w, &c, &s)
	}
	return answer(xmpp.NSPubsub, s.element(xmpp.NSPubsub, w.node).Add(xmpp.El(xmpp.NSPubsub, "subscribe-options"))), nil
}

// enlist writes a subscription, unless there is one: then that is the answer.
func (b *broker) enlist(rec *offline.Records, w *wish, c *config, s *sub) (fresh bool, err error) {
	if old, ok := subOf(s.jid.String(), rec.Get("pepsub/"+w.node, s.jid.String())); ok && !old.over(b.s.Now()) {
		if old.Pending { // §6.1.3.7
			return false, xmpp.Refuse(xmpp.Auth, xmpp.NotAuthorized).With(fault("pending-subscription"))
		}
		*s = old
		return false, nil
	} else if ok {
		return true, s.save(rec, w.node)
	}
	own := related(rec, w.node, s.jid)
	if c.Subs >= subsMax || own >= subsOne {
		return false, tooManySubs()
	}
	if err := b.counts(rec, w.place, s.jid, 1); err != nil {
		return false, err
	}
	c.Subs++
	save(rec, w.node, c)
	relate(rec, w.node, s.jid, own+1, true)
	return true, s.save(rec, w.node)
}

// welcome tells of a new subscription: its subscriber what was published last
// (§6.1.7), the owners that there is one, or that they are asked for it.
func (b *broker) welcome(w *wish, c *config, s *sub) {
	if s.Pending {
		b.askOwners(w, c, s.jid)
		return
	}
	w.after = append(w.after, func() { b.lastTo(w, c, s.jid) })
	if c.TellSub {
		for _, o := range c.owners(w.place) {
			b.send(w, "", o, xmpp.El(xmpp.NSPubsubEvent, "event").Add(s.element(xmpp.NSPubsubEvent, w.node)))
		}
	}
}

// unsubscribe is §6.2.
func (b *broker) unsubscribe(w *wish) (*xmpp.Element, error) {
	c, err := b.look(w.place, w.node)
	if err != nil {
		return nil, err
	}
	j, err := w.subscriber(forbidden()) // §6.2.3.3
	if err != nil {
		return nil, err
	}
	gone := sub{jid: j}
	_, err = b.edit(w.place, w.node, func(rec *offline.Records, c *config) error {
		if rec.Get("pepsub/"+w.node, j.String()) == nil { // §6.2.3.2
			return notSubscribed()
		}
		return b.strike(rec, w.place, w.node, c, j)
	})
	if err == nil && c.TellSub {
		for _, o := range c.owners(w.place) {
			b.send(w, "", o, xmpp.El(xmpp.NSPubsubEvent, "event").Add(gone.element(xmpp.NSPubsubEvent, w.node).Set("subscription", "none")))
		}
	}
	return nil, err
}

func notSubscribed() error {
	return xmpp.Refuse(xmpp.Cancel, xmpp.UnexpectedRequest).With(fault("not-subscribed"))
}

// strike takes subscriptions away.
func (b *broker) strike(rec *offline.Records, p place, node string, c *config, gone ...xmpp.JID) error {
	for _, j := range gone {
		if rec.Get("pepsub/"+node, j.String()) == nil {
			continue
		}
		rec.Delete("pepsub/"+node, j.String())
		if err := b.counts(rec, p, j, -1); err != nil {
			return err
		}
		relate(rec, node, j, related(rec, node, j)-1, c.Who[j.Bare().String()] != "")
		c.Subs = max(0, c.Subs-1)
	}
	save(rec, node, c)
	return nil
}

// nodesOf are the nodes that somebody has to do with, or the one that is asked for.
func (b *broker) nodesOf(rec *offline.Records, w *wish) (all []string, err error) {
	if w.node != "" {
		if _, ok := load(rec, w.node); !ok {
			return nil, notFound()
		}
		return []string{w.node}, nil
	}
	kind := "pepof/" + w.from.Bare().String()
	if w.pep && w.from.Bare() == w.jid {
		kind = "pepnode"
	}
	rec.Each(kind, func(node string, _ []byte) bool {
		all = append(all, node)
		return len(all) < shownMax
	})
	slices.Sort(all)
	return all, nil
}

// subscriptions lists the asker's own ones here, of one node or of all (§5.6).
func (b *broker) subscriptions(w *wish) (*xmpp.Element, error) {
	list := xmpp.El(xmpp.NSPubsub, "subscriptions", "node", w.node)
	now := b.s.Now()
	err := b.s.Store().View(w.owner, func(rec *offline.Records) error {
		nodes, err := b.nodesOf(rec, w)
		for _, node := range nodes {
			for _, s := range subsOf(rec, node) {
				if s.jid.Bare() == w.from.Bare() && !s.over(now) && len(list.Nodes) < shownMax {
					list.Add(s.element(xmpp.NSPubsub, node))
				}
			}
		}
		return err
	})
	return answer(xmpp.NSPubsub, list), err
}

const subOptions = xmpp.NSPubsub + "#subscribe_options"

// form shows the options of a subscription (§6.3.3).
func (s *sub) form(typ string) *xmpp.Element {
	until := ""
	if s.Until != 0 {
		until = time.Unix(s.Until, 0).UTC().Format(time.RFC3339)
	}
	x := xmpp.El(xmpp.NSData, "x", "type", typ).Add(formField("FORM_TYPE", "hidden", subOptions),
		formField("pubsub#deliver", "boolean", bit(!s.Off)), formField("pubsub#expire", "text-single", until))
	show := formField("pubsub#show-values", "list-multi", s.Show...)
	for _, v := range shows {
		show.Add(xmpp.El(xmpp.NSData, "option").Add(value(v)))
	}
	return x.Add(show)
}

var shows = []string{"away", "chat", "dnd", "online", "xa"}

// read takes the options that a form sets.
func (s *sub) read(x *xmpp.Element, now time.Time) error {
	bad := xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("invalid-options")) // §6.3.6.2
	for _, f := range x.Children() {
		v := f.Child(xmpp.NSData, "value").Text()
		switch f.Get("var") {
		case "pubsub#deliver":
			s.Off = !yes(v)
		case "pubsub#expire":
			t, err := time.Parse(time.RFC3339, v)
			if v != "" && (err != nil || !t.After(now)) {
				return bad
			}
			if s.Until = 0; v != "" {
				s.Until = t.Unix()
			}
		case "pubsub#show-values":
			all, err := values(f)
			if err != nil || len(all) > len(shows) {
				return bad
			}
			for _, v := range all {
				if !slices.Contains(shows, v) {
					return bad
				}
			}
			s.Show = all
		}
	}
	return nil
}

// showOptions is §6.3.2, of a subscription that is the asker's own.
func (b *broker) showOptions(w *wish) (*xmpp.Element, error) {
	s, err := b.option(w, nil)
	if err != nil {
		return nil, err
	}
	return answer(xmpp.NSPubsub, xmpp.El(xmpp.NSPubsub, "options", "node", w.node, "jid", s.jid.String()).Add(s.form("form"))), nil
}

// setOptions is §6.3.5.
func (b *broker) setOptions(w *wish) (*xmpp.Element, error) {
	x := w.el.Child(xmpp.NSData, "x")
	if x == nil || x.Get("type") == "cancel" {
		return nil, nil
	}
	_, err := b.option(w, x)
	return nil, err
}

func (b *broker) option(w *wish, change *xmpp.Element) (s sub, err error) {
	if w.el.Get("jid") == "" { // §6.3.4.3
		return s, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest).With(fault("jid-required"))
	}
	j, err := w.subscriber(forbidden())
	if err != nil {
		return s, err
	}
	f := func(rec *offline.Records) error {
		if _, ok := load(rec, w.node); !ok {
			return notFound()
		}
		var ok bool
		if s, ok = subOf(j.String(), rec.Get("pepsub/"+w.node, j.String())); !ok || s.over(b.s.Now()) {
			return notSubscribed()
		}
		if change == nil {
			return nil
		}
		if err := s.read(change, b.s.Now()); err != nil {
			return err
		}
		return s.save(rec, w.node)
	}
	if change == nil {
		return s, b.s.Store().View(w.owner, f)
	}
	err = b.s.Store().Update(w.owner, f)
	return s, err
}

// showDefaultOptions is §6.4.
func (b *broker) showDefaultOptions(w *wish) (*xmpp.Element, error) {
	return answer(xmpp.NSPubsub, xmpp.El(xmpp.NSPubsub, "default", "node", w.node).Add(new(sub).form("form"))), nil
}
