// SPDX-License-Identifier: Apache-2.0

package push

import (
	"encoding/json"
	"testing"

	"sotto/offline"
	"sotto/relay"
	"sotto/xmpp"
)

// FuzzEnable: whatever a client registers is small, can be kept, and makes a
// stanza that is one.
func FuzzEnable(f *testing.F) {
	form := "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/pubsub#publish-options</value></field>"
	for _, s := range []string{
		"<enable xmlns='urn:xmpp:push:0' jid='push-5.client.example' node='n'/>",
		"<enable xmlns='urn:xmpp:push:0' jid='carol@localhost/p' node='n'>" + form + "<field var='secret'><value>a</value><value>b</value></field></x></enable>",
		"<enable xmlns='urn:xmpp:push:0' jid='push.localhost'>" + form + "<field var='endpoint'><value>https://push.example/1</value></field></x></enable>",
	} {
		f.Add([]byte(s))
	}
	st, err := offline.Open(f.TempDir(), offline.Options{Shards: 1})
	if err != nil {
		f.Fatal(err)
	}
	s, err := relay.New(relay.Options{Domain: "localhost", Store: st})
	if err != nil {
		f.Fatal(err)
	}
	p := &push{s: s, o: Options{Domain: "push.localhost"}}
	if err := p.serve(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { st.Close() })
	f.Fuzz(func(t *testing.T, raw []byte) {
		el, err := xmpp.Parse(raw, xmpp.NSClient)
		if err != nil {
			return
		}
		g, err := p.read(el)
		if err != nil {
			return
		}
		b, err := json.Marshal(record{Regs: []reg{g}})
		var again record
		if err != nil || len(b) > 6*(formMax+2*nodeMax)+1024 || json.Unmarshal(b, &again) != nil || len(again.Regs) != 1 {
			t.Fatalf("%d bytes, %v", len(b), err)
		}
		if again.Regs[0].JID != p.host.String() {
			if _, err := xmpp.StanzaOf(publish(&again.Regs[0])); err != nil {
				t.Fatal(err)
			}
		} else if err := p.post.Check(again.Regs[0].target()); err != nil {
			t.Fatal(err)
		}
	})
}
