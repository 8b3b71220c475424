// SPDX-License-Identifier: Apache-2.0

package info

import (
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// node is where our capabilities are explained (XEP-0115 §4).
const node = "https://sotto.invalid/server"

type info struct {
	s     *relay.Server
	start time.Time
	once  sync.Once
	ver   string
}

// Options say where people turn to.
type Options struct {
	Contact []string // addresses of the operator
	Status  []string // pages that say what is broken
}

// Add registers the family.
func Add(s *relay.Server, o Options) {
	i := &info{s: s, start: s.Now()}
	s.HandleIQ(xmpp.NSDiscoInfo, "query", i.disco)
	s.HandleIQ(xmpp.NSDiscoItems, "query", i.items)
	s.HandleIQ(xmpp.NSPing, "ping", i.ping)
	s.HandleIQ(xmpp.NSVersion, "query", i.version)
	s.HandleIQ(xmpp.NSTime, "time", i.time)
	s.HandleIQ(xmpp.NSLast, "query", i.last)
	s.HandleIQ(xmpp.NSSession, "session", i.session)
	s.ForAll(xmpp.NSDiscoInfo, "query")
	s.ForAll(xmpp.NSDiscoItems, "query")
	s.ForAll(xmpp.NSPing, "ping")
	s.ForAll(xmpp.NSVersion, "query")
	s.ForAll(xmpp.NSTime, "time")
	s.ForAll(xmpp.NSLast, "query")
	s.Identity(relay.OnServer, "server", "im", "sotto")
	s.Identity(relay.OnAccount, "account", "registered", "")
	s.Disco(relay.OnServer, xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSPing, xmpp.NSVersion, xmpp.NSTime, xmpp.NSLast, "msgoffline")
	s.Disco(relay.OnAccount, xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSPing, xmpp.NSLast)
	s.StreamFeature(func() []*xmpp.Element { return []*xmpp.Element{i.caps()} })
	s.OnGone(i.gone)
	if len(o.Contact) > 0 { // XEP-0157 §3: one address serves for all
		s.DiscoForm(relay.OnServer, addresses("http://jabber.org/network/serverinfo", o.Contact,
			"abuse-addresses", "admin-addresses", "security-addresses", "support-addresses"))
	}
	if len(o.Status) > 0 { // XEP-0455 §2.1
		s.DiscoForm(relay.OnServer, addresses("urn:xmpp:sos:0", o.Status, "external-status-addresses"))
	}
}

func addresses(typ string, all []string, fields ...string) *xmpp.Element {
	x := xmpp.El(xmpp.NSData, "x", "type", "result").Add(xmpp.El(xmpp.NSData, "field", "var", "FORM_TYPE", "type", "hidden").
		Add(xmpp.El(xmpp.NSData, "value").WithText(typ)))
	for _, name := range fields {
		f := xmpp.El(xmpp.NSData, "field", "var", name, "type", "list-multi")
		for _, a := range all {
			f.Add(xmpp.El(xmpp.NSData, "value").WithText(a))
		}
		x.Add(f)
	}
	return x
}

func get(r *relay.Request) error {
	if r.Type != "get" {
		return xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return nil
}

// maySee is the rule for everything about a person (XEP-0012 §3, XEP-0030 §8).
func (i *info) maySee(r *relay.Request) error {
	if r.Own() || r.ToServer() || i.s.MaySee(r.From, r.Account()) {
		return nil
	}
	return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
}

func (i *info) where(r *relay.Request) relay.Where {
	if r.ToServer() || r.To.IsZero() {
		return relay.OnServer
	}
	return relay.OnAccount
}

func (i *info) disco(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	w, n := i.where(r), r.Payload.Get("node")
	if err := i.maySee(r); err != nil {
		return nil, err
	}
	if n != "" && w == relay.OnAccount { // XEP-0060 §5.3
		return i.s.Shelf.Info(r)
	}
	if c := i.command(r, n); c != nil { // XEP-0050 §2.3
		return xmpp.El(xmpp.NSDiscoInfo, "query", "node", n).Add(
			xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "automation", "type", "command-node", "name", c.Name),
			xmpp.El(xmpp.NSDiscoInfo, "feature", "var", xmpp.NSCommands), xmpp.El(xmpp.NSDiscoInfo, "feature", "var", xmpp.NSData)), nil
	}
	if n != "" && n != node+"#"+i.hash() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound) // XEP-0030 §3.2
	}
	return i.describe(w).Set("node", n), nil
}

// command is the one of that name that the asker may use.
func (i *info) command(r *relay.Request, node string) *relay.Command {
	if node == "" || !r.ToServer() && !r.Own() {
		return nil
	}
	for _, c := range i.s.Commands(r) {
		if c.Node == node {
			return &c
		}
	}
	return nil
}

func (i *info) describe(w relay.Where) *xmpp.Element {
	q := xmpp.El(xmpp.NSDiscoInfo, "query")
	for _, id := range i.s.Identities(w) {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", id.Category, "type", id.Type, "name", id.Name))
	}
	for _, f := range i.s.Features(w) {
		q.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f))
	}
	return q.Add(i.s.Forms(w)...)
}

func (i *info) hash() string {
	i.once.Do(func() { i.ver = relay.CapsHash(i.describe(relay.OnServer)) })
	return i.ver
}

// caps are announced in the stream features (XEP-0115 §6.3).
func (i *info) caps() *xmpp.Element {
	return xmpp.El(xmpp.NSCaps, "c", "hash", "sha-1", "node", node, "ver", i.hash())
}

// items lists an account's available resources to those who may see them; to
// others, and of an account that does not exist, nothing (XEP-0030 §8).
func (i *info) items(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	n := r.Payload.Get("node")
	q := xmpp.El(xmpp.NSDiscoItems, "query", "node", n)
	if n == xmpp.NSCommands && (r.ToServer() || r.Own()) { // XEP-0050 §2.2
		for _, c := range i.s.Commands(r) {
			q.Add(xmpp.El(xmpp.NSDiscoItems, "item", "jid", i.s.Domain(), "node", c.Node, "name", c.Name))
		}
		return q, nil
	} else if i.where(r) == relay.OnServer {
		for _, it := range i.s.Items() {
			if n == "" {
				q.Add(xmpp.El(xmpp.NSDiscoItems, "item", "jid", it.JID, "name", it.Name))
			}
		}
		return q, nil
	}
	sees := i.maySee(r) == nil
	if n == "" && sees {
		for _, x := range i.s.Sessions(r.Account()) {
			if x.Available() {
				q.Add(xmpp.El(xmpp.NSDiscoItems, "item", "jid", x.JID().String()))
			}
		}
	}
	list, err := i.s.Shelf.List(r) // XEP-0060 §5.2, §5.5
	if !sees && err != nil {
		return q, nil
	}
	return q.Add(list...), err
}

func (i *info) ping(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	return nil, i.maySee(r)
}

func (i *info) version(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	if i.where(r) != relay.OnServer {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	v := "dev"
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" {
		v = b.Main.Version
	}
	return xmpp.El(xmpp.NSVersion, "query").Add(
		xmpp.El(xmpp.NSVersion, "name").WithText("sotto"), xmpp.El(xmpp.NSVersion, "version").WithText(v)), nil
}

func (i *info) time(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	if i.where(r) != relay.OnServer {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	return xmpp.El(xmpp.NSTime, "time").Add(
		xmpp.El(xmpp.NSTime, "tzo").WithText("Z"),
		xmpp.El(xmpp.NSTime, "utc").WithText(i.s.Now().UTC().Format("2006-01-02T15:04:05Z"))), nil
}

// session is the no-op of RFC 3921 §3 that old clients still send.
func (i *info) session(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "set" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	return nil, nil
}

// last is XEP-0012: uptime of the server, or how long a person has been away.
func (i *info) last(r *relay.Request) (*xmpp.Element, error) {
	if err := get(r); err != nil {
		return nil, err
	}
	if i.where(r) == relay.OnServer {
		return seconds(i.s.Now().Sub(i.start)), nil
	}
	if !r.Own() && !i.s.MaySee(r.From, r.Account()) {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden) // XEP-0012 §4
	}
	for _, x := range i.s.Sessions(r.Account()) {
		if x.Available() {
			return seconds(0), nil
		}
	}
	var seen int64
	err := i.s.Store().View(r.Account(), func(rec *offline.Records) error {
		seen, _ = strconv.ParseInt(string(rec.Get("last", "seen")), 10, 64)
		return nil
	})
	if err != nil || seen == 0 {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	return seconds(i.s.Now().Sub(time.Unix(seen, 0))), nil
}

func seconds(d time.Duration) *xmpp.Element {
	return xmpp.El(xmpp.NSLast, "query", "seconds", strconv.Itoa(max(0, int(d/time.Second))))
}

// gone notes when somebody was last here; nobody waits for the disk.
func (i *info) gone(x *relay.Session) {
	now := strconv.FormatInt(i.s.Now().Unix(), 10)
	err := i.s.Store().Later(x.User(), func(rec *offline.Records) error {
		rec.Put("last", "seen", []byte(now))
		return nil
	})
	if err != nil {
		i.s.Log().Warn("last seen not noted", "err", err)
	}
}
