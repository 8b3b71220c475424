// SPDX-License-Identifier: Apache-2.0

package script

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sotto/offline"
	"sotto/relay/account"
)

func newPlay(t *testing.T) *play {
	p := &play{stage: newStage(t), actors: map[string]*actor{}, swapped: map[int]int{}, names: map[string]string{}}
	for _, user := range []string{"alice", "bob", "carol"} {
		p.must(account.Create(p.store, user, "password"))
	}
	return p
}

// act plays lines that belong to a Go test.
func (p *play) act(lines string) {
	for line := range strings.Lines(lines) {
		p.line = strings.TrimSpace(line)
		p.do(p.line)
	}
}

// TestDamagedShard: bytes are flipped in one shard after the other. Its people
// cannot log in, who writes to them is told so, the others talk as ever; with
// the file back, all mail is there (DESIGN §5).
func TestDamagedShard(t *testing.T) {
	p := newPlay(t)
	p.act(`login carol/c sm
		carol/c > <message to='alice@localhost' id='old' type='chat'><body>1</body></message>
		carol/c > <message to='bob@localhost' id='old' type='chat'><body>1</body></message><r xmlns='urn:xmpp:sm:3'/>
		carol/c < <a xmlns='urn:xmpp:sm:3' h='2'/>
		logout carol/c`)
	files, err := filepath.Glob(filepath.Join(p.dir, "shard-*.db"))
	if err != nil || len(files) != 2 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		p.close()
		good, err := os.ReadFile(file)
		p.must(err)
		bad := append([]byte(nil), good...)
		for i := 2 * os.Getpagesize(); i < len(bad); i += 64 {
			bad[i] ^= 0x40
		}
		p.must(os.WriteFile(file, bad, 0o600))
		p.open()
		if q := p.store.Health().Quarantined; len(q) != 1 || q[0] != file {
			t.Fatal("set aside:", q)
		}
		var well, ill []string
		for _, user := range []string{"alice", "bob", "carol"} {
			if _, err := p.store.Account(user); err == nil {
				well = append(well, user)
			} else {
				ill = append(ill, user)
			}
		}
		for _, user := range ill {
			p.act("login " + user + "/x fails")
		}
		for _, user := range well {
			p.act("login " + user + "/x")
			for _, other := range ill {
				p.act(user + "/x > <message to='" + other + "@localhost' id='1' type='chat'><body>1</body></message>")
				p.act(user + "/x < <message type='error' id='1'><error type='wait'><internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>")
			}
			p.act(user + "/x > <message to='" + user + "@localhost/x' id='2' type='chat'><body>2</body></message>")
			p.act(user + "/x < <message id='2'/>")
			p.act("logout " + user + "/x")
		}
		p.close()
		p.must(os.WriteFile(file, good, 0o600))
		p.open()
	}
	for _, user := range []string{"alice", "bob"} {
		p.act("login " + user + "/last")
		p.act(user + "/last > <presence/>")
		p.act(user + "/last < <message id='old'/>")
		p.act("logout " + user + "/last")
	}
	p.close()
	defer p.open()
	if r, err := offline.Check(p.dir); err != nil || len(r.Bad) > 0 {
		t.Fatal(r.Bad, err)
	}
}
