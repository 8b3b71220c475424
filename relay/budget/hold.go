// SPDX-License-Identifier: Apache-2.0

package budget

import (
	"hash/fnv"
	"strconv"
	"time"

	"golang.org/x/time/rate"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// Hold says whose first message waits until the receiver wants it.
type Hold int

// Nobody's, that of people of other servers, or everybody's.
const (
	Nobody Hold = iota
	Others
	Everybody
)

// box is the mailbox of what is held; no device has this name.
const box = "held"

// How much of strangers an account holds, and how many people somebody may
// write to for the first time. Who is new here, a little less.
const (
	heldMax     = 20
	peopleBurst = 20
	peopleEvery = 10 * time.Minute
	serverBurst = 200 // of all people of one other server
	serverEvery = time.Minute
	young       = 24 * time.Hour
	youngBurst  = 5
)

// metLife is how long it is known that somebody was written to.
const (
	metLife = 90 // days
	metMax  = 2000
)

// hold decides on a message of somebody whom the receiver may not know.
func (b *budget) hold(x *relay.Session, st *xmpp.Stanza, to xmpp.JID, fleeing bool) (string, error) {
	from := x.JID()
	if b.o.Hold == Others && b.s.Local(from) || st.Type == "error" || from.Local == "" || b.s.Whose(from) == to.Local ||
		!b.s.Local(from) && !b.s.Elsewhere(from) || b.knows(to.Local, from.Bare()) {
		return "", nil
	}
	if fleeing {
		return relay.Nowhere, nil
	}
	waits, err := b.s.Store().Mailbox(to.Local, box).After(0, heldMax+1, nil)
	if err != nil {
		return "", err
	}
	for i := range waits {
		if who, err := xmpp.ParseJID(waits[i].From); err != nil || who.Bare() != from.Bare() {
			continue
		}
		if waits[i].From == from.String() && waits[i].ID == st.ID && st.ID != "" {
			return box, nil // sent again after a crash
		}
		return "", xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).Say("your first message waits for an answer; write again when you have one")
	}
	if len(waits) >= heldMax || st.Type == "headline" {
		return "", xmpp.Refuse(xmpp.Wait, xmpp.PolicyViolation).Say("the receiver takes no messages of people who are not contacts now; ask to be one")
	}
	if err := b.newFace(x); err != nil {
		return "", err
	}
	b.tell(to.Local, from.Bare())
	return box, nil
}

// held looks again when a message waits: its sender may have been accepted just
// before.
func (b *budget) held(user string, from xmpp.JID) {
	if b.knows(user, from.Bare()) {
		b.release(user, func(j xmpp.JID) bool { return j.Bare() == from.Bare() }, true)
	}
}

// newFace spends budget for writing to one more person.
func (b *budget) newFace(x *relay.Session) error {
	const why = "you write to many people who do not know you; try again later"
	burst := peopleBurst
	if !b.s.Local(x.JID()) {
		if err := b.spend(b.people, x.JID().Domain, rate.Every(serverEvery), serverBurst, why); err != nil {
			return err
		}
	} else if a, err := b.s.Store().Account(x.User()); err == nil && b.s.Now().Sub(a.Created) < young {
		burst = youngBurst
	}
	return b.spend(b.people, x.User(), rate.Every(peopleEvery), burst, why)
}

// knows says whether somebody is no stranger: a contact, an admin, of the same
// private group, or written to before.
func (b *budget) knows(user string, j xmpp.JID) bool {
	key := pair{user, b.s.Whose(j)}
	b.mu.Lock()
	met := b.met[key]
	b.mu.Unlock()
	if met || b.s.MaySee(j, user) || b.s.InRoster(user, j) || b.s.Local(j) && b.s.Admin(j.Local) || b.s.Shares(user, j) {
		return true
	}
	err := b.s.Store().View(user, func(r *offline.Records) error {
		day, err := strconv.ParseInt(string(r.Get("met", b.mark(user, j))), 10, 64)
		met = err == nil && b.today()-day < metLife
		return nil
	})
	if met && err == nil {
		b.meet(key)
	}
	return met && err == nil
}

// mark hides whom somebody wrote to from who reads the store.
func (b *budget) mark(user string, j xmpp.JID) string {
	return b.s.Store().Mark("met", user, j.String())
}

func (b *budget) today() int64 { return b.s.Now().Unix() / (24 * 60 * 60) }

// tell says to an account, once for each stranger, that something waits.
func (b *budget) tell(user string, who xmpp.JID) {
	el := xmpp.El(xmpp.NSClient, "message", "from", b.s.Domain(), "to", user+"@"+b.s.Domain(), "id", relay.NewID()).
		Add(xmpp.El(xmpp.NSClient, "body").WithText(who.String() + " wants to write to you. To read it, write to this address or add it to your contacts; to refuse it, block it. Until then nothing more comes from there."))
	if err := b.s.Route(el); err != nil {
		b.s.Log().Warn("a first message waits unseen", "err", err)
	}
}

// turnsTo sees what shows that a stranger is wanted, or not: who was written
// to, added, accepted or blocked.
func (b *budget) turnsTo(x *relay.Session, st *xmpp.Stanza) error {
	if !b.s.Local(x.JID()) {
		return nil
	}
	switch {
	case st.Kind == xmpp.KindMessage && st.Type != "error",
		st.Kind == xmpp.KindPresence && (st.Type == "" || st.Type == "subscribe" || st.Type == "subscribed"):
		if st.HasTo && st.To.Local != "" {
			b.accept(x.User(), st.To.Bare())
		}
	case st.Kind == xmpp.KindIQ && st.Type == "set" && (st.Has(xmpp.NSRoster, "query") || st.Has(xmpp.NSBlock, "block")):
		el, err := st.Element()
		if err != nil {
			return nil
		}
		for _, q := range el.Children() {
			for _, k := range q.Children() {
				j, err := xmpp.ParseJID(k.Get("jid"))
				switch {
				case err != nil || st.HasTo && st.To != x.JID().Bare():
				case q.Name.Space == xmpp.NSBlock:
					b.forget(x.User(), j)
				case k.Get("subscription") != "remove" && j.Local != "":
					b.accept(x.User(), j.Bare())
				}
			}
		}
	}
	return nil
}

// accept notes that user turned to somebody, and delivers what waits.
func (b *budget) accept(user string, j xmpp.JID) {
	key := pair{user, b.s.Whose(j)}
	if key.to == user || b.o.Hold == Others && b.s.Local(j) {
		return
	}
	b.mu.Lock()
	met := b.met[key]
	b.mu.Unlock()
	if met {
		return
	}
	b.meet(key)
	if !b.s.InRoster(user, j) {
		mark, now := b.mark(user, j), b.today()
		err := b.s.Store().Later(user, func(r *offline.Records) error {
			n := 0
			r.Each("met", func(key string, v []byte) bool {
				day, err := strconv.ParseInt(string(v), 10, 64)
				if n++; err != nil || now-day >= metLife || n >= metMax {
					r.Delete("met", key)
				}
				return true
			})
			r.Put("met", mark, strconv.AppendInt(nil, now, 10))
			return nil
		})
		if err != nil {
			b.s.Log().Warn("whom somebody wrote to is not noted", "err", err)
		}
	}
	b.release(user, func(from xmpp.JID) bool { return from.Bare() == j }, true)
}

// forget drops what somebody whom user does not want has sent.
func (b *budget) forget(user string, j xmpp.JID) {
	b.mu.Lock()
	delete(b.met, pair{user, b.s.Whose(j.Bare())})
	b.mu.Unlock()
	mark := b.mark(user, j.Bare())
	_ = b.s.Store().Later(user, func(r *offline.Records) error { // it fails only when the store ends
		r.Delete("met", mark)
		return nil
	})
	b.release(user, func(from xmpp.JID) bool { return from.Domain == j.Domain && (j.Local == "" || from.Local == j.Local) }, false)
}

// release takes what waits from some people: to the devices, or away.
func (b *budget) release(user string, from func(xmpp.JID) bool, wanted bool) {
	waits := b.s.Store().Mailbox(user, box)
	if waits.Len() == 0 {
		return
	}
	all, err := waits.After(0, heldMax+1, nil)
	for i := range all {
		m := &all[i]
		if j, bad := xmpp.ParseJID(m.From); bad != nil || !from(j) {
			continue
		}
		if !wanted {
			waits.Ack(m.Seq)
		} else if err = b.deliver(user, m, func() { waits.Ack(m.Seq) }); err != nil {
			break
		}
	}
	if err != nil {
		b.s.Log().Error("what waited of a stranger", "err", err)
	}
}

// When is what happens when something is safe.
type when func()

// Settled implements offline.Waiter.
func (w when) Settled(err error) {
	if err == nil {
		w()
	}
}

// deliver owes a message to the devices; then is called when that is safe, so
// that a crash between repeats and never loses.
func (b *budget) deliver(user string, m *offline.Mail, then when) error {
	el, err := xmpp.Parse(m.Body, xmpp.NSClient)
	if err != nil {
		return err
	}
	h := fnv.New64a()
	h.Write(m.Body)
	el.Add(xmpp.El(xmpp.NSDelay, "delay", "from", b.s.Domain(), "stamp", m.At.UTC().Format(time.RFC3339Nano)))
	t, err := b.s.Owe(user, el, h.Sum64()|1)
	if err == nil {
		t.Then(then)
	}
	return err
}

func (b *budget) here(r *relay.Request) bool { return b.s.Local(r.From) }

// waiting shows an account whose messages are held, and takes what shall be
// done with them (XEP-0050).
func (b *budget) waiting(r *relay.Request, form *xmpp.Element) (*xmpp.Element, bool, error) {
	user := r.From.Local
	if form != nil {
		b.decide(user, form)
		return nil, true, nil
	}
	all, err := b.s.Store().Mailbox(user, box).After(0, heldMax+1, nil)
	if err != nil {
		return nil, false, err
	}
	if len(all) == 0 {
		return nil, false, relay.Sorry("nobody waits")
	}
	value := func(name, v string) *xmpp.Element { return xmpp.El(xmpp.NSData, name).WithText(v) }
	who := xmpp.El(xmpp.NSData, "field", "var", "jids", "type", "list-multi", "label", "Who")
	for i := range all {
		if j, err := xmpp.ParseJID(all[i].From); err == nil {
			label := j.Bare().String() + ", since " + all[i].At.UTC().Format("2 January 15:04")
			who.Add(xmpp.El(xmpp.NSData, "option", "label", label).Add(value("value", j.Bare().String())))
		}
	}
	what := xmpp.El(xmpp.NSData, "field", "var", "do", "type", "list-single", "label", "What to do").Add(value("value", "deliver"),
		xmpp.El(xmpp.NSData, "option", "label", "Show me what they wrote").Add(value("value", "deliver")),
		xmpp.El(xmpp.NSData, "option", "label", "Forget it").Add(value("value", "forget")))
	return xmpp.El(xmpp.NSData, "x", "type", "form").Add(value("title", "People who want to write to you"), who, what), false, nil
}

func (b *budget) decide(user string, form *xmpp.Element) {
	do := ""
	var all []xmpp.JID
	for _, f := range form.Children() {
		for _, v := range f.Children() {
			switch j, err := xmpp.ParseJID(v.Text()); {
			case f.Get("var") == "do":
				do = v.Text()
			case f.Get("var") == "jids" && err == nil && len(all) <= heldMax:
				all = append(all, j.Bare())
			}
		}
	}
	for _, j := range all {
		switch do {
		case "deliver":
			b.accept(user, j)
		case "forget":
			b.forget(user, j)
		}
	}
}
