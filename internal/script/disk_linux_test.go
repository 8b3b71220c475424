// SPDX-License-Identifier: Apache-2.0

package script

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// disk puts another file behind the descriptors of the stage's shards: one that
// has no room (every write fails), or one that forgets what it takes (every
// sync fails). "well" puts the real ones back, "room" waits besides until the
// store has noticed.
func (p *play) disk(how string) {
	stand := map[string]string{"full": "/dev/full", "broken": os.DevNull}[how]
	if stand == "" {
		for fd, real := range p.swapped {
			p.must(syscall.Dup3(real, fd, syscall.O_CLOEXEC))
			p.must(syscall.Close(real))
			delete(p.swapped, fd)
		}
		for end := time.Now().Add(patience); how == "room" && p.store.Health().ReadOnly; time.Sleep(time.Millisecond) {
			p.store.Wipe()
			if time.Now().After(end) {
				p.fail("no mail is taken")
			}
		}
		return
	}
	f, err := os.OpenFile(stand, os.O_RDWR, 0)
	p.must(err)
	defer f.Close()
	all, err := os.ReadDir("/proc/self/fd")
	p.must(err)
	for _, e := range all {
		name, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || filepath.Dir(name) != p.dir || !strings.HasSuffix(name, ".db") {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		p.must(err)
		if slices.Contains(slices.Collect(maps.Values(p.swapped)), fd) {
			continue // our own second name of one
		}
		real, err := syscall.Dup(fd)
		p.must(err)
		p.must(syscall.Dup3(int(f.Fd()), fd, syscall.O_CLOEXEC))
		p.swapped[fd] = real
	}
	if len(p.swapped) != 2 {
		p.fail("%s", fmt.Sprint("not the files of two shards: ", p.swapped))
	}
}
