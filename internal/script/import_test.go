// SPDX-License-Identifier: Apache-2.0

package script

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sotto/relay/transfer"
)

// carry imports, and returns what was said.
func (p *play) carry(path, from string) (transfer.Report, string) {
	p.t.Helper()
	var said []string
	r, err := transfer.Import(p.relay, path, from, func(line string) { said = append(said, line) })
	p.must(err)
	return r, strings.Join(said, "\n")
}

func (p *play) script(lines string) {
	for line := range strings.Lines(lines) {
		p.line = line
		p.do(strings.TrimSpace(line))
	}
}

// What both exports hold: they were made by the programs of Debian 12 from the
// same accounts.
const verona = `
# the password was "wherefore art"
login juliet/x password=another fails=not-authorized
juliet/x > <iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
juliet/x < <iq type='result' id='1'><query xmlns='jabber:iq:roster'><item jid='romeo@localhost' name='Romeo &amp; co' subscription='both'><group>Lovers</group><group>Verona</group></item></query></iq>
juliet/x > <iq type='get' id='2'><vCard xmlns='vcard-temp'/></iq>
juliet/x < <iq type='result' id='2'><vCard xmlns='vcard-temp'><FN>Juliet Capulet</FN><PHOTO><TYPE>image/png</TYPE><BINVAL>*</BINVAL></PHOTO></vCard></iq>
juliet/x > <iq type='get' id='3'><query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'/></query></iq>
juliet/x < <iq type='result' id='3'><query xmlns='jabber:iq:private'><exodus xmlns='exodus:prefs'><defaultnick>Jule</defaultnick></exodus></query></iq>
juliet/x > <iq type='get' id='4'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub></iq>
juliet/x < <iq type='result' id='4'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'><item id='balcony@rooms.verona.example'><conference xmlns='urn:xmpp:bookmarks:1' name='Balcony' autojoin='true'><nick>jule</nick></conference></item></items></pubsub></iq>
juliet/x > <iq type='get' id='5'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'/></pubsub></iq>
juliet/x < <iq type='result' id='5'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:avatar:metadata'><item id='c7a9c45fd419815a5ab1998503a9f03514c0e229'/></items></pubsub></iq>
juliet/x > <presence/>
romeo/x > <iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
romeo/x < <iq type='result' id='1'><query xmlns='jabber:iq:roster'><item jid='juliet@localhost' subscription='both'/><item jid='mercutio@localhost' subscription='none' ask='subscribe'/></query></iq>
romeo/x > <presence/>
romeo/x < <presence from='juliet@localhost/x'/>
# what Romeo asked there is asked here
mercutio/x > <iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>
mercutio/x < <iq type='result' id='1'/>
mercutio/x > <presence/>
mercutio/x < <presence type='subscribe' from='romeo@localhost'/>
`

func logins(mech string) string {
	return "login juliet/x mech=" + mech + " password=wherefore%20art\nlogin romeo/x mech=" + mech + " password=by%20any%20other\nlogin mercutio/x mech=" + mech + " password=a%20plague\n"
}

// TestImport: accounts of other servers come with all they had, their people
// log in with the password that they know, and a second time changes nothing.
func TestImport(t *testing.T) {
	for _, c := range []struct{ name, path, mech, more, notes string }{
		{"prosody", "../../testdata/import/prosody", "SCRAM-SHA-1", `
juliet/x > <iq type='get' id='n'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='eu.siacs.conversations.axolotl.devicelist'/></pubsub></iq>
juliet/x < <iq type='result' id='n'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='eu.siacs.conversations.axolotl.devicelist'><item id='current'><list xmlns='eu.siacs.conversations.axolotl'><device id='31415'/></list></item></items></pubsub></iq>
mercutio/x > <iq type='get' id='n' to='juliet@localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='eu.siacs.conversations.axolotl.devicelist'/></pubsub></iq>
mercutio/x < <iq type='result' id='n'/>
# XEP-0480: from the next login on there are keys for the better hash, made by the client's task or of the password that it shows.
login juliet/y mech=SCRAM-SHA-256 password=wherefore%20art fails
login juliet/y agent password=wherefore%20art
login juliet/z mech=SCRAM-SHA-256-PLUS password=wherefore%20art
login juliet/z mech=SCRAM-SHA-256-PLUS password=another fails=not-authorized
login romeo/y mech=SCRAM-SHA-256 password=by%20any%20other fails
login romeo/y mech=PLAIN password=another fails=not-authorized
login romeo/y mech=PLAIN password=by%20any%20other
login romeo/z mech=SCRAM-SHA-256 password=by%20any%20other
restart
login mercutio/z mech=SCRAM-SHA-1 password=a%20plague
login mercutio/z mech=SCRAM-SHA-256 password=a%20plague fails
login mercutio/z agent password=a%20plague
restart
login mercutio/z mech=SCRAM-SHA-256 password=a%20plague
login nobody/z fails=not-authorized
`, ""},
		{"ejabberd", "../../testdata/import/ejabberd/export.xml", "SCRAM-SHA-256", `
juliet/x > <iq type='get' id='b'><blocklist xmlns='urn:xmpp:blocking'/></iq>
juliet/x < <iq type='result' id='b'><blocklist xmlns='urn:xmpp:blocking'><item jid='tybalt@localhost'/></blocklist></iq>
# XEP-0227 §4.5: what waited there waits here, in order and with its time.
mercutio/x < <message id='off1' from='juliet@localhost/x'><body>are you there? &lt;3</body><delay xmlns='urn:xmpp:delay' stamp='2026-11-25T00:41:52.400Z'/></message>
mercutio/x < <message id='off2' from='romeo@localhost/x'><body>second</body></message>
`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlay(t)
			if r, said := p.carry(c.path, "verona.example"); r.Made != 3 || r.Here != 0 || said != c.notes {
				t.Fatal(r, said)
			}
			if r, said := p.carry(c.path, "verona.example"); r.Made != 0 || r.Here != 3 || said != "" {
				t.Fatal("the second time:", r, said)
			}
			p.script(logins(c.mech) + verona + c.more)
		})
	}
}

// TestExport: what is written is read again by another server of ours, and
// gives the same file; no password can be read from it.
func TestExport(t *testing.T) {
	p := newPlay(t)
	p.carry("../../testdata/import/ejabberd/export.xml", "verona.example")
	p.script(`
login alice/x
alice/x > <presence/>
alice/x > <message to='bob@localhost' type='chat' id='m1'><body>for later</body></message>
alice/x > <iq type='set' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:n'><item id='a'><x xmlns='urn:x'/></item></publish><publish-options><x xmlns='jabber:x:data' type='submit'><field var='pubsub#access_model'><value>whitelist</value></field><field var='pubsub#max_items'><value>7</value></field></x></publish-options></pubsub></iq>
alice/x < <iq type='result' id='1'/>
alice/x > <iq type='set' id='2'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:n'><item id='b'><x xmlns='urn:x'/></item></publish></pubsub></iq>
alice/x < <iq type='result' id='2'/>
alice/x > <iq type='set' id='3'><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='urn:n'><affiliation jid='bob@localhost' affiliation='member'/></affiliations></pubsub></iq>
alice/x < <iq type='result' id='3'/>
`)
	first, second := filepath.Join(t.TempDir(), "1.xml"), filepath.Join(t.TempDir(), "2.xml")
	n, err := transfer.Export(p.relay, first, nil, true, func(string) {})
	if users, _ := p.store.Users(); err != nil || n != len(users) {
		t.Fatal(n, err)
	}
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
		t.Error("others can read it:", info.Mode(), err)
	}
	q := newPlay(t)
	users, err := q.store.Users()
	q.must(err)
	for _, u := range users {
		q.must(q.store.DeleteAccount(u))
	}
	if r, said := q.carry(first, ""); r.Made != n || said != "" {
		t.Fatal(r, said)
	}
	if _, err := transfer.Export(q.relay, second, nil, true, func(string) {}); err != nil {
		t.Fatal(err)
	}
	a, b := steady(t, first), steady(t, second)
	if !slices.Equal(a, b) {
		for i := range a {
			if i >= len(b) || a[i] != b[i] {
				t.Errorf("line %d\n%s\n%s", i, a[i], cmp.Or(strings.Join(b[min(i, len(b)):min(i+1, len(b))], ""), "-"))
			}
		}
	}
	if text := strings.Join(a, "\n"); !strings.Contains(text, "for later") || strings.Contains(text, "wherefore") || strings.Contains(text, ">password<") {
		t.Error("the message is not in it, or a password is")
	}
	q.script("login bob/x\nbob/x > <presence/>\nbob/x < <message id='m1'><body>for later</body></message>\n")
}

// steady is a file without what is new each time.
func steady(t *testing.T, path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(` ver='\d+'|<stanza-id [^>]*>`).ReplaceAllString(string(b), "")
	all := strings.Split(text, "\n")
	for i := range all { // the order of contacts is a store's own
		parts := strings.Split(all[i], "<")
		slices.Sort(parts)
		all[i] = strings.Join(parts, "<")
	}
	return all
}

// TestImportBad: what is wrong in a file is said with its line, loses nothing
// else, and harms nobody who is here.
func TestImportBad(t *testing.T) {
	p := newPlay(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		p.must(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	const head = "<server-data xmlns='urn:xmpp:pie:0'>\n<host jid='localhost'>\n"
	const tail = "</host></server-data>"
	for _, c := range []struct{ name, text, want string }{
		{"no.xml", "<html/>", "no.xml:1: <html/> is not the begin"},
		{"cut.xml", head + "<user name='gina' password='secret'>\n<offline-messages/><query xmlns='jabber:iq:roster'>", "cut.xml:4: "},
		{"dtd.xml", "<!DOCTYPE x [<!ENTITY a 'b'>]>" + head + tail, "a DTD is not taken"},
		{"entity.xml", head + "<user name='&lol;'/>" + tail, "entity.xml:3"},
		{"up.xml", "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>\n<xi:include href='../up.xml'/></server-data>", "only files beside it"},
		{"self.xml", "<server-data xmlns='urn:xmpp:pie:0' xmlns:xi='http://www.w3.org/2001/XInclude'>\n<xi:include href='self.xml'/></server-data>", "include each other"},
		{"deep.xml", head + "<user name='gina' password='secret'>" + strings.Repeat("<a>", 200), "too large"},
	} {
		path := write(c.name, c.text)
		if _, err := transfer.Import(p.relay, path, "", func(string) {}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	p.script("login alice/x\nalice/x > <iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob'/></query></iq>\nalice/x < <iq type='result' id='1'/>\n")
	mixed := write("mixed.xml", head+`<user name='alice' password='stolen'><query xmlns='jabber:iq:roster'><item jid='eve@localhost' subscription='both'/></query></user>
<user name='not a name' password='x'/>
<user name='gina' password='second try'>
<query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='both'/><item jid='@@'/><item jid='gina@localhost'/></query>
<presence from='carl@localhost' type='subscribe'/>
<strange xmlns='urn:strange'/>
<scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'><salt>=</salt></scram-credentials>
</user>
<user name='keyless'/>
</host><host jid='elsewhere.example'><user name='hugo' password='secret'/>`+tail)
	// gina was begun by cut.xml, and goes on.
	r, said := p.carry(mixed, "")
	for _, want := range []string{":3: alice has an account here already", `"not a name" is not a usable name`, "gina: <query/>", "<strange xmlns='urn:strange'/> is not taken",
		"SCRAM-SHA-1 make no sense", "sottod user passwd keyless", `hugo is of "elsewhere.example"`, "--from elsewhere.example"} {
		if !strings.Contains(said, want) {
			t.Errorf("nothing of %q in\n%s", want, said)
		}
	}
	if r.Made != 2 {
		t.Error(r)
	}
	p.script(`
login alice/x
alice/x > <iq type='get' id='2'><query xmlns='jabber:iq:roster'/></iq>
alice/x < <iq type='result' id='2'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bob'/></query></iq>
login gina/x password=secret
gina/x > <iq type='get' id='2'><query xmlns='jabber:iq:roster'/></iq>
gina/x < <iq type='result' id='2'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='both'/></query></iq>
gina/x > <presence/>
gina/x < <presence type='subscribe' from='carl@localhost'/>
login keyless/x fails=not-authorized
login keyless/x mech=PLAIN fails=not-authorized
login hugo/x fails=not-authorized
`)
}

// TestImportSealed: with e2e = required readable messages stay out on this road, too.
func TestImportSealed(t *testing.T) {
	p := newPlay(t)
	p.do("e2e")
	r, said := p.carry("../../testdata/import/ejabberd/export.xml", "verona.example")
	if r.Made != 3 || !strings.Contains(said, "mercutio: 2 messages are readable and not taken") {
		t.Error(r, said)
	}
	if n := p.store.Mailbox("mercutio", "").Len(); n != 0 {
		t.Error("readable messages came in:", n)
	}
}
