// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"sotto/relay"
	"sotto/relay/budget"
	"sotto/relay/services"
	"sotto/relay/upload"
)

// Config is all of sottod.toml. Left empty, it runs a private server on
// localhost. "sottod config" prints it with these texts as comments.
type Config struct {
	Domain    string   `toml:"domain" doc:"Name after the @ in every address."`
	Data      string   `toml:"data" doc:"Folder with everything durable. Back this up, nothing else."`
	Listen    []string `toml:"listen" doc:"Addresses for clients that begin with STARTTLS."`
	ListenTLS []string `toml:"listen_tls" doc:"Addresses for clients with TLS from the first byte."`
	HTTPS     []string `toml:"listen_https" doc:"Addresses for WebSockets, BOSH, files and all else that is HTTPS; clients that ask for xmpp-client by ALPN get a stream. None: it is off, but sottod dev without a file opens 127.0.0.1:5443."`
	URL       string   `toml:"url" doc:"How clients reach listen_https, as https://chat.example. Empty: the domain, and the port of the first address."`
	WebChat   string   `toml:"web_chat" doc:"The client for browsers at /chat: a file that sottod chat install writes. Empty: chat.zip in the data folder. no: there is none."`
	Cert      string   `toml:"cert" doc:"Certificate chain, PEM. Empty: a local authority makes one in the data folder."`
	Key       string   `toml:"key" doc:"Private key of the certificate, PEM."`
	E2E       string   `toml:"e2e" doc:"required: only end-to-end encrypted messages are taken. optional: readable ones, too."`
	Register  bool     `toml:"register" doc:"Let anybody who can connect make an account (XEP-0077)."`
	Invites   string   `toml:"invites" doc:"Whose invitations let somebody make an account (XEP-0445). operator: yours, by sottod invite. people: those of everybody here, too. no: nobody's."`
	Mode      string   `toml:"mode" doc:"forget: a message is erased when every device of its receiver has it. keep: all messages of every account stay, for their owner to read (XEP-0313)."`
	History   string   `toml:"keep_history" doc:"With mode = keep, how long messages stay, as 8760h. 0s: for ever."`
	KeepMail  string   `toml:"keep_mail" doc:"How long an undelivered message waits, as 720h. Then the sender is told and it is deleted."`
	Resume    string   `toml:"resume" doc:"How long a client that lost its connection may resume its session."`
	Words     int      `toml:"stranger_words" doc:"How many messages in a row somebody may write to people who do not know him; then one a second. 0: no limit."`
	Rate      int      `toml:"client_rate" doc:"KiB a second that one account may send, after four seconds' worth at once, and at most 20 messages a second after 400; more is read later. 0: no limit."`
	Hold      string   `toml:"hold" doc:"Whose first message waits until its receiver writes to him, adds or accepts him. others: that of people of other servers whom the receiver does not know. all: of people here, too. none: nobody's."`
	Rooms     string   `toml:"rooms" doc:"Domain of group chats. Empty: rooms. and the domain."`
	RoomPast  int      `toml:"room_history" doc:"How many messages a new room shows to who enters; they are kept in memory only. Members of private groups need none: what they missed waits for them."`
	Pubsub    string   `toml:"pubsub" doc:"Domain of nodes to publish to and subscribe to (XEP-0060). Empty: pubsub. and the domain."`
	KeepFiles string   `toml:"keep_files" doc:"How long an uploaded file stays, as 720h."`
	FileMax   int64    `toml:"file_max" doc:"Largest uploaded file, in MiB."`
	FileQuota int64    `toml:"file_quota" doc:"All uploaded files of one account, in MiB."`
	Proxy     []string `toml:"listen_proxy" doc:"Addresses where two clients that cannot reach each other pass bytes (XEP-0065); only with e2e = optional, because those bytes may be readable."`
	Services  []string `toml:"call_services" doc:"STUN and TURN servers of yours that clients are told of (XEP-0215), as stun:turn.chat.example:3478 or turns:turn.chat.example:5349?transport=tcp."`
	Secret    string   `toml:"call_secret" doc:"What those TURN servers and this one know, so that people of ours get in for ten minutes (coturn: static-auth-secret)."`
	Contact   []string `toml:"contact" doc:"How people reach you, as mailto:me@chat.example or xmpp:me@chat.example."`
	Outage    []string `toml:"status_page" doc:"Addresses, elsewhere, of a file that says what is broken (XEP-0455)."`
	Push      bool     `toml:"push" doc:"Wake devices that are away (XEP-0357), through the push services that their clients name, and through our own at push. and the domain: Web Push, UnifiedPush, Firebase. They learn that something waits, nothing else."`
	PushAllow []string `toml:"push_allow" doc:"Networks, not public ones, in which push services may be called, as that of a UnifiedPush server at home."`
	FCMKey    string   `toml:"fcm_key" doc:"File with the Firebase service account (JSON) of your own build of an Android client. Empty: no Firebase."`
	S2S       string   `toml:"s2s" doc:"Other servers that people here may talk with. off: none. listed: those of s2s_allow. open: all."`
	S2SAllow  []string `toml:"s2s_allow" doc:"Domains of other servers, with s2s = listed; their rooms and other services are domains, too."`
	ListenS2S []string `toml:"listen_s2s" doc:"Addresses for other servers that begin with STARTTLS; closed while s2s is off."`
	DirectS2S []string `toml:"listen_s2s_tls" doc:"Addresses for other servers with TLS from the first byte (XEP-0368)."`
	S2SCerts  string   `toml:"s2s_certificates" doc:"required: another server must show a certificate for its domain, or its domain's server must that vouches for it (XEP-0220). optional: dialback is enough, as it is for old servers; who can forge names or addresses can then speak for them."`
	S2SRoots  string   `toml:"s2s_roots" doc:"File of authorities, PEM, whose certificates other servers may show besides those that the system trusts."`
	S2SNames  string   `toml:"s2s_resolver" doc:"Name server to ask for other servers, as 127.0.0.1:53. Empty: the system's."`
	S2SWait   string   `toml:"s2s_wait" doc:"How long a message waits for a server that cannot be reached, as 24h. Then the sender is told and it is deleted."`
	Beside    []string `toml:"components" doc:"Programs that speak for a domain of their own (XEP-0114), each as its domain, a blank and its secret: bot.chat.example correct-horse."`
	ListenOwn []string `toml:"listen_components" doc:"Addresses for components; they are without TLS, so keep them on this machine or behind a wall. Closed while there are none."`
	Strangers int      `toml:"strangers" doc:"Connections that have not logged in yet, in all. Beyond it the oldest one goes."`
	PerSource int      `toml:"strangers_per_address" doc:"The same, from one address. People behind one address who have logged in are not counted."`
	LoginTime string   `toml:"login_time" doc:"How long a connection may take to log in."`
	Trusted   []string `toml:"trusted" doc:"Networks not counted by address, as those of proxies and Tor; limits of accounts hold for them, too."`
	Admin     string   `toml:"admin" doc:"Socket for sottod user and sottod status. Empty: admin.sock in the data folder."`
	LogLevel  string   `toml:"log" doc:"debug, info, warn or error. Only debug names people."`
}

func defaults() Config {
	return Config{
		Domain: "localhost", Data: "data", Listen: []string{"127.0.0.1:5222"}, ListenTLS: []string{"127.0.0.1:5223"},
		E2E: "required", Invites: "operator", Mode: "forget", History: "0s", KeepMail: "720h", Resume: "10m", Words: 60, Rate: 256, Hold: "others",
		KeepFiles: "720h", FileMax: 100, FileQuota: 1024, Push: true,
		S2S: "off", ListenS2S: []string{":5269"}, S2SCerts: "required", S2SWait: "24h",
		ListenOwn: []string{"127.0.0.1:5347"},
		Strangers: 4096, PerSource: 256, LoginTime: "30s", Trusted: []string{"127.0.0.0/8", "::1/128"}, LogLevel: "info",
	}
}

// loadConfig reads the file; a key that we do not know is an error with its line.
func loadConfig(path string) (Config, error) {
	c := defaults()
	if path == "" {
		return c, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	m, err := toml.NewDecoder(f).Decode(&c)
	var pe toml.ParseError
	if errors.As(err, &pe) {
		return c, fmt.Errorf("%s: %s", path, pe.ErrorWithPosition())
	}
	if err != nil {
		return c, fmt.Errorf("%s: %w", path, err)
	}
	if u := m.Undecoded(); len(u) > 0 {
		return c, fmt.Errorf("%s: there is no option %q", path, u[0].String())
	}
	return c, c.check()
}

func (c *Config) check() error {
	if c.E2E != "required" && c.E2E != "optional" {
		return fmt.Errorf("e2e is %q; take required or optional", c.E2E)
	}
	if c.Mode != "forget" && c.Mode != "keep" {
		return fmt.Errorf("mode is %q; take forget or keep", c.Mode)
	}
	if d, err := time.ParseDuration(c.History); err != nil || d < 0 {
		return fmt.Errorf("keep_history is %q; write a time like 8760h, or 0s for ever", c.History)
	}
	if c.Hold != "others" && c.Hold != "all" && c.Hold != "none" {
		return fmt.Errorf("hold is %q; take others, all or none", c.Hold)
	}
	if c.Invites != "operator" && c.Invites != "people" && c.Invites != "no" {
		return fmt.Errorf("invites is %q; take operator, people or no", c.Invites)
	}
	if (c.Cert == "") != (c.Key == "") {
		return errors.New("cert and key belong together; give both or none")
	}
	for name, v := range map[string]string{"keep_mail": c.KeepMail, "keep_files": c.KeepFiles, "resume": c.Resume, "login_time": c.LoginTime, "s2s_wait": c.S2SWait} {
		if d, err := time.ParseDuration(v); err != nil || d <= 0 {
			return fmt.Errorf("%s is %q; write a time like 720h or 10m", name, v)
		}
	}
	if c.FileMax < 1 || c.FileQuota < c.FileMax || c.FileQuota > 1<<30 {
		return errors.New("file_max must be at least 1, file_quota at least file_max")
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Scheme != "https" || u.Host == "" || strings.HasSuffix(c.URL, "/")) {
		return fmt.Errorf("url is %q; write it like https://chat.example, with no slash at the end", c.URL)
	}
	for name, all := range map[string][]string{"contact": c.Contact, "status_page": c.Outage} {
		for _, a := range all {
			if u, err := url.Parse(a); err != nil || u.Scheme == "" || u.Host == "" && u.Opaque == "" {
				return fmt.Errorf("%s has %q; write an address like mailto:me@chat.example or https://status.example/chat.json", name, a)
			}
		}
	}
	if err := errors.Join(c.checkS2S(), c.checkProxy(), c.calls().Check()); err != nil {
		return err
	}
	if c.Strangers < 16 || c.PerSource < 1 {
		return errors.New("strangers must be at least 16, strangers_per_address at least 1")
	}
	if c.Rate < 0 || c.Rate > 1<<20 {
		return errors.New("client_rate is a number of KiB, or 0")
	}
	if c.RoomPast < 0 {
		return errors.New("room_history is less than none")
	}
	for name, all := range map[string][]string{"trusted": c.Trusted, "push_allow": c.PushAllow} {
		for _, n := range all {
			if _, err := netip.ParsePrefix(n); err != nil {
				return fmt.Errorf("%s has %q; write networks like 192.0.2.0/24", name, n)
			}
		}
	}
	return nil
}

// webURL is where clients reach our HTTPS; empty: nowhere.
func (c *Config) webURL() string {
	if c.URL != "" || len(c.HTTPS) == 0 {
		return c.URL
	}
	if _, port, err := net.SplitHostPort(c.HTTPS[0]); err == nil && port != "443" {
		return "https://" + c.Domain + ":" + port
	}
	return "https://" + c.Domain
}

func (c *Config) checkProxy() error {
	if len(c.Proxy) > 0 && c.E2E == "required" {
		return errors.New("listen_proxy passes bytes that may be readable; take it out, or set e2e = \"optional\"")
	}
	return nil
}

func (c *Config) calls() services.Options {
	return services.Options{URIs: c.Services, Secret: c.Secret}
}

// proxyAddr is how clients reach the first address of listen_proxy.
func (c *Config) proxyAddr() string {
	if len(c.Proxy) == 0 {
		return ""
	}
	_, port, _ := net.SplitHostPort(c.Proxy[0]) // Listen says what is wrong with it
	return net.JoinHostPort(c.Domain, port)
}

// chatFile is the client for browsers; empty: none is wanted.
func (c *Config) chatFile() string {
	switch c.WebChat {
	case "":
		return filepath.Join(c.Data, "chat.zip")
	case "no":
		return ""
	}
	return c.WebChat
}

// files are checked already.
func (c *Config) files() upload.Options {
	keep, _ := time.ParseDuration(c.KeepFiles)
	return upload.Options{Keep: keep, Max: c.FileMax << 20, Quota: c.FileQuota << 20}
}

// strangers are checked already.
func (c *Config) strangers() budget.Options {
	return budget.Options{Burst: c.Words, Rate: c.Rate << 10, Hold: map[string]budget.Hold{"others": budget.Others, "all": budget.Everybody}[c.Hold]}
}

// limits are checked already.
func (c *Config) limits() relay.Limits {
	l := relay.Limits{Strangers: c.Strangers, PerAddress: c.PerSource}
	for _, n := range c.Trusted {
		p, _ := netip.ParsePrefix(n)
		l.Trusted = append(l.Trusted, p)
	}
	return l
}

// sample prints the defaults with their texts.
func sample(w io.Writer) {
	c := defaults()
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		fmt.Fprintf(w, "# %s\n%s = %s\n", f.Tag.Get("doc"), f.Tag.Get("toml"), literal(v.Field(i)))
	}
}

func literal(v reflect.Value) string {
	if v.Kind() != reflect.Slice {
		return fmt.Sprintf("%#v", v.Interface())
	}
	var all []string
	for i := range v.Len() {
		all = append(all, fmt.Sprintf("%q", v.Index(i).String()))
	}
	return "[" + strings.Join(all, ", ") + "]"
}
