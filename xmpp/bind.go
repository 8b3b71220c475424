// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"errors"
	"strconv"
)

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
		return false, &StreamError{Cond: StreamInternalError, Cause: err}
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
	if err != nil {
		return nil, &StreamError{Cond: StreamInternalError, Cause: err}
	}
	a.c.jid = b.JID
	yes := El(NSBind2, "bound").Add(b.Extra...)
	if req.SM {
		on := El(NSSM, "enabled")
		if b.SMID != "" {
			on.Set("id", b.SMID).Set("resume", "true").Set("max", strconv.Itoa(b.SMMax))
		}
		yes.Add(on)
	}
	return yes, nil
}
