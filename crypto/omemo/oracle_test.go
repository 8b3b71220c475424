// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
	"sotto/crypto/xed"
)

// stranger is one device of python-omemo in a process of its own, which speaks
// JSON lines. Variables name it; without them the recorded talks must do.
type stranger struct {
	t   *testing.T
	in  io.Writer
	out *bufio.Reader
	at  Address
	w   Wire
}

func newStranger(t *testing.T, w Wire, at Address) *stranger {
	dir, python := os.Getenv("SOTTO_ORACLES"), os.Getenv("SOTTO_ORACLE_PY")
	if dir == "" || python == "" {
		t.Skip("SOTTO_ORACLES and SOTTO_ORACLE_PY name no outside implementation; recorded talks are in TestRecorded")
	}
	script := "oracle_oldmemo.py"
	if w == Two {
		script = "oracle_twomemo.py"
	}
	c := exec.Command(python, "-W", "ignore", filepath.Join(dir, script))
	c.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); c.Wait() })
	s := &stranger{t, in, bufio.NewReaderSize(out, 1<<20), at, w}
	s.ask(map[string]any{"op": "init", "jid": at.User, "device": at.Device})
	return s
}

// answer has all that any question is answered with.
type answer struct {
	OK      bool
	Error   string
	Bundle  *strangeBundle
	Key     []byte
	Prekey  bool
	IV      []byte
	Payload []byte
	PT      []byte
	IKPriv  []byte            `json:"ik_priv"`
	SPKPriv []byte            `json:"spk_priv"`
	PKPrivs map[string][]byte `json:"pk_privs"`
}

type strangeBundle struct {
	IK    []byte            `json:"ik"`
	SPKID uint32            `json:"spk_id"`
	SPK   []byte            `json:"spk"`
	SPKS  []byte            `json:"spks"`
	PKs   map[string][]byte `json:"pks"`
}

func (s *stranger) ask(q map[string]any) answer {
	s.t.Helper()
	b, err := json.Marshal(q)
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.in.Write(append(b, '\n')); err != nil {
		s.t.Fatal(err)
	}
	line, err := s.out.ReadBytes('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	var a answer
	if err := json.Unmarshal(line, &a); err != nil || !a.OK {
		s.t.Fatalf("%s: %s %v", q["op"], line, err)
	}
	return a
}

func (b *strangeBundle) ours() *Bundle {
	out := &Bundle{Identity: b.IK, SignedID: b.SPKID, Signed: b.SPK, Signature: b.SPKS}
	for id, k := range b.PKs {
		n, _ := strconv.Atoi(id)
		out.PreKeys = append(out.PreKeys, PreKey{uint32(n), k})
	}
	return out
}

func theirs(b *Bundle) map[string]any {
	pks := map[string][]byte{}
	for _, p := range b.PreKeys {
		pks[strconv.Itoa(int(p.ID))] = p.Key
	}
	return map[string]any{"ik": b.Identity, "spk_id": b.SignedID, "spk": b.Signed, "spks": b.Signature, "pks": pks}
}

func (s *stranger) seal(to *Account, text string, bundle *Bundle) *Message {
	s.t.Helper()
	q := map[string]any{"op": "encrypt", "to": to.Self().User, "device": to.Self().Device, "pt": []byte(text)}
	if text == "" {
		q["pt"] = nil
	}
	if bundle != nil {
		q["bundle"] = theirs(bundle)
	}
	a := s.ask(q)
	return &Message{Wire: s.w, Sender: s.at.Device, IV: a.IV, Payload: a.Payload, Keys: []Key{{To: to.Self(), Data: a.Key, Kex: a.Prekey}}}
}

func (s *stranger) open(from *Account, m *Message, text string) {
	s.t.Helper()
	a := s.ask(map[string]any{"op": "decrypt", "from": from.Self().User, "device": from.Self().Device,
		"key": m.Keys[0].Data, "prekey": m.Keys[0].Kex, "payload": m.Payload, "iv": m.IV})
	if string(a.PT) != text {
		s.t.Fatalf("they read %q, want %q", a.PT, text)
	}
}

// TestStranger holds long random talks with python-omemo, both sides beginning.
func TestStranger(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		for seed := range uint64(2) {
			s := newStranger(t, w, Address{"stranger@x", 7 + uint32(seed)})
			us := device(t, "us@x")
			bundle := s.ask(map[string]any{"op": "bundle", "n": 30}).Bundle.ours()
			r := rand.New(rand.NewPCG(seed, 1))
			if seed == 0 {
				if err := us.Begin(w, s.at, bundle); err != nil {
					t.Fatal(err)
				}
				for _, text := range []string{"first", "second", ""} {
					m, _, err := us.Encrypt(w, []Address{s.at}, contentOf(text), nil)
					if err != nil {
						t.Fatal(err)
					}
					s.open(us, m, text)
				}
			} else {
				s.strangerFirst(us)
			}
			s.talk(us, r, 250)
		}
	})
}

func contentOf(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

func (s *stranger) strangerFirst(us *Account) {
	for i, text := range []string{"first", "second", ""} {
		var b *Bundle
		if i == 0 {
			b = us.Bundle(s.w)
		}
		o, err := us.Decrypt(s.at.User, s.seal(us, text, b), nil)
		if err != nil || string(o.Content) != text {
			s.t.Fatal(o, err)
		}
	}
}

// talk exchanges n messages with loss, delay and disorder on both ways.
func (s *stranger) talk(us *Account, r *rand.Rand, n int) {
	type flight struct {
		m    *Message
		text string
	}
	var in, out []flight
	for i := range n {
		text := "message " + strconv.Itoa(i)
		if r.IntN(2) == 0 {
			m, left, err := us.Encrypt(s.w, []Address{s.at}, []byte(text), nil)
			if err != nil || len(left) > 0 {
				s.t.Fatal(left, err)
			}
			out = append(out, flight{m, text})
		} else {
			in = append(in, flight{s.seal(us, text, nil), text})
		}
		for len(in)+len(out) > 0 && r.IntN(3) > 0 {
			switch {
			case len(in) > 0 && r.IntN(2) == 0:
				j := r.IntN(min(3, len(in)))
				f := in[j]
				in = append(in[:j], in[j+1:]...)
				if o, err := us.Decrypt(s.at.User, f.m, nil); err != nil || string(o.Content) != f.text {
					s.t.Fatalf("%q: %v %v", f.text, o, err)
				}
			case len(out) > 0:
				j := r.IntN(min(3, len(out)))
				f := out[j]
				out = append(out[:j], out[j+1:]...)
				if r.IntN(8) > 0 {
					s.open(us, f.m, f.text)
				}
			}
		}
	}
}

// recorded is a talk that was held once with python-omemo: our device's private
// keys, and what came in.
type recorded struct {
	Wire     Wire
	From     Address
	To       Address
	Identity key32
	Ring     keyring
	Messages []recordedMessage
}

type recordedMessage struct {
	Key, IV, Payload []byte
	Kex              bool
	Text             string
}

func recordedPath(w Wire) string {
	return filepath.Join("..", "..", "testdata", "crypto", []string{Old: "oldmemo.json", Two: "twomemo.json"}[w])
}

// TestRecord writes the recorded talks anew when SOTTO_RECORD is set.
func TestRecord(t *testing.T) {
	if os.Getenv("SOTTO_RECORD") == "" {
		t.Skip("SOTTO_RECORD is not set; the recorded talks stay as they are")
	}
	bothWires(t, func(t *testing.T, w Wire) {
		s, us := newStranger(t, w, Address{"stranger@x", 7}), device(t, "us@x")
		rec := recorded{Wire: w, From: s.at, To: us.Self(), Identity: key32(us.id.Priv)}
		first := us.Bundle(w)
		b, err := json.Marshal(us.rings[w])
		if err == nil {
			err = json.Unmarshal(b, &rec.Ring)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"the first message", "grüße 🌍", "", "last one"} {
			m := s.seal(us, text, first)
			first = nil
			rec.Messages = append(rec.Messages, recordedMessage{m.Keys[0].Data, m.IV, m.Payload, m.Keys[0].Kex, text})
		}
		used, _, err := w.suite().OpenKex(rec.Messages[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		rec.Ring.PreKeys = []preKey{*rec.Ring.preKey(used.PreKey)}
		out, err := json.MarshalIndent(rec, "", " ")
		if err == nil {
			err = os.WriteFile(recordedPath(w), append(out, '\n'), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// TestRecorded opens what python-omemo wrote, in another order than it was written.
func TestRecorded(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		raw, err := os.ReadFile(recordedPath(w))
		if err != nil {
			t.Fatal(err)
		}
		var rec recorded
		if err := json.NewDecoder(bytes.NewReader(raw)).Decode(&rec); err != nil {
			t.Fatal(err)
		}
		pair, err := xed.PairOf(rec.Identity)
		if err != nil {
			t.Fatal(err)
		}
		us := &Account{store: vault.NewMemory(), now: func() time.Time { return start }, self: rec.To, id: pair,
			me: ratchet.Identity{Curve: pair.Pub, Edwards: xed.Edwards(pair.Priv)}}
		us.rings[w] = &rec.Ring
		for _, i := range []int{1, 3, 0, 2} {
			r := rec.Messages[i]
			m := &Message{Wire: w, Sender: rec.From.Device, IV: r.IV, Payload: r.Payload, Keys: []Key{{To: rec.To, Data: r.Key, Kex: r.Kex}}}
			o, err := us.Decrypt(rec.From.User, m, nil)
			if err != nil || string(o.Content) != r.Text {
				t.Errorf("message %d: %v %v", i, o, err)
			}
		}
	})
}
