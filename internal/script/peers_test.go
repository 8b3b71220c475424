// SPDX-License-Identifier: Apache-2.0

//go:build interop

package script

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/link"
	"sotto/xmpp"
)

// peersInside says that the test runs in namespaces of its own: it has a loopback
// device, names and process numbers that nobody else sees.
const peersInside = "SOTTO_PEERS"

// TestPeers plays testdata/peers with servers of others, by certificates and by
// dialback.
func TestPeers(t *testing.T) {
	if os.Getenv(peersInside) == "" {
		which := cmp.Or(os.Getenv("SOTTO_PEER_PLAYS"), "^TestPeers$")
		again := exec.Command("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
			os.Args[0], "-test.run", which, "-test.v", "-test.timeout", "8m")
		again.Env = append(os.Environ(), peersInside+"=1")
		again.Stdout, again.Stderr = os.Stdout, os.Stderr
		if err := again.Run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	names := ownNames(t)
	for _, kind := range []string{"prosody", "ejabberd"} {
		for _, proof := range []string{"external", "dialback"} {
			t.Run(kind+"-"+proof, func(t *testing.T) { meet(t, names, kind, proof) })
		}
	}
}

// ownNames makes the namespace's name server.
func ownNames(t *testing.T) *nameServer {
	dir := t.TempDir()
	conf := filepath.Join(dir, "resolv.conf")
	if err := os.WriteFile(conf, []byte("nameserver 127.0.0.1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{{"ip", "link", "set", "lo", "up"}, {"mount", "--bind", conf, "/etc/resolv.conf"}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return newNamesAt(t, "127.0.0.1:53")
}

// meet plays all plays with one server of others.
func meet(t *testing.T, names *nameServer, kind, proof string) {
	far := kind + ".example"
	o := newOther(t, kind, far, proof)
	home := newStageOf(t, "sotto.example")
	o.trust(home)
	home.close()
	roots := x509.NewCertPool()
	if proof == "external" {
		roots.AddCert(o.ca)
	}
	home.s2s = "127.0.0.1:5269"
	home.link = link.Options{Servers: "open", Roots: roots, Lax: proof == "dialback", Resolver: "127.0.0.1:53", Stop: time.Second}
	home.open()
	for _, user := range []string{"alice"} {
		home.must(account.Create(home.store, user, "password"))
	}
	for domain, at := range map[string]string{"sotto.example": "127.0.0.1", far: o.ip} {
		names.say("xmpp-server", domain, at+":5269")
		names.say("xmpp-server", "rooms."+domain, at+":5269")
	}
	o.open()
	caps := relay.CapsHash(parse("<query xmlns='" + xmpp.NSDiscoInfo + "'><identity category='client' type='pc'/><feature var='urn:song+notify'/></query>"))
	files, err := filepath.Glob("../../testdata/peers/*.txt")
	home.must(err)
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txt"), func(t *testing.T) {
			b, err := os.ReadFile(f)
			home.must(err)
			home.t = t
			p := &play{stage: home, actors: map[string]*actor{}, names: map[string]string{}, invites: map[string]string{}, far: o.stage, other: o}
			text := strings.NewReplacer("FAR", far, "HOME", "sotto.example", "CAPS", caps, "ASKER", map[string]string{"prosody": "bob@" + far, "ejabberd": "bob@" + far + "/b"}[kind]).Replace(string(b))
			for i, line := range strings.Split(text, "\n") {
				p.line = fmt.Sprintf("%s:%d: %s", filepath.Base(f), i+1, line)
				p.do(strings.TrimSpace(line))
			}
			for _, a := range p.actors {
				a.conn.Close(nil)
				for range a.in { // until it has ended
				}
			}
		})
	}
	home.t = t
}

// An other is a server of others.
type other struct {
	*stage // only its names, keys and accounts
	kind   string
	proof  string
	ip     string
	folder string
	run    *exec.Cmd
}

func newOther(t *testing.T, kind, domain, proof string) *other {
	o := &other{stage: &stage{t: t, domain: domain}, kind: kind, proof: proof, ip: "127.0.0.2", folder: t.TempDir()}
	if kind == "ejabberd" {
		o.ip = "127.0.0.3"
	}
	o.stage.addr = o.ip + ":5222"
	o.certificate()
	key, err := x509.MarshalPKCS8PrivateKey(o.cert.PrivateKey)
	o.must(err)
	crt := certPEM(o.cert.Certificate[0])
	k := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})
	o.write("crt.pem", crt)
	o.write("key.pem", k)
	o.write("both.pem", append(crt, k...))
	t.Cleanup(o.close)
	return o
}

func (o *other) write(name string, b []byte) {
	o.must(os.WriteFile(filepath.Join(o.folder, name), b, 0o644))
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// trust lets it know our certificate, or not.
func (o *other) trust(home *stage) {
	all := certPEM(o.ca.Raw)
	if o.proof == "external" {
		all = append(all, certPEM(home.ca.Raw)...)
	}
	o.write("ca.pem", all)
}

func (o *other) open() {
	r := strings.NewReplacer("DIR", o.folder, "IP", o.ip, "DOMAIN", o.domain, "SECURE", fmt.Sprint(o.proof == "external"),
		"LEVEL", cmp.Or(os.Getenv("SOTTO_PEER_LOG"), map[string]string{"prosody": "warn", "ejabberd": "warning"}[o.kind]))
	if o.kind == "prosody" {
		o.write("prosody.cfg.lua", []byte(r.Replace(prosodyConfig)))
		conf := filepath.Join(o.folder, "prosody.cfg.lua")
		o.command("prosodyctl", "--config", conf, "register", "bob", o.domain, "password")
		o.start("prosody", "--config", conf, "-F")
		o.reach("5222", "5269")
		return
	}
	o.write("ejabberd.yml", []byte(r.Replace(ejabberdConfig)))
	o.write("inetrc", []byte("{lookup, [\"file\", \"native\"]}.\n{nameserver, {127,0,0,1}}.\n"))
	o.command("chown", "-R", "ejabberd:ejabberd", o.folder)
	o.command("chmod", "a+x", filepath.Dir(o.folder))
	args := []string{"--reuid", "ejabberd", "--regid", "ejabberd", "--init-groups", "env", "HOME=" + o.folder, "/usr/sbin/ejabberdctl",
		"--node", "peer@localhost", "--config-dir", o.folder, "--logs", filepath.Join(o.folder, "logs"), "--spool", filepath.Join(o.folder, "spool")}
	o.start("setpriv", append(args, "foreground")...)
	o.reach("5222", "5269")
	o.command("setpriv", append(args, "started")...)
	o.register(args)
}

// register makes the account, as soon as its store is open.
func (o *other) register(args []string) {
	args = append(args, "register", "bob", o.domain, "password")
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := exec.Command("setpriv", args...).CombinedOutput()
		if err == nil || strings.Contains(string(out), "already") {
			return
		}
		if time.Now().After(end) {
			o.t.Fatalf("%v: %s", err, out)
		}
	}
}

func (o *other) command(name string, args ...string) {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil && !strings.Contains(string(out), "already") {
		o.t.Fatalf("%s: %v: %s", name, err, out)
	}
}

func (o *other) start(name string, args ...string) {
	log, err := os.Create(filepath.Join(o.folder, "out.log"))
	o.must(err)
	o.run = exec.Command(name, args...)
	o.run.Stdout, o.run.Stderr = log, log
	o.run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	o.must(o.run.Start())
}

// reach waits until its ports are open.
func (o *other) reach(ports ...string) {
	for _, port := range ports {
		for end := time.Now().Add(60 * time.Second); !dials(o.ip + ":" + port); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				b, _ := os.ReadFile(filepath.Join(o.folder, "out.log"))
				o.t.Fatalf("%s does not start: %s", o.kind, b)
			}
		}
	}
}

// close kills it: this namespace has no other processes of that name.
func (o *other) close() {
	if o.run == nil {
		return
	}
	_ = syscall.Kill(-o.run.Process.Pid, syscall.SIGKILL)
	_ = exec.Command("pkill", "-9", "beam.smp").Run()
	_ = o.run.Wait()
	o.run = nil
	if o.t.Failed() {
		for _, f := range []string{"prosody.log", "logs/ejabberd.log", "out.log"} {
			if b, err := os.ReadFile(filepath.Join(o.folder, f)); err == nil {
				o.t.Logf("%s: %s", f, b[max(0, len(b)-6000):])
			}
		}
	}
}

const prosodyConfig = `
run_as_root = true
pidfile = "DIR/prosody.pid"
data_path = "DIR/data"
interfaces = { "IP" }
c2s_ports = { 5222 }
s2s_ports = { 5269 }
http_ports = {}
https_ports = {}
modules_enabled = { "roster", "saslauth", "tls", "dialback", "disco", "ping", "smacks", "pep", "version", "offline", "s2s_bidi" }
s2s_require_encryption = true
s2s_secure_auth = SECURE
authentication = "internal_hashed"
storage = "internal"
ssl = { certificate = "DIR/crt.pem", key = "DIR/key.pem", cafile = "DIR/ca.pem" }
log = { LEVEL = "DIR/prosody.log" }
VirtualHost "DOMAIN"
Component "rooms.DOMAIN" "muc"
`

const ejabberdConfig = `
hosts: ["DOMAIN"]
loglevel: LEVEL
certfiles: ["DIR/both.pem"]
ca_file: "DIR/ca.pem"
s2s_cafile: "DIR/ca.pem"
s2s_use_starttls: required
listen:
  - port: 5222
    ip: "IP"
    module: ejabberd_c2s
    access: all
    starttls_required: true
  - port: 5269
    ip: "IP"
    module: ejabberd_s2s_in
auth_method: internal
modules:
  mod_roster: {}
  mod_disco: {}
  mod_caps: {}
  mod_ping: {}
  mod_version: {}
  mod_offline: {}
  mod_s2s_dialback: {}
  mod_stream_mgmt: {}
  mod_pubsub: {plugins: [flat, pep]}
  mod_muc: {host: rooms.DOMAIN}
`

// dials says whether somebody listens there.
func dials(addr string) bool {
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return err == nil
}
