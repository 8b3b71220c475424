// SPDX-License-Identifier: Apache-2.0

package transfer

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"sotto/xmpp"
)

// The namespaces of the format (XEP-0227 §4).
const (
	ns      = "urn:xmpp:pie:0"
	nsScram = ns + "#scram"
	nsXI    = "http://www.w3.org/2001/XInclude"
)

// What a file may hold: these bound our memory, not what can be imported.
const (
	partMax  = 32 << 20 // bytes of one part of an account
	depthMax = 100
	filesMax = 8 // files inside files inside files
)

// A file is read from its begin to its end, one part of an account at a time.
type file struct {
	path string
	dec  *xml.Decoder
	in   int // how many files this one is inside of
}

// where is the place of the last token.
func (f *file) where() string {
	line, _ := f.dec.InputPos()
	return fmt.Sprintf("%s:%d", f.path, line)
}

func (f *file) wrong(format string, args ...any) error {
	return fmt.Errorf("%s: "+format, append([]any{f.where()}, args...)...)
}

// next gives the next child of the element that we are in; nil at its end.
func (f *file) next() (*xml.StartElement, error) {
	for {
		t, err := f.dec.Token()
		if errors.Is(err, io.EOF) {
			return nil, f.wrong("the file ends too early")
		}
		if err != nil {
			return nil, f.wrong("%w", err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			return &t, nil
		case xml.EndElement:
			return nil, nil
		case xml.Directive:
			return nil, f.wrong("a DTD is not taken")
		}
	}
}

// part reads a whole element.
func (f *file) part(start *xml.StartElement) (*xmpp.Element, error) {
	from := f.dec.InputOffset()
	root := element(start)
	open := []*xmpp.Element{root}
	for len(open) > 0 {
		t, err := f.dec.Token()
		if errors.Is(err, io.EOF) {
			err = errors.New("the file ends too early")
		}
		if err != nil {
			return nil, f.wrong("%w", err)
		}
		if f.dec.InputOffset()-from > partMax || len(open) > depthMax {
			return nil, f.wrong("<%s/> is too large", root.Name.Local)
		}
		top := open[len(open)-1]
		switch t := t.(type) {
		case xml.StartElement:
			k := element(&t)
			top.Add(k)
			open = append(open, k)
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			top.WithText(string(t))
		}
	}
	return root, nil
}

func element(t *xml.StartElement) *xmpp.Element {
	el := xmpp.El(t.Name.Space, t.Name.Local)
	for _, a := range t.Attr {
		switch {
		case a.Name.Space == "xmlns" || a.Name.Space == "" && a.Name.Local == "xmlns":
		case a.Name.Space == "xml" || a.Name.Space == xmpp.NSXML:
			el.Attr = append(el.Attr, xmpp.Attr{Name: xmpp.Name{Space: xmpp.NSXML, Local: a.Name.Local}, Value: a.Value})
		default:
			el.Attr = append(el.Attr, xmpp.Attr{Name: xmpp.Name{Space: a.Name.Space, Local: a.Name.Local}, Value: a.Value})
		}
	}
	return el
}

func attr(t *xml.StartElement, name string) string {
	for _, a := range t.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// A reader goes through files and calls user for each account; it must read the
// account's parts up to its end.
type reader struct {
	user func(f *file, host, name, password string) error
	note func(string)
}

// open reads a file, whose root may be any level of the format, or all files of
// a folder: Prosody writes one for each account.
func (r *reader) open(path, host string, in int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		all, err := filepath.Glob(filepath.Join(path, "*.xml"))
		if err == nil && len(all) == 0 {
			err = fmt.Errorf("%s has no files that end in .xml", path)
		}
		for _, p := range all {
			if err == nil {
				err = r.open(p, host, in)
			}
		}
		return err
	}
	c, err := os.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	f := &file{path: path, dec: xml.NewDecoder(c), in: in}
	root, err := f.next()
	if err != nil {
		return err
	}
	return r.level(f, root, host)
}

// level takes one element of the format's skeleton.
func (r *reader) level(f *file, t *xml.StartElement, host string) error {
	switch (xmpp.Name{Space: t.Name.Space, Local: t.Name.Local}) {
	case xmpp.Name{Space: ns, Local: "server-data"}:
		return r.inside(f, host)
	case xmpp.Name{Space: ns, Local: "host"}:
		return r.inside(f, attr(t, "jid"))
	case xmpp.Name{Space: ns, Local: "user"}:
		return r.user(f, host, attr(t, "name"), attr(t, "password"))
	case xmpp.Name{Space: nsXI, Local: "include"}:
		return r.include(f, t, host)
	}
	if host == "" && f.in == 0 {
		return f.wrong("<%s/> is not the begin of an export by XEP-0227", t.Name.Local)
	}
	r.note(f.where() + ": <" + t.Name.Local + "/> is left out")
	return f.skip()
}

func (r *reader) inside(f *file, host string) error {
	for {
		t, err := f.next()
		if t == nil || err != nil {
			return err
		}
		if err := r.level(f, t, host); err != nil {
			return err
		}
	}
}

func (f *file) skip() error {
	if err := f.dec.Skip(); err != nil {
		return f.wrong("%w", err)
	}
	return nil
}

// include opens a file beside this one (XEP-0227 §5), and none elsewhere.
func (r *reader) include(f *file, t *xml.StartElement, host string) error {
	href := attr(t, "href")
	if attr(t, "parse") != "" || attr(t, "xpointer") != "" || !filepath.IsLocal(href) || strings.Contains(href, ":") {
		return f.wrong("it includes %q; only files beside it are read", href)
	}
	if f.in >= filesMax {
		return f.wrong("files include each other")
	}
	if err := r.open(filepath.Join(filepath.Dir(f.path), href), host, f.in+1); err != nil {
		return err
	}
	return f.skip()
}
