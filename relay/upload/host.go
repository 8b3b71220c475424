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
	st := e.Stanza
	if st.Kind != xmpp.KindIQ || st.Type != "get" && st.Type != "set" {
		return nil
	}
	el, err := st.Element()
	if err != nil {
		return err
	}
	q, res := el.Child("", ""), (*xmpp.Element)(nil)
	switch {
	case st.To.Local != "" || st.To.Resource != "":
		return xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	case st.Type == "get" && q.Is(xmpp.NSDiscoInfo, "query") && q.Get("node") == "":
		res = xmpp.El(xmpp.NSDiscoInfo, "query").Add(xmpp.El(xmpp.NSDiscoInfo, "identity", "category", "store", "type", "file", "name", "HTTP File Upload"))
		for _, f := range append([]string{xmpp.NSDiscoInfo, xmpp.NSDiscoItems, xmpp.NSPing}, features...) {
			res.Add(xmpp.El(xmpp.NSDiscoInfo, "feature", "var", f))
		}
		res.Add(form(u.opt.Max))
	case st.Type == "get" && q.Is(xmpp.NSDiscoItems, "query"):
		res = xmpp.El(xmpp.NSDiscoItems, "query")
	case st.Type == "get" && q.Is(xmpp.NSPing, "ping"):
	case q.Is(NS, "request") && u.s.Local(e.From):
		if res, err = u.answer(e.From, st.Type, q); err != nil {
			return err
		}
	case q.Is(NS, "request"): // §"Security Considerations": only people of ours
		return xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	default:
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	e.Answer(xmpp.ResultOf(st, res))
	return nil
}
