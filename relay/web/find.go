// SPDX-License-Identifier: Apache-2.0

package web

import (
	"encoding/json"
	"net/http"
	"strings"

	"sotto/relay"
	"sotto/xmpp"
)

// A link says where one way of connecting is (XEP-0156 §3.2).
type link struct {
	Rel  string `json:"rel"`
	Href string `json:"href"`
}

func links(s *relay.Server) []link {
	ws := "wss" + strings.TrimPrefix(s.URL(), "https") + "/ws"
	return []link{{"urn:xmpp:alt-connections:websocket", ws}, {"urn:xmpp:alt-connections:xbosh", s.URL() + "/http-bind"}}
}

// hostMeta is an XRD document (XEP-0156 §3.2); any page of any site may read
// it (§3.3).
func hostMeta(s *relay.Server) http.HandlerFunc {
	doc := xmpp.El("http://docs.oasis-open.org/ns/xri/xrd-1.0", "XRD")
	for _, l := range links(s) {
		doc.Add(xmpp.El(doc.Name.Space, "Link", "rel", l.Rel, "href", l.Href))
	}
	return document("application/xrd+xml", append([]byte("<?xml version='1.0' encoding='utf-8'?>\n"), doc.Bytes()...))
}

// hostMetaJSON is the same as JRD (RFC 6415 Appendix A).
func hostMetaJSON(s *relay.Server) http.HandlerFunc {
	b, _ := json.Marshal(map[string][]link{"links": links(s)})
	return document("application/json", b)
}

func document(kind string, b []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "only GET", http.StatusMethodNotAllowed)
			return
		}
		h.Set("Content-Type", kind)
		h.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(b)
	}
}
