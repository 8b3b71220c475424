// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"crypto/sha1"
	"encoding/base64"
	"slices"
	"strings"

	"sotto/xmpp"
)

// CapsHash is the verification string of a disco#info answer (XEP-0115 §5.1).
func CapsHash(q *xmpp.Element) string {
	var ids, features, forms []string
	for _, k := range q.Children() {
		switch {
		case k.Is(xmpp.NSDiscoInfo, "identity"):
			ids = append(ids, k.Get("category")+"/"+k.Get("type")+"/"+k.Get("xml:lang")+"/"+k.Get("name")+"<")
		case k.Is(xmpp.NSDiscoInfo, "feature"):
			features = append(features, k.Get("var")+"<")
		case k.Is(xmpp.NSData, "x"):
			forms = append(forms, form(k))
		}
	}
	for _, l := range [][]string{ids, features, forms} {
		slices.Sort(l)
	}
	sum := sha1.Sum([]byte(strings.Join(ids, "") + strings.Join(features, "") + strings.Join(forms, "")))
	return base64.StdEncoding.EncodeToString(sum[:])
}

func form(x *xmpp.Element) string {
	var typ string
	var fields []string
	for _, f := range x.Children() {
		if !f.Is(xmpp.NSData, "field") {
			continue
		}
		var values []string
		for _, v := range f.Children() {
			values = append(values, v.Text()+"<")
		}
		slices.Sort(values)
		if f.Get("var") == "FORM_TYPE" {
			typ = strings.Join(values, "")
			continue
		}
		fields = append(fields, f.Get("var")+"<"+strings.Join(values, ""))
	}
	slices.Sort(fields)
	return typ + strings.Join(fields, "")
}
