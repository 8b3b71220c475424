// SPDX-License-Identifier: Apache-2.0

package account

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html/template"
	"net/http"
	"slices"
	"strings"

	"rsc.io/qr"
)

// An app is a client that speaks OMEMO and takes invitations.
type app struct{ Name, URL, On, words string }

// apps are shown with those first that fit the visitor's machine.
var apps = []app{
	{"Conversations", "https://conversations.im/", "Android", "android"},
	{"Monal", "https://monal-im.org/", "iPhone, iPad and Mac", "iphone ipad macintosh"},
	{"Dino", "https://dino.im/", "Linux", "linux x11"},
	{"Gajim", "https://gajim.org/", "Windows, Linux and Mac", "windows linux x11 macintosh"},
}

func appsFor(agent string) []app {
	agent = strings.ToLower(agent)
	fits := func(a app) int {
		for _, w := range strings.Fields(a.words) {
			if strings.Contains(agent, w) && (w == "android" || !strings.Contains(agent, "android")) {
				return 0
			}
		}
		return 1
	}
	all := slices.Clone(apps)
	slices.SortStableFunc(all, func(a, b app) int { return cmp.Compare(fits(a), fits(b)) })
	return all
}

const style = `:root{color-scheme:light dark;--ink:#1d2a33;--paper:#f4f1ea;--card:#fff;--soft:#5c6b75;--deep:#0d6a63;--line:#e2ddd2}
@media(prefers-color-scheme:dark){:root{--ink:#e9eef0;--paper:#12191d;--card:#1b252b;--soft:#9fb0b9;--deep:#4fc4b8;--line:#2b3940}}
*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);color:var(--ink);font:1rem/1.55 system-ui,sans-serif}
main{width:100%;max-width:30rem;background:var(--card);border:1px solid var(--line);border-radius:1.25rem;padding:2.25rem 2rem;box-shadow:0 1rem 3rem #0001}
h1{margin:0 0 .75rem;font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}h2{margin:1.75rem 0 .5rem;font-size:1rem}p{margin:.5rem 0}
.go{display:block;margin:1.5rem 0;padding:.9rem 1rem;border-radius:.8rem;background:var(--deep);color:var(--card);font-weight:600;text-align:center;text-decoration:none}
.soft{color:var(--soft);font-size:.9rem}ul{margin:.25rem 0;padding:0;list-style:none}li{display:flex;justify-content:space-between;gap:1rem;padding:.45rem 0;border-top:1px solid var(--line)}
a{color:var(--deep)}svg{display:block;width:11rem;height:11rem;margin:1rem auto;padding:.6rem;border-radius:.8rem;background:#fff}
code{display:block;overflow-wrap:anywhere;font-size:.8rem;user-select:all}`

// guard lets the page do nothing but look as it does.
var guard = func() string {
	sum := sha256.Sum256([]byte(style))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}()

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{{.Title}}</title><style>{{.Style}}</style></head><body><main>
<h1>{{.Title}}</h1>
{{if .URI}}{{if .Account}}<p>Choose a name and a password in a chat app, and you are in. No phone number, no e-mail address.{{if .User}} The name <b>{{.User}}</b> is kept for you.{{end}}</p>
{{else}}<p>With an account anywhere on the XMPP network you become each other's contacts.</p>{{end}}
<p>Messages are end-to-end encrypted: this server carries them and cannot read them.</p>
<a class="go" href="{{.URI}}">Open the invitation</a>
<h2>No app yet? Install one first, then come back.</h2>
<ul>{{range .Apps}}<li><a href="{{.URL}}" rel="noreferrer">{{.Name}}</a><span class="soft">{{.On}}</span></li>
{{end}}</ul>
<h2>On another device?</h2>
<p class="soft">Scan this with its app, or copy the line below.</p>
{{.QR}}<code>{{.URI}}</code>
<p class="soft">Good for one person, until {{.Until}} UTC.</p>
{{else}}<p>It was used, taken back, or its time is over. Ask who sent it to you for another one.</p>
{{end}}</main></body></html>
`))

// landing shows an invitation in a browser (XEP-0401 §5.2). It uses nothing up.
func (d *Door) landing(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for name, v := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": guard, "X-Content-Type-Options": "nosniff",
		"Referrer-Policy": "no-referrer", "Cache-Control": "no-store", "X-Robots-Tag": "noindex", // the address is the secret
	} {
		h.Set(name, v)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	token := r.PathValue("token")
	i, err := find(d.store, token)
	see := map[string]any{"Title": "This invitation is not good any more", "Style": template.CSS(style)}
	if err == nil && !i.over(d.s.Now()) {
		link := Link(i, token, d.s.Domain())
		code, bad := drawn(link)
		if bad != nil {
			d.s.Log().Error("invitation", "err", bad)
		}
		see["Title"] = "You are invited to chat on " + d.s.Domain()
		if i.By != "" {
			see["Title"] = i.By + "@" + d.s.Domain() + " invites you to chat"
		}
		see["URI"], see["QR"], see["Account"], see["User"] = template.URL(link), code, i.Account, i.User
		see["Until"], see["Apps"] = i.Until.UTC().Format("2 January 2006, 15:04"), appsFor(r.UserAgent())
		h.Set("Link", "<"+link+`>; rel="alternate"`)
	} else {
		w.WriteHeader(http.StatusNotFound)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, see); err != nil {
		d.s.Log().Error("invitation", "err", err)
	}
	_, _ = w.Write(b.Bytes())
}

// drawn is a link as a QR code.
func drawn(link string) (template.HTML, error) {
	c, err := qr.Encode(link, qr.M)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="QR code of the invitation" shape-rendering="crispEdges"><path d="`, c.Size, c.Size)
	for y := range c.Size {
		for x := range c.Size {
			if c.Black(x, y) {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String()), nil
}
