// SPDX-License-Identifier: Apache-2.0

package ratchet

import "testing"

// FuzzWire: bytes of strangers are taken apart without a panic, and what was
// taken from them is what is written again.
func FuzzWire(f *testing.F) {
	h := header{dh: [32]byte{5: 7}, n: 3, pn: 300}
	f.Add(sealAxolotl(frameAxolotl(h, []byte("body")), make([]byte, 8)))
	f.Add(sealTwo(frameTwo(h, []byte("body")), make([]byte, 16)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if h, _, mac, err := openAxolotl(raw); err == nil {
			again, _, _, err := openAxolotl(sealAxolotl(frameAxolotl(h, h.body), mac))
			if err != nil || again.n != h.n || again.pn != h.pn || again.dh != h.dh || string(again.body) != string(h.body) {
				t.Fatalf("%+v became %+v: %v", h, again, err)
			}
		}
		if h, _, mac, err := openTwo(raw); err == nil {
			again, _, _, err := openTwo(sealTwo(frameTwo(h, h.body), mac))
			if err != nil || again.n != h.n || again.pn != h.pn || again.dh != h.dh || string(again.body) != string(h.body) {
				t.Fatalf("%+v became %+v: %v", h, again, err)
			}
		}
	})
}
