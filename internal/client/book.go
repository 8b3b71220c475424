// SPDX-License-Identifier: Apache-2.0

package client

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"math"
	"slices"
	"sync"
	"time"

	"sotto/crypto/vault"
)

// Kinds of records in the vault.
const (
	kindChat    = "chat"       // name: with; a Chat
	kindLog     = "log "       // + with: the chat's messages in order
	kindID      = "message id" // name: direction, with, id; the message's number
	kindOutbox  = "outbox"     // log: what is to be sent
	kindLists   = "devices by wire"
	kindRepair  = "repair" // name: user, device; what could not be read
	kindPeople  = "people"
	kindRetried = "retried"
	kindMeta    = "meta"
)

// book is what this device remembers of its talks, and what it still has to send.
type book struct {
	store vault.Store

	mu      sync.Mutex
	chats   map[string]*Chat
	next    uint64          // the outbox's next number
	flying  map[uint64]bool // outbox entries on the wire in this session
	waiting int             // outbox entries, so that a look is cheap
}

// parcel is one stanza on its way out.
type parcel struct {
	ID     string // the message's; empty for receipts and the like
	Chat   string
	Stanza []byte // nil until it is sealed
	Only   uint32 // a repair: sealed for this device alone
	seq    uint64
}

func openBook(s vault.Store) (*book, error) {
	b := &book{store: s, chats: map[string]*Chat{}, flying: map[uint64]bool{}}
	err := s.Each(kindChat, func(name string, v []byte) error {
		c := new(Chat)
		b.chats[name] = c
		return json.Unmarshal(v, c)
	})
	if err != nil {
		return nil, err
	}
	return b, s.Last(kindOutbox, math.MaxInt, func(seq uint64, _ []byte) error {
		b.next, b.waiting = seq+1, b.waiting+1
		return nil
	})
}

func idName(m *Message) string {
	if m.Out {
		return "out\n" + m.Chat + "\n" + m.ID
	}
	return "in\n" + m.Chat + "\n" + m.ID
}

// add gives the changes that append a message to its chat. Callers hold mu and
// commit the changes before anything else is added.
func (b *book) add(m *Message) []vault.Change {
	c := Chat{With: m.Chat}
	if old := b.chats[m.Chat]; old != nil {
		c = *old
	}
	c.Last++
	c.At = m.At
	if !m.Out && !m.Seen {
		c.Unread++
	}
	m.Seq = c.Last
	changes := []vault.Change{
		{Kind: kindLog + m.Chat, Seq: m.Seq, Value: marshal(m)},
		{Kind: kindChat, Name: m.Chat, Value: marshal(c)},
	}
	if m.ID != "" {
		changes = append(changes, vault.Change{Kind: kindID, Name: idName(m), Value: binary.BigEndian.AppendUint64(nil, m.Seq)})
	}
	return changes
}

// added makes the chat's new end known, after the commit.
func (b *book) added(m *Message) {
	c := b.chats[m.Chat]
	if c == nil {
		c = &Chat{With: m.Chat}
		b.chats[m.Chat] = c
	}
	c.Last, c.At = m.Seq, m.At
	if !m.Out && !m.Seen {
		c.Unread++
	}
}

// find reads a message by its id; nil when there is none.
func (b *book) find(out bool, chat, id string) (*Message, error) {
	v, err := b.store.Get(kindID, idName(&Message{Out: out, Chat: chat, ID: id}))
	if err != nil || len(v) != 8 {
		return nil, err
	}
	return b.at(chat, binary.BigEndian.Uint64(v))
}

// look is find for callers that do not hold mu.
func (b *book) look(out bool, chat, id string) (*Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.find(out, chat, id)
}

// lookAt is at for callers that do not hold mu.
func (b *book) lookAt(chat string, seq uint64) (*Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.at(chat, seq)
}

// at reads the message with number seq.
func (b *book) at(chat string, seq uint64) (found *Message, err error) {
	c := b.chats[chat]
	if c == nil || seq > c.Last {
		return nil, nil
	}
	err = b.store.Upto(kindLog+chat, seq, 1, func(at uint64, v []byte) error {
		if at != seq {
			return nil
		}
		found = new(Message)
		return json.Unmarshal(v, found)
	})
	return found, err
}

// advance moves a message of ours to a higher state; it returns nil when
// nothing has changed.
func (b *book) advance(chat, id string, to State, why string, more ...vault.Change) (*Message, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m, err := b.find(true, chat, id)
	if err != nil {
		return nil, err
	}
	if m == nil || m.State >= to && m.State != Failed || m.State == Failed && to <= Sent || to == Failed && m.State > Sent {
		if len(more) == 0 {
			return nil, nil
		}
		return nil, b.store.Commit(more...)
	}
	m.State = to
	if why != "" || to != Failed && m.State == Failed {
		m.Why = why
	}
	return m, b.store.Commit(append(more, vault.Change{Kind: kindLog + chat, Seq: m.Seq, Value: marshal(m)})...)
}

// post gives the change that puts a stanza into the outbox. Callers hold mu.
func (b *book) post(p parcel) vault.Change {
	p.seq = b.next
	b.next++
	b.waiting++
	return vault.Change{Kind: kindOutbox, Seq: p.seq, Value: marshal(p)}
}

// due are the outbox entries that are not on the wire, oldest first.
func (b *book) due() (out []parcel, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == len(b.flying) {
		return nil, nil
	}
	return out, b.store.Last(kindOutbox, math.MaxInt, func(seq uint64, v []byte) error {
		if b.flying[seq] {
			return nil
		}
		p := parcel{}
		err := json.Unmarshal(v, &p)
		p.seq = seq
		out = append(out, p)
		return err
	})
}

// unsent counts the messages in the outbox; receipts and repairs are none.
func (b *book) unsent() (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return n, b.store.Last(kindOutbox, math.MaxInt, func(_ uint64, v []byte) error {
		var p parcel
		err := json.Unmarshal(v, &p)
		if p.ID != "" && p.Only == 0 {
			n++
		}
		return err
	})
}

// fly notes that an entry is on the wire.
func (b *book) fly(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.flying[seq] = true
}

// resend forgets what was on the wire: the session it belonged to is gone.
func (b *book) resend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.flying)
}

// drop gives the change that removes an outbox entry.
func drop(seq uint64) vault.Change { return vault.Change{Kind: kindOutbox, Seq: seq} }

// dropped forgets an entry, after the commit: forgotten before, it would be due
// once more.
func (b *book) dropped(seq uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.flying, seq)
	b.waiting--
}

// list are all chats, the latest first.
func (b *book) list() []Chat {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []Chat
	for _, c := range b.chats {
		all = append(all, *c)
	}
	slices.SortFunc(all, func(x, y Chat) int { return cmp.Or(y.At.Compare(x.At), cmp.Compare(x.With, y.With)) })
	return all
}

// draft keeps what was typed and not sent.
func (b *book) draft(chat, text string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.chats[chat]
	if c == nil {
		if text == "" {
			return nil
		}
		c = &Chat{With: chat, At: time.Now()}
		b.chats[chat] = c
	}
	if c.Draft == text {
		return nil
	}
	c.Draft = text
	return b.store.Commit(vault.Change{Kind: kindChat, Name: chat, Value: marshal(c)})
}

// last reads the newest n messages of a chat.
func (b *book) last(chat string, n int) ([]Message, error) { return b.upto(chat, math.MaxUint64, n) }

// upto reads the newest n messages of a chat that are not newer than seq.
func (b *book) upto(chat string, seq uint64, n int) (out []Message, err error) {
	return out, b.store.Upto(kindLog+chat, seq, n, func(_ uint64, v []byte) error {
		var m Message
		err := json.Unmarshal(v, &m)
		out = append(out, m)
		return err
	})
}
