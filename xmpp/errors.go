// SPDX-License-Identifier: Apache-2.0

package xmpp

import "errors"

// ErrorType says what the sender may do next (RFC 6120 §8.3.2).
type ErrorType string

// The error types.
const (
	Auth     ErrorType = "auth"
	Cancel   ErrorType = "cancel"
	Continue ErrorType = "continue"
	Modify   ErrorType = "modify"
	Wait     ErrorType = "wait"
)

// Condition is the word of a stanza error on the wire (RFC 6120 §8.3.3).
type Condition string

// The defined conditions.
const (
	BadRequest            Condition = "bad-request"
	Conflict              Condition = "conflict"
	FeatureNotImplemented Condition = "feature-not-implemented"
	Forbidden             Condition = "forbidden"
	Gone                  Condition = "gone"
	InternalError         Condition = "internal-server-error"
	ItemNotFound          Condition = "item-not-found"
	JIDMalformed          Condition = "jid-malformed"
	NotAcceptable         Condition = "not-acceptable"
	NotAllowed            Condition = "not-allowed"
	NotAuthorized         Condition = "not-authorized"
	PolicyViolation       Condition = "policy-violation"
	RecipientUnavailable  Condition = "recipient-unavailable"
	Redirect              Condition = "redirect"
	RegistrationRequired  Condition = "registration-required"
	RemoteServerNotFound  Condition = "remote-server-not-found"
	RemoteServerTimeout   Condition = "remote-server-timeout"
	ResourceConstraint    Condition = "resource-constraint"
	ServiceUnavailable    Condition = "service-unavailable"
	SubscriptionRequired  Condition = "subscription-required"
	UndefinedCondition    Condition = "undefined-condition"
	UnexpectedRequest     Condition = "unexpected-request"
)

// codes are the numbers of old (XEP-0086 §3); some clients still ask for them:
// profanity publishes its OMEMO keys only after an item-not-found with 404.
var codes = map[Condition]string{
	BadRequest: "400", Conflict: "409", FeatureNotImplemented: "501", Forbidden: "403", Gone: "302",
	InternalError: "500", ItemNotFound: "404", JIDMalformed: "400", NotAcceptable: "406", NotAllowed: "405",
	NotAuthorized: "401", RecipientUnavailable: "404", Redirect: "302", RegistrationRequired: "407",
	RemoteServerNotFound: "404", RemoteServerTimeout: "504", ResourceConstraint: "500",
	ServiceUnavailable: "503", SubscriptionRequired: "407", UndefinedCondition: "500", UnexpectedRequest: "400",
}

// A StanzaError answers one stanza; the stream lives on (RFC 6120 §8.3).
type StanzaError struct {
	Type  ErrorType // what the sender may do next
	Cond  Condition // the word on the wire
	Text  string    // for people; may be empty
	App   *Element  // application-specific condition, or nil
	Cause error     // for our log; never sent
}

// Refuse makes a StanzaError.
func Refuse(t ErrorType, c Condition) *StanzaError { return &StanzaError{Type: t, Cond: c} }

// With adds an application-specific condition (RFC 6120 §8.3.4).
func (e *StanzaError) With(app *Element) *StanzaError { e.App = app; return e }

// Say adds a text for people.
func (e *StanzaError) Say(text string) *StanzaError { e.Text = text; return e }

func (e *StanzaError) Error() string {
	s := "stanza error " + string(e.Cond)
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *StanzaError) Unwrap() error { return e.Cause }

// Element is the <error/> child.
func (e *StanzaError) Element() *Element {
	el := El(NSClient, "error", "type", string(e.Type), "code", codes[e.Cond]).Add(El(NSStanzas, string(e.Cond)))
	if e.Text != "" {
		el.Add(El(NSStanzas, "text").WithText(e.Text))
	}
	return el.Add(e.App)
}

// StanzaErrorOf reads an <error/> child, as a client does; nil when there is none.
func StanzaErrorOf(stanza *Element) *StanzaError {
	el := stanza.Child("", "error")
	if el == nil {
		return nil
	}
	e := &StanzaError{Type: ErrorType(el.Get("type")), Cond: UndefinedCondition, Text: el.Child(NSStanzas, "text").Text()}
	for _, k := range el.Children() {
		switch {
		case k.Name.Space == NSStanzas && k.Name.Local != "text":
			e.Cond = Condition(k.Name.Local)
		case k.Name.Space != NSStanzas:
			e.App = k
		}
	}
	return e
}

// The stream error conditions that we send (RFC 6120 §4.9.3).
const (
	StreamBadFormat           = "bad-format"
	StreamBadNamespacePrefix  = "bad-namespace-prefix"
	StreamConflict            = "conflict"
	StreamConnectionTimeout   = "connection-timeout"
	StreamHostUnknown         = "host-unknown"
	StreamImproperAddressing  = "improper-addressing"
	StreamInternalError       = "internal-server-error"
	StreamInvalidFrom         = "invalid-from"
	StreamInvalidNamespace    = "invalid-namespace"
	StreamNotAuthorized       = "not-authorized"
	StreamNotWellFormed       = "not-well-formed"
	StreamPolicyViolation     = "policy-violation"
	StreamReset               = "reset"
	StreamResourceConstraint  = "resource-constraint"
	StreamRestrictedXML       = "restricted-xml"
	StreamSystemShutdown      = "system-shutdown"
	StreamUndefined           = "undefined-condition"
	StreamUnsupportedEncoding = "unsupported-encoding"
	StreamUnsupportedStanza   = "unsupported-stanza-type"
	StreamUnsupportedVersion  = "unsupported-version"
)

// A StreamError ends the stream (RFC 6120 §4.9).
type StreamError struct {
	Cond  string
	Text  string
	App   *Element
	Cause error
}

func (e *StreamError) Error() string {
	s := "stream error " + e.Cond
	if e.Text != "" {
		s += ": " + e.Text
	}
	if e.Cause != nil {
		s += ": " + e.Cause.Error()
	}
	return s
}

// Unwrap gives the cause.
func (e *StreamError) Unwrap() error { return e.Cause }

// Element is the <stream:error/> in the stream's namespace.
func (e *StreamError) Element() *Element {
	el := El(NSStream, "error").Add(El(NSStreams, e.Cond))
	if e.Text != "" {
		el.Add(El(NSStreams, "text").WithText(e.Text))
	}
	return el.Add(e.App)
}

// Bytes is it on the wire, in a stream of either end.
func (e *StreamError) Bytes() []byte {
	b := append([]byte(nil), "<stream:error>"...)
	for _, k := range e.Element().Children() {
		b = k.Append(b, NSClient)
	}
	return append(b, "</stream:error>"...)
}

// An AuthError answers one login (RFC 6120 §6.5).
type AuthError struct {
	Cond string
	Text string
}

func (e *AuthError) Error() string { return "login refused: " + e.Cond + " " + e.Text }

// ErrNoUser says that there is no such account; the peer never learns it.
var ErrNoUser = errors.New("no such user")

// ErrorReply answers s with e: addresses swapped, nothing of the content.
func ErrorReply(s *Stanza, e *StanzaError) *Element {
	el := reply(s, "error")
	return el.Add(e.Element())
}

// ResultOf answers an IQ.
func ResultOf(s *Stanza, payload *Element) *Element { return reply(s, "result").Add(payload) }

func reply(s *Stanza, typ string) *Element {
	el := El(NSClient, s.Name.Local, "type", typ, "id", s.ID)
	if s.HasTo {
		el.Set("from", s.To.String())
	}
	if s.HasFrom {
		el.Set("to", s.From.String())
	}
	return el
}

// notBound is how a stream ends that got no session.
func notBound(err error) error {
	var all *StreamError
	if errors.As(err, &all) {
		return all
	}
	return &StreamError{Cond: StreamInternalError, Cause: err}
}
