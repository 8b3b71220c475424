// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"sotto/offline"
	"sotto/xmpp"
)

// bounceExpired tells the sender that a message was not fetched in time and
// has been forgotten (DESIGN §4).
func (s *Server) bounceExpired(user string, m offline.Mail) {
	from, err := xmpp.ParseJID(m.From)
	if err != nil || !s.Local(from) || from.Local == "" {
		return
	}
	if from.Local == user { // a copy of one's own message: nobody waits for it
		return
	}
	to := xmpp.JID{Local: user, Domain: s.domain.Domain}
	el := xmpp.El(xmpp.NSClient, "message", "type", "error", "id", m.ID, "from", to.String(), "to", from.String())
	why := xmpp.Refuse(xmpp.Wait, xmpp.RecipientUnavailable).
		Say("the receiver did not fetch this message in time; it has been deleted")
	el.Add(why.Element())
	if err := s.toSender(from, el); err != nil {
		s.opt.Log.Warn("expiry not reported", "err", err)
	}
}

// toSender puts a report into the mailbox of the device that sent, or into the
// account's inbox when that device is no more.
func (s *Server) toSender(from xmpp.JID, el *xmpp.Element) error {
	boxes, err := s.boxes(from.Local)
	if err != nil {
		return err
	}
	way := Plan{Mail: []string{inbox}, Direct: true}
	for _, b := range boxes {
		if b.resource == from.Resource {
			way.Mail = []string{b.device}
		}
	}
	m := &offline.Mail{From: el.Get("from"), ID: el.Get("id"), Body: el.Bytes()}
	return s.mail(nil, nil, from.Local, way, m, nil)
}
