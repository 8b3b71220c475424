// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// domain is served by every peer; it resolves nowhere.
const domain = "bench.localhost"

// A peer is one running server.
type peer struct {
	title string // name and version
	addr  string // STARTTLS port
	pid   int
	dir   string
	roots *x509.CertPool
	cmd   *exec.Cmd
	end   []func()

	control []string // the command that tells ejabberd what to do

	status func(line string) (float64, error) // a number of sottod's own; nil for others
}

func (p *peer) stop() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Signal(os.Interrupt)
		time.AfterFunc(3*time.Second, func() { _ = p.cmd.Process.Kill() })
		_ = p.cmd.Wait()
	}
	for _, f := range p.end {
		f()
	}
	os.RemoveAll(p.dir)
}

func (p *peer) tls() *tls.Config { return &tls.Config{RootCAs: p.roots, ServerName: domain} }

func startPeer(ctx context.Context, c *commands, name string) (*peer, error) {
	start := map[string]func(context.Context, *commands, *peer) error{
		"sottod": startSottod, "prosody": startProsody, "ejabberd": startEjabberd,
	}[name]
	if start == nil {
		return nil, errors.New("unknown server; take sottod, prosody or ejabberd")
	}
	dir, err := os.MkdirTemp("", "sottoload-"+name+"-")
	if err != nil {
		return nil, err
	}
	p := &peer{dir: dir, title: name}
	if err := p.certificate(); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.addr = l.Addr().String()
	l.Close()
	if err := start(ctx, c, p); err != nil {
		p.stop()
		return nil, err
	}
	if err := p.answers(ctx); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// answers waits until the port is open.
func (p *peer) answers(ctx context.Context) error {
	for range 300 {
		nc, err := net.DialTimeout("tcp", p.addr, time.Second)
		if err == nil {
			return nc.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return fmt.Errorf("the server did not open %s: %s", p.addr, p.lastWords())
}

// lastWords are the end of what the server printed.
func (p *peer) lastWords() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "out.log"))
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-600):])
}

// certificate makes one P-256 certificate, the same kind for every peer.
func (p *peer) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	t := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	crt := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	kp := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
	p.roots = x509.NewCertPool()
	p.roots.AppendCertsFromPEM(crt)
	return errors.Join(p.write("crt.pem", crt), p.write("key.pem", kp), p.write("both.pem", append(crt, kp...)))
}

func (p *peer) write(name string, b []byte) error {
	return os.WriteFile(filepath.Join(p.dir, name), b, 0o644)
}

func (p *peer) port() string { return p.addr[strings.LastIndexByte(p.addr, ':')+1:] }

const missing = "apt-get install prosody ejabberd, or choose with --servers"

// launch starts the command; its output goes to a file in the peer's folder.
func (p *peer) launch(name string, args ...string) error {
	out, err := os.Create(filepath.Join(p.dir, "out.log"))
	if err != nil {
		return err
	}
	// As many open files as may be: Go gives its children what it found.
	p.cmd = exec.Command("sh", append([]string{"-c", `ulimit -n "$(ulimit -Hn)"; exec "$0" "$@"`, name}, args...)...)
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.Dir = out, out, p.dir
	if _, err := exec.LookPath(name); err != nil {
		return fmt.Errorf("%w: %s", err, missing)
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.pid = p.cmd.Process.Pid
	return nil
}

func startSottod(_ context.Context, c *commands, p *peer) error {
	conf := fmt.Sprintf("domain = %q\ndata = %q\nlisten = [%q]\nlisten_tls = []\ncert = %q\nkey = %q\ne2e = \"optional\"\nregister = true\nstranger_words = 0\nclient_rate = 0\n",
		domain, filepath.Join(p.dir, "data"), p.addr, filepath.Join(p.dir, "crt.pem"), filepath.Join(p.dir, "key.pem"))
	if err := p.write("sottod.toml", []byte(conf)); err != nil {
		return err
	}
	p.status = func(line string) (float64, error) {
		out, err := exec.Command(c.Sottod, "--config", filepath.Join(p.dir, "sottod.toml"), "status").Output()
		if err != nil {
			return 0, fmt.Errorf("sottod status: %w", err)
		}
		for l := range strings.Lines(string(out)) {
			if v, ok := strings.CutPrefix(l, line); ok {
				return strconv.ParseFloat(strings.Fields(v)[0], 64)
			}
		}
		return 0, fmt.Errorf("sottod status says nothing of %q", line)
	}
	return p.launch(c.Sottod, "--config", filepath.Join(p.dir, "sottod.toml"), "run")
}

func startProsody(_ context.Context, _ *commands, p *peer) error {
	if v, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "prosody").Output(); err == nil {
		p.title = "Prosody " + string(v)
	}
	conf := strings.NewReplacer("DIR", p.dir, "PORT", p.port(), "DOMAIN", domain).Replace(`
run_as_root = true
pidfile = "DIR/prosody.pid"
data_path = "DIR/data"
network_backend = "epoll"
gc = { mode = "generational" }
interfaces = { "127.0.0.1" }
c2s_ports = { PORT }
s2s_ports = {}
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "smacks", "offline", "register", "register_ibr", "carbons", "pep" }
modules_disabled = { "s2s", "http" }
allow_registration = true
registration_throttle_max = false
c2s_require_encryption = true
authentication = "internal_hashed"
password_hash = "SHA-256"
storage = "internal"
smacks_max_unacked_stanzas = 256
smacks_max_queue_size = 1000
log = { warn = "DIR/prosody.log" }
VirtualHost "DOMAIN"
ssl = { certificate = "DIR/crt.pem", key = "DIR/key.pem" }
Component "rooms.DOMAIN" "muc"
`)
	if err := p.write("prosody.cfg.lua", []byte(conf)); err != nil {
		return err
	}
	return p.launch("prosody", "--config", filepath.Join(p.dir, "prosody.cfg.lua"), "-F")
}

func startEjabberd(ctx context.Context, _ *commands, p *peer) error {
	if v, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", "ejabberd").Output(); err == nil {
		p.title = "ejabberd " + string(v)
	}
	conf := strings.NewReplacer("DIR", p.dir, "PORT", p.port(), "DOMAIN", domain).Replace(`
hosts: ["DOMAIN"]
loglevel: warning
certfiles: ["DIR/both.pem"]
ca_file: "DIR/crt.pem"
listen:
  - port: PORT
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: all
    starttls_required: true
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha256
registration_timeout: infinity
modules:
  mod_roster: {}
  mod_disco: {}
  mod_caps: {}
  mod_ping: {}
  mod_register: {access: all, ip_access: all}
  mod_offline: {access_max_user_messages: all_messages}
  mod_stream_mgmt: {max_ack_queue: 100000, resend_on_timeout: if_offline}
  mod_carboncopy: {}
  mod_pubsub: {plugins: [flat, pep]}
  mod_muc: {host: rooms.DOMAIN, max_users: 1000, default_room_options: {max_users: 1000}}
shaper_rules:
  all_messages: infinity
  max_user_sessions: infinity
`)
	if err := p.write("ejabberd.yml", []byte(conf)); err != nil {
		return err
	}
	node := fmt.Sprintf("sottoload%s@localhost", p.port())
	script := filepath.Join("/usr/sbin", "ejabberdctl")
	if err := exec.Command("chmod", "-R", "a+rwX", p.dir).Run(); err != nil {
		return err
	}
	args := []string{"--node", node, "--config-dir", p.dir, "--logs", filepath.Join(p.dir, "logs"), "--spool", filepath.Join(p.dir, "spool")}
	// As its own user, but not by su, which would take the open files away.
	own := []string{"--reuid", "ejabberd", "--regid", "ejabberd", "--init-groups", "env", "HOME=" + p.dir, script}
	if _, err := exec.LookPath(script); err != nil {
		return fmt.Errorf("%w: %s", err, missing)
	}
	if err := p.launch("setpriv", append(append(own, args...), "foreground")...); err != nil {
		return err
	}
	p.control = append(append([]string{"setpriv"}, own...), args...)
	p.end = append(p.end, func() { _ = exec.Command("pkill", "-9", "-f", node).Run() })
	return p.findBeam(ctx, node)
}

// findBeam waits for the Erlang machine: the wrapper script is not what serves.
func (p *peer) findBeam(ctx context.Context, node string) error {
	for range 100 {
		out, err := exec.CommandContext(ctx, "pgrep", "-f", "beam.*"+node).Output()
		if f := bytes.Fields(out); err == nil && len(f) > 0 {
			_, err = fmt.Sscan(string(f[0]), &p.pid)
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the Erlang machine did not start")
}
