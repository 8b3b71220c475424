// SPDX-License-Identifier: Apache-2.0

package omemo

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"sotto/crypto/ratchet"
	"sotto/crypto/vault"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func device(t testing.TB, user string) *Account {
	t.Helper()
	a, err := Open(vault.NewMemory(), user, func() time.Time { return start })
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func begin(t testing.TB, w Wire, a, b *Account) {
	t.Helper()
	if err := a.Begin(w, b.Self(), b.Bundle(w)); err != nil {
		t.Fatal(err)
	}
}

func seal(t testing.TB, w Wire, a, b *Account, text string) *Message {
	t.Helper()
	var content []byte
	if text != "" {
		content = []byte(text)
	}
	m, left, err := a.Encrypt(w, []Address{b.Self()}, content, nil)
	if err != nil || len(left) > 0 {
		t.Fatal(left, err)
	}
	return m
}

func want(t testing.TB, b *Account, from *Account, m *Message, text string) *Opened {
	t.Helper()
	o, err := b.Decrypt(from.Self().User, m, nil)
	if err != nil || string(o.Content) != text {
		t.Fatalf("%v %v, want %q", o, err, text)
	}
	return o
}

func bothWires(t *testing.T, f func(t *testing.T, w Wire)) {
	for _, w := range Wires {
		t.Run(w.String(), func(t *testing.T) { f(t, w) })
	}
}

// TestTalk: a first message, its answer, and what each asks of the other side.
func TestTalk(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		a, b := device(t, "alice@x"), device(t, "bob@x")
		if _, left, err := a.Encrypt(w, []Address{b.Self()}, []byte("x"), nil); err != nil || len(left) != 1 || left[0].Why != ErrNoSession {
			t.Fatal(left, err)
		}
		begin(t, w, a, b)
		m := seal(t, w, a, b, "hello")
		if !m.Keys[0].Kex {
			t.Error("first message is no key exchange")
		}
		o := want(t, b, a, m, "hello")
		if !o.Answer || !o.Keys || o.Trust != FirstUse {
			t.Errorf("%+v", o)
		}
		if m := seal(t, w, a, b, "again"); !m.Keys[0].Kex || want(t, b, a, m, "again").Answer {
			t.Error("unanswered sessions keep sending the key exchange")
		}
		empty := seal(t, w, b, a, "")
		if empty.Payload != nil || want(t, a, b, empty, "").Content != nil {
			t.Error("empty message has content")
		}
		if m := seal(t, w, a, b, "third"); m.Keys[0].Kex {
			t.Error("answered session still sends the key exchange")
		} else {
			want(t, b, a, m, "third")
		}
		if _, err := b.Decrypt("alice@x", m, nil); !errors.Is(err, ratchet.ErrReplay) {
			t.Error("opened twice:", err)
		}
		if n := len(b.Bundle(w).PreKeys); n != preKeys-1 {
			t.Error("used key still on offer", n)
		}
		if publish, err := b.Maintain(start); !publish || err != nil || len(b.Bundle(w).PreKeys) != preKeys {
			t.Error("not topped up", publish, err)
		}
	})
}

// TestSchedule: a thousand messages both ways, lost, late, doubled and crossed,
// both sides beginning at once; what arrives opens once, and nothing else opens.
func TestSchedule(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		for seed := range uint64(4) {
			r := rand.New(rand.NewPCG(seed, 7))
			side := [2]*Account{device(t, "alice@x"), device(t, "bob@x")}
			begin(t, w, side[0], side[1])
			begin(t, w, side[1], side[0])
			type flight struct {
				to   int
				text string
				m    *Message
				seen bool
			}
			var air []*flight
			opened := 0
			for i := range 1000 {
				from := r.IntN(2)
				text := fmt.Sprint("message ", i)
				air = append(air, &flight{to: 1 - from, text: text, m: seal(t, w, side[from], side[1-from], text)})
				for len(air) > 0 && r.IntN(5) > 1 {
					j := 0
					if r.IntN(3) == 0 {
						j = r.IntN(len(air))
					}
					f := air[j]
					o, err := side[f.to].Decrypt(side[1-f.to].Self().User, f.m, nil)
					switch {
					case f.seen && !errors.Is(err, ratchet.ErrReplay) && !errors.Is(err, ratchet.ErrMAC):
						t.Fatalf("seed %d: %q opened again: %v %v", seed, f.text, o, err)
					case !f.seen && (err != nil || string(o.Content) != f.text):
						t.Fatalf("seed %d: %q: %v", seed, f.text, err)
					case !f.seen:
						opened++
					}
					f.seen = true
					if r.IntN(10) > 0 { // else it comes once more
						air = append(air[:j], air[j+1:]...)
					}
				}
				if r.IntN(50) == 0 && len(air) > 0 {
					air = air[1:] // lost
				}
			}
			if opened < 500 {
				t.Error("only", opened)
			}
		}
	})
}

// TestUnchangedByRubbish: bytes that do not open leave the session as it was.
func TestUnchangedByRubbish(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		a, b := device(t, "alice@x"), device(t, "bob@x")
		begin(t, w, a, b)
		want(t, b, a, seal(t, w, a, b, "one"), "one")
		want(t, a, b, seal(t, w, b, a, "two"), "two")
		m := seal(t, w, a, b, "three")
		for i := range m.Keys[0].Data {
			bad := *m
			bad.Keys = []Key{m.Keys[0]}
			bad.Keys[0].Data = bytes.Clone(m.Keys[0].Data)
			bad.Keys[0].Data[i] ^= 0x40
			if o, err := b.Decrypt("alice@x", &bad, nil); err == nil {
				t.Fatalf("flipped byte %d opened %q", i, o.Content)
			}
		}
		for i := range m.Payload {
			bad := *m
			bad.Payload = bytes.Clone(m.Payload)
			bad.Payload[i] ^= 1
			if _, err := b.Decrypt("alice@x", &bad, nil); !errors.Is(err, ErrPayload) {
				t.Fatal(err)
			}
		}
		want(t, b, a, m, "three")
	})
}

// TestMissing: up to 1000 may be missing before a message, and not one more.
func TestMissing(t *testing.T) {
	bothWires(t, func(t *testing.T, w Wire) {
		a, b := device(t, "alice@x"), device(t, "bob@x")
		begin(t, w, a, b)
		first := seal(t, w, a, b, "first")
		for range 999 {
			seal(t, w, a, b, "lost")
		}
		fits := seal(t, w, a, b, "fits")
		want(t, b, a, fits, "fits")
		want(t, b, a, first, "first")
		for range 1001 {
			seal(t, w, a, b, "lost")
		}
		if _, err := b.Decrypt("alice@x", seal(t, w, a, b, "far"), nil); !errors.Is(err, ratchet.ErrTooFar) {
			t.Error(err)
		}
		begin(t, w, a, b) // what a repair does
		want(t, b, a, seal(t, w, a, b, "repaired"), "repaired")
	})
}

// TestTrust: first use, verified, a device that appears later, a key that changed.
func TestTrust(t *testing.T) {
	a, b, b2 := device(t, "alice@x"), device(t, "bob@x"), device(t, "bob@x")
	begin(t, Two, a, b)
	if err := a.SetTrust(b.Self(), Verified); err != nil {
		t.Fatal(err)
	}
	begin(t, Two, a, b2)
	m, left, err := a.Encrypt(Two, []Address{b.Self(), b2.Self()}, []byte("secret"), nil)
	if err != nil || len(m.Keys) != 1 || len(left) != 1 || left[0].Why != ErrUntrusted {
		t.Fatal(m, left, err)
	}
	if err := a.SetTrust(b2.Self(), FirstUse); err != nil {
		t.Fatal(err)
	}
	want(t, b2, a, seal(t, Two, a, b2, "now"), "now")

	thief := device(t, "bob@x")
	fake := Address{"bob@x", b.Self().Device}
	if err := a.Begin(Old, fake, thief.Bundle(Old)); !errors.Is(err, ErrIdentity) {
		t.Fatal("a changed key was taken:", err)
	}
	if _, left, _ := a.Encrypt(Two, []Address{fake}, []byte("secret"), nil); len(left) != 1 || left[0].Why != ErrIdentity {
		t.Error(left)
	}
	if err := a.SetTrust(fake, FirstUse); err != nil {
		t.Fatal(err)
	}
	if err := a.Begin(Old, fake, thief.Bundle(Old)); err != nil {
		t.Error("an accepted key was refused:", err)
	}
	bad := b2.Bundle(Two)
	bad.Signature[3] ^= 1
	if err := a.Begin(Two, b2.Self(), bad); !errors.Is(err, ErrBundle) {
		t.Error(err)
	}
}

// TestLife: signed pre-keys rotate, old ones still open, then they go.
func TestLife(t *testing.T) {
	now := start
	store := vault.NewMemory()
	b, err := Open(store, "bob@x", func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	a, c := device(t, "alice@x"), device(t, "carol@x")
	begin(t, Old, a, b)
	begin(t, Old, c, b)
	late, later := seal(t, Old, a, b, "late"), seal(t, Old, c, b, "later")
	now = now.Add(8 * 24 * time.Hour)
	if publish, err := b.Maintain(now); !publish || err != nil {
		t.Fatal(err)
	}
	want(t, b, a, late, "late")
	now = now.Add(40 * 24 * time.Hour)
	if _, err := b.Maintain(now); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Decrypt("carol@x", later, nil); !errors.Is(err, ErrPreKey) {
		t.Error(err)
	}
	again, err := Open(store, "bob@x", func() time.Time { return now })
	if err != nil || again.Self() != b.Self() || again.Identity() != b.Identity() {
		t.Fatal(again, err)
	}
	want(t, again, a, seal(t, Old, a, b, "after restart"), "after restart")
	if _, err := Open(store, "eve@x", func() time.Time { return now }); err == nil {
		t.Error("a vault opened for another account")
	}
}

// FuzzDecrypt starts from messages that were opened: nothing like them opens again.
func FuzzDecrypt(f *testing.F) {
	a, b := device(f, "alice@x"), device(f, "bob@x")
	for _, w := range Wires {
		begin(f, w, a, b)
		m := seal(f, w, a, b, "first")
		want(f, b, a, m, "first")
		f.Add(byte(w), true, m.Keys[0].Data, m.IV, m.Payload)
		want(f, a, b, seal(f, w, b, a, "answer"), "answer")
		m = seal(f, w, a, b, "later")
		want(f, b, a, m, "later")
		f.Add(byte(w), false, m.Keys[0].Data, m.IV, m.Payload)
	}
	f.Fuzz(func(t *testing.T, w byte, kex bool, key, iv, payload []byte) {
		m := &Message{Wire: Wire(w & 1), Sender: a.Self().Device, IV: iv, Payload: payload,
			Keys: []Key{{To: b.Self(), Data: key, Kex: kex}}}
		if o, err := b.Decrypt("alice@x", m, nil); err == nil {
			t.Fatalf("unsealed bytes opened: %q", o.Content)
		}
	})
}

func BenchmarkEncrypt(b *testing.B) {
	for _, w := range Wires {
		b.Run(w.String(), func(b *testing.B) {
			x, y := device(b, "alice@x"), device(b, "bob@x")
			begin(b, w, x, y)
			want(b, y, x, seal(b, w, x, y, "hi"), "hi")
			want(b, x, y, seal(b, w, y, x, "hi"), "hi")
			b.ReportAllocs()
			for b.Loop() {
				seal(b, w, x, y, "hello")
			}
		})
	}
}

func BenchmarkPingPong(b *testing.B) {
	x, y := device(b, "alice@x"), device(b, "bob@x")
	begin(b, Two, x, y)
	for b.Loop() {
		want(b, y, x, seal(b, Two, x, y, "ping"), "ping")
		want(b, x, y, seal(b, Two, y, x, "pong"), "pong")
	}
}

func BenchmarkBegin(b *testing.B) {
	x, y := device(b, "alice@x"), device(b, "bob@x")
	bundle := y.Bundle(Two)
	for b.Loop() {
		if err := x.Begin(Two, y.Self(), bundle); err != nil {
			b.Fatal(err)
		}
	}
}
