// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"time"

	"github.com/xdg-go/scram"
)

// Verifier is what the server keeps of a password for one hash (RFC 5802 §3):
// who steals it cannot log in with it.
type Verifier struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// Credentials are the verifiers of an account.
type Credentials struct{ SHA1, SHA256 Verifier }

// iterations of the password hash (RFC 7677 §4 asks for at least 4096).
const iterations = 10_000

// NewCredentials prepares what is stored for a password.
func NewCredentials(password string) (Credentials, error) {
	var c Credentials
	for _, h := range []struct {
		f  scram.HashGeneratorFcn
		to *Verifier
	}{{scram.SHA1, &c.SHA1}, {scram.SHA256, &c.SHA256}} {
		cl, err := h.f.NewClient("x", password, "")
		if err != nil {
			return c, err
		}
		salt := make([]byte, 16)
		_, _ = rand.Read(salt) // never fails
		got, err := cl.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
		if err != nil {
			return c, err
		}
		*h.to = Verifier{salt, iterations, got.StoredKey, got.ServerKey}
	}
	return c, nil
}

// fakeKey makes the salts of accounts that do not exist, where Setup has no
// Secret for it: the same name always has the same salt, as a real one has.
var fakeKey = func() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return b
}()

func (x *exchange) fake() Credentials {
	key := x.a.setup.Secret
	if key == nil {
		key = fakeKey
	}
	v := func(label string, size int) Verifier {
		part := func(what string) []byte {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(label + what + "\x00" + x.user))
			return m.Sum(nil)
		}
		return Verifier{part("salt")[:16], iterations, part("stored")[:size], part("server")[:size]}
	}
	return Credentials{v("1", sha1.Size), v("256", sha256.Size)}
}

// A Mechanism is one way to log in.
type Mechanism struct {
	Name string
	Hash scram.HashGeneratorFcn // nil: PLAIN
	size func() hash.Hash
	Plus bool // bound to the channel
	pick func(Credentials) Verifier
}

// Mechanisms in the order of preference.
var Mechanisms = []Mechanism{
	{"SCRAM-SHA-256-PLUS", scram.SHA256, sha256.New, true, func(c Credentials) Verifier { return c.SHA256 }},
	{"SCRAM-SHA-256", scram.SHA256, sha256.New, false, func(c Credentials) Verifier { return c.SHA256 }},
	{"SCRAM-SHA-1-PLUS", scram.SHA1, sha1.New, true, func(c Credentials) Verifier { return c.SHA1 }},
	{"SCRAM-SHA-1", scram.SHA1, sha1.New, false, func(c Credentials) Verifier { return c.SHA1 }},
	{"PLAIN", nil, sha256.New, false, func(c Credentials) Verifier { return c.SHA256 }},
}

func mechanismOf(name string) *Mechanism {
	for i := range Mechanisms {
		if Mechanisms[i].Name == name {
			return &Mechanisms[i]
		}
	}
	return nil
}

// TokenMechanisms log in by a token in one round trip (XEP-0484), the best
// first; each is bound to the channel in its own way.
var TokenMechanisms = []struct{ Name, Binding string }{
	{"HT-SHA-256-EXPR", CBExporter}, {"HT-SHA-256-ENDP", CBEndPoint}, {"HT-SHA-256-NONE", ""},
}

// BindingOf is the channel binding of a token mechanism.
func BindingOf(name string) (binding string, ok bool) {
	for _, m := range TokenMechanisms {
		if m.Name == name {
			return m.Binding, true
		}
	}
	return "", false
}

// A Token lets one device log in without the password, by one mechanism.
type Token struct {
	Secret, Mechanism string
	Made, Expiry      time.Time
}

// Proof is what an end says to show that it has the token (draft-schmaus-kitten-sasl-ht-09 §3).
func (t Token) Proof(role string, binding []byte) []byte {
	m := hmac.New(sha256.New, []byte(t.Secret))
	m.Write([]byte(role))
	m.Write(binding)
	return m.Sum(nil)
}

// Tokens are a device's tokens on the server.
type Tokens struct {
	Of     func(local, device string) []Token             // those that are good
	Used   func(local, device string, t Token) (old bool) // older ones are not good any more; old: time for a new one
	Issue  func(local, device, mechanism string) (Token, error)
	Revoke func(local, device string, t Token)
}

// token takes the one message of a token login.
func (x *exchange) token(in []byte) ([]byte, error) {
	x.done = true
	name, proof, ok := strings.Cut(string(in), "\x00")
	if !ok || len(proof) != sha256.Size || x.device == "" {
		return nil, &AuthError{Cond: "malformed-request"}
	}
	if err := x.whois(name, ""); err != nil {
		return nil, err
	}
	if err := x.attempt(); err != nil {
		return nil, err
	}
	binding, _ := BindingOf(x.byToken)
	data := x.a.bindings[binding]
	for _, t := range append(x.a.setup.Tokens.Of(x.user, x.device), Token{Secret: string(fakeKey)}) {
		if hmac.Equal([]byte(proof), t.Proof("Initiator", data)) && t.Mechanism == x.byToken {
			x.ok, x.used = true, t
			return t.Proof("Responder", data), nil
		}
	}
	return nil, &AuthError{Cond: "credentials-expired"} // XEP-0484 §"Server responsibilities"
}

// An exchange is one login in progress.
type exchange struct {
	a     *accept
	m     *Mechanism
	conv  *scram.ServerConversation
	user  string // local part, prepared
	real  bool   // the account exists
	lacks bool   // it has no keys for SCRAM-SHA-256

	device  string // what the client says it is (XEP-0388 §2.3)
	byToken string // the token mechanism, or ""
	used    Token
	done    bool
	ok      bool
}

var errAuth = &AuthError{Cond: "not-authorized"}

func (a *accept) begin(name string) (*exchange, error) {
	m := mechanismOf(name)
	if m == nil || m.Plus && len(a.bindings) == 0 {
		return nil, &AuthError{Cond: "invalid-mechanism"}
	}
	return &exchange{a: a, m: m}, nil
}

// step takes the client's message and gives ours.
func (x *exchange) step(in []byte) (out []byte, err error) {
	if x.byToken != "" {
		return x.token(in)
	}
	if x.m.Hash == nil {
		return nil, x.plain(in)
	}
	if x.conv == nil {
		if err := x.start(string(in)); err != nil {
			return nil, err
		}
	}
	s, err := x.conv.Step(string(in))
	if err != nil {
		return nil, errAuth
	}
	if x.conv.Done() {
		x.done = true
		if !x.conv.Valid() || !x.real {
			return nil, errAuth
		}
		x.ok = true
	}
	return []byte(s), nil
}

// start checks the first message before the library sees it (RFC 5802 §7).
func (x *exchange) start(first string) error {
	f := strings.SplitN(first, ",", 3)
	if len(f) != 3 || len(f[0]) == 0 {
		return &AuthError{Cond: "malformed-request"}
	}
	var n, r string
	for _, p := range strings.Split(f[2], ",") {
		if v, ok := strings.CutPrefix(p, "n="); ok && n == "" {
			n = v
		}
		if v, ok := strings.CutPrefix(p, "r="); ok && r == "" {
			r = v
		}
	}
	if len(r) < 16 { // a guessable nonce can be replayed
		return &AuthError{Cond: "malformed-request"}
	}
	if f[0] == "y" && len(x.a.bindings) > 0 {
		return errAuth // somebody hid our -PLUS (RFC 5802 §6)
	}
	name := strings.NewReplacer("=2C", ",", "=3D", "=").Replace(n)
	if err := x.whois(name, strings.TrimPrefix(f[1], "a=")); err != nil {
		return err
	}
	return x.converse(f[0])
}

// whois prepares the name and checks the identity asked for: only one's own.
func (x *exchange) whois(name, authzid string) error {
	j, err := ParseJID(name + "@" + x.a.setup.Domain)
	if err != nil || j.Local == "" || !j.IsBare() || j.Domain != x.a.setup.Domain {
		return errAuth
	}
	if authzid != "" && authzid != j.String() {
		return &AuthError{Cond: "invalid-authzid"}
	}
	x.user = j.Local
	return nil
}

func (x *exchange) credentials() (Credentials, error) {
	if err := x.attempt(); err != nil {
		return Credentials{}, err
	}
	none := x.fake() // made in any case: it takes time
	c, err := x.a.setup.Lookup(x.user)
	if errors.Is(err, ErrNoUser) {
		return none, nil
	}
	if err != nil {
		return Credentials{}, &AuthError{Cond: "temporary-auth-failure"}
	}
	x.real, x.lacks = true, len(c.SHA256.StoredKey) == 0
	return c, nil
}

func (x *exchange) converse(gs2 string) error {
	c, err := x.credentials()
	if err != nil {
		return err
	}
	v := x.m.pick(c)
	if len(v.StoredKey) == 0 { // keys that another server made, for the other hash only
		x.real, v = false, x.m.pick(x.fake())
	}
	srv, err := x.m.Hash.NewServer(func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations},
			StoredKey:  v.StoredKey, ServerKey: v.ServerKey,
		}, nil
	})
	if err != nil {
		return err
	}
	if !x.m.Plus {
		if strings.HasPrefix(gs2, "p=") {
			return &AuthError{Cond: "malformed-request"}
		}
		x.conv = srv.NewConversation()
		return nil
	}
	kind, ok := strings.CutPrefix(gs2, "p=")
	data := x.a.bindings[kind]
	if !ok || data == nil {
		return &AuthError{Cond: "malformed-request"}
	}
	x.conv = srv.NewConversationWithChannelBindingRequired(scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: data})
	return nil
}

// plain is RFC 4616, inside TLS only.
func (x *exchange) plain(in []byte) error {
	x.done = true
	f := strings.Split(string(in), "\x00")
	if len(f) != 3 || f[1] == "" || f[2] == "" {
		return &AuthError{Cond: "malformed-request"}
	}
	if err := x.whois(f[1], f[0]); err != nil {
		return err
	}
	c, err := x.credentials()
	if err != nil {
		return err
	}
	hash, v := scram.SHA256, c.SHA256
	if x.lacks {
		hash, v = scram.SHA1, c.SHA1
	}
	if len(v.StoredKey) == 0 {
		x.real, hash, v = false, scram.SHA256, x.fake().SHA256
	}
	cl, err := hash.NewClient("x", f[2], "")
	if err != nil {
		return errAuth
	}
	got, err := cl.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(v.Salt), Iters: v.Iterations})
	if err != nil || !hmac.Equal(got.StoredKey, v.StoredKey) || !x.real {
		return errAuth
	}
	x.ok = true
	if (len(c.SHA1.StoredKey) == 0 || x.lacks) && x.a.setup.Strengthen != nil {
		if c, err := NewCredentials(f[2]); err == nil {
			return x.a.setup.Strengthen(x.user, c)
		}
	}
	return nil
}

// Decode64 reads a message of a login.
func Decode64(s string) ([]byte, error) {
	if s == "=" { // an empty message, RFC 6120 §6.4.2
		return []byte{}, nil
	}
	return base64.StdEncoding.DecodeString(s)
}

// Encode64 writes one.
func Encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// The channel bindings that we can do (XEP-0440).
const (
	CBExporter = "tls-exporter"         // RFC 9266
	CBEndPoint = "tls-server-end-point" // RFC 5929 §4
)

// Bindings gives the channel-binding data of a connection. The certificate is
// the one that the server showed.
func Bindings(cs *tls.ConnectionState, cert *x509.Certificate) map[string][]byte {
	m := map[string][]byte{}
	if cs.Version == tls.VersionTLS13 {
		if b, err := cs.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			m[CBExporter] = b
		}
	}
	if cert != nil {
		h := endPointHash(cert)
		h.Write(cert.Raw)
		m[CBEndPoint] = h.Sum(nil)
	}
	return m
}

// endPointHash is RFC 5929 §4.1: the signature's own hash, but SHA-256 for the
// weak ones and for those without one.
func endPointHash(c *x509.Certificate) hash.Hash {
	switch c.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		return sha512.New384()
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		return sha512.New()
	}
	return sha256.New()
}
