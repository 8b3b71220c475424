// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// order gives a command of sottod, and says what came of it.
func (p *process) order(words ...string) (string, error) {
	out, err := exec.Command(p.bin, append([]string{"--config", p.conf}, words...)...).CombinedOutput()
	return string(out), err
}

func (p *process) dial(user string) (*xmpp.Conn, error) {
	ca, err := os.ReadFile(filepath.Join(p.data, "tls", "ca.pem"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	ctx, stop := context.WithTimeout(p.t.Context(), 20*time.Second)
	defer stop()
	c, _, err := dial.Dial(ctx, dial.Login{Addr: p.addr, JID: xmpp.MustJID(user + "@localhost"), Password: "secret-" + user, TLS: &tls.Config{RootCAs: roots}})
	return c, err
}

// command gives one of XEP-0133 as alice and waits until the stream ends.
func (p *process) command(node string) {
	p.t.Helper()
	c, err := p.dial("alice")
	if err != nil {
		p.t.Fatal(err)
	}
	say := []byte("<iq type='set' id='x' to='localhost'><command xmlns='http://jabber.org/protocol/commands' node='http://jabber.org/protocol/admin#" + node +
		"'><x xmlns='jabber:x:data' type='submit'><field var='delay'><value>0</value></field></x></command></iq>")
	answered := false
	ended := make(chan error, 1)
	go func() {
		ended <- c.Run(context.Background(), func(st *xmpp.Stanza) error {
			answered = answered || st.ID == "x" && st.Type == "result"
			return nil
		}, func(w *xmpp.Writer) error {
			w.Bytes(say)
			say = nil
			return nil
		})
	}()
	c.Wake()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		p.t.Fatal(node, "does not end the stream")
	}
	if !answered {
		p.t.Error(node, "is not answered")
	}
}

// TestOrders: what the operator types, and what an admin may do from afar.
func TestOrders(t *testing.T) {
	p := newProcess(t)
	if out, err := p.order("admin", "add", "alice"); err != nil {
		t.Fatal(out, err)
	}
	if out, err := p.order("admin", "list"); err != nil || out != "alice\n" {
		t.Fatal(out, err)
	}
	if out, err := p.order("admin", "add", "nobody"); err == nil || !strings.Contains(out, "hint: sottod user list") {
		t.Error(out)
	}
	if out, err := p.order("user", "disable", "bob"); err != nil {
		t.Fatal(out, err)
	}
	var auth *xmpp.AuthError
	if _, err := p.dial("bob"); !errors.As(err, &auth) || auth.Cond != "account-disabled" {
		t.Error("bob gets in:", err)
	}
	if out, err := p.order("user", "enable", "bob"); err != nil {
		t.Fatal(out, err)
	}
	pid := p.cmd.Process.Pid
	p.command("restart")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) { // the same process, begun again
		c, err := p.dial("bob")
		if err == nil {
			c.Drop()
			break
		}
		if time.Now().After(end) {
			t.Fatal("the server does not come back:", err)
		}
	}
	if p.cmd.Process.Pid != pid || p.cmd.ProcessState != nil {
		t.Error("it is another process")
	}
	p.command("shutdown")
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the server does not end")
	}
	// Nothing runs: accounts are carried by a server that nobody can reach.
	file := filepath.Join(t.TempDir(), "all.xml")
	if out, err := p.order("export", file); err != nil || !strings.Contains(out, "2 accounts written") {
		t.Error(out, err)
	}
	if out, err := p.order("import", file); err != nil || !strings.Contains(out, "alice has an account here already") {
		t.Error(out, err)
	}
	if out, err := p.order("import", p.conf); err == nil || !strings.Contains(out, "hint: mend the file") {
		t.Error(out, err)
	}
	if out, err := p.order("admin", "del", "alice"); err != nil {
		t.Error(out, err)
	}
}
