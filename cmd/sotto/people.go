// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"

	"sotto/internal/client"
	"sotto/xmpp"
)

// contacts gives the people we know; without a connection, as we last knew them.
func (d *desk) contacts(ctx context.Context, say func(answer) error) error {
	bad := d.connected(ctx)
	if errors.Is(bad, context.Canceled) || errors.Is(bad, errMoved) {
		return bad
	}
	if bad == nil {
		bad = d.online(d.client.Refresh(ctx))
	}
	unread := map[string]int{}
	for _, c := range d.client.Chats() {
		unread[c.With] = c.Unread
	}
	all := d.client.Contacts()
	for who := range unread {
		if !slices.ContainsFunc(all, func(c client.Contact) bool { return c.JID == who }) {
			all = append(all, client.Contact{JID: who, Sub: "none"}) // a talk with a stranger
		}
	}
	slices.SortFunc(all, byName)
	for _, c := range all {
		if err := say(answer{Contact: &contact{c, unread[c.JID]}}); err != nil {
			return err
		}
	}
	return bad
}

// add asks somebody to be our contact, and accepts who asks.
func (d *desk) add(ctx context.Context, r *request, say func(answer) error) error {
	if err := d.connected(ctx); err != nil {
		return err
	}
	c := d.contact(r.Who)
	if err := d.online(d.client.AddInvited(ctx, r.Who, r.Name, r.Token)); err != nil {
		return err
	}
	text := "asked; you see when they are online as soon as they add you, too"
	if c.Wants || c.Sub == "both" || c.Sub == "to" {
		text = "you see when the other is online, both of you"
	}
	return say(answer{Done: &done{Did: "added", Who: r.Who, Say: text}})
}

// remove takes somebody off the list, or says no to who asks.
func (d *desk) remove(ctx context.Context, r *request, say func(answer) error) error {
	if err := d.connected(ctx); err != nil {
		return err
	}
	c := d.contact(r.Who)
	if c.JID == "" {
		return &failure{Code: exitUser, What: r.Who + " is not among your contacts", Hint: d.p.as + " contacts"}
	}
	if err := d.online(d.client.Remove(ctx, r.Who)); err != nil {
		return err
	}
	return say(answer{Done: &done{Did: "removed", Who: r.Who, Say: "neither of you sees any more when the other is online"}})
}

func (d *desk) contact(jid string) client.Contact {
	for _, c := range d.client.Contacts() {
		if c.JID == jid {
			return c
		}
	}
	return client.Contact{}
}

// online gives an error of a question to the server its code.
func (d *desk) online(err error) error {
	var refused *xmpp.StanzaError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &refused):
		return &failure{Code: exitUser, What: "the server refuses: " + err.Error()}
	}
	return &failure{Code: exitNetwork, What: err.Error(), Hint: "try again"}
}
