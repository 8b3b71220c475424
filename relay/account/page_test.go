// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/account"
)

// TestLanding: an invitation has a page (XEP-0401 §5.2) that cannot run
// anything, cannot be framed, kept or found, and uses nothing up.
func TestLanding(t *testing.T) {
	o := town.New(t, "alice")
	soon := time.Now().Add(time.Hour)
	link, page := o.Invite(account.Invite{By: "alice", Account: true, Until: soon})
	_, named := o.Invite(account.Invite{User: "dora", Account: true, Until: soon})
	_, old := o.Invite(account.Invite{Account: true, Until: soon.Add(-2 * time.Hour)})
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}}}
	t.Cleanup(c.CloseIdleConnections)
	get := func(method, url, agent string) (string, *http.Response) {
		t.Helper()
		r, err := http.NewRequest(method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("User-Agent", agent)
		got, err := c.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer got.Body.Close()
		b, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), got
	}
	for _, r := range []struct {
		method, url, agent string
		code               int
		has, not           []string
	}{
		{"GET", page, "Mozilla/5.0 (Linux; Android 15)", 200,
			[]string{"alice@localhost invites you", `<a class="go" href="` + link + `">`, "<svg viewBox", "Choose a name", "Good for one person"}, nil},
		{"GET", named, "", 200, []string{"You are invited to chat on localhost", "The name <b>dora</b> is kept"}, nil},
		{"HEAD", page, "", 200, nil, []string{"<"}},
		{"GET", old, "", 404, []string{"not good any more", "another one"}, []string{"xmpp:", "svg viewBox"}},
		{"GET", o.URL + "/invite/%3Cscript%3E", "", 404, []string{"not good any more"}, []string{"script"}},
		{"GET", o.URL + "/invite/..%2f..%2fetc", "", 404, nil, []string{"etc"}},
		{"POST", page, "", 405, nil, []string{"alice"}},
	} {
		body, got := get(r.method, r.url, r.agent)
		if got.StatusCode != r.code {
			t.Errorf("%s %s: %s", r.method, r.url, got.Status)
		}
		for _, w := range r.has {
			if !strings.Contains(body, w) {
				t.Errorf("%s has no %q:\n%s", r.url, w, body)
			}
		}
		for _, w := range append(r.not, "<script", "onclick", "http://") {
			if strings.Contains(body, w) {
				t.Errorf("%s has %q:\n%s", r.url, w, body)
			}
		}
		csp := got.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || !strings.Contains(csp, "frame-ancestors 'none'") ||
			got.Header.Get("Referrer-Policy") != "no-referrer" || got.Header.Get("Cache-Control") != "no-store" {
			t.Error(r.url, got.Header)
		}
	}
	phone, _ := get("GET", page, "Mozilla/5.0 (iPhone; CPU iPhone OS 18)")
	droid, _ := get("GET", page, "Mozilla/5.0 (Linux; Android 15)")
	if strings.Index(phone, ">Monal<") > strings.Index(phone, ">Gajim<") || strings.Index(droid, ">Conversations<") > strings.Index(droid, ">Dino<") {
		t.Error("the app for the visitor's machine does not come first")
	}
}
