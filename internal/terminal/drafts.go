// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"sync"

	"sotto/internal/client"
)

// drafts brings what is typed to the disk while the person types on: the
// newest text of each chat.
type drafts struct {
	c    *client.Client
	work sync.Mutex // held by who writes

	mu  sync.Mutex
	due map[string]string
}

func newDrafts(c *client.Client) *drafts { return &drafts{c: c, due: map[string]string{}} }

// set notes the text of a chat; flush brings it to the disk.
func (d *drafts) set(chat, text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due[chat] = text
}

// some says that something is due.
func (d *drafts) some() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.due) > 0
}

// flush writes until nothing is due.
func (d *drafts) flush() error {
	d.work.Lock()
	defer d.work.Unlock()
	for {
		d.mu.Lock()
		chat, text, some := "", "", false
		for chat, text = range d.due {
			some = true
			break
		}
		delete(d.due, chat)
		d.mu.Unlock()
		if !some {
			return nil
		}
		if err := d.c.Draft(chat, text); err != nil {
			return err
		}
	}
}
