// SPDX-License-Identifier: Apache-2.0

package device

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

type device struct{ s *relay.Server }

// Add registers the family.
func Add(s *relay.Server) {
	d := &device{s}
	s.HandleIQ(xmpp.NSCam, "list", d.list)
	s.HandleIQ(xmpp.NSCam, "revoke", d.revoke)
	s.Disco(relay.OnAccount, xmpp.NSCam)
}

// A Client is one installation with access to an account.
type Client struct {
	ID          string // says nothing about the device's own name, which proves it to be this one
	Key         string // of its mailbox
	Label       string
	Since, Seen time.Time
	Connected   bool
	Fast        bool // has tokens (XEP-0484)
}

// Clients lists an account's devices, and sessions that are none. sessions may
// be nil.
func Clients(st *offline.Store, user string, sessions []*relay.Session) ([]Client, error) {
	known, err := st.Devices(user)
	if err != nil {
		return nil, err
	}
	var all []Client
	for _, d := range known {
		label := d.Label
		if label == "" {
			label = d.Resource
		}
		all = append(all, Client{ID: idOf(user, d.ID), Key: d.ID, Label: label, Since: d.Since, Seen: d.Seen})
	}
	for _, x := range sessions {
		i := slices.IndexFunc(all, func(c Client) bool { return c.Key == x.Device() })
		if i < 0 {
			i = len(all)
			all = append(all, Client{ID: idOf(user, x.Device()), Key: x.Device(), Label: x.JID().Resource, Since: x.Born(), Seen: x.Born()})
		}
		all[i].Connected = true
	}
	err = st.View(user, func(r *offline.Records) error {
		for i := range all {
			all[i].Fast = r.Get(offline.KindFast, all[i].Key) != nil
		}
		return nil
	})
	return all, err
}

func idOf(user, key string) string {
	sum := sha256.Sum256([]byte(user + "\x00" + key))
	return hex.EncodeToString(sum[:8])
}

// Find gives the one with an id; ok is false when there is none.
func Find(all []Client, id string) (Client, bool) {
	i := slices.IndexFunc(all, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, false
	}
	return all[i], true
}

// list is XEP-0494 §3.1.
func (d *device) list(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "get" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	all, err := Clients(d.s.Store(), r.From.Local, d.s.Sessions(r.From.Local))
	if err != nil {
		return nil, err
	}
	el := xmpp.El(xmpp.NSCam, "clients")
	for i := range all {
		el.Add(all[i].element())
	}
	return el, nil
}

func (c *Client) element() *xmpp.Element {
	cam := func(name, text string) *xmpp.Element { return xmpp.El(xmpp.NSCam, name).WithText(text) }
	auth := cam("auth", "").Add(cam("password", ""))
	if c.Fast {
		auth.Add(cam("fast", ""))
	}
	connected := "false"
	if c.Connected {
		connected = "true"
	}
	return xmpp.El(xmpp.NSCam, "client", "id", c.ID, "connected", connected, "type", "session").Add(
		cam("first-seen", stamp(c.Since)), cam("last-seen", stamp(c.Seen)), auth,
		xmpp.El(xmpp.NSCam, "permission", "status", "unrestricted"),
		cam("user-agent", "").Add(cam("software", strings.TrimSpace(c.Label))))
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// revoke is XEP-0494 §3.2. Where a device has no name of its own, its password
// still lets it in, and the answer says so.
func (d *device) revoke(r *relay.Request) (*xmpp.Element, error) {
	if r.Type != "set" || !r.Own() {
		return nil, xmpp.Refuse(xmpp.Auth, xmpp.Forbidden)
	}
	user := r.From.Local
	all, err := Clients(d.s.Store(), user, d.s.Sessions(user))
	if err != nil {
		return nil, err
	}
	c, ok := Find(all, r.Payload.Get("id"))
	if !ok {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ItemNotFound)
	}
	if c.Key == r.Session.Device() {
		r.After = func() {
			if _, err := d.s.Unlink(user, c.Key, r.Session); err != nil {
				d.s.Log().Error("unlink", "err", err)
			}
		}
		return nil, nil
	}
	known, err := d.s.Unlink(user, c.Key, nil)
	if err == nil && known {
		err = xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable).With(xmpp.El(xmpp.NSCam, "password-reset-required")).
			Say("it is out, but knows the password; change that")
	}
	return nil, err
}
