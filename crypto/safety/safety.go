// SPDX-License-Identifier: Apache-2.0

package safety

import (
	"bytes"
	"crypto/sha512"
	"fmt"
	"slices"
	"strings"
)

const rounds = 5200 // makes a search for a look-alike key costly

// Side is one person: a bare address and the keys of all trusted devices.
type Side struct {
	ID   string
	Keys [][32]byte
}

// Number is the 60 digits for two people; the order of the arguments does not matter.
func Number(a, b Side) string {
	x, y := a.digits(), b.digits()
	if y < x {
		x, y = y, x
	}
	return x + y
}

// Lines shows a number as people read it: four rows of three groups.
func Lines(number string) string {
	var b strings.Builder
	for i := 0; i+5 <= len(number); i += 5 {
		b.WriteString(number[i : i+5])
		if i%15 == 10 {
			b.WriteByte('\n')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// digits is one person's half. With one device it is the number of Signal's
// clients; more devices are hashed in the order of their keys.
func (s Side) digits() string {
	keys := slices.Clone(s.Keys)
	slices.SortFunc(keys, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	var all []byte
	for _, k := range keys {
		all = append(append(all, 5), k[:]...)
	}
	h := sha512.New()
	h.Write([]byte{0, 0})
	h.Write(all)
	h.Write([]byte(s.ID))
	h.Write(all)
	sum := h.Sum(nil)
	for range rounds - 1 {
		h.Reset()
		h.Write(sum)
		h.Write(all)
		sum = h.Sum(sum[:0])
	}
	var out strings.Builder
	for i := range 6 {
		var v uint64
		for _, c := range sum[5*i : 5*i+5] {
			v = v<<8 | uint64(c)
		}
		fmt.Fprintf(&out, "%05d", v%100000)
	}
	return out.String()
}

// Fingerprint is a device's key as OMEMO clients show it: eight groups of hex.
func Fingerprint(key [32]byte) string {
	text := fmt.Sprintf("%x", key)
	var groups []string
	for i := 0; i < len(text); i += 8 {
		groups = append(groups, text[i:i+8])
	}
	return strings.Join(groups, " ")
}
