// SPDX-License-Identifier: Apache-2.0

package push

import (
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/push/post"
	"sotto/xmpp"
)

// NSService is the form in which our push service says what it can do, and the
// owner under which its key is.
const (
	NSService = "urn:sotto:push:0"
	keyOwner  = "push:"
)

// serve opens our own push service; without its key there is none.
func (p *push) serve() error {
	host, err := xmpp.ParseJID(p.o.Domain)
	if err != nil {
		return err
	}
	key, err := p.key()
	if err != nil { // a damaged file keeps nobody from the rest
		p.s.Log().Error("the push service is off", "err", err)
		return nil
	}
	o := p.o.Post
	o.Key = key
	if o.Contact == "" {
		o.Contact = "https://" + p.s.Domain()
	}
	if p.post, err = post.New(o); err != nil {
		return err
	}
	p.host = host
	p.s.Host(host.Domain, "Push", p.visit)
	return nil
}

// key reads the key that proves to services who we are, or makes it.
func (p *push) key() (key []byte, err error) {
	st := p.s.Store()
	err = st.View(keyOwner, func(r *offline.Records) error {
		key = r.Get("vapid", "")
		return nil
	})
	if err != nil || key != nil {
		return key, err
	}
	if key, err = post.NewKey(); err != nil {
		return nil, err
	}
	return key, st.Update(keyOwner, func(r *offline.Records) error {
		r.Put("vapid", "", key)
		return nil
	})
}

// visit answers who asks the service what it is (XEP-0357 §4.2). Nobody
// publishes there but we ourselves.
func (p *push) visit(e *relay.Errand) error {
	q, err := e.Asked(p.info)
	switch {
	case q == nil:
		return err
	case q.Is(xmpp.NSPubsub, "pubsub"):
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
}

func (p *push) info() *xmpp.Element {
	q := relay.Info("pubsub", "push", "Push", xmpp.NSPush)
	roads := xmpp.El(xmpp.NSData, "field", "var", "roads", "type", "list-multi").Add(value("webpush"), value("unifiedpush"))
	if p.post.FCM() {
		roads.Add(value("fcm"))
	}
	return q.Add(xmpp.El(xmpp.NSData, "x", "type", "result").Add(
		xmpp.El(xmpp.NSData, "field", "var", "FORM_TYPE", "type", "hidden").Add(value(NSService)),
		xmpp.El(xmpp.NSData, "field", "var", "vapid", "type", "text-single").Add(value(p.post.Key())), roads))
}

// target is what a client told our service.
func (g *reg) target() *post.Target {
	t := &post.Target{}
	for _, f := range g.Options {
		place := map[string]*string{"endpoint": &t.Endpoint, "p256dh": &t.P256dh, "auth": &t.Auth, "token": &t.Token}[f.Var]
		if place != nil && len(f.Values) == 1 {
			*place = f.Values[0]
		}
	}
	return t
}

// A job is a wake that our own service carries.
type job struct {
	spot
	reg    reg
	ring   bool
	target *post.Target
}

// How much is carried at a time: in all, for one account, to one service.
const (
	jobsMax  = 10_000 // that wait
	crewMax  = 64
	ownMax   = 2
	placeMax = 16
)

// A crew carries wakes: goroutines that end when there is nothing to do.
type crew struct {
	jobs   []*job
	hands  int
	users  map[string]int
	places map[string]int
	warned time.Time // that it is our own fault
}

// carry puts a wake into the line of our service; it never blocks.
func (p *push) carry(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.crew
	if len(c.jobs) >= jobsMax || p.life.Err() != nil {
		p.results = append(p.results, result{spot: j.spot, reg: j.reg, again: true, ours: true})
		p.look()
		return
	}
	c.jobs = append(c.jobs, j)
	if c.hands < crewMax {
		c.hands++
		p.work.Add(1)
		go p.labour()
	}
}

// labour carries until there is nothing that may be carried.
func (p *push) labour() {
	defer p.work.Done()
	p.mu.Lock()
	defer p.mu.Unlock()
	c := &p.crew
	for {
		j := c.next()
		if j == nil {
			c.hands--
			return
		}
		c.count(j, 1)
		p.mu.Unlock()
		out := p.post.Send(p.life, j.target, j.ring)
		p.mu.Lock()
		c.count(j, -1)
		if now := time.Now(); out.Ours && now.Sub(c.warned) > time.Hour {
			c.warned = now
			p.s.Log().Warn("Firebase refuses the account of fcm_key; clients with tokens are not woken")
		}
		p.results = append(p.results, result{spot: j.spot, reg: j.reg, gone: out.Gone, again: out.Again, ours: out.Ours, after: out.After})
		p.look()
	}
}

// leaveTime is how long the crew may take to go: to sign in at Firebase cannot
// be broken off, and touches nothing of ours.
const leaveTime = 2 * time.Second

func (c *crew) leave(work *sync.WaitGroup) {
	gone := make(chan struct{})
	go func() { work.Wait(); close(gone) }()
	select {
	case <-gone:
	case <-time.After(leaveTime):
	}
}

// next takes the first job whose account and service are not busy.
func (c *crew) next() *job {
	for i, j := range c.jobs {
		if c.users[j.user] < ownMax && c.places[j.target.Place()] < placeMax {
			c.jobs = append(c.jobs[:i], c.jobs[i+1:]...)
			return j
		}
	}
	return nil
}

func (c *crew) count(j *job, n int) {
	for m, key := range map[*map[string]int]string{&c.users: j.user, &c.places: j.target.Place()} {
		if *m == nil {
			*m = map[string]int{}
		}
		if (*m)[key] += n; (*m)[key] == 0 {
			delete(*m, key)
		}
	}
}
