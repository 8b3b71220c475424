// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
)

// The system calls that matter to files.
const (
	sysWrite, sysClose, sysPwrite           = 1, 3, 18
	sysFsync, sysFdatasync, sysFtruncate    = 74, 75, 77
	sysRename, sysOpenat, sysUnlinkat       = 82, 257, 263
	sysRenameat, sysRenameat2, sysExitGroup = 264, 316, 231
	wall, wnothread                         = 0x40000000, 0x20000000
	traceOptions                            = syscall.PTRACE_O_TRACESYSGOOD | syscall.PTRACE_O_TRACECLONE | 0x100000 // and kill with us
	sysgood                                 = syscall.SIGTRAP | 0x80
)

var watched = map[uint64]bool{
	sysWrite: true, sysClose: true, sysPwrite: true, sysFsync: true, sysFdatasync: true, sysFtruncate: true,
	sysRename: true, sysOpenat: true, sysUnlinkat: true, sysRenameat: true, sysRenameat2: true,
}

// A call is one system call of the child.
type call struct {
	nr   uint64
	args [6]uint64
	path string // first and second name
	to   string
	data []byte // of a write
	file string // what the descriptor stands for, as it was opened
	ret  int64
	fail syscall.Errno // set by enter: the kernel never sees the call
	seq  int           // for the caller's own use
}

// A tracer runs a child under ptrace: enter sees each watched call before the
// kernel and may let it fail; when it says false the child is killed with -9.
// leave sees it afterwards. All calls come in the order in which they happen.
type tracer struct {
	enter func(c *call) bool
	leave func(c *call)

	pid   int
	mem   *os.File
	files map[uint64]string
	open  map[int]*call // by thread, between entry and exit
}

// run starts the test binary again with an environment, and returns when the
// child is gone: nil when it ended well, killed or not.
func (t *tracer) run(test string, env ...string) error {
	runtime.LockOSThread() // ptrace belongs to one thread
	defer runtime.UnlockOSThread()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	p, err := os.StartProcess(os.Args[0], []string{os.Args[0], "-test.run=^" + test + "$"}, &os.ProcAttr{
		Env: append(os.Environ(), env...), Files: []*os.File{null, null, os.Stderr},
		Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return fmt.Errorf("start a child under ptrace: %w", err)
	}
	t.pid, t.open, t.files = p.Pid, map[int]*call{}, map[uint64]string{}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(t.pid, &ws, wall, nil); err != nil {
		return err
	}
	if err := syscall.PtraceSetOptions(t.pid, traceOptions); err != nil {
		return err
	}
	if t.mem, err = os.Open(fmt.Sprintf("/proc/%d/mem", t.pid)); err != nil {
		return err
	}
	defer t.mem.Close()
	if err := syscall.PtraceSyscall(t.pid, 0); err != nil {
		return err
	}
	return t.loop()
}

func (t *tracer) loop() error {
	for {
		var ws syscall.WaitStatus
		tid, err := syscall.Wait4(-1, &ws, wall|wnothread, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for the child: %w", err)
		}
		switch {
		case ws.Exited() || ws.Signaled():
			delete(t.open, tid)
			if tid == t.pid {
				if ws.Exited() && ws.ExitStatus() != 0 {
					return fmt.Errorf("the child ended with %d", ws.ExitStatus())
				}
				return nil
			}
			continue
		case ws.StopSignal() == sysgood:
			t.stop(tid)
		}
		sig := 0
		if s := ws.StopSignal(); s != sysgood && s != syscall.SIGTRAP && s != syscall.SIGSTOP {
			sig = int(s)
		}
		_ = syscall.PtraceSyscall(tid, sig) // fails when it was killed meanwhile
	}
}

// stop is the entry or the exit of one system call.
func (t *tracer) stop(tid int) {
	var r syscall.PtraceRegs
	if syscall.PtraceGetRegs(tid, &r) != nil {
		return
	}
	c := t.open[tid]
	if c == nil {
		c = &call{nr: r.Orig_rax, args: [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}}
		t.open[tid] = c
		if !watched[c.nr] {
			return
		}
		t.look(c)
		if !t.enter(c) {
			_ = syscall.Kill(t.pid, syscall.SIGKILL)
			return
		}
		if c.fail != 0 {
			r.Orig_rax = ^uint64(0)
			_ = syscall.PtraceSetRegs(tid, &r)
		}
		return
	}
	delete(t.open, tid)
	if !watched[c.nr] {
		return
	}
	if c.fail != 0 {
		r.Rax = uint64(-int64(c.fail))
		_ = syscall.PtraceSetRegs(tid, &r)
	}
	c.ret = int64(r.Rax)
	if c.nr == sysOpenat && c.ret >= 0 {
		t.files[uint64(c.ret)] = c.path
	}
	if t.leave != nil {
		t.leave(c)
	}
}

// look reads what the arguments point to.
func (t *tracer) look(c *call) {
	c.file = t.files[c.args[0]]
	switch c.nr {
	case sysClose:
		delete(t.files, c.args[0])
	case sysWrite, sysPwrite:
		c.data = make([]byte, c.args[2])
		_, _ = t.mem.ReadAt(c.data, int64(c.args[1]))
	case sysOpenat, sysUnlinkat:
		c.path = t.name(c.args[1])
	case sysRename:
		c.path, c.to = t.name(c.args[0]), t.name(c.args[1])
	case sysRenameat, sysRenameat2:
		c.path, c.to = t.name(c.args[1]), t.name(c.args[3])
	}
}

func (t *tracer) name(at uint64) string {
	b := make([]byte, 4096)
	n, _ := t.mem.ReadAt(b, int64(at))
	if i := bytes.IndexByte(b[:n], 0); i >= 0 {
		return string(b[:i])
	}
	return ""
}

// The tracer itself: a child that fails its third sync, and one that is killed.
func TestTracer(t *testing.T) {
	if os.Getenv("SOTTO_TRACED") != "" {
		f, err := os.CreateTemp("", "traced")
		if err != nil {
			t.Fatal(err)
		}
		defer os.Remove(f.Name())
		for i := range 5 {
			if err := f.Sync(); (err != nil) != (i == 2) {
				t.Fatal(i, err)
			}
		}
		return
	}
	for _, kill := range []bool{false, true} {
		syncs := 0
		tr := &tracer{enter: func(c *call) bool {
			if c.nr == sysFsync {
				if syncs++; syncs == 3 {
					c.fail = syscall.EIO
				}
			}
			return !kill || syncs < 4
		}}
		if err := tr.run("TestTracer", "SOTTO_TRACED=1"); err != nil {
			t.Fatal(err)
		}
		if want := 5; !kill && syncs != want || kill && syncs != 4 {
			t.Fatal(kill, syncs)
		}
	}
}
