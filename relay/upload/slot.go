// SPDX-License-Identifier: Apache-2.0

package upload

import (
	"errors"
	"mime"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"sotto/offline/blob"
	"sotto/relay"
	"sotto/xmpp"
)

// The namespaces of XEP-0363.
const (
	NS        = "urn:xmpp:http:upload:0"
	NSPurpose = "urn:xmpp:http:upload:purpose:0"
)

// Options are an operator's choices; zero values are defaults.
type Options struct {
	Keep  time.Duration // how long a file stays; default 30 days
	Max   int64         // bytes of one file; default 100 MiB
	Quota int64         // bytes of one account; default 1 GiB
}

const (
	slotTime    = 5 * time.Minute // XEP-0363 §"Implementation Notes"
	slotsMax    = 64              // open ones of an account: an album at once
	profileKeep = 365 * 24 * time.Hour
	profileMax  = 2 << 20
	profileAll  = 16 << 20 // bytes of an account
	profile     = "profile"
)

type upload struct {
	// fixed: set by Add, read-only after.
	s     *relay.Server
	opt   Options
	files *blob.Folder

	// shared: guarded by mu.
	mu    sync.Mutex
	slots map[string]*slot // by the secret of its PUT
	open  map[string]int   // slots, by account
}

// A slot is room for one file that has not come yet.
type slot struct {
	head  blob.Head
	id    string // of its GET
	until time.Time
	busy  bool // it is being written
	gone  bool // meanwhile its account was deleted
}

// Add registers the family, if the server has HTTPS.
func Add(s *relay.Server, o Options) {
	if s.URL() == "" {
		return
	}
	o.fill()
	files, err := s.Store().Blobs()
	if err != nil {
		s.Log().Error("uploads are off", "err", err)
		return
	}
	u := &upload{s: s, opt: o, files: files, slots: map[string]*slot{}, open: map[string]int{}}
	s.HandleIQ(NS, "request", u.request)
	s.Identity(relay.OnServer, "store", "file", "HTTP File Upload")
	s.Disco(relay.OnServer, features...)
	s.DiscoForm(relay.OnServer, form(o.Max))
	s.Host("upload."+s.Domain(), "Files", u.visit)
	s.OnDelete(u.forget)
	s.HandleHTTP("/upload/", u.serve)
	s.Store().Chore(func(time.Time) { u.sweep() })
}

func (o *Options) fill() {
	if o.Keep == 0 {
		o.Keep = 30 * 24 * time.Hour
	}
	if o.Max == 0 {
		o.Max = 100 << 20
	}
	if o.Quota == 0 {
		o.Quota = 1 << 30
	}
}

// form tells the largest size (XEP-0363 §"Discovering Support").
func form(size int64) *xmpp.Element {
	field := func(name, typ, value string) *xmpp.Element {
		return xmpp.El(xmpp.NSData, "field", "var", name, "type", typ).Add(xmpp.El(xmpp.NSData, "value").WithText(value))
	}
	return xmpp.El(xmpp.NSData, "x", "type", "result").Add(
		field("FORM_TYPE", "hidden", NS), field("max-file-size", "", strconv.FormatInt(size, 10)))
}

// request gives a slot at the domain itself.
func (u *upload) request(r *relay.Request) (*xmpp.Element, error) {
	if !r.To.IsZero() && !r.ToServer() {
		return nil, xmpp.Refuse(xmpp.Cancel, xmpp.ServiceUnavailable)
	}
	return u.answer(r.From, r.Type, r.Payload)
}

// answer gives a slot (XEP-0363 §"Requesting a slot").
func (u *upload) answer(from xmpp.JID, typ string, q *xmpp.Element) (*xmpp.Element, error) {
	if typ != "get" {
		return nil, xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	}
	h, quota, err := u.head(q)
	if err != nil {
		return nil, err
	}
	h.Owner = from.Local
	put, s, err := u.reserve(h, quota)
	if err != nil {
		return nil, err
	}
	name := "/" + url.PathEscape(h.Name)
	return xmpp.El(NS, "slot").Add(
		xmpp.El(NS, "put", "url", u.s.URL()+"/upload/"+put+name),
		xmpp.El(NS, "get", "url", u.s.URL()+"/upload/"+s.id+name)), nil
}

// head reads what is to be uploaded, and the quota that it counts to.
func (u *upload) head(q *xmpp.Element) (h blob.Head, quota int64, err error) {
	bad := xmpp.Refuse(xmpp.Modify, xmpp.BadRequest)
	size, err := strconv.ParseInt(q.Get("size"), 10, 64)
	if err != nil || size <= 0 || q.Get("filename") == "" {
		return h, 0, bad
	}
	h = blob.Head{Name: clean(q.Get("filename")), Size: size, Expires: u.s.Now().Add(u.opt.Keep)}
	if t := q.Get("content-type"); t != "" {
		if h.Type, _, err = mime.ParseMediaType(t); err != nil || len(h.Type) > 255 || !strings.Contains(h.Type, "/") {
			return h, 0, bad
		}
	}
	limit, quota := u.opt.Max, u.opt.Quota
	for _, p := range q.Children() {
		if p.Name.Space != NSPurpose {
			continue
		}
		switch p.Name.Local {
		case "message":
		case "ephemeral":
			t, err := time.Parse(time.RFC3339, p.Get("expire-before"))
			if err != nil || !t.After(u.s.Now()) {
				return h, 0, bad
			}
			if t.Before(h.Expires) {
				h.Expires = t
			}
		case profile:
			h.Class, h.Expires = profile, u.s.Now().Add(profileKeep)
			limit, quota = min(limit, profileMax), min(quota, profileAll)
		default:
			return h, 0, xmpp.Refuse(xmpp.Cancel, xmpp.FeatureNotImplemented).Say("files are not kept for ever here")
		}
	}
	if size > limit {
		return h, 0, xmpp.Refuse(xmpp.Modify, xmpp.NotAcceptable).With(xmpp.El(NS, "file-too-large").Add(
			xmpp.El(NS, "max-file-size").WithText(strconv.FormatInt(limit, 10))))
	}
	return h, quota, nil
}

// reserve opens a slot.
func (u *upload) reserve(h blob.Head, quota int64) (put string, s *slot, err error) {
	later := xmpp.Refuse(xmpp.Wait, xmpp.ResourceConstraint)
	retry := func(in time.Duration) *xmpp.Element {
		return xmpp.El(NS, "retry", "stamp", u.s.Now().Add(in).UTC().Format(time.RFC3339))
	}
	u.expire()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.open[h.Owner] >= slotsMax {
		return "", nil, later.Say("too many uploads have not come yet").With(retry(slotTime))
	}
	err = u.files.Reserve(h, quota)
	switch {
	case errors.Is(err, blob.ErrQuota):
		return "", nil, later.Say("your files here take all the room you have; old ones go with time").With(retry(24 * time.Hour))
	case errors.Is(err, blob.ErrFull):
		return "", nil, later.Say("the server's disk is almost full").With(retry(time.Hour))
	case err != nil:
		return "", nil, err
	}
	put = relay.NewID()
	s = &slot{head: h, id: relay.NewID(), until: u.s.Now().Add(slotTime)}
	u.slots[put] = s
	u.open[h.Owner]++
	return put, s, nil
}

// expire closes slots whose time is up, and gives their room back.
func (u *upload) expire() {
	now := u.s.Now()
	u.mu.Lock()
	defer u.mu.Unlock()
	for put, s := range u.slots {
		if !s.busy && !now.Before(s.until) {
			u.close(put, s)
			u.files.Release(s.head)
		}
	}
}

// close takes a slot off; u.mu is held.
func (u *upload) close(put string, s *slot) {
	delete(u.slots, put)
	if u.open[s.head.Owner]--; u.open[s.head.Owner] <= 0 {
		delete(u.open, s.head.Owner)
	}
}

func (u *upload) sweep() {
	u.expire()
	if _, err := u.files.Sweep(u.s.Now()); err != nil {
		u.s.Log().Error("uploaded files", "err", err)
	}
}

// forget erases what an account has uploaded.
func (u *upload) forget(user string) {
	u.mu.Lock()
	for put, s := range u.slots {
		if s.head.Owner != user {
			continue
		}
		if s.gone = true; !s.busy {
			u.close(put, s)
			u.files.Release(s.head)
		}
	}
	u.mu.Unlock()
	if err := u.files.Forget(user); err != nil {
		u.s.Log().Error("files of a deleted account", "err", err)
	}
}

// nameMax is the longest file name that is kept, in bytes.
const nameMax = 128

// clean makes a name of any text that is harmless in a path and in a header;
// the ending stays.
func clean(name string) string {
	name = path.Base(strings.ReplaceAll(name, "\\", "/"))
	name = strings.Map(func(r rune) rune {
		if r == '/' || r == utf8.RuneError || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if ext := path.Ext(name); len(name) > nameMax && len(ext) < 16 {
		name = cut(name, nameMax-len(ext)) + ext
	}
	name = cut(name, nameMax)
	if strings.Trim(name, ".") == "" {
		return "file"
	}
	return name
}

func cut(s string, n int) string {
	for len(s) > n {
		_, size := utf8.DecodeLastRuneInString(s)
		s = s[:len(s)-size]
	}
	return s
}
