// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"slices"
	"time"

	"sotto/internal/client"
)

// page is how many messages are read from the disk at once.
const page = 100

// talk is the open chat: a run of messages up to the newest, of which more is
// read as the person scrolls up. Only what is on the screen is laid out.
type talk struct {
	c    *client.Client
	chat string

	msgs    []client.Message // their Seq follow each other
	whole   bool             // the first message of all is among them
	fresh   uint64           // the first that was unseen when the chat was opened
	notices []notice
	trust   string // of the other's devices, as a word
	peer    string // how the other is called

	// the bottom of the view: follow is the very end; else the line that has
	// cut lines of message anchor below it.
	follow bool
	anchor int
	cut    int
	still  bool // nobody has scrolled: the first unseen message leads

	blocks []([]string) // laid out messages, parallel to msgs; nil when not
	pen    pen
	wide   int
	day    int // the day for which "today" is true
}

// notice is a line of ours in the talk; it is not kept.
type notice struct {
	after uint64 // the message that it follows
	at    time.Time
	text  string
	alarm bool
}

func openTalk(c *client.Client, chat string, unread int) (*talk, error) {
	t := &talk{c: c, chat: chat, follow: true}
	if err := t.reload(); err != nil {
		return nil, err
	}
	return t, t.findFresh(unread)
}

// findFresh looks for the first unseen message, reading back as far as it is.
func (t *talk) findFresh(unread int) error {
	t.still = unread > 0
	for i := len(t.msgs) - 1; unread > 0; i-- {
		if i < 0 {
			had := len(t.msgs)
			if err := t.older(); err != nil {
				return err
			}
			if i += len(t.msgs) - had; i < 0 {
				return nil
			}
		}
		if m := &t.msgs[i]; !m.Out && !m.Seen {
			t.fresh, unread = m.Seq, unread-1
		}
	}
	return nil
}

// lead puts the first unseen message at the top of n lines, if all that
// follows does not fit.
func (t *talk) lead(n int) {
	if !t.still || len(t.msgs) == 0 || t.fresh < t.msgs[0].Seq {
		return
	}
	t.follow = false
	for t.anchor = int(t.fresh - t.msgs[0].Seq); ; t.anchor++ {
		n -= len(t.block(t.anchor))
		t.cut = max(0, -n)
		t.follow = t.anchor == len(t.msgs)-1 && n >= 0
		if n <= 0 || t.anchor == len(t.msgs)-1 {
			return
		}
	}
}

// reload reads the newest page; what was read before is kept if it joins.
func (t *talk) reload() error {
	msgs, err := t.c.History(t.chat, page)
	if err != nil {
		return err
	}
	t.msgs, t.blocks = msgs, make([][]string, len(msgs))
	t.whole = len(msgs) < page
	t.follow = true
	return nil
}

// older reads one more page.
func (t *talk) older() error {
	if t.whole || len(t.msgs) == 0 {
		t.whole = true
		return nil
	}
	more, err := t.c.Older(t.chat, t.msgs[0].Seq, page)
	if err != nil {
		return err
	}
	t.whole = len(more) < page
	t.blocks[0] = nil // it may not begin its day any more
	t.msgs = append(more, t.msgs...)
	t.blocks = append(make([][]string, len(more)), t.blocks...)
	t.anchor += len(more)
	return nil
}

// take puts a message that has come, or has changed, in its place.
func (t *talk) take(m client.Message) error {
	n := len(t.msgs)
	first := m.Seq
	if n > 0 {
		first = t.msgs[0].Seq
	}
	switch i := int(m.Seq) - int(first); {
	case i < 0: // not read yet
	case i < n:
		if old := &t.msgs[i]; m.State < old.State && old.State != client.Failed {
			m.State, m.Why = old.State, old.Why // news that was overtaken
		}
		t.msgs[i], t.blocks[i] = m, nil
	case i == n && (n > 0 || m.Seq == 1):
		t.msgs, t.blocks = append(t.msgs, m), append(t.blocks, nil)
	default:
		return t.reload() // others are on their way
	}
	return nil
}

// mark puts the line "new" before a message; 0 takes it away.
func (t *talk) mark(seq uint64) {
	for i := range t.msgs {
		if at := t.msgs[i].Seq; at == t.fresh || at == seq {
			t.blocks[i] = nil
		}
	}
	t.fresh = seq
}

// note adds a line of ours after the message that it follows.
func (t *talk) note(n notice) {
	t.notices = append(t.notices, n)
	for i := range t.msgs {
		if t.msgs[i].Seq == n.after {
			t.blocks[i] = nil
		}
	}
}

// shape says for which screen to draw from now on.
func (t *talk) shape(p pen, wide int, now time.Time) {
	if t.pen != p || t.wide != wide || t.day != now.YearDay() {
		t.pen, t.wide, t.day = p, wide, now.YearDay()
		clear(t.blocks)
		if t.anchor < len(t.msgs) {
			t.cut = min(t.cut, len(t.block(t.anchor))-1)
		}
	}
}

// block is one message laid out.
func (t *talk) block(i int) []string {
	if t.blocks[i] == nil {
		t.blocks[i] = t.draw(i)
	}
	return t.blocks[i]
}

// lines are the n lines of the view, fewer when there are no more.
func (t *talk) lines(n int) ([]string, error) {
	i, cut := t.anchor, t.cut
	if t.follow {
		i, cut = len(t.msgs)-1, 0
	}
	var up []string // from the bottom to the top
	for i >= 0 && len(up) < n {
		if i == 0 && !t.whole {
			had := len(t.msgs)
			if err := t.older(); err != nil {
				return nil, err
			}
			i = len(t.msgs) - had
		}
		b := t.block(i)
		for k := len(b) - 1 - cut; k >= 0 && len(up) < n; k-- {
			up = append(up, b[k])
		}
		i, cut = i-1, 0
	}
	for _, x := range slices.Backward(t.loose()) {
		if i < 0 && len(up) < n {
			up = append(up, x)
		}
	}
	slices.Reverse(up)
	return up, nil
}

// scroll moves the view of n lines up, or down when by is negative.
func (t *talk) scroll(by, n int) error {
	if len(t.msgs) == 0 {
		return nil
	}
	t.still = false
	if t.follow {
		t.follow, t.anchor, t.cut = false, len(t.msgs)-1, 0
	}
	t.cut += by
	if err := t.settle(); err != nil {
		return err
	}
	if by > 0 { // not beyond the beginning
		got, err := t.lines(n)
		if err != nil {
			return err
		}
		t.cut -= n - len(got)
		if err := t.settle(); err != nil {
			return err
		}
	}
	t.follow = t.anchor >= len(t.msgs)-1 && t.cut <= 0
	return nil
}

// settle brings cut back into one message.
func (t *talk) settle() error {
	for t.cut < 0 && t.anchor < len(t.msgs)-1 {
		t.anchor++
		t.cut += len(t.block(t.anchor))
	}
	t.cut = max(0, t.cut)
	for t.cut >= len(t.block(t.anchor)) {
		if t.anchor == 0 {
			if err := t.older(); err != nil {
				return err
			}
		}
		if t.anchor == 0 {
			t.cut = len(t.block(0)) - 1
			return nil
		}
		t.cut -= len(t.block(t.anchor))
		t.anchor--
	}
	return nil
}

// shown is the number of the last message that is in view to its end.
func (t *talk) shown() uint64 {
	i := len(t.msgs) - 1
	if !t.follow {
		i = t.anchor
		if t.cut > 0 {
			i--
		}
	}
	if i < 0 || i >= len(t.msgs) {
		return 0
	}
	return t.msgs[i].Seq
}
