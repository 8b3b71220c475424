// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"time"
)

// What is worth giving back, and how often it is looked at. A busy server is
// left alone: what it freed it will need again.
const (
	spareMin   = 16 << 20
	spareEvery = 5 * time.Second
	busy       = 8 << 20 // bytes allocated between two looks
)

// garbage is how much may lie about before it is collected, at least: a small
// heap would be gone through many times a second under load for little memory.
const garbage = 32 << 20

// gcPercent is the runtime's pace for a heap of that much in use.
func gcPercent(live uint64) int {
	return int(min(400, max(100, 100*garbage/max(live, 1))))
}

// giveBack returns memory to the system when a rush is over. The runtime alone
// does so slowly, and an idle server would look as large as its busiest hour.
func giveBack(ctx context.Context) {
	tick := time.NewTicker(spareEvery)
	defer tick.Stop()
	s := []metrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"},
	}
	var before uint64
	pace := gcPercent(0)
	debug.SetGCPercent(pace)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(s)
		made := s[0].Value.Uint64() - before
		before = s[0].Value.Uint64()
		objects, live := s[2].Value.Uint64(), s[3].Value.Uint64()
		if p := gcPercent(live); p != pace {
			pace = p
			debug.SetGCPercent(pace)
		}
		spare := s[1].Value.Uint64() + objects - min(objects, live)
		if made < busy && spare > spareMin && spare > live/4 {
			debug.FreeOSMemory()
		}
	}
}

// memoryLines say where the memory is.
func memoryLines() []string {
	s := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s)
	live := s[0].Value.Uint64()
	if live == 0 { // nothing was collected yet
		live = s[2].Value.Uint64()
	}
	return []string{
		fmt.Sprintf("memory in use     %d KiB", live>>10),
		fmt.Sprintf("memory of stacks  %d KiB", s[1].Value.Uint64()>>10),
	}
}

const profileTime = 10 * time.Second

// profile looks at this process.
func profile(what string) ([]byte, error) {
	var b bytes.Buffer
	if p := pprof.Lookup(what); p != nil {
		err := p.WriteTo(&b, 0)
		return b.Bytes(), err
	}
	if err := pprof.StartCPUProfile(&b); err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	time.Sleep(profileTime)
	pprof.StopCPUProfile()
	return b.Bytes(), nil
}

// takeProfile asks the running server for one.
func takeProfile(c *Config, what, file string) error {
	a, err := ask(c, order{Verb: "profile", User: what}, func(string) {})
	if err != nil {
		return err
	}
	if a.Error != "" {
		return errors.New(a.Error)
	}
	return os.WriteFile(file, a.Data, 0o600)
}
