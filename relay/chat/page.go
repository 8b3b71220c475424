// SPDX-License-Identifier: Apache-2.0

package chat

import (
	"cmp"
	"encoding/json"
	"html"
	"strings"
)

// policy lets the page load what is here and talk with this server, and
// nothing else. OMEMO's curve is WebAssembly; styles are written by scripts.
func (d *desk) policy() string {
	us := d.s.URL()
	ws := "wss" + strings.TrimPrefix(us, "https")
	return strings.Join([]string{
		"default-src 'none'",
		"script-src 'self' 'wasm-unsafe-eval'",
		"style-src 'self' 'unsafe-inline'",
		"img-src 'self' data: blob: " + us,
		"media-src 'self' blob: " + us,
		"font-src 'self'",
		"connect-src 'self' blob: " + us + " " + ws,
		"worker-src 'self'",
		"form-action 'none'",
		"base-uri 'none'",
		"frame-ancestors 'none'",
	}, "; ")
}

func (d *desk) index(p *pack) []byte {
	at := "/chat/" + p.key + "/"
	return []byte(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>` + html.EscapeString(d.s.Domain()) + `</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="` + at + `images/favicon.ico">
<link rel="license" href="/chat/licences">
<link rel="stylesheet" href="` + at + `converse.min.css">
<script type="module" src="` + at + `converse.min.js"></script>
<script type="module" src="/chat/start.js"></script>
</head>
<body class="converse-fullscreen">
<noscript>The chat in a browser needs JavaScript.</noscript>
<div id="conversejs-bg"></div>
</body>
</html>
`)
}

// start begins the client with our settings. Whatever it would ask of others
// by itself (lists of providers, of rooms, players of media) is off. Where
// something breaks WebSockets it does not try BOSH by itself: /chat?bosh does.
func (d *desk) start(p *pack) []byte {
	rooms := cmp.Or(d.o.Rooms, "rooms."+d.s.Domain())
	off := []string{}
	if !p.secret() {
		off = append(off, "converse-omemo", "converse-omemo-views")
	}
	b, _ := json.MarshalIndent(map[string]any{
		"view_mode":                     "fullscreen",
		"assets_path":                   "/chat/" + p.key,
		"authentication":                "login",
		"default_domain":                d.s.Domain(),
		"registration_domain":           d.s.Domain(),
		"domain_placeholder":            d.s.Domain(),
		"allow_registration":            d.o.Register,
		"muc_domain":                    rooms,
		"omemo_default":                 true,
		"blacklisted_plugins":           off,
		"discover_connection_methods":   false,
		"show_connection_url_input":     false,
		"auto_reconnect":                true,
		"embed_3rd_party_media_players": false,
		"fetch_url_headers":             false,
		"autocomplete_providers_url":    "",
		"xmpp_providers_url":            "",
		"providers_link":                "",
		"muc_search_service":            rooms, // without one, its form for rooms has no field for the name
	}, "", "  ")
	return []byte(private + "converse.initialize({\n  bosh_service_url: `https://${location.host}/http-bind`,\n" +
		"  ...(location.search === \"?bosh\" ? {} : { websocket_url: `wss://${location.host}/ws` }),\n  ..." + string(b) + "\n});\n")
}

// private mends that Converse.js gets encrypted files by http: when the page
// and the file are at localhost.
const private = `if (location.hostname === "localhost") {
  const get = window.fetch;
  window.fetch = (what, how) => get(typeof what === "string" ? what.replace(/^http:/, "https:") : what, how);
}
`

// licences is for those who get copies of it from us.
const licences = `What this server gives to your browser for the chat:

Converse.js ` + Version + `, unmodified, by JC Brand and others
    licence  Mozilla Public License 2.0, https://www.mozilla.org/MPL/2.0/
    source   ` + Address + ` (folder src)
             https://github.com/conversejs/converse.js

libomemo.js 2.0.2, a file of its own (libomemo.esm.min.js with
curve25519_compiled.wasm), unmodified, by Open Whisper Systems and others
    licence  GNU General Public License 3.0, https://www.gnu.org/licenses/gpl-3.0
    source   https://github.com/conversejs/libomemo.js/tree/v2.0.2

Further libraries are named in the unminified form of Converse.js.

The page that loads them, and start.js, are part of sotto, Apache License 2.0.
`
