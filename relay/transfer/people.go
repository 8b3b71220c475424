// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// What an import has done to an account.
const (
	begun    = "begun"
	finished = "finished"
)

// A Report says what an import did.
type Report struct{ Made, Here, Noted int }

// An importer puts accounts into a server.
type importer struct {
	s    *relay.Server
	from string // the domain whose people are taken
	say  func(string)
	last time.Time
	Report
}

// Import takes the accounts of a file, or of all files of a folder; from is
// the domain that they had, "" ours. say tells of progress and of what is left
// out. After an error the same call goes on.
func Import(s *relay.Server, path, from string, say func(string)) (Report, error) {
	if from == "" {
		from = s.Domain()
	}
	i := &importer{s: s, from: from, say: say, last: time.Now()}
	r := reader{user: i.user, note: i.note}
	err := r.open(path, "", 0)
	return i.Report, err
}

func (i *importer) note(line string) {
	i.Noted++
	i.say(line)
}

// tick tells now and then that it goes on.
func (i *importer) tick(f *file) {
	if now := time.Now(); now.Sub(i.last) > 2*time.Second {
		i.last = now
		i.say(fmt.Sprintf("%s: %d accounts so far", f.where(), i.Made+i.Here))
	}
}

// user imports one account up to its end tag.
func (i *importer) user(f *file, host, name, password string) error {
	at := f.where()
	j, err := xmpp.ParseJID(name + "@" + i.s.Domain())
	switch {
	case host != i.from:
		i.note(fmt.Sprintf("%s: %s is of %q, not of %s; left out (import --from %s takes it)", at, name, host, i.from, host))
		return f.skip()
	case err != nil || j.Local == "" || j.Resource != "" || j.Domain != i.s.Domain():
		i.note(fmt.Sprintf("%s: %q is not a usable name; left out", at, name))
		return f.skip()
	}
	state, err := i.state(j.Local)
	if err != nil {
		return err
	}
	if state == finished {
		i.Here++
		i.tick(f)
		return f.skip()
	}
	p := &person{i: i, f: f, user: j.Local, me: j.Bare(), at: at, fresh: state == ""}
	if state == "" {
		if _, err := i.s.Store().Account(j.Local); err == nil {
			i.note(fmt.Sprintf("%s: %s has an account here already, which is left as it is", at, name))
			return f.skip()
		} else if !errors.Is(err, offline.ErrNoAccount) {
			return err
		}
	}
	if err := p.read(password); err != nil {
		return err
	}
	i.Made++
	return i.set(j.Local, finished)
}

func (i *importer) state(user string) (is string, err error) {
	err = i.s.Store().View(user, func(r *offline.Records) error {
		is = string(r.Get("import", ""))
		return nil
	})
	return is, err
}

func (i *importer) set(user, is string) error {
	return i.s.Store().Update(user, func(r *offline.Records) error {
		r.Put("import", "", []byte(is))
		return nil
	})
}

// A person is one account on its way in. Parts that come before its keys wait:
// an account is made once, with all of them.
type person struct {
	i     *importer
	f     *file
	user  string
	me    xmpp.JID
	at    string
	fresh bool // is not made yet
	keys  offline.Account
	late  bool            // keys came when it was made already
	owner []*xmpp.Element // nodes, and then
	items []*xmpp.Element // what is in them, whatever the order in the file
	wait  []*xmpp.Element
}

func (p *person) read(password string) error {
	if password != "" {
		c, err := xmpp.NewCredentials(password)
		if err != nil {
			p.note("the password cannot be used: sottod user passwd %s sets another", p.user)
		}
		p.keys.SHA1, p.keys.SHA256 = offline.Hash(c.SHA1), offline.Hash(c.SHA256)
	}
	for {
		t, err := p.f.next()
		if err != nil {
			return err
		}
		if t == nil {
			break
		}
		p.i.tick(p.f)
		if t.Name.Space == ns && t.Name.Local == "offline-messages" {
			if err = p.create(); err == nil {
				err = p.mail()
			}
		} else {
			var el *xmpp.Element
			if el, err = p.f.part(t); err == nil {
				err = p.part(el)
			}
		}
		if err != nil {
			return err
		}
	}
	if err := p.create(); err != nil {
		return err
	}
	if p.keys.User = p.user; p.late {
		if err := p.i.s.Store().UpdateAccount(p.keys); err != nil {
			return err
		}
	}
	for _, el := range append(p.owner, p.items...) {
		p.nodes(el)
	}
	return nil
}

func (p *person) note(format string, args ...any) {
	p.i.note(p.f.where() + ": " + p.user + ": " + fmt.Sprintf(format, args...))
}

// part takes one piece of an account.
func (p *person) part(el *xmpp.Element) error {
	switch {
	case el.Is(nsScram, "scram-credentials"):
		p.scram(el)
	case el.Is(xmpp.NSPubsubOwner, "pubsub"):
		p.owner = append(p.owner, el)
	case el.Is(xmpp.NSPubsub, "pubsub"):
		p.items = append(p.items, el)
	case p.fresh:
		p.wait = append(p.wait, el)
		if len(p.wait) > 100 {
			return p.create()
		}
	default:
		p.put(el)
	}
	return nil
}

// create makes the account when its keys have been read, then takes what came
// before.
func (p *person) create() error {
	if !p.fresh {
		return nil
	}
	p.fresh = false
	a := p.keys
	a.User, a.Created = p.user, p.i.s.Now()
	if err := p.i.s.Store().CreateAccount(a); err != nil {
		return fmt.Errorf("%s: make %s: %w", p.at, p.user, err)
	}
	if err := p.i.set(p.user, begun); err != nil {
		return err
	}
	if len(a.SHA256.StoredKey) == 0 {
		if err := p.i.s.NoteWeak(p.user); err != nil {
			return err
		}
	}
	if len(a.SHA1.StoredKey) == 0 && len(a.SHA256.StoredKey) == 0 {
		p.note("it has no password that can be used here; sottod user passwd %s sets one", p.user)
	}
	for _, el := range p.wait {
		p.put(el)
	}
	p.wait = nil
	return nil
}

// put hands a piece to whom it belongs.
func (p *person) put(el *xmpp.Element) {
	p.move(el)
	for _, part := range p.i.s.Parts() {
		mine, err := part.In(p.user, el)
		if mine {
			if err != nil {
				p.note("<%s/>: %s", el.Name.Local, reason(err))
			}
			return
		}
	}
	if el.Is(xmpp.NSVCard, "vCard") {
		if _, err := p.i.s.Do(p.user, "set", el); err != nil {
			p.note("vCard: %s", reason(err))
		}
		return
	}
	p.note("<%s xmlns='%s'/> is not taken", el.Name.Local, el.Name.Space)
}

// move gives people of the domain of before the address that they have here.
func (p *person) move(el *xmpp.Element) {
	if p.i.from == p.i.s.Domain() || el.Is(xmpp.NSPrivate, "") {
		return
	}
	for _, name := range []string{"jid", "from", "to", "value"} {
		if j, err := xmpp.ParseJID(el.Get(name)); err == nil && j.Domain == p.i.from {
			j.Domain = p.i.s.Domain()
			el.Set(name, j.String())
		}
	}
	for _, k := range el.Children() {
		p.move(k)
	}
}

// scram reads one set of keys (XEP-0227 §4.3). ejabberd 23 encodes what is
// encoded already.
func (p *person) scram(el *xmpp.Element) {
	size, to := 20, &p.keys.SHA1
	switch m := el.Get("mechanism"); m {
	case "SCRAM-SHA-1":
	case "SCRAM-SHA-256":
		size, to = 32, &p.keys.SHA256
	default:
		p.note("keys for %s are not taken", m)
		return
	}
	get := func(name string) []byte {
		b, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(el.Child(nsScram, name).Text()))
		return b
	}
	h := offline.Hash{Salt: get("salt"), StoredKey: get("stored-key"), ServerKey: get("server-key")}
	h.Iterations, _ = strconv.Atoi(strings.TrimSpace(el.Child(nsScram, "iter-count").Text()))
	if len(h.StoredKey) > size {
		for _, b := range []*[]byte{&h.Salt, &h.StoredKey, &h.ServerKey} {
			*b, _ = base64.StdEncoding.DecodeString(string(*b))
		}
	}
	if len(h.StoredKey) != size || len(h.ServerKey) != size || len(h.Salt) == 0 || h.Iterations < 1 || h.Iterations > 10_000_000 {
		p.note("its keys for %s make no sense", el.Get("mechanism"))
		return
	}
	*to = h
	p.late = !p.fresh
}

// mail takes what waits for the account, the oldest first (XEP-0227 §4.5).
func (p *person) mail() error {
	refused, seen := 0, map[uint64]int{}
	for {
		t, err := p.f.next()
		if t == nil || err != nil {
			if refused > 0 {
				p.note("%d messages are readable and not taken (e2e = required)", refused)
			}
			return err
		}
		el, err := p.f.part(t)
		if err != nil {
			return err
		}
		p.i.tick(p.f)
		p.move(el)
		client(el)
		h := fnv.New64a()
		h.Write(el.Bytes())
		token := h.Sum64()
		seen[token]++
		_, err = p.i.s.Owe(p.user, el, token+uint64(seen[token])|1)
		switch said := (*xmpp.StanzaError)(nil); {
		case errors.As(err, &said) && said.Cond == xmpp.PolicyViolation:
			refused++
		case err != nil:
			p.note("a message: %s", reason(err))
		}
	}
}

// client gives a stanza the namespace that some exporters forget.
func client(el *xmpp.Element) {
	if el.Name.Space == ns {
		el.Name.Space = xmpp.NSClient
		for _, k := range el.Children() {
			client(k)
		}
	}
}

// nodes makes nodes, or puts items into them (XEP-0227 §4.10), as the person would.
func (p *person) nodes(el *xmpp.Element) {
	p.move(el)
	for _, k := range el.Children() {
		node := k.Get("node")
		if node == "" || node == xmpp.NSBookmarksOld && k.Name.Space == xmpp.NSPubsubOwner {
			continue // Prosody makes that node to catch what old clients publish; here the usual one does
		}
		var err error
		switch {
		case k.Is(xmpp.NSPubsubOwner, "configure"):
			err = p.node(node, k)
		case k.Is(xmpp.NSPubsubOwner, "affiliations"), k.Is(xmpp.NSPubsubOwner, "subscriptions"):
			_, err = p.i.s.Do(p.user, "set", xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(k))
		case k.Is(xmpp.NSPubsub, "items"):
			for _, item := range k.Children() {
				_, bad := p.i.s.Do(p.user, "set", xmpp.El(xmpp.NSPubsub, "pubsub").Add(xmpp.El(xmpp.NSPubsub, "publish", "node", node).Add(item)))
				if bad != nil {
					err = bad
				}
			}
		}
		if err != nil {
			p.note("node %s: %s: %s", node, k.Name.Local, reason(err))
		}
	}
}

// node makes one as its form says. Fields without a value say nothing.
func (p *person) node(node string, k *xmpp.Element) error {
	form := xmpp.El(xmpp.NSData, "x", "type", "submit")
	for _, f := range k.Child(xmpp.NSData, "x").Children() {
		if f.Is(xmpp.NSData, "field") && f.Child(xmpp.NSData, "value") != nil {
			form.Add(f)
		}
	}
	_, err := p.i.s.Do(p.user, "set", xmpp.El(xmpp.NSPubsub, "pubsub").Add(
		xmpp.El(xmpp.NSPubsub, "create", "node", node), xmpp.El(xmpp.NSPubsub, "configure").Add(form)))
	var said *xmpp.StanzaError
	if errors.As(err, &said) && said.Cond == xmpp.Conflict { // an import that was broken off made it
		_, err = p.i.s.Do(p.user, "set", xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(xmpp.El(xmpp.NSPubsubOwner, "configure", "node", node).Add(form)))
	}
	return err
}

func reason(err error) string {
	var said *xmpp.StanzaError
	if !errors.As(err, &said) {
		return err.Error()
	}
	if said.Text != "" {
		return said.Text
	}
	return string(said.Cond)
}
