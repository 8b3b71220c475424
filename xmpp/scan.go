// SPDX-License-Identifier: Apache-2.0

package xmpp

import "bytes"

// A scan is the state of one element that is being read. It never looks at a
// byte twice, however small the pieces are in which the bytes come.
type scan struct {
	at       int  // offset of the token that is being read
	look     int  // how far its end has been looked for
	quote    byte // the quote open at look
	tag      tag
	root     tag  // the element's own start tag
	space    span // its namespace, unless it inherits the stream's
	local    span
	inherits bool
	open     []level
	binds    []bind
	kids     []kid
	alien    bool // a prefix is used that its own child does not declare
}

// A level is one open element.
type level struct {
	name  span // qualified
	binds int  // length of scan.binds outside of it
}

// A bind is one namespace declaration; the prefix of a default one is empty.
type bind struct {
	prefix, uri span
	depth       int
}

// A kid is one direct child of the stanza.
type kid struct {
	local, space span
	all          span
	inherits     bool // its namespace is that of the stream
}

func (s *scan) reset() {
	*s = scan{tag: s.tag, root: s.root, open: s.open[:0], binds: s.binds[:0], kids: s.kids[:0]}
}

// more reads on in b, whose element starts at 0. It returns the element's
// length, or 0 when b holds only a part of it.
func (s *scan) more(b []byte, l *Limits, head *Header) (int, error) {
	for {
		if s.at >= len(b) {
			return 0, nil
		}
		if b[s.at] != '<' {
			ok, err := s.text(b)
			if !ok || err != nil {
				return 0, err
			}
			continue
		}
		end, err := s.token(b)
		if end <= 0 || err != nil {
			return 0, err
		}
		if b[s.at+1] == '!' { // CDATA inside an element (RFC 6120 allows it)
			s.next(end)
			continue
		}
		if err := s.one(b[:end], l, head); err != nil {
			return 0, err
		}
		s.next(end)
		if len(s.open) == 0 {
			return end, nil
		}
	}
}

func (s *scan) next(at int) { s.at, s.look, s.quote = at, at, 0 }

// text reads character data up to the next tag.
func (s *scan) text(b []byte) (bool, error) {
	n := bytes.IndexByte(b[s.look:], '<')
	if n < 0 {
		s.look = len(b)
		return false, nil
	}
	end := s.look + n
	t := b[s.at:end]
	if err := checkChars(t); err != nil {
		return false, err
	}
	if err := checkText(t); err != nil {
		return false, err
	}
	s.next(end)
	return true, nil
}

// token finds the end of the tag or CDATA section that starts at s.at.
func (s *scan) token(b []byte) (int, error) {
	if len(b)-s.at < 2 {
		return 0, nil
	}
	if c := b[s.at+1]; c == '!' || c == '?' {
		return s.cdata(b)
	}
	if s.look < s.at+1 {
		s.look = s.at + 1
	}
	end, quote := tagEnd(b, s.look, s.quote)
	if end < 0 {
		s.look, s.quote = len(b), quote
		return 0, nil
	}
	return end, checkChars(b[s.at:end])
}

var cdataStart = []byte("<![CDATA[")

// cdata reads a CDATA section; comments, processing instructions and DTDs are
// not XMPP (RFC 6120 §11.1).
func (s *scan) cdata(b []byte) (int, error) {
	have := b[s.at:min(len(b), s.at+len(cdataStart))]
	if !bytes.HasPrefix(cdataStart, have) || len(s.open) == 0 {
		return 0, errRestricted
	}
	if len(have) < len(cdataStart) {
		return 0, nil
	}
	from := max(s.look-2, s.at+len(cdataStart))
	n := bytes.Index(b[from:], []byte("]]>"))
	if n < 0 {
		s.look = len(b)
		return 0, nil
	}
	end := from + n + 3
	return end, checkChars(b[s.at:end])
}

// one takes the tag that fills b[s.at:].
func (s *scan) one(b []byte, l *Limits, head *Header) error {
	if len(b)-s.at < 3 {
		return errSyntax
	}
	if err := s.tag.parse(b, s.at, l.Attrs); err != nil {
		return err
	}
	if s.tag.end {
		return s.close(b)
	}
	if len(s.open) >= l.Depth || len(s.open) == 1 && l.Kids > 0 && len(s.kids) >= l.Kids {
		return errTooMuch
	}
	depth := len(s.open)
	s.open = append(s.open, level{s.tag.name, len(s.binds)})
	if err := s.declare(b, depth, l); err != nil {
		return err
	}
	if err := s.names(b, depth, head); err != nil {
		return err
	}
	empty := s.tag.empty
	if depth == 0 {
		s.root, s.tag = s.tag, s.root
	}
	if empty {
		s.leave(len(b))
	}
	return nil
}

func (s *scan) close(b []byte) error {
	if len(s.open) == 0 {
		return errSyntax
	}
	if !bytes.Equal(s.open[len(s.open)-1].name.of(b), s.tag.name.of(b)) {
		return errSyntax
	}
	s.leave(len(b))
	return nil
}

func (s *scan) leave(end int) {
	last := len(s.open) - 1
	s.binds = s.binds[:s.open[last].binds]
	s.open = s.open[:last]
	if last == 1 {
		s.kids[len(s.kids)-1].all.to = end
	}
}

// declare notes the namespace declarations of the tag.
func (s *scan) declare(b []byte, depth int, l *Limits) error {
	for i := range s.tag.attrs {
		a := &s.tag.attrs[i]
		name := a.name.of(b)
		if a.colon < 0 && string(name) != "xmlns" || a.colon >= 0 && string(b[a.name.from:a.colon]) != "xmlns" {
			continue
		}
		d := bind{uri: a.value, depth: depth}
		if a.colon >= 0 {
			d.prefix = span{a.colon + 1, a.name.to}
		}
		if err := checkBind(d.prefix.of(b), d.uri.of(b)); err != nil {
			return err
		}
		if len(s.binds) >= l.NSDecls {
			return errTooMuch
		}
		s.binds = append(s.binds, d)
	}
	return nil
}

// checkBind is Namespaces in XML §3 and §5; a namespace name with an escape in
// it, or with what we would have to escape, is refused, for parsers differ on it.
func checkBind(prefix, uri []byte) error {
	if bytes.ContainsAny(uri, "&<>'\"\t\r\n ") {
		return errBadPrefix
	}
	isXML := string(uri) == NSXML
	switch {
	case string(prefix) == "xmlns", string(uri) == "http://www.w3.org/2000/xmlns/":
		return errBadPrefix
	case (string(prefix) == "xml") != isXML:
		return errBadPrefix
	case len(prefix) > 0 && len(uri) == 0:
		return errBadPrefix
	}
	return nil
}

// names resolves the prefixes of the tag and looks for twins among its
// attributes (Namespaces in XML §6.3).
func (s *scan) names(b []byte, depth int, head *Header) error {
	space, local, inherits, err := s.resolve(b, depth, s.tag.name, s.tag.colon, head)
	if err != nil {
		return err
	}
	if depth == 0 {
		s.space, s.local, s.inherits = space, local, inherits
	}
	if depth == 1 {
		s.kids = append(s.kids, kid{local: local, space: space, inherits: inherits, all: span{from: s.at}})
	}
	attrs := s.tag.attrs
	for i := range attrs {
		name := attrs[i].name.of(b)
		for j := range i {
			if bytes.Equal(name, attrs[j].name.of(b)) {
				return errSyntax
			}
		}
		if attrs[i].colon < 0 || string(b[attrs[i].name.from:attrs[i].colon]) == "xmlns" {
			continue
		}
		if err := s.prefixed(b, depth, i, head); err != nil {
			return err
		}
	}
	return nil
}

// prefixed checks the attribute i, which has a prefix.
func (s *scan) prefixed(b []byte, depth, i int, head *Header) error {
	attrs := s.tag.attrs
	own := func(p []byte) bool { return string(p) == "xmlns" || string(p) == "xml" } // nobody else's namespace
	if own(b[attrs[i].name.from:attrs[i].colon]) {
		return nil
	}
	uri, local, _, err := s.resolve(b, depth, attrs[i].name, attrs[i].colon, head)
	if err != nil {
		return err
	}
	for j := range i {
		if attrs[j].colon < 0 || own(b[attrs[j].name.from:attrs[j].colon]) {
			continue
		}
		u, l, _, err := s.resolve(b, depth, attrs[j].name, attrs[j].colon, head)
		if err != nil {
			return err
		}
		if bytes.Equal(l.of(b), local.of(b)) && bytes.Equal(u.of(b), uri.of(b)) {
			return errSyntax
		}
	}
	return nil
}

// resolve finds the namespace of a qualified name. inherits says that it comes
// from the stream's header.
func (s *scan) resolve(b []byte, depth int, name span, colon int, head *Header) (space, local span, inherits bool, err error) {
	local = name
	var prefix []byte
	if colon >= 0 {
		prefix, local = b[name.from:colon], span{colon + 1, name.to}
	}
	for i := len(s.binds) - 1; i >= 0; i-- {
		if bytes.Equal(s.binds[i].prefix.of(b), prefix) {
			if colon >= 0 && depth > 0 && s.binds[i].depth == 0 {
				s.alien = true
			}
			if colon < 0 && depth > 0 && s.binds[i].depth == 0 && string(s.binds[i].uri.of(b)) != NSClient {
				s.alien = true
			}
			return s.binds[i].uri, local, false, nil
		}
	}
	if colon < 0 {
		return span{}, local, true, nil
	}
	if head == nil || !head.has(prefix) {
		return span{}, local, false, errBadPrefix
	}
	s.alien = true
	return span{}, local, true, nil
}
