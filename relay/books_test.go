// SPDX-License-Identifier: Apache-2.0

package relay

import "testing"

// A client that asks after each stanza and never pauses is answered all the
// same: what it sent after a question does not delay the answer (XEP-0198 §4).
func TestAnswersDoNotStarve(t *testing.T) {
	m := &management{}
	safe := uint32(0)
	for in := uint32(1); in < 1000; in++ {
		m.ask(in)
		if in < 3 {
			continue
		}
		safe = in - 2 // the disk is always two behind
		if !m.due(safe) {
			t.Fatalf("question %d has no answer at %d", safe, in)
		}
		m.answered(safe)
		if len(m.asks) != 2 {
			t.Fatalf("%d questions are open at %d", len(m.asks), in)
		}
	}
}

// Counters wrap at 2^32, and a flood of questions is kept small.
func TestAnswersWrap(t *testing.T) {
	m := &management{}
	m.ask(2) // after the wrap
	if m.due(1<<32 - 1) {
		t.Fatal("answered before it is safe")
	}
	if !m.due(2) {
		t.Fatal("not answered")
	}
	for range 10_000 {
		m.ask(7)
	}
	if len(m.asks) > asksKept {
		t.Fatal(len(m.asks), "questions are kept")
	}
	m.answered(7)
	if m.asks != nil {
		t.Fatal("questions are left")
	}
}
