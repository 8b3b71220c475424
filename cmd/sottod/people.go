// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/block"
	"sotto/relay/device"
	"sotto/relay/transfer"
)

func clients(user string, st *offline.Store, r *relay.Server) ([]device.Client, error) {
	var sessions []*relay.Session
	if r != nil {
		sessions = r.Sessions(user)
	}
	return device.Clients(st, user, sessions)
}

// deviceLines lists an account's devices. What clients and people say is
// quoted: it must not move the cursor.
func deviceLines(user string, st *offline.Store, r *relay.Server) (lines []string, err error) {
	all, err := clients(user, st, r)
	for _, c := range all {
		is := "away"
		if c.Connected {
			is = "here"
		}
		lines = append(lines, fmt.Sprintf("%s  %s  last login %s  %q", c.ID, is, c.Seen.UTC().Format("2006-01-02 15:04"), c.Label))
	}
	return lines, err
}

var errNoDevice = errors.New("there is no such device")

// revokeDevice takes one off its account.
func revokeDevice(o *order, st *offline.Store, r *relay.Server) ([]string, error) {
	all, err := clients(o.User, st, r)
	if err != nil {
		return nil, err
	}
	c, ok := device.Find(all, o.Device)
	if !ok {
		return nil, errNoDevice
	}
	if r == nil {
		return nil, st.RevokeDevice(o.User, c.Key)
	}
	known, err := r.Unlink(o.User, c.Key, nil)
	if err == nil && known {
		return []string{"It is out, but it knows the password and may log in again. To keep it out: sottod user passwd " + o.User}, nil
	}
	return nil, err
}

// inviteLines makes an invitation and gives the link to hand on (XEP-0445 §2).
func inviteLines(o *order, st *offline.Store) ([]string, error) {
	i := account.Invite{By: o.By, User: o.User, Account: true, Until: time.Now().AddDate(0, 0, o.Days)}
	token, err := account.NewInvite(st, i, time.Now())
	if err != nil {
		return nil, err
	}
	lines := []string{account.Link(i, token, o.Domain)}
	if at := account.Landing(o.Web, token); at != "" {
		lines = append(lines, at)
	}
	return append(lines, "It is good for one account, until "+i.Until.UTC().Format("2006-01-02 15:04")+" UTC."), nil
}

// reportLines lists what people reported when they blocked somebody.
func reportLines(st *offline.Store) (lines []string, err error) {
	all, err := block.Reports(st)
	for _, r := range all {
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%s  %s reports %q  %q  %s  %s", r.At.UTC().Format("2006-01-02 15:04"), r.By,
			r.About, r.Reason, quoted(r.Text), quoted(strings.Join(r.Messages, " ")))))
	}
	return lines, err
}

func quoted(s string) string {
	if s == "" {
		return ""
	}
	return fmt.Sprintf("%q", s)
}

// carry writes accounts into a file, or takes them from files.
func carry(o *order, r *relay.Server, say func(string)) ([]string, error) {
	if o.Verb == "export" {
		n, err := transfer.Export(r, o.File, o.Users, o.Mail, say)
		if err != nil {
			return nil, err
		}
		return []string{fmt.Sprintf("%d accounts written to %s", n, o.File)}, nil
	}
	got, err := transfer.Import(r, o.File, o.Domain, say)
	line := fmt.Sprintf("%d accounts imported, %d were here from an import before, %d notes", got.Made, got.Here, got.Noted)
	if err != nil {
		return nil, fmt.Errorf("%w (%s)", err, line)
	}
	return []string{line}, nil
}
