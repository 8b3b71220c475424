// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sector is the largest piece that a disk writes whole.
const sector = 512

// A film is all that a child did to its disk, in order.
type film struct {
	dir    string
	scenes []scene
	fds    map[uint64]*inode // nil: the folder
	names  map[string]*inode
}

// An inode is a file, whatever its name.
type inode struct{ n int }

// A scene is one change. It is pending until a sync of the same file, or of the
// folder for names, that began after it had ended.
type scene struct {
	say      string // the child said something
	file     *inode
	data     []byte // written at off
	off      int64
	cut      bool   // the file was made off long
	name, as string // linked as name (or moved from it to as; "" is gone)
	sync     bool   // of the file, or of the folder
	since    int    // scenes there were when the call began
}

func (f *film) enter(c *call) bool {
	c.seq = len(f.scenes)
	if c.nr == sysClose {
		delete(f.fds, c.args[0])
	}
	return true
}

func (f *film) leave(c *call) {
	if c.nr == sysWrite && c.args[0] == 1 {
		f.scenes = append(f.scenes, scene{say: strings.TrimSpace(string(c.data))})
		return
	}
	if c.ret < 0 {
		return
	}
	name := filepath.Base(c.path)
	file, known := f.fds[c.args[0]]
	s := scene{file: file, since: c.seq}
	switch c.nr {
	case sysOpenat:
		f.opened(c, name)
		return
	case sysRename, sysRenameat, sysRenameat2:
		s.file, s.name, s.as = f.names[name], name, filepath.Base(c.to)
		f.names[s.as] = s.file
		delete(f.names, name)
		f.scenes = append(f.scenes, s)
		return
	case sysUnlinkat:
		s.file, s.name = f.names[name], name
		delete(f.names, name)
		f.scenes = append(f.scenes, s)
		return
	case sysPwrite:
		s.data, s.off = c.data, int64(c.args[3])
	case sysFtruncate:
		s.cut, s.off = true, int64(c.args[1])
	case sysFsync, sysFdatasync:
		s.sync = true
	default:
		s.data, s.off = c.data, -1 // behind the last write
	}
	if known {
		f.scenes = append(f.scenes, s)
	}
}

// opened notes what a descriptor stands for.
func (f *film) opened(c *call, name string) {
	fd := uint64(c.ret)
	delete(f.fds, fd)
	if c.path == f.dir {
		f.fds[fd] = nil
	}
	if filepath.Dir(c.path) != f.dir {
		return
	}
	file := f.names[name]
	if file == nil {
		file = &inode{len(f.scenes)}
		f.names[name] = file
		f.scenes = append(f.scenes, scene{file: file, name: name, as: name, since: c.seq})
	}
	f.fds[fd] = file
}

// A disk is what is left at one moment.
type disk struct {
	files map[*inode][]byte
	names map[string]*inode
}

// cut gives the disk as a power cut before scene n leaves it: what was synced
// is there, and of the rest what keep says, sector by sector.
func (f *film) cut(n int, keep func() bool) disk {
	d := disk{map[*inode][]byte{}, map[string]*inode{}}
	for i, s := range f.scenes[:n] {
		durable := slices.ContainsFunc(f.scenes[i:n], func(t scene) bool {
			return t.sync && t.since > i && (t.file == s.file && s.name == "" || t.file == nil && s.name != "")
		})
		d.play(&s, func() bool { return durable || keep() })
	}
	return d
}

func (d *disk) play(s *scene, keep func() bool) {
	b := d.files[s.file]
	switch {
	case s.say != "" || s.sync:
	case s.name != "":
		if keep() {
			delete(d.names, s.name)
			if s.as != "" {
				d.names[s.as] = s.file
			}
		}
	case s.cut:
		if keep() {
			d.files[s.file] = resize(b, s.off)
		}
	default:
		off := s.off
		if off < 0 {
			off = int64(len(b))
		}
		for at := int64(0); at < int64(len(s.data)); {
			end := min(int64(len(s.data)), at+sector-(off+at)%sector)
			if keep() {
				b = resize(b, max(int64(len(b)), off+end))
				copy(b[off+at:], s.data[at:end])
			}
			at = end
		}
		d.files[s.file] = b
	}
}

func resize(b []byte, n int64) []byte {
	if n <= int64(len(b)) {
		return b[:n]
	}
	return append(b, make([]byte, n-int64(len(b)))...)
}

func (d *disk) lay(dir string) error {
	for name, file := range d.names {
		if err := os.WriteFile(filepath.Join(dir, name), d.files[file], 0o600); err != nil {
			return err
		}
	}
	return nil
}

// TestPowerCut records one life of a store, call by call, and cuts the power at
// its points, three ways: nothing of what was not synced is there, half of its
// sectors in any mixture, or all of it. What was safe then is there afterwards.
func TestPowerCut(t *testing.T) {
	f := &film{dir: t.TempDir(), fds: map[uint64]*inode{}, names: map[string]*inode{}}
	tr := &tracer{enter: f.enter, leave: f.leave}
	if err := tr.run("TestFaultChild", "SOTTO_FAULT_DIR="+f.dir); err != nil {
		t.Fatal(err)
	}
	whole := f.cut(len(f.scenes), func() bool { return true })
	for name := range maps.Keys(whole.names) {
		real, err := os.ReadFile(filepath.Join(f.dir, name))
		if err != nil || string(real) != string(whole.files[whole.names[name]]) {
			t.Fatalf("the film does not show %s as it is: %v", name, err)
		}
	}
	step := 9
	if long {
		step = 1
	}
	for n := 1; n <= len(f.scenes); n += step {
		k := newTale()
		for _, s := range f.scenes[:n] {
			if s.say != "" {
				k.hear(s.say)
			}
		}
		for way, keep := range []func(r *rand.Rand) bool{
			func(*rand.Rand) bool { return false },
			func(r *rand.Rand) bool { return r.IntN(2) == 0 },
			func(*rand.Rand) bool { return true },
		} {
			r := rand.New(rand.NewPCG(uint64(n), 7))
			d := f.cut(n, func() bool { return keep(r) })
			dir := t.TempDir()
			if err := errors.Join(d.lay(dir), k.holds(dir)); err != nil {
				t.Fatalf("power cut before scene %d, way %d: %v\n%s\n%v", n, way, err, f.last(n), k)
			}
		}
	}
	t.Logf("%d scenes", len(f.scenes))
}

// last describes the scenes before a cut.
func (f *film) last(n int) string {
	var b strings.Builder
	for i := max(0, n-12); i < n; i++ {
		s := f.scenes[i]
		file := -1
		if s.file != nil {
			file = s.file.n
		}
		fmt.Fprintf(&b, "%d: file %d %s %s->%s off %d len %d cut %v sync %v since %d\n", i, file, s.say, s.name, s.as, s.off, len(s.data), s.cut, s.sync, s.since)
	}
	return b.String()
}
