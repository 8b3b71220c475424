// SPDX-License-Identifier: Apache-2.0

package xed

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
)

// TestShapes: both shapes of a key are one key, whatever its sign.
func TestShapes(t *testing.T) {
	signs := [2]int{}
	for range 64 {
		p := NewPair()
		ed := Edwards(p.Priv)
		signs[ed[31]>>7]++
		u, err := ToMontgomery(ed)
		if err != nil || u != p.Pub {
			t.Fatalf("%x %x %v", u, p.Pub, err)
		}
		back, err := ToEdwards(u, ed[31]&0x80 != 0)
		if err != nil || back != ed {
			t.Fatalf("%x %x %v", back, ed, err)
		}
		if id := NewIdentity(); Edwards(id.Priv)[31]&0x80 != 0 {
			t.Fatal("identity with sign bit")
		}
	}
	if signs[0] == 0 || signs[1] == 0 {
		t.Error("one sign never seen", signs)
	}
}

// TestSign: our signatures open under the standard library's Ed25519, in both
// forms, and any flipped bit closes them.
func TestSign(t *testing.T) {
	msg := []byte("signed pre-key")
	for range 32 {
		p := NewPair()
		ed := Edwards(p.Priv)
		sig := Sign(p.Priv, msg)
		if !ed25519.Verify(ed[:], msg, sig[:]) {
			t.Fatal("plain form")
		}
		folded := SignFolded(p.Priv, msg)
		who, ok := VerifyFolded(p.Pub, msg, folded)
		if !ok || who != ed {
			t.Fatal("folded form")
		}
		var at [1]byte
		rand.Read(at[:])
		folded[at[0]%64] ^= 1 << (at[0] >> 6)
		if _, ok := VerifyFolded(p.Pub, msg, folded); ok {
			t.Fatal("a flipped bit passed")
		}
	}
}

// TestRefused: points that agree with anybody are no keys.
func TestRefused(t *testing.T) {
	small := [][32]byte{{}, {1}, // order 4 and 1 as u; y of order 4 and 1
		[32]byte(append([]byte{0xec}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)), // p-1
		[32]byte(append([]byte{0xed}, append(bytes.Repeat([]byte{0xff}, 30), 0x7f)...)), // p, not canonical
	}
	for _, k := range small {
		if _, err := ToMontgomery(k); err == nil {
			t.Errorf("Edwards %x passed", k)
		}
		if CheckMontgomery(k) == nil {
			t.Errorf("Montgomery %x passed", k)
		}
	}
	if _, err := Agree(NewPair().Priv, [32]byte{}); err == nil {
		t.Error("agreed with nobody")
	}
	if err := CheckMontgomery(NewPair().Pub); err != nil {
		t.Error(err)
	}
}

func BenchmarkSign(b *testing.B) {
	p := NewPair()
	for b.Loop() {
		Sign(p.Priv, p.Pub[:])
	}
}
