// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"strconv"
	"strings"

	"sotto/relay/block"
)

// revoke takes a device off as a client does: it looks for it in the list.
func (p *play) revoke(name, label string) {
	a := p.actor(name)
	a.send("<iq type='get' id='clients'><list xmlns='urn:xmpp:cam:0'/></iq>")
	p.until(a, parse("<iq type='result' id='clients'/>"))
	for _, c := range a.last.Child("urn:xmpp:cam:0", "clients").Children() {
		if strings.HasPrefix(c.Child("", "user-agent").Child("", "software").Text(), label) {
			a.send("<iq type='set' id='revoke'><revoke xmlns='urn:xmpp:cam:0' id='" + c.Get("id") + "'/></iq>")
			return
		}
	}
	p.fail("no such device: %s", a.last.Bytes())
}

func (p *play) reports(count string, words []string) {
	all, err := block.Reports(p.store)
	p.must(err)
	if strconv.Itoa(len(all)) != count {
		p.fail("%d reports", len(all))
	}
	if said := fmt.Sprint(all[len(all)-1]); !strings.Contains(said, strings.Join(words, " ")) {
		p.fail("%s", said)
	}
}
