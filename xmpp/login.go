// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

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
	el, err := d.ask(d.authenticate(m.name, first))
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

func (d *dialer) authenticate(mechanism, first string) *Element {
	el := El(NSSASL2, "authenticate", "mechanism", mechanism).Add(El(NSSASL2, "initial-response").WithText(first))
	if d.l.AgentID != "" {
		ua := El(NSSASL2, "user-agent", "id", d.l.AgentID)
		if d.l.Software != "" {
			ua.Add(El(NSSASL2, "software").WithText(d.l.Software))
		}
		if d.l.Device != "" {
			ua.Add(El(NSSASL2, "device").WithText(d.l.Device))
		}
		el.Add(ua)
		if want := d.wantToken(); want != "" {
			el.Add(El(NSFast, "request-token", "mechanism", want))
		}
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

// wantToken is the mechanism that a token is asked for; "" when we have one.
func (d *dialer) wantToken() string {
	if d.l.Token != nil && !d.w.TokenRefused {
		return ""
	}
	offered := d.features.Child(NSSASL2, "authentication").Child(NSSASL2, "inline").Child(NSFast, "fast").Children()
	for _, m := range tokenMechanisms {
		for _, o := range offered {
			if o.Text() == m.name && (m.binding == "" || d.bindings[m.binding] != nil) {
				return m.name
			}
		}
	}
	return ""
}

// takeToken keeps what the server gave us for the next login.
func (d *dialer) takeToken(el *Element) {
	mechanism := d.wantToken()
	if mechanism == "" && d.l.Token != nil {
		mechanism = d.l.Token.Mechanism
	}
	t := el.Child(NSFast, "token")
	expiry, err := time.Parse(time.RFC3339, t.Get("expiry"))
	if s := t.Get("token"); s != "" && err == nil {
		d.w.Token = &Token{Secret: s, Mechanism: mechanism, Made: time.Now(), Expiry: expiry}
	}
}

// taken reads what <success/> says about resumption and bind.
func (d *dialer) taken(el *Element) error {
	d.takeToken(el)
	if r := el.Child(NSSM, "resumed"); r != nil && d.takeResumed(r) {
		return nil
	}
	d.w.ResumeFailed = d.l.ResumeID != ""
	who, err := ParseJID(strings.TrimSpace(el.Child(NSSASL2, "authorization-identifier").Text()))
	if err != nil {
		return err
	}
	d.c.jid = who
	d.w.Bound = el.Child(NSBind2, "bound").Clone()
	if sm := d.w.Bound.Child(NSSM, "enabled"); sm != nil {
		d.w.SMID = sm.Get("id")
	}
	if err := d.readFeatures(); err != nil {
		return err
	}
	if d.w.Bound == nil {
		return d.bindOne()
	}
	return nil
}

// A Door is how people get an account before login (XEP-0077, XEP-0445).
type Door struct {
	Open    bool // for anybody
	Invited bool // for who has an invitation
	// Ask answers; invite is what this stream has shown, kept between calls.
	Ask func(addr net.Addr, iq *Stanza, invite *string) *Element
}

func (d *Door) features() (all []*Element) {
	if d != nil && d.Invited {
		all = append(all, El(NSRegToken, "register"))
	}
	if d != nil && d.Open {
		all = append(all, El(NSRegFeature, "register"))
	}
	return all
}

// asked says whether a stanza before login is for the door.
func (d *Door) asked(st *Stanza) bool {
	return d != nil && st.Kind == KindIQ && (st.Has(NSRegister, "query") || d.Invited && st.Has(NSPars, "preauth"))
}
