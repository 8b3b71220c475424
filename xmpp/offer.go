// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// Accounts that another server made may have keys for SCRAM-SHA-1 only. Their
// clients make the others (XEP-0480), or we do when they show the password.
const (
	nsUpgrade = "urn:xmpp:sasl:upgrade:0"
	nsScramUp = "urn:xmpp:scram-upgrade:0"
	task      = "SCRAM-SHA-256"
)

// loginFeatures are offered inside TLS before login.
func (a *accept) loginFeatures() []*Element {
	one := El(NSSASL, "mechanisms")
	two := El(NSSASL2, "authentication")
	weak := a.weak()
	for _, m := range Mechanisms {
		if m.Plus && len(a.bindings) == 0 || weak && strings.HasPrefix(m.Name, task) {
			continue
		}
		one.Add(El(NSSASL, "mechanism").WithText(m.Name))
		two.Add(El(NSSASL2, "mechanism").WithText(m.Name))
	}
	bind := El(NSBind2, "bind").Add(El(NSBind2, "inline").Add(
		El(NSBind2, "feature", "var", NSCarbons), El(NSBind2, "feature", "var", NSSM), El(NSBind2, "feature", "var", NSCSI)))
	two.Add(El(NSSASL2, "inline").Add(bind, El(NSSM, "sm"), a.fastFeature()))
	if weak {
		two.Add(El(nsUpgrade, "upgrade").WithText("UPGR-" + task))
	}
	cb := El(NSCBTypes, "sasl-channel-binding")
	for _, t := range []string{CBExporter, CBEndPoint} {
		if a.bindings[t] != nil {
			cb.Add(El(NSCBTypes, "channel-binding", "type", t))
		}
	}
	if a.c.dec.Begins("<authenticate") { // its choice is made: it needs only what to try next
		return []*Element{two, cb}
	}
	return append([]*Element{one, two, cb}, a.setup.Door.features()...)
}

// fastFeature lists the token mechanisms that this channel can do.
func (a *accept) fastFeature() *Element {
	if a.setup.Tokens == nil {
		return nil
	}
	fast := El(NSFast, "fast")
	for _, m := range TokenMechanisms {
		if m.Binding == "" || a.bindings[m.Binding] != nil {
			fast.Add(El(NSFast, "mechanism").WithText(m.Name))
		}
	}
	return fast
}

// weak says whether SCRAM-SHA-256 would not work for who is coming.
func (a *accept) weak() bool { return a.setup.Weak != nil && a.setup.Weak(a.hint) }

// wanted says whether a client asks for the task (XEP-0480 §2.2).
func wanted(el *Element) bool {
	for _, k := range el.Children() {
		if k.Is(nsUpgrade, "upgrade") && strings.TrimSpace(k.Text()) == "UPGR-"+task {
			return true
		}
	}
	return false
}

// upgradeKeys is the task (XEP-0480 §3). The login has succeeded; what it has
// to say goes with <continue/>.
func (a *accept) upgradeKeys(x *exchange, out []byte) error {
	el := El(NSSASL2, "continue")
	if len(out) > 0 {
		el.Add(El(NSSASL2, "additional-data").WithText(Encode64(out)))
	}
	if err := a.send(el.Add(El(NSSASL2, "tasks").Add(El(NSSASL2, "task").WithText("UPGR-" + task)))); err != nil {
		return err
	}
	next, err := a.next()
	if err != nil {
		return err
	}
	if !next.Is(NSSASL2, "next") || next.Get("task") != "UPGR-"+task {
		return &AuthError{Cond: "aborted"}
	}
	v := Verifier{Salt: make([]byte, 16), Iterations: iterations}
	_, _ = rand.Read(v.Salt) // never fails
	if err := a.send(El(NSSASL2, "task-data").Add(El(nsScramUp, "salt", "iterations", strconv.Itoa(v.Iterations)).WithText(Encode64(v.Salt)))); err != nil {
		return err
	}
	if next, err = a.next(); err != nil {
		return err
	}
	salted, err := Decode64(strings.TrimSpace(next.Child(nsScramUp, "hash").Text()))
	if err != nil || !next.Is(NSSASL2, "task-data") || len(salted) != sha256.Size {
		return &AuthError{Cond: "malformed-request"}
	}
	v.keys(salted)
	if a.setup.Strengthen == nil {
		return nil
	}
	return a.setup.Strengthen(x.user, Credentials{SHA256: v})
}

// keys derives them from a SaltedPassword (RFC 5802 §3).
func (v *Verifier) keys(salted []byte) {
	mac := func(what string) []byte {
		m := hmac.New(sha256.New, salted)
		m.Write([]byte(what))
		return m.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	v.StoredKey, v.ServerKey = stored[:], mac("Server Key")
}

// SaltedPassword is what a client gives for the task.
func SaltedPassword(password string, salt []byte, iterations int) ([]byte, error) {
	word, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return nil, err
	}
	return pbkdf2.Key(sha256.New, word, salt, iterations, sha256.Size)
}
