// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// Login is what a client needs to open a stream.
type Login struct {
	Addr                           string // host:port
	JID                            JID
	Password                       string
	TLS                            *tls.Config
	Direct                         bool // TLS from the first byte (XEP-0368)
	Resource                       string
	Tag, AgentID, Software, Device string // XEP-0386, XEP-0388
	SM                             bool   // stream management with resumption
	ResumeID                       string
	ResumeH                        uint32
	Carbons                        bool
	ForceMech                      string
	Classic                        bool // no SASL2
	Log                            *slog.Logger
}

// Welcome is how a login ended.
type Welcome struct {
	JID          JID
	SMID         string
	Resumed      bool
	ResumeFailed bool
	H            uint32 // what the server has of a resumed stream
	Mechanism    string
	Features     *Element
}

// A dialer drives the client's end to stanzas.
type dialer struct {
	c        *Conn
	l        *Login
	w        Welcome
	bindings map[string][]byte
	features *Element
}

// Dial opens a stream; a wrong password is an *AuthError.
func Dial(ctx context.Context, l Login) (*Conn, *Welcome, error) {
	var nd net.Dialer
	nc, err := nd.DialContext(ctx, "tcp", l.Addr)
	if err != nil {
		return nil, nil, err
	}
	d := &dialer{c: newConn(nc, l.Log, AfterAuth), l: &l}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	_ = nc.SetDeadline(time.Now().Add(60 * time.Second))
	if err := d.drive(); err != nil {
		d.c.nc.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	_ = d.c.nc.SetDeadline(time.Time{})
	d.w.JID = d.c.jid
	d.w.Features = d.features
	return d.c, &d.w, nil
}

func (d *dialer) drive() error {
	if d.l.Direct {
		if err := d.secure(); err != nil {
			return err
		}
	} else if err := d.startTLS(); err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	if d.features.Child(NSSASL2, "authentication") != nil && !d.l.Classic {
		return d.loginTwo()
	}
	return d.loginOne()
}

func (d *dialer) startTLS() error {
	if err := d.open(); err != nil {
		return err
	}
	if d.features.Child(NSTLS, "starttls") == nil {
		return errors.New("the server does not offer TLS")
	}
	el, err := d.ask(El(NSTLS, "starttls"))
	if err != nil {
		return err
	}
	if !el.Is(NSTLS, "proceed") {
		return errors.New("the server refused TLS")
	}
	if d.c.dec.Buffered() > 0 {
		return errors.New("the server sent bytes before TLS was up")
	}
	return d.secure()
}

func (d *dialer) secure() error {
	conf := d.l.TLS.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	conf.MinVersion = max(conf.MinVersion, tls.VersionTLS12)
	if conf.ServerName == "" {
		conf.ServerName = d.l.JID.Domain
	}
	if d.l.Direct {
		conf.NextProtos = []string{ALPN}
	}
	t := tls.Client(d.c.nc, conf)
	if err := t.Handshake(); err != nil {
		return err
	}
	cs := t.ConnectionState()
	d.bindings = bindings(&cs, cs.PeerCertificates[0])
	d.c.nc = t
	d.c.dec.Reset(t)
	return nil
}

// open starts a stream and reads the features.
func (d *dialer) open() error {
	b := append([]byte(nil), "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'"...)
	b = append(appendAttr(b, "to", d.l.JID.Domain), '>')
	if _, err := d.c.nc.Write(b); err != nil {
		return err
	}
	d.c.dec.Restart()
	if _, err := d.c.dec.Header(); err != nil {
		return err
	}
	return d.readFeatures()
}

func (d *dialer) readFeatures() error {
	el, err := d.read()
	if err != nil {
		return err
	}
	if !el.Is(NSStream, "features") {
		return errors.New("no stream features but " + el.Name.Local)
	}
	d.features = el
	return nil
}

func (d *dialer) read() (*Element, error) {
	if err := d.c.dec.Next(&d.c.st); err != nil {
		return nil, err
	}
	el, err := d.c.st.Element()
	if err == nil && el.Is(NSStream, "error") {
		return nil, streamErrorOf(el)
	}
	return el, err
}

func streamErrorOf(el *Element) *StreamError {
	e := &StreamError{Cond: StreamUndefined, Text: el.Child(NSStreams, "text").Text()}
	for _, k := range el.Children() {
		if k.Name.Space == NSStreams && k.Name.Local != "text" {
			e.Cond = k.Name.Local
		} else if k.Name.Space != NSStreams {
			e.App = k
		}
	}
	return e
}

func (d *dialer) ask(el *Element) (*Element, error) {
	if _, err := d.c.nc.Write(el.Bytes()); err != nil {
		return nil, err
	}
	return d.read()
}

// choose takes the best mechanism that both ends can.
func (d *dialer) choose(offer *Element, ns string) (*mechanism, error) {
	offered := map[string]bool{}
	for _, m := range offer.Children() {
		if m.Is(ns, "mechanism") {
			offered[m.Text()] = true
		}
	}
	for i := range mechanisms {
		m := &mechanisms[i]
		if !offered[m.name] || d.l.ForceMech != "" && d.l.ForceMech != m.name {
			continue
		}
		if m.plus && d.binding() == "" {
			continue
		}
		d.w.Mechanism = m.name
		return m, nil
	}
	return nil, &AuthError{Cond: "invalid-mechanism", Text: "no common way to log in"}
}

// binding picks a channel binding that the server has (XEP-0440).
func (d *dialer) binding() string {
	list := d.features.Child(NSCBTypes, "sasl-channel-binding")
	for _, t := range []string{cbExporter, cbEndPoint} {
		if d.bindings[t] == nil {
			continue
		}
		for _, o := range list.Children() {
			if o.Get("type") == t {
				return t
			}
		}
	}
	return ""
}

// A proof is the client's part of one login.
type proof struct {
	conv  *scram.ClientConversation
	plain []byte
}

func (d *dialer) prove(m *mechanism) (*proof, error) {
	if m.hash == nil {
		return &proof{plain: []byte("\x00" + d.l.JID.Local + "\x00" + d.l.Password)}, nil
	}
	cl, err := m.hash.NewClient(d.l.JID.Local, d.l.Password, "")
	if err != nil {
		return nil, err
	}
	if !m.plus {
		return &proof{conv: cl.NewConversation()}, nil
	}
	t := d.binding()
	return &proof{conv: cl.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(t), Data: d.bindings[t]})}, nil
}

func (p *proof) step(in string) (string, error) {
	if p.conv == nil {
		return encode64(p.plain), nil
	}
	b, err := decode64(in)
	if err != nil {
		return "", err
	}
	out, err := p.conv.Step(string(b))
	return encode64([]byte(out)), err
}

// check takes the server's last word: it must prove that it knows us, too.
func (p *proof) check(in string) error {
	if p.conv == nil {
		return nil
	}
	if _, err := p.step(in); err != nil || !p.conv.Valid() {
		return &AuthError{Cond: "not-authorized", Text: "the server did not prove that it knows the password"}
	}
	return nil
}

func (d *dialer) loginOne() error {
	m, err := d.choose(d.features.Child(NSSASL, "mechanisms"), NSSASL)
	if err != nil {
		return err
	}
	p, err := d.prove(m)
	if err != nil {
		return err
	}
	first, err := p.step("")
	if err != nil {
		return err
	}
	el, err := d.ask(El(NSSASL, "auth", "mechanism", m.name).WithText(first))
	for err == nil && el.Is(NSSASL, "challenge") {
		var r string
		if r, err = p.step(el.Text()); err == nil {
			el, err = d.ask(El(NSSASL, "response").WithText(r))
		}
	}
	if err != nil {
		return err
	}
	if !el.Is(NSSASL, "success") {
		return authErrorOf(el)
	}
	if p.conv != nil && !p.conv.Done() {
		if err := p.check(el.Text()); err != nil {
			return err
		}
	}
	if err := d.open(); err != nil {
		return err
	}
	return d.bindOne()
}

func authErrorOf(el *Element) error {
	e := &AuthError{Cond: "not-authorized"}
	for _, k := range el.Children() {
		if k.Name.Local != "text" {
			e.Cond = k.Name.Local
		} else {
			e.Text = k.Text()
		}
	}
	return e
}

func (d *dialer) bindOne() error {
	if d.l.ResumeID != "" {
		el, err := d.ask(d.resumeElement())
		if err != nil {
			return err
		}
		if d.takeResumed(el) {
			return nil
		}
	}
	bind := El(NSBind, "bind")
	if d.l.Resource != "" {
		bind.Add(El(NSBind, "resource").WithText(d.l.Resource))
	}
	el, err := d.ask(El(NSClient, "iq", "type", "set", "id", "bind").Add(bind))
	if err != nil {
		return err
	}
	if e := StanzaErrorOf(el); e != nil {
		return e
	}
	if d.c.jid, err = ParseJID(el.Child(NSBind, "bind").Child(NSBind, "jid").Text()); err != nil {
		return err
	}
	if !d.l.SM || d.features.Child(NSSM, "sm") == nil {
		return nil
	}
	if el, err = d.ask(El(NSSM, "enable", "resume", "true")); err != nil {
		return err
	}
	if el.Is(NSSM, "enabled") {
		d.w.SMID = el.Get("id")
	}
	return nil
}

func (d *dialer) resumeElement() *Element {
	return El(NSSM, "resume", "previd", d.l.ResumeID, "h", strconv.FormatUint(uint64(d.l.ResumeH), 10))
}

func (d *dialer) takeResumed(el *Element) bool {
	if !el.Is(NSSM, "resumed") {
		d.w.ResumeFailed = true
		return false
	}
	h, _ := strconv.ParseUint(el.Get("h"), 10, 32)
	d.w.Resumed, d.w.H, d.w.SMID = true, uint32(h), d.l.ResumeID
	d.c.resumed, d.c.jid = true, d.l.JID
	return true
}

func (d *dialer) loginTwo() error {
	m, err := d.choose(d.features.Child(NSSASL2, "authentication"), NSSASL2)
	if err != nil {
		return err
	}
	p, err := d.prove(m)
	if err != nil {
		return err
	}
	first, err := p.step("")
	if err != nil {
		return err
	}
	el, err := d.ask(d.authenticate(m, first))
	for err == nil && el.Is(NSSASL2, "challenge") {
		var r string
		if r, err = p.step(el.Text()); err == nil {
			el, err = d.ask(El(NSSASL2, "response").WithText(r))
		}
	}
	if err != nil {
		return err
	}
	if !el.Is(NSSASL2, "success") {
		return authErrorOf(el)
	}
	if err := p.check(el.Child(NSSASL2, "additional-data").Text()); err != nil {
		return err
	}
	return d.taken(el)
}

func (d *dialer) authenticate(m *mechanism, first string) *Element {
	el := El(NSSASL2, "authenticate", "mechanism", m.name).Add(El(NSSASL2, "initial-response").WithText(first))
	if d.l.AgentID != "" {
		ua := El(NSSASL2, "user-agent", "id", d.l.AgentID)
		if d.l.Software != "" {
			ua.Add(El(NSSASL2, "software").WithText(d.l.Software))
		}
		if d.l.Device != "" {
			ua.Add(El(NSSASL2, "device").WithText(d.l.Device))
		}
		el.Add(ua)
	}
	if d.l.ResumeID != "" {
		el.Add(d.resumeElement())
	}
	bind := El(NSBind2, "bind")
	if d.l.Tag != "" {
		bind.Add(El(NSBind2, "tag").WithText(d.l.Tag))
	}
	if d.l.Carbons {
		bind.Add(El(NSCarbons, "enable"))
	}
	if d.l.SM {
		bind.Add(El(NSSM, "enable", "resume", "true"))
	}
	return el.Add(bind)
}

// taken reads what <success/> says about resumption and bind.
func (d *dialer) taken(el *Element) error {
	if r := el.Child(NSSM, "resumed"); r != nil && d.takeResumed(r) {
		return nil
	}
	d.w.ResumeFailed = d.l.ResumeID != ""
	who, err := ParseJID(strings.TrimSpace(el.Child(NSSASL2, "authorization-identifier").Text()))
	if err != nil {
		return err
	}
	d.c.jid = who
	if sm := el.Child(NSBind2, "bound").Child(NSSM, "enabled"); sm != nil {
		d.w.SMID = sm.Get("id")
	}
	if err := d.readFeatures(); err != nil {
		return err
	}
	if el.Child(NSBind2, "bound") == nil {
		return d.bindOne()
	}
	return nil
}
