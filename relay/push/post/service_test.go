// SPDX-License-Identifier: Apache-2.0

package post

import (
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"
)

var (
	b64      = base64.RawURLEncoding
	loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
)

// A call that the service got.
type asked struct {
	method string
	header http.Header
	body   []byte
}

// service is an HTTPS service with the answer that it gives.
func service(t *testing.T, answer http.HandlerFunc) (*httptest.Server, chan asked) {
	got := make(chan asked, 16)
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- asked{r.Method, r.Header, b}
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s, got
}

func created(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) }

func roots(all ...*httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	for _, s := range all {
		p.AddCert(s.Certificate())
	}
	return p
}

func poster(t *testing.T, o Options) *Post {
	t.Helper()
	var err error
	if o.Key, err = NewKey(); err != nil {
		t.Fatal(err)
	}
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// browser is who subscribed.
type browser struct {
	key  *ecdh.PrivateKey
	auth []byte
}

func newBrowser(t *testing.T) *browser {
	k, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{k, make([]byte, 16)}
	_, _ = rand.Read(b.auth)
	return b
}

func (b *browser) target(url string) *Target {
	return &Target{Endpoint: url, P256dh: b64.EncodeToString(b.key.PublicKey().Bytes()), Auth: b64.EncodeToString(b.auth)}
}

// open decrypts a wake as RFC 8291 §3.4 and RFC 8188 §2 say.
func (b *browser) open(t *testing.T, body []byte) string {
	t.Helper()
	salt, size, n := body[:16], binary.BigEndian.Uint32(body[16:]), int(body[20])
	theirs, sealed := body[21:21+n], body[21+n:]
	if n != 65 || uint32(len(sealed)) > size {
		t.Fatalf("a key of %d bytes, a record of %d of %d", n, len(sealed), size)
	}
	pub, err := ecdh.P256().NewPublicKey(theirs)
	must(t, err)
	shared, err := b.key.ECDH(pub)
	must(t, err)
	derive := func(secret, salt []byte, info string, n int) []byte {
		out, err := hkdf.Key(sha256.New, secret, salt, info, n)
		must(t, err)
		return out
	}
	ikm := derive(shared, b.auth, "WebPush: info\x00"+string(b.key.PublicKey().Bytes())+string(theirs), 32)
	block, err := aes.NewCipher(derive(ikm, salt, "Content-Encoding: aes128gcm\x00", 16))
	must(t, err)
	aead, err := cipher.NewGCM(block)
	must(t, err)
	plain, err := aead.Open(nil, derive(ikm, salt, "Content-Encoding: nonce\x00", 12), sealed, nil)
	must(t, err)
	plain = []byte(strings.TrimRight(string(plain), "\x00"))
	if plain[len(plain)-1] != 2 {
		t.Fatal("this is not the last record")
	}
	return string(plain[:len(plain)-1])
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token reads a JWT whose signature good has accepted.
func token(t *testing.T, s string, good func(signed, sig []byte) bool) (head, claims map[string]any) {
	t.Helper()
	parts := strings.Split(s, ".")
	if len(parts) != 3 {
		t.Fatal("no JWT:", s)
	}
	sig, err := b64.DecodeString(parts[2])
	must(t, err)
	if !good([]byte(parts[0]+"."+parts[1]), sig) {
		t.Fatal("the signature is wrong")
	}
	for i, into := range []*map[string]any{&head, &claims} {
		b, err := b64.DecodeString(parts[i])
		must(t, err)
		must(t, json.Unmarshal(b, into))
	}
	return head, claims
}

// vapid checks who signed for what (RFC 8292 §2, §3).
func vapid(t *testing.T, p *Post, header, audience, contact string) {
	t.Helper()
	rest, ok := strings.CutPrefix(header, "vapid t=")
	jwt, key, ok2 := strings.Cut(rest, ", k=")
	if !ok || !ok2 || key != p.Key() {
		t.Fatal("not by our key:", header)
	}
	point, err := b64.DecodeString(key)
	must(t, err)
	pub, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	must(t, err)
	head, claims := token(t, jwt, func(signed, sig []byte) bool {
		sum := sha256.Sum256(signed)
		return len(sig) == 64 && ecdsa.Verify(pub, sum[:], new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:]))
	})
	ends := time.Until(time.Unix(int64(claims["exp"].(float64)), 0))
	if head["alg"] != "ES256" || claims["aud"] != audience || claims["sub"] != contact || ends <= 0 || ends > 24*time.Hour {
		t.Errorf("head %v, claims %v", head, claims)
	}
}

// rs256 checks a signature of a service account (RFC 7523 §3).
func rs256(key *rsa.PublicKey) func(signed, sig []byte) bool {
	return func(signed, sig []byte) bool {
		sum := sha256.Sum256(signed)
		return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
	}
}
