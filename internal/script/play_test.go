// SPDX-License-Identifier: Apache-2.0

package script

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sotto/relay/account"
	"sotto/relay/admin"
	"sotto/relay/budget"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// patience is how long an actor waits for what must come.
const patience = 5 * time.Second

// An actor is one client of the play.
type actor struct {
	name string
	conn *xmpp.Conn
	w    *dial.Welcome
	in   chan *xmpp.Element
	out  struct {
		sync.Mutex
		b []byte
	}
	done chan error
	cut  context.CancelFunc
	last *xmpp.Element // the one that was expected last
}

type play struct {
	*stage
	actors  map[string]*actor
	line    string
	names   map[string]string // what was seen where a pattern had $name
	invites map[string]string // tokens by their name in the play
	swapped map[int]int       // descriptors of a disk that is not well
	far     *stage            // another server, of the domain far.test
	dns     *nameServer
	other   interface { // it is a server of others
		open()
		close()
	}
}

func TestPlays(t *testing.T) {
	files, err := filepath.Glob("../../testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no plays", err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			p := newPlay(t)
			for i, line := range strings.Split(string(b), "\n") {
				p.line = fmt.Sprintf("%s:%d: %s", filepath.Base(f), i+1, line)
				p.do(strings.TrimSpace(line))
			}
		})
	}
}

func (p *play) fail(format string, args ...any) {
	p.t.Helper()
	p.t.Fatalf("%s\n\t%s", p.line, fmt.Sprintf(format, args...))
}

func (p *play) do(line string) {
	if line == "" || strings.HasPrefix(line, "#") {
		return
	}
	for name, token := range p.invites {
		line = strings.ReplaceAll(line, "TOKEN-"+name, token)
	}
	f := strings.SplitN(line, " ", 3)
	if len(f) == 3 && f[1] == "reply" { // answers the IQ that came last
		a := p.actor(f[0])
		a.send("<iq type='result' id='" + a.last.Get("id") + "' to='" + a.last.Get("from") + "'>" + f[2] + "</iq>")
		return
	}
	if len(f) == 3 && (f[1] == ">" || f[1] == "<" || f[1] == "<!") {
		p.talk(f[0], f[1], f[2])
		return
	}
	if len(f) == 3 && f[1] == "first" { // what comes next, nonzas aside, must be this
		p.next(p.actor(f[0]), parse(f[2]))
		return
	}
	f = strings.Fields(line)
	switch f[0] {
	case "login":
		p.login(f[1], f[2:])
	case "cut":
		p.actor(f[1]).cut()
		<-p.actor(f[1]).done
	case "logout":
		a := p.actor(f[1])
		a.conn.Close(nil)
		<-a.done
	case "twin": // the same resource again, as another actor
		old := p.actor(f[1])
		p.login(f[1], f[2:])
		p.actors["new"], p.actors[f[1]] = p.actors[f[1]], old
	case "gone":
		p.gone(f[1], f[2])
	case "long":
		n, _ := strconv.Atoi(f[2])
		p.actor(f[1]).send("<message id='long' to='bob@localhost'><body>" + strings.Repeat("x", n) + "</body></message>")
	case "revoke": // a device of the actor's, by the start of its name
		p.revoke(f[1], f[2])
	case "closed": // an account needs an invitation
		p.close()
		p.stage.closed = true
		p.open()
	case "invite": // its name, who invites or -, the account's name or -, so many hours
		p.invite(f[1:])
	case "invited": // its name, who has just got it from a command, how the link begins
		p.invited(f[1], f[2], f[3])
	case "knock": // a guest shows an invitation or - and asks for an account: name, password, word of the answer
		p.knock(f[1], f[2], f[3], f[4])
	case "reports": // so many wait for the operator; the last one has these words
		p.reports(f[1], f[2:])
	case "hold": // the first messages of all, or of people of other servers
		p.close()
		p.strangers.Hold = map[string]budget.Hold{"all": budget.Everybody, "others": budget.Others}[f[1]]
		p.open()
	case "held": // so many strangers' messages wait for an account
		for end := time.Now().Add(patience); strconv.Itoa(p.store.Mailbox(f[1], "held").Len()) != f[2]; time.Sleep(2 * time.Millisecond) {
			if time.Now().After(end) {
				p.fail("%d wait", p.store.Mailbox(f[1], "held").Len())
			}
		}
	case "account": // made by the operator; its password is the word
		p.must(account.Create(p.store, f[1], "password"))
	case "admin": // may run the server from a client
		p.must(admin.Set(p.store, f[1], true))
	case "silent": // what came last has none of these words in it
		b := string(p.actor(f[1]).last.Bytes())
		for _, word := range f[2:] {
			if strings.Contains(b, word) {
				p.fail("it says %s", b)
			}
		}
	case "pushes": // so many registrations for push
		p.pushes(f[1], f[2])
	case "components", "component": // bot.localhost may come by the word sesame; an actor of that name comes
		p.components(f)
	case "links", "far", "waits":
		p.links(f)
	case "mailbox":
		p.mailbox(f[1], f[2])
	case "room": // for so much mail in each mailbox
		p.close()
		p.mailMax, _ = strconv.Atoi(f[1])
		p.open()
	case "disk": // full, broken (a sync fails) or well again
		p.disk(f[1])
	case "restart":
		p.close()
		p.open()
	case "crash":
		p.crash()
	case "keep": // whole histories
		p.close()
		p.opt.Keep = true
		p.open()
	case "e2e":
		p.close()
		p.opt.E2E = true
		p.open()
	default:
		p.fail("no such direction")
	}
}

func (p *play) same(want, got string) bool {
	if strings.HasPrefix(want, "$") && got != "" {
		p.names[want] = got
		return true
	}
	return want == got || want == "*" && got != ""
}

func (p *play) actor(name string) *actor {
	a := p.actors[name]
	if a == nil {
		p.fail("%s is not on the stage", name)
	}
	return a
}

// login brings an actor on: "sm" with stream management, "classic" without
// SASL2, "resume" to go on with the session of before, "agent" as a device.
func (p *play) login(name string, how []string) {
	user, resource, _ := strings.Cut(name, "/")
	at := p.stage
	if u, ok := strings.CutSuffix(user, "@far"); ok {
		user, at = u, p.far
	}
	l := dial.Login{
		Addr: at.addr, JID: xmpp.MustJID(user + "@" + at.domain), Password: "password", Resource: resource,
		TLS: &tls.Config{RootCAs: at.roots}, Classic: true,
	}
	var fails bool
	var why string
	for _, h := range how {
		switch h {
		case "sm":
			l.SM = true
		case "agent":
			l.Classic, l.AgentID, l.Tag = false, "agent-"+name, resource
		case "resume":
			old := p.actor(name)
			l.SM, l.ResumeID, l.JID = true, old.w.SMID, old.w.JID
		case "fails":
			fails = true
		default:
			if mech, ok := strings.CutPrefix(h, "mech="); ok {
				l.ForceMech = mech
			} else if h, ok := strings.CutPrefix(h, "h="); ok {
				n, _ := strconv.Atoi(h)
				l.ResumeH = uint32(n)
			} else if pw, ok := strings.CutPrefix(h, "password="); ok {
				l.Password = strings.ReplaceAll(pw, "%20", " ")
			} else if cond, ok := strings.CutPrefix(h, "fails="); ok {
				fails, why = true, cond
			} else if of, ok := strings.CutPrefix(h, "previd="); ok {
				l.SM, l.ResumeID = true, p.actor(of).w.SMID
			}
		}
	}
	ctx, cut := context.WithCancel(context.Background())
	c, w, err := dial.Dial(ctx, l)
	if fails {
		if err == nil && (l.ResumeID == "" || w.Resumed) {
			p.fail("got in")
		}
		if why != "" && (err == nil || !strings.Contains(err.Error(), why)) {
			p.fail("%v", err)
		}
		cut()
		return
	}
	if err != nil {
		p.fail("%v", err)
	}
	if l.ResumeID != "" && !w.Resumed {
		p.fail("not resumed")
	}
	a := &actor{name: name, conn: c, w: w, in: make(chan *xmpp.Element, 20000), done: make(chan error, 1), cut: cut}
	p.actors[name] = a
	p.t.Cleanup(cut)
	go a.run(ctx)
}

func (a *actor) run(ctx context.Context) {
	defer context.AfterFunc(ctx, a.conn.Drop)()
	a.done <- a.conn.Run(context.Background(), func(st *xmpp.Stanza) error {
		el, err := st.Element()
		if err == nil {
			a.in <- el.Clone()
		}
		return nil
	}, func(w *xmpp.Writer) error {
		a.out.Lock()
		defer a.out.Unlock()
		w.Bytes(a.out.b)
		a.out.b = nil
		return nil
	})
	close(a.in)
}

func (a *actor) send(xml string) {
	a.out.Lock()
	a.out.b = append(a.out.b, xml...)
	a.out.Unlock()
	a.conn.Wake()
}

// talk is one line of dialogue. What an actor does not expect it passes over,
// but "<!" says that something must not come before the next answer.
func (p *play) talk(name, way, xml string) {
	a := p.actor(name)
	for k, v := range p.names {
		xml = strings.ReplaceAll(xml, k, v)
	}
	if way == ">" {
		a.send(xml)
		return
	}
	want, err := xmpp.Parse([]byte(xml), xmpp.NSClient)
	if err != nil {
		p.fail("bad pattern: %v", err)
	}
	if way == "<!" {
		a.send("<iq type='get' id='barrier' to='" + a.w.JID.Domain + "'><ping xmlns='urn:xmpp:ping'/></iq>")
		barrier, _ := xmpp.Parse([]byte("<iq type='result' id='barrier'/>"), xmpp.NSClient)
		for _, el := range p.until(a, barrier) {
			if p.matches(want, el) {
				p.fail("came: %s", el.Bytes())
			}
		}
		return
	}
	p.until(a, want)
}

func (p *play) until(a *actor, want *xmpp.Element) (before []*xmpp.Element) {
	late := time.After(patience)
	for {
		select {
		case el, ok := <-a.in:
			if !ok {
				p.fail("the stream ended; before: %s", flat(before))
			}
			if p.matches(want, el) {
				a.last = el
				return before
			}
			before = append(before, el)
		case <-late:
			p.fail("did not come; before: %s", flat(before))
		}
	}
}

// next takes what comes next; acks and questions for them do not count.
func (p *play) next(a *actor, want *xmpp.Element) {
	late := time.After(patience)
	for {
		select {
		case el, ok := <-a.in:
			if !ok {
				p.fail("the stream ended")
			}
			if el.Name.Space == xmpp.NSSM {
				continue
			}
			if !p.matches(want, el) {
				p.fail("came first: %s", el.Bytes())
			}
			a.last = el
			return
		case <-late:
			p.fail("did not come")
		}
	}
}

func parse(s string) *xmpp.Element {
	el, err := xmpp.Parse([]byte(s), xmpp.NSClient)
	if err != nil {
		panic(err)
	}
	return el
}

func flat(l []*xmpp.Element) string {
	var b strings.Builder
	for _, e := range l {
		b.WriteString("\n\t\t" + string(e.Bytes()))
	}
	return b.String()
}

// matches says whether el has all that want names; more is no harm.
// "$name" is any value, too, and stands for it from then on.
func (p *play) matches(want, el *xmpp.Element) bool {
	if want.Name != el.Name {
		return false
	}
	for _, a := range want.Attr {
		if !p.same(a.Value, el.Get(a.Name.Local)) {
			return false
		}
	}
	if t := strings.TrimSpace(want.Text()); t != "" && !p.same(t, strings.TrimSpace(el.Text())) {
		return false
	}
next:
	for _, k := range want.Children() {
		for _, e := range el.Children() {
			if p.matches(k, e) {
				continue next
			}
		}
		return false
	}
	return true
}

// gone expects the server to end the actor's stream with this condition.
func (p *play) gone(name, cond string) {
	a := p.actor(name)
	late := time.After(patience)
	seen := ""
	for {
		select {
		case el, ok := <-a.in:
			if !ok {
				if !strings.Contains(seen, cond) {
					p.fail("ended with %s", seen)
				}
				return
			}
			if el.Name.Local == "error" {
				seen = string(el.Bytes())
			}
		case <-late:
			p.fail("still there")
		}
	}
}

// mailbox waits until so much mail waits for a device: "bob/phone" or "bob".
func (p *play) mailbox(name, count string) {
	user, device, ok := strings.Cut(name, "/")
	if ok {
		device = "r:" + device
	}
	if dev, isAgent := strings.CutPrefix(device, "r:agent:"); isAgent {
		device = "a:agent-" + user + "/" + dev
	}
	for end := time.Now().Add(patience); ; time.Sleep(2 * time.Millisecond) {
		got := strconv.Itoa(p.store.Mailbox(user, device).Len())
		if got == count {
			return
		}
		if time.Now().After(end) {
			p.fail("%s wait there", got)
		}
	}
}
