// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"errors"
	"strconv"
	"time"
)

// beginTwo is begin, and logins by token (XEP-0484), which say that they are.
func (a *accept) beginTwo(el *Element) (x *exchange, err error) {
	name := el.Get("mechanism")
	if b, ok := BindingOf(name); ok && a.setup.Tokens != nil && el.Child(NSFast, "fast") != nil && (b == "" || a.bindings[b] != nil) {
		x = &exchange{a: a, byToken: name}
	} else if x, err = a.begin(name); err != nil {
		return nil, err
	}
	x.device = el.Child(NSSASL2, "user-agent").Get("id")
	return x, nil
}

// tokenFor gives a new token to who asks for one, or whose own is old.
func (a *accept) tokenFor(el *Element, x *exchange) *Element {
	keep := a.setup.Tokens
	if keep == nil || x.device == "" {
		return nil
	}
	want := el.Child(NSFast, "request-token").Get("mechanism")
	if x.byToken != "" {
		if v := el.Child(NSFast, "fast").Get("invalidate"); v == "true" || v == "1" {
			keep.Revoke(x.user, x.device, x.used)
		} else if keep.Used(x.user, x.device, x.used) && want == "" {
			want = x.byToken
		}
	}
	if b, ok := BindingOf(want); !ok || b != "" && a.bindings[b] == nil {
		return nil
	}
	t, err := keep.Issue(x.user, x.device, want)
	if err != nil {
		return nil // the password works as before
	}
	return El(NSFast, "token", "token", t.Secret, "expiry", t.Expiry.UTC().Format(time.RFC3339))
}

// saslOne is classic SASL (RFC 6120 §6); done means logged in.
func (a *accept) saslOne() (done bool, err error) {
	el, err := a.c.st.Element()
	if err != nil {
		return false, err
	}
	x, err := a.begin(el.Get("mechanism"))
	if err != nil {
		return a.failed(NSSASL, err)
	}
	say := func(kind string, b []byte) error { return a.send(El(NSSASL, kind).WithText(Encode64(b))) }
	text := el.Text()
	if text == "" { // no initial response
		if err := say("challenge", nil); err != nil {
			return false, err
		}
		if text, err = a.response(NSSASL); err != nil {
			return a.failed(NSSASL, err)
		}
	}
	for {
		out, err := x.decoded(text)
		if err != nil {
			return a.failed(NSSASL, err)
		}
		if x.ok {
			a.welcome(x.user)
			return true, say("success", out)
		}
		if err := say("challenge", out); err != nil {
			return false, err
		}
		if text, err = a.response(NSSASL); err != nil {
			return a.failed(NSSASL, err)
		}
	}
}

// response reads the client's next message of a login.
func (a *accept) response(ns string) (string, error) {
	el, err := a.next()
	if err != nil {
		return "", err
	}
	if !el.Is(ns, "response") {
		return "", &AuthError{Cond: "aborted"}
	}
	return el.Text(), nil
}

func (a *accept) welcome(user string) {
	a.account = JID{Local: user, Domain: a.setup.Domain}
	a.state = Authed
	a.c.dec.Restart()
}

// decoded takes one message of the client.
func (x *exchange) decoded(text string) ([]byte, error) {
	b, err := Decode64(text)
	if err != nil {
		return nil, &AuthError{Cond: "incorrect-encoding"}
	}
	out, err := x.step(b)
	if x.ok && x.a.setup.Proved != nil {
		x.a.setup.Proved(x.a.c.Addr(), x.user, x.device)
	}
	if x.ok && x.a.setup.Barred != nil && x.a.setup.Barred(x.user) {
		x.ok = false
		return nil, &AuthError{Cond: "account-disabled"} // RFC 6120 §6.5.1
	}
	return out, err
}

// attempt waits where failures made login slow. It comes before the account is
// looked up, so that it takes the same time whether there is one.
func (x *exchange) attempt() error {
	if x.a.setup.Attempt == nil {
		return nil
	}
	wait, ok := x.a.setup.Attempt(x.a.c.Addr(), x.user, x.device)
	if !ok {
		return &AuthError{Cond: "temporary-auth-failure", Text: "too many failed logins; try again later"}
	}
	if wait > 0 {
		select {
		case <-time.After(wait):
		case <-x.a.gone:
		}
	}
	return nil
}

// failed answers a wrong login; the third one closes the socket.
func (a *accept) failed(ns string, err error) (bool, error) {
	var wrong *AuthError
	if !errors.As(err, &wrong) {
		return false, err
	}
	a.tries++
	el := El(ns, "failure").Add(El(NSSASL, wrong.Cond))
	if wrong.Text != "" {
		el.Add(El(ns, "text").WithText(wrong.Text))
	}
	if err := a.send(el); err != nil {
		return false, err
	}
	if a.tries >= triesMax {
		return false, &StreamError{Cond: StreamPolicyViolation, Text: "too many failed logins"}
	}
	return false, nil
}

// saslTwo is XEP-0388 with Bind 2 and resumption inline.
func (a *accept) saslTwo() (done bool, err error) {
	el, err := a.c.st.Element()
	if err != nil {
		return false, err
	}
	x, err := a.beginTwo(el)
	if err != nil {
		return a.failed(NSSASL2, err)
	}
	text := el.Child(NSSASL2, "initial-response").Text()
	if el.Child(NSSASL2, "initial-response") == nil {
		if err := a.send(El(NSSASL2, "challenge")); err != nil {
			return false, err
		}
		if text, err = a.response(NSSASL2); err != nil {
			return a.failed(NSSASL2, err)
		}
	}
	for {
		out, err := x.decoded(text)
		if err != nil {
			return a.failed(NSSASL2, err)
		}
		if x.ok && x.lacks && x.byToken == "" && wanted(el) {
			if out, err = nil, a.upgradeKeys(x, out); err != nil {
				return a.failed(NSSASL2, err)
			}
		}
		if x.ok {
			return true, a.finish(el, x, out)
		}
		if err := a.send(El(NSSASL2, "challenge").WithText(Encode64(out))); err != nil {
			return false, err
		}
		if text, err = a.response(NSSASL2); err != nil {
			return a.failed(NSSASL2, err)
		}
	}
}

// finish answers a good SASL2 login with all that was asked inline: first the
// resumption; only when that fails, bind (XEP-0198 §"SASL2").
func (a *accept) finish(el *Element, x *exchange, out []byte) error {
	a.account = JID{Local: x.user, Domain: a.setup.Domain}
	agent := el.Child(NSSASL2, "user-agent")
	a.agent = BindRequest{
		AgentID: agent.Get("id"), Software: agent.Child(NSSASL2, "software").Text(),
		DeviceName: agent.Child(NSSASL2, "device").Text(),
	}
	yes := El(NSSASL2, "success")
	if len(out) > 0 {
		yes.Add(El(NSSASL2, "additional-data").WithText(Encode64(out)))
	}
	yes.Add(a.tokenFor(el, x))
	a.state = Authed
	who := a.account
	if r := el.Child(NSSM, "resume"); r != nil {
		answer, err := a.resume(r)
		if err != nil {
			return err
		}
		yes.Add(El(NSSASL2, "authorization-identifier").WithText(who.String()), answer)
		if a.state == Ready {
			return a.send(yes)
		}
	} else {
		yes.Add(El(NSSASL2, "authorization-identifier").WithText(who.String()))
	}
	if b := el.Child(NSBind2, "bind"); b != nil {
		bound, err := a.bindTwo(b)
		if err != nil {
			return err
		}
		yes.Add(bound)
		a.state = Ready
		who = a.c.jid
		yes.Child(NSSASL2, "authorization-identifier").Nodes = []Node{{Text: who.String()}}
	}
	return a.afterTwo(yes)
}

// afterTwo sends the features behind <success/>; there is no stream restart
// (XEP-0388 §"Success"). What was done inline is not offered again: xmpp.js
// would do it again. A client that did not bind inline goes on classically.
func (a *accept) afterTwo(yes *Element) error {
	b := yes.Bytes()
	b = append(b, "<stream:features>"...)
	for _, f := range a.boundFeatures() {
		b = f.Append(b, NSClient)
	}
	b = append(b, "</stream:features>"...)
	if _, err := a.c.nc.Write(b); err != nil {
		return err
	}
	if a.state == Ready {
		return nil
	}
	return a.beforeBind()
}

func (a *accept) resume(r *Element) (*Element, error) {
	h, err := strconv.ParseUint(r.Get("h"), 10, 32)
	if err != nil {
		return nil, &StreamError{Cond: StreamBadFormat}
	}
	in, err := a.hooks.Resume(a.c, a.account, r.Get("previd"), uint32(h))
	var one *StanzaError
	if errors.As(err, &one) {
		return El(NSSM, "failed").Add(El(NSStanzas, string(one.Cond))), nil
	}
	if err != nil {
		return nil, err
	}
	a.c.resumed = true
	a.state = Ready
	return El(NSSM, "resumed", "previd", r.Get("previd"), "h", strconv.FormatUint(uint64(in), 10)), nil
}

// beforeBind takes a classic bind or a resumption (RFC 6120 §7, XEP-0198 §5).
func (a *accept) beforeBind() error {
	for {
		if err := a.c.dec.Next(&a.c.st); err != nil {
			return err
		}
		st := &a.c.st
		el, err := st.Element()
		if err != nil {
			return err
		}
		switch {
		case st.Name == Name{NSSM, "resume"}:
			answer, err := a.resume(el)
			if err != nil {
				return err
			}
			if err := a.send(answer); err != nil || a.state == Ready {
				return err
			}
		case st.Name == Name{NSSM, "enable"}:
			if err := a.tooEarly(); err != nil {
				return err
			}
		case st.Kind == KindIQ && st.Type == "set" && el.Child(NSBind, "bind") != nil:
			done, err := a.bindOne(st, el.Child(NSBind, "bind"))
			if done || err != nil {
				return err
			}
		default:
			return &StreamError{Cond: StreamNotAuthorized} // RFC 6120 §7.1
		}
	}
}

func (a *accept) bindOne(st *Stanza, el *Element) (bool, error) {
	req := a.agent
	req.Account, req.Resource = a.account, el.Child(NSBind, "resource").Text()
	b, err := a.hooks.Bind(a.c, req)
	var one *StanzaError
	if errors.As(err, &one) {
		return false, a.send(ErrorReply(st, one))
	}
	if err != nil {
		return false, notBound(err)
	}
	a.c.jid = b.JID
	a.state = Ready
	return true, a.send(ResultOf(st, El(NSBind, "bind").Add(El(NSBind, "jid").WithText(b.JID.String()))))
}

// bindTwo is XEP-0386.
func (a *accept) bindTwo(el *Element) (*Element, error) {
	req := a.agent
	req.Account, req.Bind2 = a.account, true
	req.Tag = el.Child(NSBind2, "tag").Text()
	req.Carbons = el.Child(NSCarbons, "enable") != nil
	req.CSIInactive = el.Child(NSCSI, "inactive") != nil
	sm := el.Child(NSSM, "enable")
	req.SM = sm != nil
	req.SMResume = sm.Get("resume") == "true" || sm.Get("resume") == "1"
	b, err := a.hooks.Bind(a.c, req)
	var one *StanzaError
	if errors.As(err, &one) && one.Cond == ResourceConstraint {
		return nil, &StreamError{Cond: StreamResourceConstraint, Text: one.Text}
	}
	if err != nil {
		return nil, notBound(err)
	}
	a.c.jid = b.JID
	yes := El(NSBind2, "bound").Add(b.Extra...)
	if a.counted = req.SM; req.SM {
		on := El(NSSM, "enabled")
		if b.SMID != "" {
			on.Set("id", b.SMID).Set("resume", "true").Set("max", strconv.Itoa(b.SMMax))
		}
		yes.Add(on)
	}
	return yes, nil
}
