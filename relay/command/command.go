// SPDX-License-Identifier: Apache-2.0

package command

import (
	"errors"

	"sotto/relay"
	"sotto/xmpp"
)

// Add registers the family. The commands are added by those whose they are.
func Add(s *relay.Server) {
	s.Disco(relay.OnServer, xmpp.NSCommands)
	s.HandleIQ(xmpp.NSCommands, "command", run)
}

// run is XEP-0050 §3. The client carries what was filled in from step to step,
// so a session is only a name.
func run(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "set" || !r.ToServer() && !r.Own() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	el := r.Payload
	c, ok := r.Server.FindCommand(el.Get("node"))
	if !ok {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	if c.May != nil && !c.May(r) {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.Forbidden)
	}
	session := el.Get("sessionid")
	if len(session) > 100 {
		return nil, refuse(xmpp.BadRequest, "bad-sessionid")
	}
	if session == "" {
		session = relay.NewID()
	}
	res := xmpp.El(xmpp.NSCommands, "command", "node", c.Node, "sessionid", session)
	form := el.Child(xmpp.NSData, "x")
	switch el.Get("action") {
	case "cancel":
		return res.Set("status", "canceled"), nil
	case "", "execute", "next", "complete":
	case "prev":
		form = nil
	default:
		return nil, refuse(xmpp.BadRequest, "malformed-action")
	}
	if form.Get("type") != "submit" {
		form = nil
	}
	answer, done, err := c.Run(r, form)
	if why := relay.Sorry(""); errors.As(err, &why) {
		return res.Set("status", "completed").Add(xmpp.El(xmpp.NSCommands, "note", "type", "error").WithText(string(why))), nil
	}
	if err != nil {
		return nil, err
	}
	if done {
		return res.Set("status", "completed").Add(answer), nil
	}
	return res.Set("status", "executing").Add(
		xmpp.El(xmpp.NSCommands, "actions", "execute", "complete").Add(xmpp.El(xmpp.NSCommands, "complete")), answer), nil
}

// refuse is XEP-0050 §3.7.
func refuse(cond xmpp.Condition, what string) error {
	return xmpp.Refuse(xmpp.Modify, cond).With(xmpp.El(xmpp.NSCommands, what))
}
