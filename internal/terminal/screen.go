// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"context"
	"errors"
	"io"
	"sync"

	tea "charm.land/bubbletea/v2"

	"sotto/internal/client"
)

// Options say where the screen is; the zero value is the program's terminal.
type Options struct {
	In  io.Reader
	Out io.Writer
	Env []string // nil: the program's
}

// Screen is one chat screen. Its Event is for client.Options.OnEvent, so it
// exists before the client does.
type Screen struct {
	opt   Options
	inbox *inbox
}

// New makes a screen; Run shows it.
func New(o Options) *Screen {
	return &Screen{opt: o, inbox: &inbox{more: make(chan struct{}, 1), shut: make(chan struct{})}}
}

// Event takes what has happened. It never blocks.
func (s *Screen) Event(e client.Event) { s.inbox.put(e) }

// Run shows the screen until the person leaves or the context ends; with is
// the chat to begin with, empty for the latest. The client goes on.
func (s *Screen) Run(ctx context.Context, c *client.Client, with string) error {
	m, err := newModel(c, s.inbox, with)
	if err != nil {
		return err
	}
	opts := []tea.ProgramOption{tea.WithContext(ctx)}
	if s.opt.In != nil {
		opts = append(opts, tea.WithInput(s.opt.In))
	}
	if s.opt.Out != nil {
		opts = append(opts, tea.WithOutput(s.opt.Out), tea.WithWindowSize(80, 24)) // if it has no size of its own
	}
	if s.opt.Env != nil {
		opts = append(opts, tea.WithEnvironment(s.opt.Env))
	}
	_, err = tea.NewProgram(m, opts...).Run()
	close(s.inbox.shut)
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil && errors.Is(err, tea.ErrProgramKilled) {
		err = nil
	}
	return errors.Join(err, m.leave())
}

// inbox holds events until the screen takes them: the client never waits.
type inbox struct {
	more chan struct{} // capacity 1: "look again"
	shut chan struct{} // closed when nobody takes any more

	mu     sync.Mutex
	events []client.Event
}

func (b *inbox) put(e client.Event) {
	b.mu.Lock()
	b.events = append(b.events, e)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

// happened is all that has come since the screen looked last.
type happened []client.Event

// wait is the command that brings what comes next.
func (b *inbox) wait() tea.Msg {
	select {
	case <-b.more:
	case <-b.shut:
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.events
	b.events = nil
	return happened(all)
}
