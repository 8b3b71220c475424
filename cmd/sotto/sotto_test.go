// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sotto/crypto/vault"
	"sotto/internal/client"
	"sotto/internal/town"
)

// TestMain lets the test binary be sotto itself, so that tests run real processes.
func TestMain(m *testing.M) {
	if os.Getenv("SOTTO_TEST_IS_SOTTO") != "" {
		main()
	}
	os.Exit(m.Run())
}

// person runs commands as somebody.
type person struct {
	t    *testing.T
	name string
	home string
	ca   string
	addr string
	env  []string
}

func newPerson(t *testing.T, o *town.Town, name string) *person {
	dir := t.TempDir()
	p := &person{t: t, name: name, home: filepath.Join(dir, "home"), ca: filepath.Join(dir, "ca.pem"), addr: o.Addr}
	if err := os.WriteFile(p.ca, o.CA, 0o644); err != nil {
		t.Fatal(err)
	}
	return p
}

// settle is newPerson and a login.
func settle(t *testing.T, o *town.Town, name string) *person {
	p := newPerson(t, o, name)
	p.ok(p.login("secret-" + name))
	return p
}

func (p *person) login(password string, more ...string) result {
	return p.sotto(password+"\n", append([]string{"login", "--server", p.addr, "--ca", p.ca, "--key-file"}, more...)...)
}

func (p *person) command(args ...string) *exec.Cmd {
	c := exec.Command(os.Args[0], append([]string{"-as", p.name}, args...)...)
	c.Env = append(os.Environ(), "SOTTO_TEST_IS_SOTTO=1", "SOTTO_HOME="+p.home)
	c.Env = append(c.Env, p.env...)
	return c
}

// result is how a command ended.
type result struct {
	args     []string
	out, err string
	code     int
}

func (p *person) sotto(in string, args ...string) result {
	p.t.Helper()
	c := p.command(args...)
	var out, notes bytes.Buffer
	c.Stdin, c.Stdout, c.Stderr = strings.NewReader(in), &out, &notes
	err := c.Run()
	var bad *exec.ExitError
	if err != nil && !errors.As(err, &bad) {
		p.t.Fatal(err)
	}
	return result{args, out.String(), notes.String(), c.ProcessState.ExitCode()}
}

// ok runs nothing; it wants success of what has run.
func (p *person) ok(r result) string {
	p.t.Helper()
	if r.code != 0 {
		p.t.Fatalf("%s %q: exit %d\n%s%s", p.name, r.args, r.code, r.out, r.err)
	}
	return r.out
}

// fails wants an exit code and words in the error.
func (p *person) fails(r result, code int, words ...string) {
	p.t.Helper()
	for _, w := range words {
		if !strings.Contains(r.err, w) {
			p.t.Errorf("%s %q: no %q in %q", p.name, r.args, w, r.err)
		}
	}
	if r.code != code {
		p.t.Errorf("%s %q: exit %d, not %d\n%s%s", p.name, r.args, r.code, code, r.out, r.err)
	}
}

// runs is a command that is still running.
type runs struct {
	p     *person
	cmd   *exec.Cmd
	lines chan string
	notes bytes.Buffer
}

func (p *person) start(args ...string) *runs {
	p.t.Helper()
	r := &runs{p: p, cmd: p.command(args...), lines: make(chan string, 1000)}
	r.cmd.Stderr = &r.notes
	out, err := r.cmd.StdoutPipe()
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	go func() {
		defer close(r.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			r.lines <- s.Text()
		}
	}()
	p.t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

// until reads lines up to one with all the words.
func (r *runs) until(words ...string) string {
	r.p.t.Helper()
	all := r.upTo(words...)
	return all[len(all)-1]
}

// upTo is until with all lines that were read.
func (r *runs) upTo(words ...string) []string {
	r.p.t.Helper()
	late := time.After(20 * time.Second)
	var seen []string
	for {
		select {
		case l, more := <-r.lines:
			if !more {
				r.p.t.Fatalf("%s ended before %q; it said %q", r.p.name, words, seen)
			}
			seen = append(seen, l)
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(l, w) }) {
				return seen
			}
		case <-late:
			r.p.t.Fatalf("%s waits for %q in vain; it said %q", r.p.name, words, seen)
		}
	}
}

// end sends a signal, reads what still comes and gives the exit code.
func (r *runs) end(s syscall.Signal) (rest []string, code int) {
	r.p.t.Helper()
	if s != 0 {
		if err := r.cmd.Process.Signal(s); err != nil {
			r.p.t.Fatal(err)
		}
	}
	for l := range r.lines {
		rest = append(rest, l)
	}
	_ = r.cmd.Wait()
	return rest, r.cmd.ProcessState.ExitCode()
}

// states are the hops that a send has printed.
func states(out string) (all []string) {
	for l := range strings.Lines(out) {
		all = append(all, strings.Fields(l)[1])
	}
	return all
}

// TestTalk: what a newcomer types.
func TestTalk(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := newPerson(t, o, "alice"), newPerson(t, o, "bob")
	if out := a.ok(a.login("secret-alice")); !strings.Contains(out, "alice@localhost") || !strings.Contains(out, "sotto -as alice send bob") {
		t.Error(out)
	}
	b.ok(b.login("secret-bob"))
	if got := states(a.ok(a.sotto("", "send", "bob", "hello", "bob"))); !slices.Equal(got, []string{"queued", "sent"}) {
		t.Error(got)
	}
	a.ok(a.sotto("from a pipe\n", "send", "bob@localhost", "-"))
	out := b.ok(b.sotto("", "listen", "--count", "2", "--seen"))
	if !strings.Contains(out, "alice@localhost: hello bob") || !strings.Contains(out, "alice@localhost: from a pipe") {
		t.Error(out)
	}
	l := a.start("listen")
	l.until("is read")
	l.until("is read")
	if _, code := l.end(syscall.SIGINT); code != 0 {
		t.Error(code, l.notes.String())
	}
	if out := a.ok(a.sotto("", "history", "bob")); strings.Count(out, "(read)") != 2 {
		t.Error(out)
	}
}

// TestFollow: send stays until the last hop that it was asked for.
func TestFollow(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	s := a.start("send", "bob", "read me", "--wait", "read")
	s.until("sent")
	b.ok(b.sotto("", "listen", "--count", "1", "--seen"))
	s.until("delivered")
	s.until("read")
	if _, code := s.end(0); code != 0 {
		t.Error(code)
	}
	a.fails(a.sotto("", "send", "bob", "nobody is there", "--wait", "delivered", "--timeout", "1s"), exitNetwork, "sent, and no more", "hint:")
}

// TestOnce: listen prints each message once, also those that came during another command.
func TestOnce(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	for i := range 3 {
		a.ok(a.sotto("", "send", "bob", fmt.Sprint("number ", i)))
	}
	b.ok(b.sotto("", "send", "alice", "an answer, unread"))
	if out := b.ok(b.sotto("", "contacts")); !strings.Contains(out, "3 unread") {
		t.Error(out)
	}
	for i := range 3 {
		out := b.ok(b.sotto("", "listen", "--count", "1"))
		if n := strings.Count(out, "alice@localhost: "); n != 1 || !strings.Contains(out, fmt.Sprint("number ", i)) {
			t.Errorf("listen %d: %q", i, out)
		}
	}
	b.fails(b.sotto("", "listen", "--count", "1", "--timeout", "1s"), exitNetwork, "0 of 1")
}

// TestRefused: each mistake has its words and its code, and leaves nothing behind.
func TestRefused(t *testing.T) {
	o := town.New(t, "alice")
	p := newPerson(t, o, "alice")
	p.fails(p.sotto("", "listen"), exitUser, "not logged in", "sotto -as alice login")
	p.fails(p.login("wrong"), exitUser, "wrong password", "hint:")
	p.fails(p.sotto("", "login", "--server", p.addr), exitUsage, "no password")
	p.fails(p.sotto("secret-alice\n", "login", "--server", p.addr), exitNetwork, "authority", "--ca")
	p.fails(p.sotto("secret-alice\n", "login", "--server", "127.0.0.1:1", "--ca", p.ca), exitNetwork, "127.0.0.1:1", "refused", "--server")
	p.fails(p.sotto("x\n", "login", "--ca", os.Args[0]), exitUser, "no certificate")
	if _, err := os.Stat(p.home); !os.IsNotExist(err) {
		t.Error("a refused login left something behind", err)
	}
	p.ok(p.login("secret-alice"))
	p.fails(p.sotto("", "send", "nobody", "hi"), exitUser, "nobody@localhost has no device")
	p.fails(p.sotto("", "devices", "nobody"), exitUser, "no device")
	p.fails(p.sotto("", "verify", "nobody"), exitUser, "no device")
	p.fails(p.sotto("", "remove", "nobody"), exitUser, "not among your contacts")
	p.fails(p.sotto("", "distrust", "nobody", "7"), exitUser, "not known")
	p.fails(p.sotto("", "send", "a b@c", "hi"), exitUsage, "no address")
	p.fails(p.sotto("", "send", "bob", " "), exitUsage, "empty")
	p.fails(p.sotto(""), exitUsage, "chat needs a terminal")
	p.fails(p.sotto("", "sing"), exitUsage, "sing", "--help")
	p.fails(p.sotto("", "send", "bob", "x", "--wait", "heard"), exitUsage, "--wait")
}

// TestPasswordChanged: the next command says so, and a login mends it and keeps the keys.
func TestPasswordChanged(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	before := a.ok(a.sotto("", "devices"))
	o.SetPassword("alice", "another")
	a.fails(a.sotto("", "send", "bob", "hello"), exitUser, "refuses the login", "queued", "sotto -as alice login")
	a.ok(a.sotto("another\n", "login"))
	b.ok(b.sotto("", "listen", "--count", "1"))
	if after := a.ok(a.sotto("", "devices")); after != before {
		t.Errorf("%q, then %q", before, after)
	}
}

// TestNoConnection: what is sent is queued, says so, and goes out later in order.
func TestNoConnection(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	o.Close()
	r := a.sotto("", "send", "bob", "first", "--timeout", "500ms")
	a.fails(r, exitNetwork, "not connected", "still queued", "next command")
	if got := states(r.out); !slices.Equal(got, []string{"queued"}) {
		t.Error(got)
	}
	if got := states(a.ok(a.sotto("", "send", "bob", "second", "--wait", "queued"))); !slices.Equal(got, []string{"queued"}) {
		t.Error(got)
	}
	l := a.start("listen", "--json")
	l.until(`"offline"`)
	if rest, code := l.end(syscall.SIGINT); code != 0 || !strings.Contains(strings.Join(rest, ""), "2 messages stay queued") {
		t.Error(rest, code)
	}
	o.Open()
	a.ok(a.sotto("", "send", "bob", "third"))
	out := b.ok(b.sotto("", "listen", "--count", "3"))
	if i, j, k := strings.Index(out, "first"), strings.Index(out, "second"), strings.Index(out, "third"); i < 0 || j < i || k < j {
		t.Error(out)
	}
}

// TestHandOver: one process has the vault; all other commands work through it.
func TestHandOver(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	bl := b.start("listen", "--json")
	bl.until(`"ready"`)
	l := a.start("listen", "--json")
	l.until(`"ready"`)
	sock := filepath.Join(a.home, "alice@localhost", socketName)
	if st, err := os.Stat(sock); err != nil || st.Mode().Perm() != 0o600 {
		t.Error(st, err)
	}
	if got := states(a.ok(a.sotto("", "send", "bob", "over the socket", "--wait", "delivered"))); !slices.Equal(got, []string{"queued", "sent", "delivered"}) {
		t.Error(got)
	}
	bl.until("over the socket")
	l.until(`"delivered"`)
	a.fails(a.sotto("", "send", "nobody", "x"), exitUser, "no device")
	a.ok(a.sotto("", "add", "bob", "--name", "Robert"))
	bl.until(`"asked"`)
	b.ok(b.sotto("", "add", "alice"))
	l.until(`"presence"`, "Robert", `"online":true`)
	if out := a.ok(a.sotto("", "contacts")); !strings.Contains(out, "Robert <bob@localhost>") || !strings.Contains(out, "online") {
		t.Error(out)
	}
	if out := a.ok(a.sotto("", "history", "bob")); !strings.Contains(out, "over the socket  (delivered)") {
		t.Error(out)
	}
	for _, args := range [][]string{{"devices"}, {"devices", "bob"}, {"verify", "bob"}} {
		a.ok(a.sotto("", args...))
	}
	a.fails(a.login("secret-alice"), exitUser, "another sotto", "hint:")
	second := a.start("listen", "--json")
	second.until(`"ready"`)
	a.ok(a.sotto("", "send", "bob", "for both screens"))
	second.until("for both screens")
	l.until("for both screens")
	if _, code := second.end(syscall.SIGINT); code != 0 {
		t.Error(code)
	}
	if _, code := l.end(syscall.SIGINT); code != 0 {
		t.Error(code, l.notes.String())
	}
	if _, err := os.Stat(sock); !os.IsNotExist(err) {
		t.Error("the socket is still there", err)
	}
}

// TestTakeOver: the process with the vault ends, in good order or not; who waits
// there goes on alone, and sends nothing twice.
func TestTakeOver(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGKILL} {
		l := a.start("listen", "--json")
		l.until(`"ready"`)
		w := a.start("send", "bob", "one "+s.String(), "--wait", "read")
		w.until("sent")
		l.end(s)
		a.ok(a.sotto("", "send", "bob", "two "+s.String(), "--wait", "sent"))
		out := b.ok(b.sotto("", "listen", "--count", "2", "--seen"))
		if strings.Count(out, "one ") != 1 || strings.Count(out, "two ") != 1 {
			t.Error(out)
		}
		w.until("read")
		if rest, code := w.end(0); code != 0 || len(rest) > 0 {
			t.Error(rest, code, w.notes.String())
		}
	}
}

// TestBusy: a vault that is held and does not answer is an error, not a wait for ever.
func TestBusy(t *testing.T) {
	o := town.New(t, "alice")
	a := settle(t, o, "alice")
	busyFor = 200 * time.Millisecond
	t.Cleanup(func() { busyFor = 10 * time.Second })
	t.Setenv("SOTTO_HOME", a.home)
	v, err := vault.Open(filepath.Join(a.home, "alice@localhost", "vault"), vault.Unlock{})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var out, notes bytes.Buffer
	code := run(t.Context(), []string{"-as", "alice", "history", "bob"}, &out, &notes)
	a.fails(result{[]string{"history"}, out.String(), notes.String(), code}, exitUser, "does not answer", "hint:")
}

// TestCtrlC: whoever waits is told how far it is, and the server knows that we left.
func TestCtrlC(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	a.ok(a.sotto("", "add", "bob"))
	b.ok(b.sotto("", "add", "alice"))
	bl := b.start("listen")
	s := a.start("send", "bob", "wait for me", "--wait", "read")
	bl.until("alice@localhost is online")
	s.until("delivered")
	if _, code := s.end(syscall.SIGINT); code != exitUser || !strings.Contains(s.notes.String(), "interrupted; the message is delivered") {
		t.Error(code, s.notes.String())
	}
	bl.until("alice@localhost is offline")
	if _, code := bl.end(syscall.SIGTERM); code != 0 {
		t.Error(code)
	}
	o.Close()
	s = a.start("send", "bob", "still here")
	s.until("queued")
	if _, code := s.end(syscall.SIGINT); code != exitUser || !strings.Contains(s.notes.String(), "queued and goes out with the next command") {
		t.Error(code, s.notes.String())
	}
}

// TestQuiet: who only sends does not flash up as online; who waits for ticks is there.
func TestQuiet(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	a.ok(a.sotto("", "add", "bob"))
	b.ok(b.sotto("", "add", "alice"))
	bl := b.start("listen")
	a.ok(a.sotto("", "send", "bob", "in passing"))
	if all := bl.upTo("in passing"); len(all) != 1 {
		t.Error(all)
	}
	a.ok(a.sotto("", "send", "bob", "with a tick", "--wait", "delivered"))
	bl.until("alice@localhost is online")
	bl.until("with a tick")
	bl.until("alice@localhost is offline")
}

// TestPassphrase: keys behind a passphrase open with it and with nothing else.
func TestPassphrase(t *testing.T) {
	o := town.New(t, "alice")
	a := newPerson(t, o, "alice")
	a.fails(a.sotto("secret-alice\n", "login", "--server", a.addr, "--ca", a.ca, "--passphrase"), exitUser, "SOTTO_PASSPHRASE")
	a.env = []string{"SOTTO_PASSPHRASE=correct horse"}
	a.ok(a.sotto("secret-alice\n", "login", "--server", a.addr, "--ca", a.ca, "--passphrase"))
	if _, err := os.Stat(filepath.Join(a.home, "alice@localhost", "vault.key")); !os.IsNotExist(err) {
		t.Error("there is a key file", err)
	}
	a.ok(a.sotto("", "devices"))
	a.env = []string{"SOTTO_PASSPHRASE=wrong horse"}
	a.fails(a.sotto("", "devices"), exitUser, "wrong passphrase", "hint:")
	a.env = nil
	a.fails(a.sotto("", "devices"), exitUser, "SOTTO_PASSPHRASE")
}

// TestFolder: what lies on the disk is for this user only, and no secret is readable in it.
func TestFolder(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a := settle(t, o, "alice")
	settle(t, o, "bob")
	a.ok(a.sotto("", "send", "bob", "a word that nobody guesses", "--wait", "queued"))
	err := filepath.WalkDir(a.home, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		st, err := e.Info()
		if err != nil {
			return err
		}
		if st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v", path, st.Mode())
		}
		if e.IsDir() {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, secret := range []string{"secret-alice", "nobody guesses", "bob@localhost"} {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s shows %q", path, secret)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestVerify: the number is the same at both ends, and what was compared is marked.
func TestVerify(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := settle(t, o, "alice"), settle(t, o, "bob")
	mine, other := a.ok(a.sotto("", "verify", "bob")), b.ok(b.sotto("", "verify", "alice"))
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if r < '0' || r > '9' {
				return -1
			}
			return r
		}, s)
	}
	if digits(mine) != digits(other) || len(digits(mine)) != 60 {
		t.Errorf("%q\n%q", mine, other)
	}
	if out := a.ok(a.sotto("", "verify", "bob", "--yes")); !strings.Contains(out, "verified bob@localhost") {
		t.Error(out)
	}
	if out := a.ok(a.sotto("", "devices", "bob")); !strings.Contains(out, "verified") {
		t.Error(out)
	}
	var line struct{ Device uint32 }
	if err := json.Unmarshal([]byte(a.ok(a.sotto("", "devices", "bob", "--json"))), &line); err != nil {
		t.Fatal(err)
	}
	a.ok(a.sotto("", "distrust", "bob", fmt.Sprint(line.Device)))
	a.fails(a.sotto("", "send", "bob", "nothing for this device"), exitUser, "not trusted")
	a.ok(a.sotto("", "distrust", "bob", fmt.Sprint(line.Device), "--undo"))
	a.ok(a.sotto("", "send", "bob", "again for this device"))
}

// TestShapes: the field names that scripts rely on.
func TestShapes(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := newPerson(t, o, "alice"), settle(t, o, "bob")
	login := a.ok(a.login("secret-alice", "--json"))
	a.ok(a.sotto("", "add", "bob"))
	added := b.ok(b.sotto("", "add", "alice", "--json"))
	sent := a.ok(a.sotto("", "send", "bob", "hello", "--json"))
	heard := b.ok(b.sotto("", "listen", "--count", "1", "--json"))
	lines := strings.Split(strings.TrimSpace(heard), "\n")
	for _, row := range []struct{ what, line, keys string }{
		{"login", login, "device fingerprint listed name trust user"},
		{"done", added, "did say who"},
		{"send", strings.Split(sent, "\n")[1], "at chat event message"},
		{"message", lines[len(lines)-1], "at chat event message"},
		{"contact", a.ok(a.sotto("", "contacts", "--json")), "jid online seen subscription unread"},
		{"device", a.ok(a.sotto("", "devices", "bob", "--json")), "device fingerprint listed since trust user"},
		{"verify", a.ok(a.sotto("", "verify", "bob", "--json")), "number user verified"},
		{"history", a.ok(a.sotto("", "history", "bob", "--json")), "at body chat device id out seq state"},
		{"failure", a.sotto("", "send", "nobody", "x", "--json").last(), "code error"},
		{"usage", a.sotto("", "listen", "--json", "--count", "x").last(), "code error hint"},
	} {
		var got map[string]any
		if err := json.Unmarshal([]byte(row.line), &got); err != nil {
			t.Errorf("%s: %v in %q", row.what, err, row.line)
		}
		if keys := strings.Join(slices.Sorted(maps.Keys(got)), " "); keys != row.keys {
			t.Errorf("%s has %q, not %q", row.what, keys, row.keys)
		}
	}
	var e client.Event
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &e); err != nil || e.Kind != client.Incoming || e.Message.Body != "hello" || e.Message.State != client.Received {
		t.Error(e, err)
	}
}

// last is the last line that was printed.
func (r result) last() string {
	all := strings.Split(strings.TrimSpace(r.out), "\n")
	return all[len(all)-1]
}

// TestSockets: a socket that nobody serves is in nobody's way, and a request
// that makes no sense ends alone.
func TestSockets(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a := settle(t, o, "alice")
	settle(t, o, "bob")
	l := a.start("listen", "--json")
	l.until(`"ready"`)
	for _, bad := range []string{"", "no json\n", "{\"verb\":\"dance\"}\n", `{"verb":"send"` + strings.Repeat(" ", 100)} {
		nc := dialSocket(t, filepath.Join(a.home, "alice@localhost", socketName))
		_, _ = io.WriteString(nc, bad)
		if strings.Contains(bad, "dance") {
			line, err := bufio.NewReader(nc).ReadString('\n')
			if err != nil || !strings.Contains(line, "another version") {
				t.Error(line, err)
			}
		}
		nc.Close()
	}
	a.ok(a.sotto("", "send", "bob", "still served"))
	if err := l.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	a.fails(a.sotto("", "send", "bob", "it hangs", "--timeout", "100ms"), exitUser, "does not answer", "hint:")
	l.end(syscall.SIGKILL)
	a.ok(a.sotto("", "send", "bob", "after a crash"))
}

func dialSocket(t *testing.T, path string) net.Conn {
	t.Helper()
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return nc
}
