// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"sotto/crypto/omemo"
	"sotto/xmpp"
)

// This file spells the crypto room's values as XML (XEP-0384) and back.

const (
	maxDevices = 32 // of one account; more are not served
	hiddenText = "I sent you an end-to-end encrypted message, but your client does not seem to support that."
)

var errXML = errors.New("malformed encryption element")

func namespaceOf(w omemo.Wire) string {
	if w == omemo.Two {
		return xmpp.NSOmemo2
	}
	return xmpp.NSOmemoAxolotl
}

func listNode(w omemo.Wire) string {
	if w == omemo.Two {
		return xmpp.NSOmemo2 + ":devices"
	}
	return xmpp.NSOmemoAxolotl + ".devicelist"
}

// bundlePlace is the node and item of a device's bundle.
func bundlePlace(w omemo.Wire, device uint32) (node, item string) {
	if w == omemo.Two {
		return xmpp.NSOmemo2 + ":bundles", number(device)
	}
	return xmpp.NSOmemoAxolotl + ".bundles:" + number(device), "current"
}

func number(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// deviceNumber reads the id of a device: 1..2^31-1 (XEP-0384 §4.2).
func deviceNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || n == 0 {
		return 0, errXML
	}
	return uint32(n), nil
}

// keyNumber reads the id of a key: 1..2^31-1 as well, but Converse.js begins with 0.
func keyNumber(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errXML
	}
	return uint32(n), nil
}

func encode(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func decode(s string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, errXML
	}
	return b, nil
}

func listElement(w omemo.Wire, l *lists) *xmpp.Element {
	name := "list"
	if w == omemo.Two {
		name = "devices"
	}
	el := xmpp.El(namespaceOf(w), name)
	for _, d := range l.Of[w] {
		device := xmpp.El(namespaceOf(w), "device", "id", number(d))
		if w == omemo.Two {
			device.Set("label", l.Label[d].Text).Set("labelsig", l.Label[d].Sig)
		}
		el.Add(device)
	}
	return el
}

func listOf(el *xmpp.Element) (devices []uint32) {
	seen := map[uint32]bool{}
	for _, k := range el.Children() {
		d, err := deviceNumber(k.Get("id"))
		if k.Name.Local == "device" && err == nil && !seen[d] && len(devices) < maxDevices {
			devices, seen[d] = append(devices, d), true
		}
	}
	return devices
}

func labelsOf(el *xmpp.Element) map[uint32]label {
	labels := map[uint32]label{}
	for _, k := range el.Children() {
		if d, err := deviceNumber(k.Get("id")); err == nil && k.Get("label") != "" && len(labels) < maxDevices {
			labels[d] = label{k.Get("label"), k.Get("labelsig")}
		}
	}
	return labels
}

// words are the names of a bundle's parts on a wire.
type words struct{ signed, id, signature, identity, key, keyID string }

var bundleWords = [...]words{
	omemo.Old: {"signedPreKeyPublic", "signedPreKeyId", "signedPreKeySignature", "identityKey", "preKeyPublic", "preKeyId"},
	omemo.Two: {"spk", "id", "spks", "ik", "pk", "id"},
}

func bundleElement(w omemo.Wire, b *omemo.Bundle) *xmpp.Element {
	ns, t := namespaceOf(w), bundleWords[w]
	keys := xmpp.El(ns, "prekeys")
	for _, p := range b.PreKeys {
		keys.Add(xmpp.El(ns, t.key, t.keyID, number(p.ID)).WithText(encode(p.Key)))
	}
	return xmpp.El(ns, "bundle").Add(
		xmpp.El(ns, t.signed, t.id, number(b.SignedID)).WithText(encode(b.Signed)),
		xmpp.El(ns, t.signature).WithText(encode(b.Signature)),
		xmpp.El(ns, t.identity).WithText(encode(b.Identity)), keys)
}

func bundleOf(w omemo.Wire, el *xmpp.Element) (*omemo.Bundle, error) {
	ns, t := namespaceOf(w), bundleWords[w]
	id, e1 := keyNumber(el.Child(ns, t.signed).Get(t.id))
	signed, e2 := decode(el.Child(ns, t.signed).Text())
	sig, e3 := decode(el.Child(ns, t.signature).Text())
	ik, e4 := decode(el.Child(ns, t.identity).Text())
	if err := errors.Join(e1, e2, e3, e4); err != nil {
		return nil, errXML
	}
	b := &omemo.Bundle{Identity: ik, SignedID: id, Signed: signed, Signature: sig}
	for _, k := range el.Child(ns, "prekeys").Children() {
		id, e1 := keyNumber(k.Get(t.keyID))
		key, e2 := decode(k.Text())
		if e1 == nil && e2 == nil {
			b.PreKeys = append(b.PreKeys, omemo.PreKey{ID: id, Key: key})
		}
	}
	return b, nil
}

func encryptedElement(m *omemo.Message) *xmpp.Element {
	ns := namespaceOf(m.Wire)
	header := xmpp.El(ns, "header", "sid", number(m.Sender))
	flag, at := "prekey", header
	groups := map[string]*xmpp.Element{}
	for _, k := range m.Keys {
		if m.Wire == omemo.Two {
			flag = "kex"
			if at = groups[k.To.User]; at == nil {
				at = xmpp.El(ns, "keys", "jid", k.To.User)
				groups[k.To.User] = at
				header.Add(at)
			}
		}
		key := xmpp.El(ns, "key", "rid", number(k.To.Device)).WithText(encode(k.Data))
		if k.Kex {
			key.Set(flag, "true")
		}
		at.Add(key)
	}
	if m.Wire == omemo.Old {
		header.Add(xmpp.El(ns, "iv").WithText(encode(m.IV)))
	}
	el := xmpp.El(ns, "encrypted").Add(header)
	if m.Payload != nil {
		el.Add(xmpp.El(ns, "payload").WithText(encode(m.Payload)))
	}
	return el
}

func isTrue(s string) bool { return s == "true" || s == "1" }

// encryptedOf reads an encrypted element; only keys that may be ours are kept.
func encryptedOf(w omemo.Wire, el *xmpp.Element, self omemo.Address) (*omemo.Message, error) {
	ns := namespaceOf(w)
	header := el.Child(ns, "header")
	sid, err := deviceNumber(header.Get("sid"))
	if err != nil {
		return nil, err
	}
	m := &omemo.Message{Wire: w, Sender: sid}
	take := func(user, flag string, k *xmpp.Element) error {
		rid, err := deviceNumber(k.Get("rid"))
		if err != nil || !k.Is(ns, "key") || rid != self.Device {
			return nil
		}
		data, err := decode(k.Text())
		m.Keys = append(m.Keys, omemo.Key{To: omemo.Address{User: user, Device: rid}, Data: data, Kex: isTrue(k.Get(flag))})
		return err
	}
	for _, k := range header.Children() {
		if w == omemo.Old {
			err = errors.Join(err, take("", "prekey", k))
			continue
		}
		for _, kk := range k.Children() {
			err = errors.Join(err, take(k.Get("jid"), "kex", kk))
		}
	}
	if w == omemo.Old {
		var e error
		m.IV, e = decode(header.Child(ns, "iv").Text())
		err = errors.Join(err, e)
	}
	if p := el.Child(ns, "payload"); p != nil {
		var e error
		m.Payload, e = decode(p.Text())
		err = errors.Join(err, e)
	}
	return m, err
}

// envelope wraps a text for the new wire (XEP-0420 §3; XEP-0384 §4.3). Padding
// hides its length to the next 256 bytes and a random rest.
func envelope(from, body string, at time.Time) []byte {
	el := xmpp.El(xmpp.NSSCE, "envelope").Add(
		xmpp.El(xmpp.NSSCE, "content").Add(xmpp.El(xmpp.NSClient, "body").WithText(body)),
		xmpp.El(xmpp.NSSCE, "rpad").WithText(padding(len(body))),
		xmpp.El(xmpp.NSSCE, "time", "stamp", at.UTC().Format(time.RFC3339)),
		xmpp.El(xmpp.NSSCE, "from", "jid", from))
	return el.Append(nil, "")
}

func padding(n int) string {
	return strings.Repeat("x", 256-n%256+rand.IntN(64))
}

// bodyOf opens what envelope made. The sender inside must be the one outside.
func bodyOf(w omemo.Wire, content []byte, from string) (body string, ok bool, err error) {
	if w == omemo.Old {
		return string(content), true, nil
	}
	el, err := xmpp.Parse(content, "")
	if err != nil || !el.Is(xmpp.NSSCE, "envelope") {
		return "", false, errXML
	}
	if f := el.Child(xmpp.NSSCE, "from").Get("jid"); f != "" {
		j, err := xmpp.ParseJID(f)
		if err != nil || j.Bare().String() != from {
			return "", false, errors.New("the sealed sender is not the one who sent it")
		}
	}
	b := el.Child(xmpp.NSSCE, "content").Child(xmpp.NSClient, "body")
	return b.Text(), b != nil, nil
}
