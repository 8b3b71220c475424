// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"sotto/relay"
	"sotto/xmpp"
)

// features are told by the domain and by the service's own.
var features = []string{NS, NSPurpose + "#message", NSPurpose + "#profile", NSPurpose + "#ephemeral"}

// visit answers at upload. and the domain, where clients look who never ask the
// domain itself, or only for its first identity.
func (u *upload) visit(e *relay.Errand) error {
	q, err := e.Asked(func() *xmpp.Element {
		return relay.Info("store", "file", "HTTP File Upload", features...).Add(form(u.opt.Max))
	})
	switch {
	case q == nil:
		return err
	case !q.Is(NS, "request"):
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	case !u.s.Local(e.From): // §"Security Considerations": only people of ours
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	res, err := u.answer(e.From, e.Stanza.Type, q)
	if err != nil {
		return err
	}
	e.Answer(xmpp.ResultOf(e.Stanza, res))
	return nil
}
