// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// wordsMax bounds what the operator says to all.
const wordsMax = 16 << 10

// A notice is what the operator says to everybody, or to who is new. It goes
// to each account once, by its ID.
type notice struct{ ID, Text string }

// nobody owns what is the service's own: an account named "" cannot be.
const nobody = ""

func (a *admin) load() error {
	return a.s.Store().View(nobody, func(r *offline.Records) error {
		for name, to := range map[string]*atomic.Pointer[notice]{"motd": &a.motd, "welcome": &a.welcome} {
			if b := r.Get("notice", name); b != nil {
				n := new(notice)
				if err := json.Unmarshal(b, n); err != nil {
					return err
				}
				to.Store(n)
			}
		}
		return nil
	})
}

// put makes a notice durable; nil takes it back.
func (a *admin) put(name string, to *atomic.Pointer[notice], n *notice) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	err = a.s.Store().Update(nobody, func(r *offline.Records) error {
		if n == nil {
			r.Delete("notice", name)
		} else {
			r.Put("notice", name, b)
		}
		return nil
	})
	if err == nil {
		to.Store(n)
	}
	return err
}

// words adds the commands that speak to people (XEP-0133 §4.23 to §4.28).
func (a *admin) words() {
	text := func(name, label string, now *atomic.Pointer[notice]) func() []*xmpp.Element {
		return func() []*xmpp.Element {
			el := required(field(name, "text-multi", label))
			if now != nil {
				if n := now.Load(); n != nil {
					lines(el, n.Text)
				}
			}
			return []*xmpp.Element{el}
		}
	}
	a.command("announce", "Send Announcement to Online Users", text("announcement", "Announcement", nil),
		func(_ *relay.Request, f form) (*xmpp.Element, error) {
			words, err := spoken(f, "announcement")
			if err == nil {
				a.announce(words)
			}
			return nil, err
		})
	a.command("set-motd", "Set Message of the Day", text("motd", "Message of the Day", nil), a.setMotd(true))
	a.command("edit-motd", "Edit Message of the Day", text("motd", "Message of the Day", &a.motd), a.setMotd(false))
	a.command("delete-motd", "Delete Message of the Day", nil, func(*relay.Request, form) (*xmpp.Element, error) {
		return nil, a.put("motd", &a.motd, nil)
	})
	a.command("set-welcome", "Set Welcome Message", text("welcome", "Welcome Message", &a.welcome),
		func(_ *relay.Request, f form) (*xmpp.Element, error) {
			words, err := spoken(f, "welcome")
			if err == nil {
				err = a.put("welcome", &a.welcome, &notice{Text: words})
			}
			return nil, err
		})
	a.command("delete-welcome", "Delete Welcome Message", nil, func(*relay.Request, form) (*xmpp.Element, error) {
		return nil, a.put("welcome", &a.welcome, nil)
	})
}

func spoken(f form, name string) (string, error) {
	words := f.one(name)
	if words == "" || len(words) > wordsMax {
		return "", relay.Sorry("say something, and not more than " + strconv.Itoa(wordsMax>>10) + " KiB")
	}
	return words, nil
}

// setMotd says it to who is here at once, to others when they come. An edited
// one is not said again to who has it.
func (a *admin) setMotd(fresh bool) func(*relay.Request, form) (*xmpp.Element, error) {
	return func(_ *relay.Request, f form) (*xmpp.Element, error) {
		words, err := spoken(f, "motd")
		if err != nil {
			return nil, err
		}
		n := &notice{relay.NewID(), words}
		if old := a.motd.Load(); old != nil && !fresh {
			n.ID = old.ID
		}
		if err := a.put("motd", &a.motd, n); err != nil {
			return nil, err
		}
		for _, user := range a.here(everybody) {
			if !a.had(user, n) {
				err = errors.Join(err, a.s.Store().Later(user, func(r *offline.Records) error {
					r.Put("motd", "", []byte(n.ID))
					return nil
				}))
				a.say(user, n.Text)
			}
		}
		return nil, err
	}
}

// had says whether an account was told.
func (a *admin) had(user string, n *notice) (yes bool) {
	err := a.s.Store().View(user, func(r *offline.Records) error {
		yes = string(r.Get("motd", "")) == n.ID
		return nil
	})
	return yes || err != nil
}

// presence shows the message of the day to who comes and does not have it. Of
// two clients that come at once, one brings it.
func (a *admin) presence(x *relay.Session, p *xmpp.Stanza, _ *xmpp.Element) error {
	n := a.motd.Load()
	if n == nil || p.Type != "" || p.HasTo || !x.Initial() || a.had(x.User(), n) {
		return nil
	}
	had := false
	err := a.s.Store().Update(x.User(), func(r *offline.Records) error {
		had = string(r.Get("motd", "")) == n.ID
		r.Put("motd", "", []byte(n.ID))
		return nil
	})
	if err == nil && !had {
		a.say(x.User(), n.Text)
	}
	return nil
}

// created welcomes a new account: its first client finds the words waiting.
func (a *admin) created(user string) {
	if n := a.welcome.Load(); n != nil {
		a.say(user, n.Text)
	}
}

// announce speaks to everybody who is here.
func (a *admin) announce(words string) {
	for _, user := range a.here(everybody) {
		a.say(user, words)
	}
}

// tellEvery is how often admins hear of something that they did not ask for.
const tellEvery = 10 * time.Minute

// tell says something to all admins; what comes too often is counted only.
func (a *admin) tell(words string) {
	a.told.Lock()
	now := a.s.Now()
	soon := now.Sub(a.told.at) < tellEvery
	if soon {
		a.told.left++
	} else {
		if a.told.left > 0 {
			words += " (" + strconv.Itoa(a.told.left) + " more since the last time)"
		}
		a.told.at, a.told.left = now, 0
	}
	a.told.Unlock()
	if soon {
		return
	}
	all, err := All(a.s.Store())
	if err != nil {
		a.s.Log().Error("admins", "err", err)
	}
	for _, user := range all {
		a.say(user, words)
	}
}

// say sends the service's words to all devices of an account.
func (a *admin) say(user, words string) {
	el := xmpp.El(xmpp.NSClient, "message", "from", a.s.Domain(), "to", user+"@"+a.s.Domain(), "id", relay.NewID()).
		Add(xmpp.El(xmpp.NSClient, "body").WithText(words))
	if err := a.s.Route(el); err != nil {
		a.s.Log().Warn("the operator's words did not reach an account", "err", err)
	}
}

// stop adds the commands that end the process (XEP-0133 §4.30, §4.31).
func (a *admin) stop() {
	ask := func() []*xmpp.Element {
		delay := field("delay", "list-single", "When", "60")
		for _, n := range []string{"0", "30", "60", "120", "300", "600"} {
			delay.Add(xmpp.El(xmpp.NSData, "option", "label", "in "+n+" seconds").Add(xmpp.El(xmpp.NSData, "value").WithText(n)))
		}
		return []*xmpp.Element{delay, field("announcement", "text-multi", "Announcement")}
	}
	do := func(again bool) func(*relay.Request, form) (*xmpp.Element, error) {
		return func(r *relay.Request, f form) (*xmpp.Element, error) {
			wait, err := strconv.Atoi(f.one("delay"))
			if err != nil || wait < 0 || wait > 24*60*60 {
				return nil, relay.Sorry("the delay is a number of seconds, a day at most")
			}
			if words, err := spoken(f, "announcement"); err == nil {
				a.announce(words)
			}
			r.After = func() { a.order(time.Duration(wait)*time.Second, again) }
			return nil, nil
		}
	}
	a.command("restart", "Restart Service", ask, do(true))
	a.command("shutdown", "Shut Down Service", ask, do(false))
}

// order ends the process later; the last order counts.
func (a *admin) order(wait time.Duration, again bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stops != nil {
		a.stops()
	}
	t := time.AfterFunc(wait, func() { a.o.Stop(again) })
	a.stops = func() { t.Stop() }
}

func lines(el *xmpp.Element, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		el.Add(xmpp.El(xmpp.NSData, "value").WithText(line))
	}
}
