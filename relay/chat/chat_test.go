// SPDX-License-Identifier: Apache-2.0

package chat_test

import (
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/all"
	"sotto/relay/chat"
)

// A visitor is a browser that does nothing by itself.
type visitor struct {
	t    *testing.T
	o    *town.Town
	file string
	http *http.Client
}

func visit(t *testing.T) *visitor {
	file := filepath.Join(t.TempDir(), "chat.zip")
	o := town.NewWith(t, all.Options{Chat: chat.Options{File: file}})
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &visitor{t, o, file, &http.Client{Transport: tr, Timeout: 5 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) ask(method, path string, head ...string) (*http.Response, string) {
	v.t.Helper()
	req, err := http.NewRequest(method, v.o.URL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	res, err := v.http.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return res, string(b)
}

// Without the file it says how to get it; with it, also a newer one, it is
// there at once.
func TestInstallWhileServing(t *testing.T) {
	v := visit(t)
	if res, b := v.ask("GET", "/chat"); res.StatusCode != 404 || !strings.Contains(b, "sottod chat install") {
		t.Fatal(res.StatusCode, b)
	}
	chat.WriteMade(t, v.file, "one")
	res, first := v.ask("GET", "/chat")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/html; charset=utf-8" || res.Header.Get("Cache-Control") != "no-cache" {
		t.Fatal(res.StatusCode, res.Header)
	}
	script := regexp.MustCompile(`/chat/\w+/converse\.min\.js`).FindString(first)
	if _, b := v.ask("GET", script); b != "one" {
		t.Fatal(b)
	}
	chat.WriteMade(t, v.file, "another")
	_, second := v.ask("GET", "/chat")
	if first == second {
		t.Fatal("another content has the same address")
	}
	if res, _ := v.ask("GET", script); res.StatusCode != 404 {
		t.Fatal("the old address has", res.StatusCode)
	}
	if _, b := v.ask("GET", regexp.MustCompile(`/chat/\w+/converse\.min\.js`).FindString(second)); b != "another" {
		t.Fatal(b)
	}
	if err := os.WriteFile(v.file, []byte("no zip"), 0o600); err != nil {
		t.Fatal(err)
	}
	if res, _ := v.ask("GET", "/chat"); res.StatusCode != 404 {
		t.Fatal(res.StatusCode)
	}
}

// RFC 9110 §12.5.3, RFC 1952: compressed to who takes it, else plain; for ever.
func TestFiles(t *testing.T) {
	v := visit(t)
	text := strings.Repeat("var a = 1;\n", 1000)
	chat.WriteMade(t, v.file, text)
	_, page := v.ask("GET", "/chat")
	at := regexp.MustCompile(`/chat/\w+/`).FindString(page)
	for _, row := range []struct{ accept, coding string }{
		{"", ""}, {"gzip, deflate, br", "gzip"}, {"br;q=1, gzip;q=0.5", "gzip"}, {"gzip;q=0", ""}, {"identity", ""}, {"x-gzip", ""},
	} {
		res, b := v.ask("GET", at+"converse.min.js", "Accept-Encoding", row.accept)
		if res.Header.Get("Content-Encoding") != row.coding || res.ContentLength != int64(len(b)) || res.Header.Get("Vary") != "Accept-Encoding" {
			t.Fatalf("%q: %d %v", row.accept, len(b), res.Header)
		}
		if row.coding == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			if b = string(all); res.ContentLength > 500 {
				t.Fatal("not small:", res.ContentLength)
			}
		}
		if b != text {
			t.Fatalf("%q: another file", row.accept)
		}
	}
	res, b := v.ask("HEAD", at+"images/a.png")
	if b != "" || res.ContentLength != 4 || res.Header.Get("Content-Type") != "image/png" ||
		res.Header.Get("Cache-Control") != "public, max-age=31536000, immutable" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatal(res.StatusCode, res.ContentLength, res.Header)
	}
	for method, code := range map[string]int{"POST": 405, "PUT": 405, "DELETE": 405} {
		if res, _ := v.ask(method, "/chat"); res.StatusCode != code || res.Header.Get("Allow") != "GET, HEAD" {
			t.Fatal(method, res.StatusCode)
		}
	}
	if res, _ := v.ask("GET", "/chat/"); res.StatusCode != 308 || res.Header.Get("Location") != "/chat" {
		t.Fatal(res.StatusCode, res.Header)
	}
	if res, b := v.ask("GET", "/chat/licences"); res.StatusCode != 200 || !strings.Contains(b, "GPL") && !strings.Contains(b, "GNU General Public License") {
		t.Fatal(res.StatusCode, b)
	}
}

// The page runs and asks nothing but what is of this server.
func TestPolicy(t *testing.T) {
	v := visit(t)
	chat.WriteMade(t, v.file, "x")
	res, page := v.ask("GET", "/chat")
	csp := res.Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self' 'wasm-unsafe-eval';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("no %s in %s", want, csp)
		}
	}
	for _, never := range []string{"*", "'unsafe-eval'", "https: ", "http:"} {
		if strings.Contains(csp, never) {
			t.Errorf("%s in %s", never, csp)
		}
	}
	if strings.Contains(page, "<script>") || strings.Contains(page, "//") {
		t.Error("the page has a script of its own, or loads from elsewhere:", page)
	}
	if _, start := v.ask("GET", "/chat/start.js"); strings.Contains(strings.ReplaceAll(strings.ReplaceAll(start, "wss://${location.host}", ""), "https://${location.host}", ""), "//") {
		t.Error("it asks others:", start)
	}
	for _, path := range []string{"/chat/licences", "/chat/start.js", "/chat/nothing"} {
		if res, _ := v.ask("GET", path); !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Error(path, res.Header)
		}
	}
}

// Whatever is asked for, nothing but entries of the file come.
func FuzzPath(f *testing.F) {
	dir := f.TempDir()
	file := filepath.Join(dir, "chat.zip")
	if err := os.WriteFile(filepath.Join(dir, "secret.js"), []byte("nobody shall see it"), 0o600); err != nil {
		f.Fatal(err)
	}
	chat.WriteMade(f, file, "made")
	o := town.NewWith(f, all.Options{Chat: chat.Options{File: file}})
	first := httptest.NewRecorder()
	o.Relay.HTTP().ServeHTTP(first, httptest.NewRequest("GET", "/chat", nil))
	at := regexp.MustCompile(`/chat/\w+/`).FindString(first.Body.String())
	for _, s := range []string{at + "converse.min.js", at + "../secret.js", at + "..%2fsecret.js", at + "%2e%2e/secret.js", at + "..\\secret.js",
		at + dir + "/secret.js", at + "/" + dir + "/secret.js", at + "images/../../secret.js", "/chat/../chat.zip", at + "chat.zip", at, at + "images", at + "images/",
		"/chat//converse.min.js", "/chat/0/converse.min.js", at + "converse.min.js\x00.png", at + "converse.min.js/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil || !strings.HasPrefix(u.Path, "/chat") {
			return
		}
		w := httptest.NewRecorder()
		o.Relay.HTTP().ServeHTTP(w, &http.Request{Method: "GET", URL: u, Header: http.Header{}, Host: "localhost"})
		body := w.Body.String()
		if strings.Contains(body, "nobody shall") {
			t.Fatalf("%q gives %q", path, body)
		}
		if w.Code == 200 && body != "made" && body != "\x89PNG" && w.Header().Get("Cache-Control") != "no-cache" {
			t.Fatalf("%q gives %q", path, body)
		}
	})
}
