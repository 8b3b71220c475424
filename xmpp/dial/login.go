// SPDX-License-Identifier: Apache-2.0

package dial

import (
	"strconv"
	"strings"
	"time"

	"github.com/xdg-go/scram"

	"sotto/xmpp"
)

// choose takes the best mechanism that both ends can.
func (d *dialer) choose(offer *xmpp.Element, ns string) (*xmpp.Mechanism, error) {
	offered := map[string]bool{}
	for _, m := range offer.Children() {
		if m.Is(ns, "mechanism") {
			offered[m.Text()] = true
		}
	}
	for i := range xmpp.Mechanisms {
		m := &xmpp.Mechanisms[i]
		if !offered[m.Name] || d.l.ForceMech != "" && d.l.ForceMech != m.Name {
			continue
		}
		if m.Plus && d.binding() == "" {
			continue
		}
		d.w.Mechanism = m.Name
		return m, nil
	}
	return nil, &xmpp.AuthError{Cond: "invalid-mechanism", Text: "no common way to log in"}
}

// binding picks a channel binding that the server has (XEP-0440).
func (d *dialer) binding() string {
	list := d.features.Child(xmpp.NSCBTypes, "sasl-channel-binding")
	for _, t := range []string{xmpp.CBExporter, xmpp.CBEndPoint} {
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

func (d *dialer) prove(m *xmpp.Mechanism) (*proof, error) {
	if m.Hash == nil {
		return &proof{plain: []byte("\x00" + d.l.JID.Local + "\x00" + d.l.Password)}, nil
	}
	cl, err := m.Hash.NewClient(d.l.JID.Local, d.l.Password, "")
	if err != nil {
		return nil, err
	}
	if !m.Plus {
		return &proof{conv: cl.NewConversation()}, nil
	}
	t := d.binding()
	return &proof{conv: cl.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(t), Data: d.bindings[t]})}, nil
}

func (p *proof) step(in string) (string, error) {
	if p.conv == nil {
		return xmpp.Encode64(p.plain), nil
	}
	b, err := xmpp.Decode64(in)
	if err != nil {
		return "", err
	}
	out, err := p.conv.Step(string(b))
	return xmpp.Encode64([]byte(out)), err
}

// check takes the server's last word: it must prove that it knows us, too.
func (p *proof) check(in string) error {
	if p.conv == nil {
		return nil
	}
	if _, err := p.step(in); err != nil || !p.conv.Valid() {
		return &xmpp.AuthError{Cond: "not-authorized", Text: "the server did not prove that it knows the password"}
	}
	return nil
}

// answer begins a login and meets its challenges; what comes then is another
// thing in each of the two ways.
func (d *dialer) answer(m *xmpp.Mechanism, space string, begin func(first string) *xmpp.Element) (*proof, *xmpp.Element, error) {
	p, err := d.prove(m)
	if err != nil {
		return nil, nil, err
	}
	first, err := p.step("")
	if err != nil {
		return nil, nil, err
	}
	el, err := d.Ask(begin(first))
	for err == nil && el.Is(space, "challenge") {
		var r string
		if r, err = p.step(el.Text()); err == nil {
			el, err = d.Ask(xmpp.El(space, "response").WithText(r))
		}
	}
	return p, el, err
}

func (d *dialer) loginOne() error {
	m, err := d.choose(d.features.Child(xmpp.NSSASL, "mechanisms"), xmpp.NSSASL)
	if err != nil {
		return err
	}
	p, el, err := d.answer(m, xmpp.NSSASL, func(first string) *xmpp.Element {
		return xmpp.El(xmpp.NSSASL, "auth", "mechanism", m.Name).WithText(first)
	})
	if err != nil {
		return err
	}
	if !el.Is(xmpp.NSSASL, "success") {
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

func authErrorOf(el *xmpp.Element) error {
	e := &xmpp.AuthError{Cond: "not-authorized"}
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
		el, err := d.Ask(d.resumeElement())
		if err != nil {
			return err
		}
		if d.takeResumed(el) {
			return nil
		}
	}
	bind := xmpp.El(xmpp.NSBind, "bind")
	if d.l.Resource != "" {
		bind.Add(xmpp.El(xmpp.NSBind, "resource").WithText(d.l.Resource))
	}
	el, err := d.Ask(xmpp.El(xmpp.NSClient, "iq", "type", "set", "id", "bind").Add(bind))
	if err != nil {
		return err
	}
	if e := xmpp.StanzaErrorOf(el); e != nil {
		return e
	}
	if d.jid, err = xmpp.ParseJID(el.Child(xmpp.NSBind, "bind").Child(xmpp.NSBind, "jid").Text()); err != nil {
		return err
	}
	if !d.l.SM || d.features.Child(xmpp.NSSM, "sm") == nil {
		return nil
	}
	if el, err = d.Ask(xmpp.El(xmpp.NSSM, "enable", "resume", "true")); err != nil {
		return err
	}
	if el.Is(xmpp.NSSM, "enabled") {
		d.w.SMID = el.Get("id")
	}
	return nil
}

func (d *dialer) resumeElement() *xmpp.Element {
	return xmpp.El(xmpp.NSSM, "resume", "previd", d.l.ResumeID, "h", strconv.FormatUint(uint64(d.l.ResumeH), 10))
}

func (d *dialer) takeResumed(el *xmpp.Element) bool {
	if !el.Is(xmpp.NSSM, "resumed") {
		d.w.ResumeFailed = true
		return false
	}
	h, _ := strconv.ParseUint(el.Get("h"), 10, 32)
	d.w.Resumed, d.w.H, d.w.SMID = true, uint32(h), d.l.ResumeID
	d.jid = d.l.JID
	return true
}

func (d *dialer) loginTwo() error {
	m, err := d.choose(d.features.Child(xmpp.NSSASL2, "authentication"), xmpp.NSSASL2)
	if err != nil {
		return err
	}
	p, el, err := d.answer(m, xmpp.NSSASL2, func(first string) *xmpp.Element { return d.authenticate(m.Name, first) })
	if err != nil {
		return err
	}
	if el.Is(xmpp.NSSASL2, "continue") {
		if err := p.check(el.Child(xmpp.NSSASL2, "additional-data").Text()); err != nil {
			return err
		}
		if el, err = d.upgrade(el); err != nil {
			return err
		}
	} else if el.Is(xmpp.NSSASL2, "success") {
		err = p.check(el.Child(xmpp.NSSASL2, "additional-data").Text())
	}
	if err != nil {
		return err
	}
	if !el.Is(xmpp.NSSASL2, "success") {
		return authErrorOf(el)
	}
	return d.taken(el)
}

// The task that makes keys for a better hash (XEP-0480 §3).
const upgradeTask = "UPGR-SCRAM-SHA-256"

// offersUpgrade says whether the server misses those keys.
func (d *dialer) offersUpgrade() bool {
	for _, k := range d.features.Child(xmpp.NSSASL2, "authentication").Children() {
		if k.Name.Local == "upgrade" && strings.TrimSpace(k.Text()) == upgradeTask {
			return true
		}
	}
	return false
}

// upgrade does the task and reads what comes after it.
func (d *dialer) upgrade(el *xmpp.Element) (*xmpp.Element, error) {
	if strings.TrimSpace(el.Child(xmpp.NSSASL2, "tasks").Child(xmpp.NSSASL2, "task").Text()) != upgradeTask {
		return nil, &xmpp.AuthError{Cond: "not-authorized", Text: "the server asks for more than a password"}
	}
	el, err := d.Ask(xmpp.El(xmpp.NSSASL2, "next", "task", upgradeTask))
	if err != nil {
		return nil, err
	}
	salt := el.Child("", "salt")
	n, err := strconv.Atoi(salt.Get("iterations"))
	raw, bad := xmpp.Decode64(strings.TrimSpace(salt.Text()))
	if err != nil || bad != nil || n < 4096 || n > 10_000_000 || len(raw) == 0 { // RFC 7677 §4
		return nil, &xmpp.AuthError{Cond: "not-authorized", Text: "the server's salt makes no sense"}
	}
	hash, err := xmpp.SaltedPassword(d.l.Password, raw, n)
	if err != nil {
		return nil, err
	}
	return d.Ask(xmpp.El(xmpp.NSSASL2, "task-data").Add(xmpp.El("urn:xmpp:scram-upgrade:0", "hash").WithText(xmpp.Encode64(hash))))
}

func (d *dialer) authenticate(mechanism, first string) *xmpp.Element {
	el := xmpp.El(xmpp.NSSASL2, "authenticate", "mechanism", mechanism).Add(xmpp.El(xmpp.NSSASL2, "initial-response").WithText(first))
	if d.l.AgentID != "" {
		ua := xmpp.El(xmpp.NSSASL2, "user-agent", "id", d.l.AgentID)
		if d.l.Software != "" {
			ua.Add(xmpp.El(xmpp.NSSASL2, "software").WithText(d.l.Software))
		}
		if d.l.Device != "" {
			ua.Add(xmpp.El(xmpp.NSSASL2, "device").WithText(d.l.Device))
		}
		el.Add(ua)
		if want := d.wantToken(); want != "" {
			el.Add(xmpp.El(xmpp.NSFast, "request-token", "mechanism", want))
		}
	}
	if d.offersUpgrade() && !strings.HasPrefix(mechanism, "HT-") {
		el.Add(xmpp.El("urn:xmpp:sasl:upgrade:0", "upgrade").WithText(upgradeTask))
	}
	if d.l.ResumeID != "" {
		el.Add(d.resumeElement())
	}
	bind := xmpp.El(xmpp.NSBind2, "bind")
	if d.l.Tag != "" {
		bind.Add(xmpp.El(xmpp.NSBind2, "tag").WithText(d.l.Tag))
	}
	if d.l.Carbons {
		bind.Add(xmpp.El(xmpp.NSCarbons, "enable"))
	}
	if d.l.SM {
		bind.Add(xmpp.El(xmpp.NSSM, "enable", "resume", "true"))
	}
	return el.Add(bind)
}

// wantToken is the mechanism that a token is asked for; "" when we have one.
func (d *dialer) wantToken() string {
	if d.l.Token != nil && !d.w.TokenRefused {
		return ""
	}
	offered := d.features.Child(xmpp.NSSASL2, "authentication").Child(xmpp.NSSASL2, "inline").Child(xmpp.NSFast, "fast").Children()
	for _, m := range xmpp.TokenMechanisms {
		for _, o := range offered {
			if o.Text() == m.Name && (m.Binding == "" || d.bindings[m.Binding] != nil) {
				return m.Name
			}
		}
	}
	return ""
}

// takeToken keeps what the server gave us for the next login.
func (d *dialer) takeToken(el *xmpp.Element) {
	mechanism := d.wantToken()
	if mechanism == "" && d.l.Token != nil {
		mechanism = d.l.Token.Mechanism
	}
	t := el.Child(xmpp.NSFast, "token")
	expiry, err := time.Parse(time.RFC3339, t.Get("expiry"))
	if s := t.Get("token"); s != "" && err == nil {
		d.w.Token = &xmpp.Token{Secret: s, Mechanism: mechanism, Made: time.Now(), Expiry: expiry}
	}
}

// taken reads what <success/> says about resumption and bind.
func (d *dialer) taken(el *xmpp.Element) error {
	d.takeToken(el)
	if r := el.Child(xmpp.NSSM, "resumed"); r != nil && d.takeResumed(r) {
		return nil
	}
	d.w.ResumeFailed = d.l.ResumeID != ""
	who, err := xmpp.ParseJID(strings.TrimSpace(el.Child(xmpp.NSSASL2, "authorization-identifier").Text()))
	if err != nil {
		return err
	}
	d.jid = who
	d.w.Bound = el.Child(xmpp.NSBind2, "bound").Clone()
	if sm := d.w.Bound.Child(xmpp.NSSM, "enabled"); sm != nil {
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
