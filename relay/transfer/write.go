// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// Export writes accounts, all when none is named, into a file that is whole or
// not there. mail adds what waits for them.
func Export(s *relay.Server, path string, users []string, mail bool, say func(string)) (n int, err error) {
	if len(users) == 0 {
		if users, err = s.Store().Users(); err != nil {
			return 0, err
		}
	}
	out, err := os.CreateTemp(filepath.Dir(path), ".sottod-export-*") // 0600: it is what others may log in with
	if err != nil {
		return 0, err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	w := &writer{Writer: bufio.NewWriter(out), s: s}
	_, _ = w.WriteString("<?xml version='1.0' encoding='UTF-8'?>\n<server-data xmlns='" + ns + "'>\n<host jid='" + s.Domain() + "'>\n")
	last := time.Now()
	for _, user := range users {
		if err := w.user(user, mail); err != nil {
			return n, fmt.Errorf("export %s: %w", user, err)
		}
		if n++; time.Since(last) > 2*time.Second {
			last = time.Now()
			say(fmt.Sprintf("%d of %d accounts", n, len(users)))
		}
	}
	_, _ = w.WriteString("</host>\n</server-data>\n")
	if err := w.Flush(); err != nil {
		return n, err
	}
	if err := out.Sync(); err != nil {
		return n, err
	}
	return n, os.Rename(out.Name(), path)
}

type writer struct {
	*bufio.Writer
	s *relay.Server
}

// put writes an element on a line of its own; an error stays with the Writer.
func (w *writer) put(el *xmpp.Element) {
	if el != nil {
		_, _ = w.Write(append(el.Append(nil, ns), '\n'))
	}
}

func (w *writer) user(user string, mail bool) error {
	a, err := w.s.Store().Account(user)
	if err != nil {
		return err
	}
	_, _ = w.Write(append(xmpp.AppendAttr([]byte("<user"), "name", user), ">\n"...))
	w.put(scramOf("SCRAM-SHA-1", a.SHA1))
	w.put(scramOf("SCRAM-SHA-256", a.SHA256))
	for _, p := range w.s.Parts() {
		all, err := p.Out(user)
		if err != nil {
			return err
		}
		for _, el := range all {
			w.put(el)
		}
	}
	if card, err := w.s.Do(user, "get", xmpp.El(xmpp.NSVCard, "vCard")); err != nil {
		return err
	} else if len(card.Children()) > 0 {
		w.put(card)
	}
	if err := w.nodes(user); err != nil {
		return err
	}
	if mail {
		if err := w.mail(user, a.Devices); err != nil {
			return err
		}
	}
	_, err = w.WriteString("</user>\n")
	return err
}

func scramOf(mechanism string, h offline.Hash) *xmpp.Element {
	if len(h.StoredKey) == 0 {
		return nil
	}
	text := func(name, v string) *xmpp.Element { return xmpp.El(nsScram, name).WithText(v) }
	b := base64.StdEncoding.EncodeToString
	return xmpp.El(nsScram, "scram-credentials", "mechanism", mechanism).Add(text("iter-count", strconv.Itoa(h.Iterations)),
		text("salt", b(h.Salt)), text("server-key", b(h.ServerKey)), text("stored-key", b(h.StoredKey)))
}

// nodes asks for what the person would be shown (XEP-0227 §4.10).
func (w *writer) nodes(user string) error {
	all, err := w.s.Do(user, "get", xmpp.El(xmpp.NSPubsub, "pubsub").Add(xmpp.El(xmpp.NSPubsub, "affiliations")))
	if err != nil {
		return err
	}
	owner, items := xmpp.El(xmpp.NSPubsubOwner, "pubsub"), xmpp.El(xmpp.NSPubsub, "pubsub")
	for _, k := range all.Child(xmpp.NSPubsub, "affiliations").Children() {
		node := k.Get("node")
		for _, what := range []string{"configure", "affiliations", "subscriptions"} {
			got, err := w.s.Do(user, "get", xmpp.El(xmpp.NSPubsubOwner, "pubsub").Add(xmpp.El(xmpp.NSPubsubOwner, what, "node", node)))
			if err != nil {
				return fmt.Errorf("node %s: %w", node, err)
			}
			if el := got.Child(xmpp.NSPubsubOwner, what); what == "configure" || len(el.Children()) > 0 {
				owner.Add(el)
			}
		}
		got, err := w.s.Do(user, "get", xmpp.El(xmpp.NSPubsub, "pubsub").Add(xmpp.El(xmpp.NSPubsub, "items", "node", node)))
		var none *xmpp.StanzaError // of a node that keeps nothing
		if err != nil && !errors.As(err, &none) {
			return fmt.Errorf("node %s: %w", node, err)
		}
		if list := got.Child(xmpp.NSPubsub, "items"); list != nil {
			items.Add(list)
		} else {
			items.Add(xmpp.El(xmpp.NSPubsub, "items", "node", node))
		}
	}
	if len(items.Children()) > 0 {
		w.put(owner)
		w.put(items)
	}
	return nil
}

// mail writes each message once that some device is still owed; it stays owed.
func (w *writer) mail(user string, devices []offline.Device) error {
	boxes := []string{""}
	for _, d := range devices {
		boxes = append(boxes, d.ID)
	}
	seen := map[string]bool{}
	open := false
	for _, box := range boxes {
		b := w.s.Store().Mailbox(user, box)
		for after := uint64(0); ; {
			all, err := b.After(after, 64, nil)
			if err != nil {
				return err
			}
			if len(all) == 0 {
				break
			}
			for i := range all {
				m := &all[i]
				after = m.Seq
				key := m.From + "\x00" + m.ID + "\x00" + m.Archive
				el, err := relay.Opened(m, xmpp.JID{Local: user, Domain: w.s.Domain()})
				if err != nil || seen[key] && m.ID+m.Archive != "" || el.Get("type") == "error" || el.Child(xmpp.NSCarbons, "") != nil {
					continue
				}
				seen[key] = true
				if !open {
					open = true
					_, _ = w.WriteString("<offline-messages>\n")
				}
				w.put(el.Add(xmpp.El(xmpp.NSDelay, "delay", "from", w.s.Domain(), "stamp", m.At.UTC().Format("2006-01-02T15:04:05.000Z"))))
			}
		}
	}
	if open {
		_, _ = w.WriteString("</offline-messages>\n")
	}
	return nil
}
