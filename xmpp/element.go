// SPDX-License-Identifier: Apache-2.0

package xmpp

import "strings"

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

// Bytes writes e as a child of a client stream.
func (e *Element) Bytes() []byte { return e.Append(nil, NSClient) }

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
	return append(appendEscaped(dst, a.Value), '\'')
}
