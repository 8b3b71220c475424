// SPDX-License-Identifier: Apache-2.0

package push

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/push/post"
	"sotto/xmpp"
)

// Options are an operator's choices; zero values are defaults.
type Options struct {
	Off    bool
	Domain string          // of our own push service; default: push. and the server's
	Post   post.Options    // how it reaches others; its Key is ours to make
	Slack  time.Duration   // how long a device that is connected may take to ack; default 20 s
	Repeat []time.Duration // until a device that did not come is woken again; the last one goes on
	Retry  time.Duration   // after a failure, then twice as long each time; default 30 s
	Grace  time.Duration   // after a start, for devices to come by themselves; default 30 s
}

func (o *Options) fill() {
	if o.Slack == 0 {
		o.Slack = 20 * time.Second
	}
	if o.Repeat == nil {
		o.Repeat = []time.Duration{10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour}
	}
	if o.Retry == 0 {
		o.Retry = 30 * time.Second
	}
	if o.Grace == 0 {
		o.Grace = 30 * time.Second
	}
}

type push struct {
	// fixed: set by Add, read-only after.
	s     *relay.Server
	o     Options
	life  context.Context
	ended chan struct{}
	host  xmpp.JID   // of our own service; zero: there is none
	post  *post.Post // what it carries wakes with
	mutes *mutes
	wake  chan struct{} // capacity 1: "look again"

	// loop: only run touches these.
	watches map[spot]*watch
	line    line
	limits  map[string]*rate.Limiter // wakes, by account

	// shared: guarded by mu.
	mu      sync.Mutex
	known   map[string]bool // accounts that may have registrations
	news    map[spot]*news
	nudges  map[string]bool // accounts
	results []result
	crew    crew
	work    sync.WaitGroup
}

// Add registers the family.
func Add(s *relay.Server, o Options) error {
	m := newMutes(s)
	if o.Off {
		return nil
	}
	o.fill()
	if o.Domain == "" {
		o.Domain = "push." + s.Domain()
	}
	life, stop := context.WithCancel(context.Background())
	p := &push{
		s: s, o: o, life: life, ended: make(chan struct{}), wake: make(chan struct{}, 1), watches: map[spot]*watch{},
		mutes: m, limits: map[string]*rate.Limiter{}, known: map[string]bool{}, news: map[spot]*news{}, nudges: map[string]bool{},
	}
	if err := p.serve(); err != nil {
		stop()
		return err
	}
	err := s.Store().Every(offline.KindPush, func(user, _ string, _ []byte) { p.known[user] = true })
	if err != nil {
		s.Log().Error("who is to be woken", "err", err)
	}
	s.HandleIQ(xmpp.NSPush, "enable", p.enable)
	s.HandleIQ(xmpp.NSPush, "disable", p.disable)
	s.Disco(relay.OnAccount, xmpp.NSPush)
	s.OnOwed(p.owed)
	s.OnStanza(p.withdrawn)
	s.OnNudge(p.nudged)
	s.OnDelete(p.deleted)
	s.OnStop(func() {
		stop()
		<-p.ended
		p.crew.leave(&p.work)
	})
	go p.run()
	return nil
}

// enable is XEP-0357 §5.
func (p *push) enable(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "set" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	}
	g, err := p.read(r.Payload)
	if err != nil {
		return nil, err
	}
	key := inbox // who is no device shares the inbox
	if r.Session.Firm() {
		key = r.Session.Device()
	}
	user := r.From.Local
	p.mu.Lock()
	p.known[user] = true
	p.mu.Unlock()
	return nil, p.s.Store().Update(user, func(rec *offline.Records) error {
		for other, all := range every(rec) { // "the last received request"
			if n := len(all.Regs); other != key {
				all.drop(g.JID, &g.Node)
				if len(all.Regs) != n {
					all.put(rec, other)
				}
			}
		}
		all := load(rec, key)
		all.drop(g.JID, &g.Node)
		all.Regs = append(all.Regs, g)
		all.Regs = all.Regs[max(0, len(all.Regs)-regsMax):]
		all.put(rec, key)
		return nil
	})
}

// read takes a registration from what a client sent.
func (p *push) read(el *xmpp.Element) (g reg, err error) {
	bad := xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	j, err := xmpp.ParseJID(el.Get("jid"))
	if err != nil {
		return g, bad
	}
	g = reg{JID: j.String(), Node: el.Get("node")}
	if len(g.Node) > nodeMax || len(g.JID) > nodeMax {
		return g, bad
	}
	ours := p.s.Hosted(j.Domain) && j != p.host
	if ours && (!p.s.Local(j) || j.Local == "" || j.Resource == "") { // neither we, an account, nor another host of ours
		return g, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound).Say("there is no push service at this address")
	}
	if x := el.Child(xmpp.NSData, "x"); x != nil {
		if g.Options, err = readForm(x); err != nil {
			return g, err
		}
	}
	if j == p.host {
		if err := p.post.Check(g.target()); err != nil {
			return g, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say(err.Error())
		}
	}
	return g, nil
}

// The limits of what a client may register.
const (
	regsMax   = 4    // of one device
	nodeMax   = 1024 // bytes of a node, of an address
	fieldsMax = 16
	valuesMax = 8
	formMax   = 4096 // bytes of all names and values
)

// readForm takes the fields of publish options, within limits.
func readForm(x *xmpp.Element) (all []field, err error) {
	typ, size := "", 0
	for _, f := range x.Children() {
		if !f.Is(xmpp.NSData, "field") {
			continue
		}
		one := field{Var: f.Get("var")}
		size += len(one.Var)
		for _, v := range f.Children() {
			if v.Is(xmpp.NSData, "value") {
				one.Values = append(one.Values, v.Text())
				size += len(v.Text())
			}
		}
		if one.Var == "FORM_TYPE" {
			typ = f.Child(xmpp.NSData, "value").Text()
			continue
		}
		if all = append(all, one); len(all) > fieldsMax || len(one.Values) > valuesMax || size > formMax {
			return nil, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).Say("these publish options are too long")
		}
	}
	if typ != xmpp.NSPubsubOptions || x.Get("type") != "submit" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return all, nil
}

// disable is XEP-0357 §6: for all devices of the account.
func (p *push) disable(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "set" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.NotAllowed)
	}
	j, err := xmpp.ParseJID(r.Payload.Get("jid"))
	if err != nil {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	var node *string
	if slices.ContainsFunc(r.Payload.Attr, func(a xmpp.Attr) bool { return a.Name.Local == "node" }) {
		n := r.Payload.Get("node")
		node = &n
	}
	return nil, p.s.Store().Update(r.From.Local, func(rec *offline.Records) error {
		for key, all := range every(rec) {
			all.drop(j.String(), node)
			all.put(rec, key)
		}
		return nil
	})
}

func (p *push) deleted(user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.known, user)
}
