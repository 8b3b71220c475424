// SPDX-License-Identifier: Apache-2.0

package script

import (
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"sotto/relay/account"
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

func (p *play) invite(f []string) {
	hours, err := strconv.Atoi(f[3])
	p.must(err)
	word := func(s string) string { return strings.TrimPrefix(s, "-") }
	i := account.Invite{By: word(f[1]), User: word(f[2]), Account: true, Until: time.Now().Add(time.Duration(hours) * time.Hour)}
	token, err := account.NewInvite(p.store, i, time.Now())
	p.must(err)
	if p.invites == nil {
		p.invites = map[string]string{}
	}
	p.invites[f[0]] = token
}

// invited takes the token out of a command's answer.
func (p *play) invited(name, who, start string) {
	for _, f := range p.actor(who).last.Child("", "command").Child("", "x").Children() {
		if token, ok := strings.CutPrefix(f.Child("", "value").Text(), start); ok && f.Get("var") == "uri" {
			if p.invites == nil {
				p.invites = map[string]string{}
			}
			p.invites[name] = token
			return
		}
	}
	p.fail("%s", p.actor(who).last.Bytes())
}

// knock is a client that has no account yet: it shows the invitation, if it has
// one, and registers.
func (p *play) knock(invite, user, password, want string) {
	nc, err := net.Dial("tcp", p.addr)
	p.must(err)
	defer nc.Close()
	p.must(nc.SetDeadline(time.Now().Add(patience)))
	hello := "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'>"
	p.says(nc, hello, "</stream:features>")
	p.says(nc, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed")
	c := tls.Client(nc, &tls.Config{RootCAs: p.roots, ServerName: "localhost"})
	offer := p.says(c, hello, "</stream:features>")
	if open := strings.Contains(offer, "http://jabber.org/features/iq-register"); open == p.closed || !strings.Contains(offer, "urn:xmpp:ibr-token:0") {
		p.fail("offered: %s", offer)
	}
	token := p.invites[invite]
	if token == "" {
		token = invite
	}
	if invite != "-" {
		got := p.says(c, "<iq type='set' to='localhost' id='pre'><preauth xmlns='urn:xmpp:pars:0' token='"+token+"'/></iq>", "<iq")
		if refused := strings.Contains(got, "item-not-found"); refused != (want == "not-shown") {
			p.fail("%s", got)
		} else if refused {
			return
		}
	}
	got := p.says(c, "<iq type='set' to='localhost' id='reg'><query xmlns='jabber:iq:register'><username>"+user+
		"</username><password>"+password+"</password></query></iq>", "<iq")
	if !strings.Contains(got, want) {
		p.fail("%s", got)
	}
}

// says sends, and reads until all of what must come is there.
func (p *play) says(c net.Conn, xml, until string) string {
	_, err := c.Write([]byte(xml))
	p.must(err)
	var got strings.Builder
	for b := make([]byte, 1); ; {
		if _, err := c.Read(b); err != nil {
			p.fail("%v after %s", err, got.String())
		}
		got.Write(b)
		if all := got.String(); b[0] == '>' && strings.Contains(all, until) &&
			(until != "<iq" || strings.HasSuffix(all, "</iq>") || strings.Contains(all, "type='result'")) {
			return all
		}
	}
}
