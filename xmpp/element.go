// SPDX-License-Identifier: Apache-2.0

package xmpp

import (
	"bytes"
	"strings"
)

// Name is an expanded XML name.
type Name struct{ Space, Local string }

// Attr is one attribute; plain ones have no namespace.
type Attr struct {
	Name  Name
	Value string
}

// Node is a child element or, when El is nil, character data.
type Node struct {
	El   *Element
	Text string
}

// Element is one XML element as a tree. Its getters may be called on nil.
type Element struct {
	Name  Name
	Attr  []Attr
	Nodes []Node
}

// El makes an element; attrs are plain names and values, empty values are left out.
func El(space, local string, attrs ...string) *Element {
	e := &Element{Name: Name{space, local}}
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i+1] != "" {
			e.Attr = append(e.Attr, Attr{Name{"", attrs[i]}, attrs[i+1]})
		}
	}
	return e
}

// Get is the value of a plain attribute, or of "xml:lang".
func (e *Element) Get(attr string) string {
	if e == nil {
		return ""
	}
	n := attrName(attr)
	for i := range e.Attr {
		if e.Attr[i].Name == n {
			return e.Attr[i].Value
		}
	}
	return ""
}

func attrName(attr string) Name {
	if l, ok := strings.CutPrefix(attr, "xml:"); ok {
		return Name{NSXML, l}
	}
	return Name{"", attr}
}

// Set sets a plain attribute; an empty value removes it.
func (e *Element) Set(attr, value string) *Element {
	n := attrName(attr)
	for i := range e.Attr {
		if e.Attr[i].Name != n {
			continue
		}
		if value == "" {
			e.Attr = append(e.Attr[:i:i], e.Attr[i+1:]...)
		} else {
			e.Attr[i].Value = value
		}
		return e
	}
	if value != "" {
		e.Attr = append(e.Attr, Attr{n, value})
	}
	return e
}

// Is says whether e has this name; "" stands for any.
func (e *Element) Is(space, local string) bool {
	return e != nil && (space == "" || e.Name.Space == space) && (local == "" || e.Name.Local == local)
}

// Child is the first direct child of that name, or nil; "" stands for any.
func (e *Element) Child(space, local string) *Element {
	if e == nil {
		return nil
	}
	for i := range e.Nodes {
		if e.Nodes[i].El.Is(space, local) {
			return e.Nodes[i].El
		}
	}
	return nil
}

// Children are the direct child elements.
func (e *Element) Children() []*Element {
	if e == nil {
		return nil
	}
	var all []*Element
	for i := range e.Nodes {
		if e.Nodes[i].El != nil {
			all = append(all, e.Nodes[i].El)
		}
	}
	return all
}

// Add appends child elements; nil ones are passed over.
func (e *Element) Add(kids ...*Element) *Element {
	for _, k := range kids {
		if k != nil {
			e.Nodes = append(e.Nodes, Node{El: k})
		}
	}
	return e
}

// Text is the character data directly inside e.
func (e *Element) Text() string {
	if e == nil {
		return ""
	}
	if len(e.Nodes) == 1 {
		return e.Nodes[0].Text
	}
	var b strings.Builder
	for i := range e.Nodes {
		b.WriteString(e.Nodes[i].Text)
	}
	return b.String()
}

// WithText appends character data.
func (e *Element) WithText(s string) *Element {
	if s != "" {
		e.Nodes = append(e.Nodes, Node{Text: s})
	}
	return e
}

// Clone copies the tree.
func (e *Element) Clone() *Element {
	if e == nil {
		return nil
	}
	c := &Element{Name: e.Name, Attr: append([]Attr(nil), e.Attr...)}
	for _, n := range e.Nodes {
		c.Nodes = append(c.Nodes, Node{n.El.Clone(), n.Text})
	}
	return c
}

// With is e with another value of a plain attribute; the children are shared.
func (e *Element) With(attr, value string) *Element {
	c := &Element{Name: e.Name, Attr: append(make([]Attr, 0, len(e.Attr)+1), e.Attr...), Nodes: e.Nodes}
	return c.Set(attr, value)
}

// Bytes writes e as a child of a client stream.
func (e *Element) Bytes() []byte { return e.Append(make([]byte, 0, 256), NSClient) }

// Append writes e where outer is the default namespace. No prefix is used but
// xml:, and one made up for an attribute that has a namespace.
func (e *Element) Append(dst []byte, outer string) []byte {
	dst = append(append(dst, '<'), e.Name.Local...)
	if e.Name.Space != outer {
		dst = append(appendEscaped(append(dst, " xmlns='"...), e.Name.Space), '\'')
	}
	for i := range e.Attr {
		dst = appendAnyAttr(dst, &e.Attr[i], i)
	}
	if len(e.Nodes) == 0 {
		return append(dst, "/>"...)
	}
	dst = append(dst, '>')
	for i := range e.Nodes {
		if k := e.Nodes[i].El; k != nil {
			dst = k.Append(dst, e.Name.Space)
		} else {
			dst = appendEscaped(dst, e.Nodes[i].Text)
		}
	}
	dst = append(append(dst, "</"...), e.Name.Local...)
	return append(dst, '>')
}

func appendAnyAttr(dst []byte, a *Attr, i int) []byte {
	name := a.Name.Local
	switch a.Name.Space {
	case "":
	case NSXML:
		name = "xml:" + name
	default:
		p := "n" + itoa(i)
		dst = append(append(append(dst, " xmlns:"...), p...), "='"...)
		dst = append(appendEscaped(dst, a.Name.Space), '\'')
		name = p + ":" + name
	}
	dst = append(append(append(dst, ' '), name...), "='"...)
	return append(appendValue(dst, a.Value), '\'')
}

// Parse reads one element where outer is the default namespace, as strictly as
// the stream's decoder does.
func Parse(raw []byte, outer string) (*Element, error) {
	var c scan
	head := Header{NS: outer}
	lim := Limits{Depth: AfterAuth.Depth, Attrs: AfterAuth.Attrs, NSDecls: AfterAuth.NSDecls}
	raw = trimSpace(raw)
	if len(raw) == 0 || raw[0] != '<' {
		return nil, errSyntax
	}
	n, err := c.more(raw, &lim, &head)
	if err != nil {
		return nil, err
	}
	if n == 0 || len(trimSpace(raw[n:])) > 0 {
		return nil, errSyntax
	}
	return build(raw[:n], &head)
}

// A builder makes the tree of bytes that a scan has verified.
type builder struct {
	head *Header
	tag  tag
	open []*Element
	ns   []scope
}

type scope struct {
	prefix, uri string
	depth       int
}

func build(b []byte, head *Header) (*Element, error) {
	m := builder{head: head}
	for at := 0; at < len(b); {
		next, root, err := m.token(b, at)
		if err != nil || root != nil {
			return root, err
		}
		at = next
	}
	return nil, errSyntax
}

// token takes one tag, text or CDATA section; root is set at the end.
func (m *builder) token(b []byte, at int) (next int, root *Element, err error) {
	if b[at] != '<' {
		n := bytes.IndexByte(b[at:], '<')
		if n < 0 {
			return 0, nil, errSyntax
		}
		m.text(unescape(b[at : at+n]))
		return at + n, nil, nil
	}
	if b[at+1] == '!' {
		n := bytes.Index(b[at:], []byte("]]>"))
		if n < 0 || len(m.open) == 0 {
			return 0, nil, errSyntax
		}
		m.text(newlines(b[at+len(cdataStart) : at+n]))
		return at + n + 3, nil, nil
	}
	end, _ := tagEnd(b, at+1, 0)
	if end < 0 {
		return 0, nil, errSyntax
	}
	if err := m.tag.parse(b[:end], at, len(b)); err != nil {
		return 0, nil, err
	}
	if m.tag.end {
		return end, m.leave(), nil
	}
	if err := m.enter(b); err != nil {
		return 0, nil, err
	}
	if m.tag.empty {
		return end, m.leave(), nil
	}
	return end, nil, nil
}

func newlines(b []byte) string {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(b, []byte("\r"), []byte("\n")))
}

func (m *builder) text(s string) {
	if e := m.open[len(m.open)-1]; s != "" {
		if n := len(e.Nodes); n > 0 && e.Nodes[n-1].El == nil {
			e.Nodes[n-1].Text += s
			return
		}
		e.Nodes = append(e.Nodes, Node{Text: s})
	}
}

func (m *builder) enter(b []byte) error {
	depth := len(m.open)
	for _, a := range m.tag.attrs {
		if p, ok := declared(b, a); ok {
			m.ns = append(m.ns, scope{p, intern(a.value.of(b)), depth})
		}
	}
	space, ok := m.space(prefixOf(b, m.tag.name, m.tag.colon))
	if !ok {
		return errBadPrefix
	}
	e := &Element{Name: Name{space, localOf(b, m.tag.name, m.tag.colon)}}
	for _, a := range m.tag.attrs {
		if _, ok := declared(b, a); ok {
			continue
		}
		n := Name{Local: localOf(b, a.name, a.colon)}
		if a.colon >= 0 {
			if n.Space, ok = m.space(prefixOf(b, a.name, a.colon)); !ok {
				return errBadPrefix
			}
		}
		e.Attr = append(e.Attr, Attr{n, valueOf(a.value.of(b))})
	}
	if depth > 0 {
		m.open[depth-1].Nodes = append(m.open[depth-1].Nodes, Node{El: e})
	}
	m.open = append(m.open, e)
	return nil
}

func (m *builder) leave() (root *Element) {
	last := len(m.open) - 1
	for len(m.ns) > 0 && m.ns[len(m.ns)-1].depth == last {
		m.ns = m.ns[:len(m.ns)-1]
	}
	if last == 0 {
		root = m.open[0]
	}
	m.open = m.open[:last]
	return root
}

func (m *builder) space(prefix string) (string, bool) {
	for i := len(m.ns) - 1; i >= 0; i-- {
		if m.ns[i].prefix == prefix {
			return m.ns[i].uri, true
		}
	}
	switch prefix {
	case "":
		return m.head.NS, true
	case "xml":
		return NSXML, true
	}
	uri := m.head.uri([]byte(prefix))
	return uri, uri != ""
}

// declared says whether an attribute is a namespace declaration, and of what.
func declared(b []byte, a attrSpan) (string, bool) {
	if a.colon < 0 {
		return "", string(a.name.of(b)) == "xmlns"
	}
	if string(b[a.name.from:a.colon]) != "xmlns" {
		return "", false
	}
	return string(b[a.colon+1 : a.name.to]), true
}

func prefixOf(b []byte, name span, colon int) string {
	if colon < 0 {
		return ""
	}
	return string(b[name.from:colon])
}

func localOf(b []byte, name span, colon int) string {
	if colon < 0 {
		return intern(name.of(b))
	}
	return intern(b[colon+1 : name.to])
}
