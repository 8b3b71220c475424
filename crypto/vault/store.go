// SPDX-License-Identifier: Apache-2.0

package vault

import (
	"errors"
	"math"
	"slices"
	"sync"
)

var (
	// ErrLocked says that the passphrase is wrong or the key is gone.
	ErrLocked = errors.New("wrong passphrase or key for this vault")
	// ErrBusy says that another program has the vault open.
	ErrBusy = errors.New("another program has this vault open")
	// ErrDamaged says that a record does not open under the vault's key.
	ErrDamaged = errors.New("a record in the vault is damaged")
)

// Store keeps records by kind and name, and logs by kind and number.
type Store interface {
	// Get gives nil when there is no such record.
	Get(kind, name string) ([]byte, error)
	// Each calls f for every named record of a kind, in no order.
	Each(kind string, f func(name string, value []byte) error) error
	// Last calls f for the newest n log records of a kind, oldest first.
	Last(kind string, n int, f func(seq uint64, value []byte) error) error
	// Upto is Last as if the records after number seq were not there.
	Upto(kind string, seq uint64, n int, f func(seq uint64, value []byte) error) error
	// Commit makes all changes or none; it returns when they are durable.
	Commit(changes ...Change) error
}

// Change is one record to write; a nil Value deletes. A Change without a Name
// is a log record with number Seq.
type Change struct {
	Kind, Name string
	Seq        uint64
	Value      []byte
}

// Memory is a Store for tests and for devices that shall not last.
type Memory struct {
	mu    sync.Mutex
	names map[[2]string][]byte
	logs  map[string]map[uint64][]byte
}

// NewMemory makes an empty Store in memory.
func NewMemory() *Memory {
	return &Memory{names: map[[2]string][]byte{}, logs: map[string]map[uint64][]byte{}}
}

// Get implements Store.
func (m *Memory) Get(kind, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.names[[2]string{kind, name}]), nil
}

// Each implements Store.
func (m *Memory) Each(kind string, f func(string, []byte) error) error {
	m.mu.Lock()
	found := map[string][]byte{}
	for k, v := range m.names {
		if k[0] == kind {
			found[k[1]] = slices.Clone(v)
		}
	}
	m.mu.Unlock()
	for n, v := range found {
		if err := f(n, v); err != nil {
			return err
		}
	}
	return nil
}

// Last implements Store.
func (m *Memory) Last(kind string, n int, f func(uint64, []byte) error) error {
	return m.Upto(kind, math.MaxUint64, n, f)
}

// Upto implements Store.
func (m *Memory) Upto(kind string, seq uint64, n int, f func(uint64, []byte) error) error {
	m.mu.Lock()
	var order []uint64
	for at := range m.logs[kind] {
		if at <= seq {
			order = append(order, at)
		}
	}
	slices.Sort(order)
	order = order[max(0, len(order)-n):]
	values := make([][]byte, len(order))
	for i, at := range order {
		values[i] = slices.Clone(m.logs[kind][at])
	}
	m.mu.Unlock()
	for i, at := range order {
		if err := f(at, values[i]); err != nil {
			return err
		}
	}
	return nil
}

// Commit implements Store.
func (m *Memory) Commit(changes ...Change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range changes {
		if c.Name != "" {
			k := [2]string{c.Kind, c.Name}
			if c.Value == nil {
				delete(m.names, k)
			} else {
				m.names[k] = slices.Clone(c.Value)
			}
			continue
		}
		log := m.logs[c.Kind]
		if log == nil {
			log = map[uint64][]byte{}
			m.logs[c.Kind] = log
		}
		if c.Value == nil {
			delete(log, c.Seq)
		} else {
			log[c.Seq] = slices.Clone(c.Value)
		}
	}
	return nil
}
