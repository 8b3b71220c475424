// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"sotto/crypto/omemo"
	"sotto/crypto/vault"
	"sotto/xmpp"
)

// written counts by id how often a person writes each message, and by wire.
type written struct {
	mu    sync.Mutex
	times map[string]int
	wires map[string]int
}

func watch(p *person) *written {
	w := &written{times: map[string]int{}, wires: map[string]int{}}
	p.opt.Wire = func(sent bool, el *xmpp.Element) {
		if !sent || el.Name.Local != "message" {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.times[el.Get("id")]++
		for _, k := range el.Children() {
			if k.Name.Local == "encrypted" {
				w.wires[k.Name.Space]++
			}
		}
	}
	return w
}

// onDisk is a vault whose commits take their time, as for people.
func onDisk(t *testing.T) vault.Store {
	d, err := vault.Open(filepath.Join(t.TempDir(), "vault"), vault.Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// TestOnce: while both write and receipts cross, nothing is written twice and
// nothing stays behind.
func TestOnce(t *testing.T) {
	o := newTown(t, "alice", "bob")
	a, b := o.person("alice", onDisk(t)), o.person("bob", onDisk(t))
	aw, bw := watch(a), watch(b)
	a.come()
	b.come()
	const n = 100
	var last [2]*Message
	for i := range n {
		last[0] = a.sends("bob", fmt.Sprint("to bob ", i))
		last[1] = b.sends("alice", fmt.Sprint("to alice ", i))
	}
	for i := range n {
		b.reads(fmt.Sprint("to bob ", i))
		a.reads(fmt.Sprint("to alice ", i))
	}
	a.ticks(last[0], Delivered)
	b.ticks(last[1], Delivered)
	for p, w := range map[*person]*written{a: aw, b: bw} {
		p.leave()
		for id, times := range w.times {
			if times != 1 {
				t.Errorf("%s wrote %s %d times", p.Self(), id, times)
			}
		}
		if left, err := p.book.due(); err != nil || len(left) != p.Waiting()-len(p.book.flying) {
			t.Errorf("%s counts wrong: %d due, %d waiting, %d flying, %v", p.Self(), len(left), p.Waiting(), len(p.book.flying), err)
		}
		if w.wires[xmpp.NSOmemo2] == 0 || w.wires[xmpp.NSOmemoAxolotl] > 0 {
			t.Errorf("two sottos do not use the new wire: %v", w.wires)
		}
	}
}

// TestClassic: who must be written to on the old wire.
func TestClassic(t *testing.T) {
	for _, c := range []struct {
		what    string
		old     bool
		two     bool
		label   string
		classic bool
	}{
		{"conversations, profanity: only the old one", true, false, "", true},
		{"kaidan: only the new one", false, true, "Kaidan", false},
		{"slixmpp-omemo: lists both, reads only the old one", true, true, "", true},
		{"another client with a name", true, true, "Converse", true},
		{"sotto", true, true, ourLabel, false},
		{"a label without the list it stands on", true, false, ourLabel, true},
	} {
		l := lists{Label: map[uint32]label{7: {Text: c.label}}}
		if c.old {
			l.Of[omemo.Old] = []uint32{7}
		}
		if c.two {
			l.Of[omemo.Two] = []uint32{7}
		}
		if l.classic(7) != c.classic {
			t.Errorf("%s: classic %v", c.what, !c.classic)
		}
	}
}

// TestLabels: what other devices of ours call themselves outlives our announcing.
func TestLabels(t *testing.T) {
	l := lists{Of: [2][]uint32{omemo.Two: {3, 4}}, Label: map[uint32]label{3: {"Kaidan", "c2ln"}}}
	l.add(omemo.Two, 9)
	el := listElement(omemo.Two, &l)
	want := map[uint32]label{3: {"Kaidan", "c2ln"}, 9: {ourLabel, ""}}
	if got := labelsOf(el); !reflect.DeepEqual(got, want) {
		t.Error(got)
	}
	if got := listOf(el); !reflect.DeepEqual(got, []uint32{3, 4, 9}) {
		t.Error(got)
	}
	if old := labelsOf(listElement(omemo.Old, &l)); len(old) > 0 {
		t.Error("the old wire has no labels:", old)
	}
}

// TestKeyNumbers: Converse.js numbers its keys from 0; a device has no such number.
func TestKeyNumbers(t *testing.T) {
	for _, w := range omemo.Wires {
		b := &omemo.Bundle{Identity: []byte("i"), Signed: []byte("s"), Signature: []byte("g"), PreKeys: []omemo.PreKey{{ID: 0, Key: []byte("k")}, {ID: 99, Key: []byte("l")}}}
		got, err := bundleOf(w, bundleElement(w, b))
		if err != nil || !reflect.DeepEqual(got, b) {
			t.Errorf("%v: %+v %v", w, got, err)
		}
	}
	if d := listOf(xmpp.El("x", "devices").Add(xmpp.El("x", "device", "id", "0"), xmpp.El("x", "device", "id", "7"))); len(d) != 1 || d[0] != 7 {
		t.Error(d)
	}
}
