// SPDX-License-Identifier: Apache-2.0

package upload_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sotto/internal/town"
	"sotto/relay/upload"
	"sotto/xmpp"
	"sotto/xmpp/dial"
)

const patience = 5 * time.Second

// A person asks for slots and sends files.
type person struct {
	t    *testing.T
	o    *town.Town
	c    *xmpp.Conn
	http *http.Client
	ids  int
	in   chan *xmpp.Element
	out  chan []byte
}

func enter(t *testing.T, o *town.Town, user string) *person {
	t.Helper()
	c, _, err := dial.Dial(context.Background(), dial.Login{Addr: o.Addr, JID: xmpp.MustJID(user + "@localhost"),
		Password: "secret-" + user, TLS: &tls.Config{RootCAs: o.Roots}})
	if err != nil {
		t.Fatal(err)
	}
	p := &person{t: t, o: o, c: c, in: make(chan *xmpp.Element, 64), out: make(chan []byte, 64),
		http: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.Roots}}, Timeout: 2 * patience}}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = c.Run(context.Background(), func(s *xmpp.Stanza) error {
			el, err := s.Element()
			if err == nil && el.Is(xmpp.NSClient, "iq") {
				p.in <- el.Clone()
			}
			return err
		}, func(w *xmpp.Writer) error {
			for {
				select {
				case b := <-p.out:
					w.Bytes(b)
				default:
					return nil
				}
			}
		})
	}()
	t.Cleanup(func() { c.Drop(); <-over })
	return p
}

// ask sends a question to the server and waits for its answer.
func (p *person) ask(payload string) *xmpp.Element {
	p.t.Helper()
	p.ids++
	id := fmt.Sprint("q", p.ids)
	p.out <- []byte("<iq type='get' to='localhost' id='" + id + "'>" + payload + "</iq>")
	p.c.Wake()
	late := time.After(patience)
	for {
		select {
		case el := <-p.in:
			if el.Get("id") == id {
				return el
			}
		case <-late:
			p.t.Fatal("no answer to", payload)
		}
	}
}

func (p *person) slot(name string, size int, more string) (put, get string) {
	p.t.Helper()
	el := p.ask(fmt.Sprintf("<request xmlns='%s' filename='%s' size='%d' %s</request>", upload.NS, name, size, more))
	s := el.Child(upload.NS, "slot")
	if s == nil {
		p.t.Fatal("no slot:", string(el.Bytes()))
	}
	return s.Child(upload.NS, "put").Get("url"), s.Child(upload.NS, "get").Get("url")
}

func (p *person) do(method, url string, body io.Reader, size int64, heads ...string) (*http.Response, []byte) {
	p.t.Helper()
	r, err := http.NewRequest(method, url, body)
	if err != nil {
		p.t.Fatal(err)
	}
	r.ContentLength = size
	for i := 0; i+1 < len(heads); i += 2 {
		r.Header.Set(heads[i], heads[i+1])
	}
	res, err := p.http.Do(r)
	if err != nil {
		p.t.Fatal(method, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return res, b
}

func (p *person) send(url string, b []byte, heads ...string) int {
	p.t.Helper()
	res, _ := p.do("PUT", url, bytes.NewReader(b), int64(len(b)), heads...)
	return res.StatusCode
}

// begin sends a part of a file and waits until the server has begun to store it.
func (p *person) begin(put string, part []byte, size int) *tls.Conn {
	p.t.Helper()
	host := strings.TrimPrefix(p.o.URL, "https://")
	c, err := tls.Dial("tcp", host, &tls.Config{RootCAs: p.o.Roots})
	if err != nil {
		p.t.Fatal(err)
	}
	fmt.Fprintf(c, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", strings.TrimPrefix(put, p.o.URL), host, size, part)
	for late := time.Now().Add(patience); len(stored(p.t, p.o)) == 0; {
		if time.Now().After(late) {
			p.t.Fatal("it does not begin")
		}
	}
	return c
}

// sealed is what an encrypted file looks like.
func sealed(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	b[0] = 0x01 // no chance that it looks like something else
	return b
}

// stored lists the files of the folder.
func stored(t *testing.T, o *town.Town) (all []string) {
	t.Helper()
	d, err := os.ReadDir(filepath.Join(o.Dir, "blobs"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range d {
		all = append(all, f.Name())
	}
	return all
}

// XEP-0363: a file comes, once, and whoever has the link gets it, whole or in
// parts; also after a restart.
func TestUpload(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	file := sealed(100_000)
	put, get := p.slot("très cool.bin", len(file), "content-type='application/octet-stream'>")
	if !strings.HasSuffix(get, "/tr%C3%A8s%20cool.bin") || put == get {
		t.Fatal("the name is not kept:", get)
	}
	if res, _ := p.do("GET", get, nil, 0); res.StatusCode != 404 {
		t.Fatal("served before it came:", res.Status)
	}
	if code := p.send(put, file, "Content-Type", "application/octet-stream"); code != 201 {
		t.Fatal("not taken:", code)
	}
	if code := p.send(put, file); code != 404 {
		t.Fatal("taken twice:", code)
	}
	res, b := p.do("GET", get, nil, 0)
	if !bytes.Equal(b, file) {
		t.Fatal("another file:", res.Status, len(b))
	}
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Access-Control-Allow-Origin": "*", "Content-Type": "application/octet-stream",
		"Content-Disposition": "attachment; filename*=utf-8''tr%C3%A8s%20cool.bin", "Accept-Ranges": "bytes",
		"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, not %q", name, got, want)
		}
	}
	o.Close()
	o.Open()
	tag := res.Header.Get("ETag")
	for _, row := range []struct {
		what, method, span, given string
		code                      int
		want                      []byte
	}{
		{"a part", "GET", "bytes=10-19", "", 206, file[10:20]},
		{"the rest", "GET", "bytes=90000-", tag, 206, file[90000:]},
		{"of another file", "GET", "bytes=90000-", `"other"`, 200, file},
		{"past the end", "GET", "bytes=100000-", "", 416, nil},
		{"nonsense", "GET", "bytes=x", "", 416, nil},
		{"many that overlap", "GET", "bytes=0-" + strings.Repeat(",0-", 500), "", 200, file},
		{"head", "HEAD", "", "", 200, []byte{}},
	} {
		var heads []string
		if row.span != "" {
			heads = append(heads, "Range", row.span)
		}
		if row.given != "" {
			heads = append(heads, "If-Range", row.given)
		}
		res, b := p.do(row.method, get, nil, 0, heads...)
		if res.StatusCode != row.code || row.want != nil && !bytes.Equal(b, row.want) {
			t.Errorf("%s: %s, %d bytes", row.what, res.Status, len(b))
		}
		if row.method == "HEAD" && res.ContentLength != int64(len(file)) {
			t.Error("HEAD says", res.ContentLength)
		}
	}
	if res, _ := p.do("GET", get, nil, 0, "If-None-Match", tag); res.StatusCode != 304 {
		t.Error("not cached:", res.Status)
	}
	if res, _ := p.do("OPTIONS", put, nil, 0, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "PUT"); res.StatusCode != 204 ||
		!strings.Contains(res.Header.Get("Access-Control-Allow-Methods"), "PUT") || res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Error("pages elsewhere may not upload:", res.Status, res.Header)
	}
}

// XEP-0363 §"Security Considerations": what is uploaded has the origin of the
// client for browsers, and can be neither its script nor its style.
func TestUploadScript(t *testing.T) {
	p := enter(t, town.New(t, "alice"), "alice")
	for given, want := range map[string]string{
		"text/javascript": "application/octet-stream", "application/ecmascript": "application/octet-stream", "text/css": "application/octet-stream",
		"image/png": "image/png", "application/pdf": "application/pdf",
	} {
		file := sealed(100)
		put, get := p.slot("a", len(file), "content-type='"+given+"'>")
		if code := p.send(put, file, "Content-Type", given); code != 201 {
			t.Fatal(given, code)
		}
		if res, _ := p.do("GET", get, nil, 0); res.Header.Get("Content-Type") != want || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s comes as %s", given, res.Header.Get("Content-Type"))
		}
	}
}

// XEP-0363 §"Upload": nothing but the file that was announced is taken, and a
// file that did not come whole is not there.
func TestUploadHostile(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	file := sealed(1000)
	put, get := p.slot("a", len(file), "content-type='image/png'>")
	for _, row := range []struct {
		what string
		got  func() int
		code int
	}{
		{"shorter", func() int { return p.send(put, file[:999]) }, 400},
		{"longer", func() int { return p.send(put, append(file, 'x')) }, 413},
		{"without length", func() int {
			res, _ := p.do("PUT", put, io.MultiReader(bytes.NewReader(file)), -1)
			return res.StatusCode
		}, 411},
		{"another type", func() int { return p.send(put, file, "Content-Type", "text/html") }, 415},
		{"at the link of others", func() int { return p.send(get, file) }, 404},
		{"a guess", func() int { return p.send(o.URL+"/upload/aaaaaaaaaaaaaaaaaaaaaaaa/a", file) }, 404},
		{"another name", func() int { return p.send(put+".html", file) }, 404},
		{"outside", func() int { return p.send(o.URL+"/upload/..%2f..%2froot/a", file) }, 404},
		{"readable", func() int { return p.send(put, bytes.Repeat([]byte("hello"), 200)) }, 415},
	} {
		if code := row.got(); code != row.code {
			t.Errorf("%s: %d, not %d", row.what, code, row.code)
		}
	}
	for _, path := range []string{"/upload/", "/upload/../store/root", "/upload/%2e%2e/root", "/upload//", "/upload/a%00/b"} {
		if res, _ := p.do("GET", o.URL+path, nil, 0); res.StatusCode != 404 {
			t.Error(path, res.Status)
		}
	}
	p.begin(put, file[:600], 1000).Close()
	code := p.send(put, file[:999]) // of no use, but tells whether the slot is free again
	for late := time.Now().Add(patience); code == 409; code = p.send(put, file[:999]) {
		if time.Now().After(late) {
			t.Fatal("half a file keeps the slot")
		}
	}
	if code != 400 || len(stored(t, o)) > 0 {
		t.Fatal("half a file stays:", code, stored(t, o))
	}
	if res, _ := p.do("GET", get, nil, 0); res.StatusCode != 404 {
		t.Fatal("half a file is served:", res.Status)
	}
	if code = p.send(put, file); code != 201 {
		t.Fatal("the slot is lost:", code)
	}
	put, _ = p.slot("b", len(file), ">")
	o.Pass(6 * time.Minute)
	if code := p.send(put, file); code != 404 {
		t.Fatal("a slot of six minutes ago:", code)
	}
}

// XEP-0363 §"Requesting a slot": wishes that are refused, and names that are mended.
func TestSlots(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	for _, row := range []struct {
		attrs, kids string
		cond        xmpp.Condition
	}{
		{"filename='a'", "", xmpp.BadRequest},
		{"filename='a' size='0'", "", xmpp.BadRequest},
		{"filename='a' size='-1'", "", xmpp.BadRequest},
		{"filename='a' size='99999999999999999999'", "", xmpp.BadRequest},
		{"size='1'", "", xmpp.BadRequest},
		{"filename='a' size='1' content-type='&#10;x'", "", xmpp.BadRequest},
		{"filename='a' size='104857601'", "", xmpp.NotAcceptable},
		{"filename='a' size='3000000'", "<profile xmlns='" + upload.NSPurpose + "'/>", xmpp.NotAcceptable},
		{"filename='a' size='1'", "<permanent xmlns='" + upload.NSPurpose + "'/>", xmpp.FeatureNotImplemented},
		{"filename='a' size='1'", "<ephemeral xmlns='" + upload.NSPurpose + "'/>", xmpp.BadRequest},
		{"filename='a' size='1'", "<ephemeral xmlns='" + upload.NSPurpose + "' expire-before='2020-01-01T00:00:00Z'/>", xmpp.BadRequest},
	} {
		el := p.ask("<request xmlns='" + upload.NS + "' " + row.attrs + ">" + row.kids + "</request>")
		if e := xmpp.StanzaErrorOf(el); e == nil || e.Cond != row.cond {
			t.Errorf("%s %s: %s", row.attrs, row.kids, el.Bytes())
		}
	}
	for name, want := range map[string]string{
		"../../etc/passwd": "passwd", "a/b\\c.txt": "c.txt", "..": "file", ".": "file", "a&#9;&#10;b": "a__b", "&lt;x&gt;": "%3Cx%3E",
		strings.Repeat("é", 200) + ".jpg": strings.Repeat("%C3%A9", 62) + ".jpg",
	} {
		if _, get := p.slot(name, 1, ">"); !strings.HasSuffix(get, "/"+want) {
			t.Errorf("%s became %s", name, get)
		}
	}
	for n := 0; ; n++ { // slots that nothing comes for are few
		el := p.ask("<request xmlns='" + upload.NS + "' filename='a' size='1'/>")
		if e := xmpp.StanzaErrorOf(el); e != nil {
			if e.Cond != xmpp.ResourceConstraint || n > 64 || el.Child("", "error").Child(upload.NS, "retry").Get("stamp") == "" {
				t.Fatal(string(el.Bytes()))
			}
			break
		}
	}
	o.Pass(6 * time.Minute)
	for n := range 10 { // 10 times 100 MiB is a GiB but 24 MiB
		p.slot(fmt.Sprint(n), 100<<20, ">")
	}
	el := p.ask("<request xmlns='" + upload.NS + "' filename='a' size='52428800'/>")
	if e := xmpp.StanzaErrorOf(el); e == nil || e.Cond != xmpp.ResourceConstraint {
		t.Fatal("beyond the quota:", string(el.Bytes()))
	}
}

// XEP-0363 §"Discovering Support", XEP-0128: clients find it and its limit.
func TestUploadDisco(t *testing.T) {
	p := enter(t, town.New(t, "alice"), "alice")
	q := p.ask("<query xmlns='"+xmpp.NSDiscoInfo+"'/>").Child(xmpp.NSDiscoInfo, "query")
	found := map[string]bool{}
	for _, k := range q.Children() {
		found[k.Get("category")+k.Get("type")+k.Get("var")] = true
	}
	for _, want := range []string{"storefile", upload.NS, upload.NSPurpose + "#message", upload.NSPurpose + "#ephemeral", upload.NSPurpose + "#profile"} {
		if !found[want] {
			t.Error("no", want)
		}
	}
	size := ""
	for _, x := range q.Children() {
		for _, f := range x.Children() {
			if f.Get("var") == "max-file-size" {
				size = f.Child(xmpp.NSData, "value").Text()
			}
		}
	}
	if size != "104857600" {
		t.Error("max-file-size is", size)
	}
}

// XEP-0363 §"Upload purpose": a file is gone when its time is up, one of a
// deleted account at once, and the folder has nothing of it.
func TestUploadForgotten(t *testing.T) {
	o := town.New(t, "alice", "bob")
	a, b := enter(t, o, "alice"), enter(t, o, "bob")
	file := sealed(1000)
	up := func(p *person, more string) string {
		put, get := p.slot("a", len(file), more)
		if code := p.send(put, file); code != 201 {
			t.Fatal(code)
		}
		return get
	}
	soon := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	short := up(a, "><ephemeral xmlns='"+upload.NSPurpose+"' expire-before='"+soon+"'/>")
	long, face := up(a, ">"), up(a, "><profile xmlns='"+upload.NSPurpose+"'/>")
	up(b, ">")
	see := func(url string, code, n int) {
		t.Helper()
		if res, _ := a.do("GET", url, nil, 0); res.StatusCode != code || len(stored(t, o)) != n {
			t.Errorf("%s with %d files", res.Status, len(stored(t, o)))
		}
	}
	see(short, 200, 4)
	if left, err := o.Store.Users(); err != nil || len(left) != 2 {
		t.Fatal(left, err)
	}
	if err := o.Relay.DeleteUser("bob"); err != nil {
		t.Fatal(err)
	}
	see(long, 200, 3)
	o.Pass(61 * time.Minute)
	see(short, 404, 2)
	o.Pass(30 * 24 * time.Hour)
	see(long, 404, 1)
	see(face, 200, 1)
}

// A sender that stops in the middle holds nothing but his own slot.
func TestUploadSlow(t *testing.T) {
	o := town.New(t, "alice")
	p := enter(t, o, "alice")
	file := sealed(1000)
	put, _ := p.slot("a", len(file), ">")
	defer p.begin(put, file[:600], 1000).Close()
	if code := p.send(put, file); code != 409 {
		t.Fatal("the slot is not his alone:", code)
	}
	other, get := p.slot("b", len(file), ">")
	if code := p.send(other, file); code != 201 {
		t.Fatal("another upload waits:", code)
	}
	if res, b := p.do("GET", get, nil, 0); !bytes.Equal(b, file) {
		t.Fatal(res.Status)
	}
}
