// SPDX-License-Identifier: Apache-2.0

package frame

import (
	"bytes"
	"io"

	"sotto/xmpp"
)

// NS is the namespace of the frames that begin and end a stream.
const NS = "urn:ietf:params:xml:ns:xmpp-framing"

const end = "</stream:stream>"

var (
	errWhole = &xmpp.StreamError{Cond: xmpp.StreamNotWellFormed, Text: "a frame must be exactly one element"}
	errOpen  = &xmpp.StreamError{Cond: xmpp.StreamBadFormat, Text: "<open/> is not where it should be"}
)

// In gives the bytes of a stream that a client's frame stands for; header says
// that a stream must begin here. io.EOF: the client closes what has not begun.
func In(b []byte, header bool, l xmpp.Limits) ([]byte, error) {
	b = bytes.Trim(b, " \t\r\n")
	if len(b) == 0 {
		return nil, errWhole
	}
	n, err := xmpp.First(b, l)
	if err != nil {
		return nil, err
	}
	if n != len(b) {
		return nil, errWhole
	}
	if bytes.Contains(b, []byte(NS)) {
		el, err := xmpp.Parse(b, xmpp.NSClient)
		switch {
		case err != nil:
			return nil, err
		case el.Is(NS, "close") && header:
			return nil, io.EOF
		case el.Is(NS, "close"):
			return []byte(end), nil
		case el.Is(NS, "open"):
			if !header || len(el.Children()) > 0 {
				return nil, errOpen
			}
			return Header(el), nil
		}
	}
	if header {
		return nil, errOpen
	}
	return b, nil
}

// Header is the start tag of a stream with the attributes of an <open/>.
func Header(el *xmpp.Element) []byte {
	b := append([]byte(nil), "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"...)
	for _, name := range []string{"to", "from", "id", "version", "xml:lang"} {
		b = xmpp.AppendAttr(b, name, el.Get(name))
	}
	return append(b, '>')
}

// Out cuts what a server writes on a stream into frames.
func Out(b []byte, put func(frame []byte) error) error {
	for len(b) > 0 {
		f, rest, err := cut(b)
		if err != nil {
			return err
		}
		if b = rest; f == nil {
			continue
		}
		if err := put(f); err != nil {
			return err
		}
	}
	return nil
}

const close = "<close xmlns='" + NS + "'/>"

// IsClose says whether a frame from Out ends the stream.
func IsClose(f []byte) bool { return string(f) == close }

// IsOpen says whether a frame from Out begins a stream.
func IsOpen(f []byte) bool { return bytes.HasPrefix(f, []byte("<open xmlns='"+NS+"'")) }

// IsError says whether a frame from Out is a stream error.
func IsError(f []byte) bool { return bytes.HasPrefix(f, []byte("<stream:error")) }

var ours = xmpp.Limits{Depth: 1 << 10, Attrs: 1 << 10, NSDecls: 1 << 16}

// cut takes the first frame; nil: nothing is said for these bytes.
func cut(b []byte) (f, rest []byte, err error) {
	switch {
	case bytes.HasPrefix(b, []byte("<?xml ")):
		n := bytes.IndexByte(b, '>')
		return nil, b[n+1:], nil
	case bytes.HasPrefix(b, []byte(end)):
		return []byte(close), b[len(end):], nil
	case bytes.HasPrefix(b, []byte("<stream:stream ")):
		return open(b)
	}
	const features, failure = "<stream:features", "<stream:error"
	for _, name := range []string{features, failure} {
		if bytes.HasPrefix(b, []byte(name)) {
			b = splice(b, len(name), " xmlns:stream='"+xmpp.NSStream+"'")
		}
	}
	n, err := xmpp.First(b, ours)
	if err != nil || n == 0 {
		return nil, nil, errWhole
	}
	f, rest = b[:n], b[n:]
	if at := bare(f); at > 0 {
		f = splice(f, at, " xmlns='"+xmpp.NSClient+"'")
	}
	return f, rest, nil
}

// open makes an <open/> of our header: the same attributes, but the namespaces.
func open(b []byte) (f, rest []byte, err error) {
	n := bytes.IndexByte(b, '>') // values have none: they are escaped
	if n < 0 {
		return nil, nil, errWhole
	}
	tag := append(append([]byte(nil), b[:n]...), "/>"...)
	el, err := xmpp.Parse(tag, xmpp.NSClient)
	if err != nil {
		return nil, nil, err
	}
	f = []byte("<open xmlns='" + NS + "'")
	for _, name := range []string{"to", "from", "id", "version", "xml:lang"} {
		f = xmpp.AppendAttr(f, name, el.Get(name))
	}
	return append(f, "/>"...), b[n+1:], nil
}

// bare is where a namespace is missing in a start tag that inherits the
// stream's; 0: there is one, or a prefix.
func bare(b []byte) int {
	at := 1
	for at < len(b) && b[at] != ' ' && b[at] != '>' && b[at] != '/' {
		if b[at] == ':' {
			return 0
		}
		at++
	}
	// Where we write a default namespace, it stands first.
	if bytes.HasPrefix(b[at:], []byte(" xmlns='")) {
		return 0
	}
	return at
}

func splice(b []byte, at int, s string) []byte {
	out := make([]byte, 0, len(b)+len(s))
	return append(append(append(out, b[:at]...), s...), b[at:]...)
}
