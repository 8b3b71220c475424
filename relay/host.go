// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"sotto/offline"
	"sotto/xmpp"
)

// A Host answers for a domain beside the server's own: rooms, a publish and
// subscribe service. An error goes back to the sender. It must not keep the
// errand's stanza.
type Host func(e *Errand) error

// An Errand is one stanza on its way to a Host.
type Errand struct {
	Server *Server
	From   xmpp.JID // full
	Stanza *xmpp.Stanza
	page   *page
}

// Host gives a domain to h. It shows among the server's items (XEP-0030 §4).
func (s *Server) Host(domain string, name string, h Host) {
	s.hosts[domain] = h
	s.items = append(s.items, Item{domain, name})
}

// An Item is one entity that the domain lists (XEP-0030 §4).
type Item struct{ JID, Name string }

// Items lists the hosts.
func (s *Server) Items() []Item { return s.items }

// host sends a stanza to another domain of ours; found is false when there is none.
func (s *Server) host(x *Session, st *xmpp.Stanza, p *page) (found bool, err error) {
	h := s.hosts[st.To.Domain]
	if h == nil {
		return false, nil
	}
	if s.opt.E2E && st.Kind == xmpp.KindMessage && readable(st) {
		return true, xmpp.Refuse(xmpp.Modify, xmpp.PolicyViolation).Say("this server takes only end-to-end encrypted messages")
	}
	return true, h(&Errand{Server: s, From: x.jid, Stanza: st, page: p})
}

// Answer sends the sender what he asked for, or was told.
func (e *Errand) Answer(el *xmpp.Element) {
	el.Set("to", e.From.String())
	if y := e.Server.Find(e.From); y != nil {
		y.Push(el)
	}
}

// Deliver owes a message to devices of an account; none stands for all that
// are owed mail by its address (RFC 6121 §8.5.2). The sender's ack waits until
// the mail is safe.
func (e *Errand) Deliver(el *xmpp.Element, to xmpp.JID, devices ...string) error {
	return e.Server.deliver(el, to, devices, e.Stanza, e.page)
}

// Deliver is the same for what the server itself sends.
func (s *Server) Deliver(el *xmpp.Element, to xmpp.JID, devices ...string) error {
	return s.deliver(el, to, devices, nil, nil)
}

func (s *Server) deliver(el *xmpp.Element, to xmpp.JID, devices []string, cause *xmpp.Stanza, p *page) error {
	boxes, err := s.boxes(nil, to.Local)
	if err != nil {
		return err
	}
	way := plan(letter{typ: "chat", full: to.Resource}, boxes)
	if devices != nil {
		way = Plan{Mail: devices, Direct: true}
	}
	if way.Refuse || way.Mail == nil {
		return xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	m := &offline.Mail{From: el.Get("from"), ID: el.Get("id"), Body: el.Set("to", to.String()).Bytes()}
	return s.mail(cause, to.Local, way, m, p)
}
