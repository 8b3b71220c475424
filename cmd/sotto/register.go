// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"golang.org/x/term"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

type registerCmd struct {
	Link string `arg:"" optional:"" help:"The invitation: its page, or the xmpp: line on it. Without one, where anybody may make an account."`
	loginCmd

	invite invitation
}

// An invitation is what a link says (XEP-0401 §5, XEP-0445 §2).
type invitation struct {
	domain, user, token string
	account             bool
}

// linkOf finds the xmpp: line on a page of any server.
var linkOf = regexp.MustCompile(`xmpp:[^"'<>\s\\]+preauth=[^"'<>\s\\]+`)

const pageMax = 1 << 20

// read finds out who somebody wants to be.
func (r *registerCmd) read(ctx context.Context, as string) (string, error) {
	if r.Link == "" {
		return as, nil
	}
	if strings.HasPrefix(r.Link, "https://") {
		if err := r.fetch(ctx); err != nil {
			return "", err
		}
	}
	i, err := readLink(r.Link)
	if err != nil {
		return "", err
	}
	r.invite = i
	local, domain, there := strings.Cut(cmp.Or(as, i.user), "@")
	switch {
	case !i.account:
		return "", &failure{Code: exitUsage, What: "this invitation is for people who have an account", Hint: "add who sent it: sotto add WHO"}
	case local == "":
		return "", &failure{Code: exitUsage, What: "it is not said what your name shall be", Hint: "sotto -as NAME register LINK"}
	case there && domain != i.domain:
		return "", &failure{Code: exitUsage, What: "the invitation is to " + i.domain, Hint: "sotto -as " + local + " register LINK"}
	case i.user != "" && local != i.user:
		return "", &failure{Code: exitUsage, What: "the invitation is for the name " + i.user, Hint: "sotto register LINK"}
	}
	return local + "@" + i.domain, nil
}

// readLink reads an xmpp: line.
func readLink(link string) (i invitation, err error) {
	wrong := &failure{Code: exitUsage, What: fmt.Sprintf("%q is no invitation", link), Hint: "it looks like xmpp:chat.example?register;preauth=..., or https://chat.example/invite/..."}
	rest, ok := strings.CutPrefix(link, "xmpp:")
	who, query, asks := strings.Cut(rest, "?")
	if !ok || !asks {
		return i, wrong
	}
	if who, err = url.PathUnescape(who); err != nil {
		return i, wrong
	}
	j, err := xmpp.ParseJID(who)
	if err != nil || !j.IsBare() {
		return i, wrong
	}
	i.domain = j.Domain
	for n, part := range strings.Split(query, ";") {
		key, value, _ := strings.Cut(part, "=")
		switch {
		case n == 0 && key == "register":
			i.account, i.user = true, j.Local
		case n > 0 && key == "preauth":
			i.token = value
		case n > 0 && key == "ibr":
			i.account = value == "y"
		}
	}
	if i.token == "" {
		return i, wrong
	}
	return i, nil
}

// fetch reads the invitation's page.
func (r *registerCmd) fetch(ctx context.Context) error {
	conf := &tls.Config{}
	if r.CA != "" && r.CA != "system" {
		text, err := os.ReadFile(r.CA)
		if err == nil {
			conf, err = trustOnly(text, r.CA)
		}
		if err != nil {
			return err
		}
	}
	ctx, stop := context.WithTimeout(ctx, r.Timeout)
	defer stop()
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, r.Link, nil)
	if err != nil {
		return &failure{Code: exitUsage, What: r.Link + " is no address of a page"}
	}
	c := http.Client{Transport: &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment}}
	defer c.CloseIdleConnections()
	got, err := c.Do(q)
	if err != nil {
		return &failure{Code: exitNetwork, What: "cannot open the invitation: " + err.Error(), Hint: caHint}
	}
	defer got.Body.Close()
	b, err := io.ReadAll(io.LimitReader(got.Body, pageMax))
	if err != nil {
		return &failure{Code: exitNetwork, What: "cannot read the invitation: " + err.Error()}
	}
	link := linkOf.Find([]byte(html.UnescapeString(string(b))))
	if got.StatusCode != http.StatusOK || link == nil {
		return &failure{Code: exitUser, What: "there is no invitation at " + r.Link + " any more", Hint: "ask who sent it to you for another one"}
	}
	r.Link = string(link)
	return nil
}

// run makes the account and logs in.
func (r *registerCmd) run(ctx context.Context, p *profile, wire func(bool, *xmpp.Element), say func(answer) error) error {
	word, err := newPassword(ctx, p.who.String())
	if err != nil {
		return err
	}
	return r.enter(ctx, p, word, func(ctx context.Context, l dial.Login) error {
		return r.refused(p, dial.Register(ctx, l, r.invite.token))
	}, wire, say)
}

// refused turns why there is no account into words for people.
func (r *registerCmd) refused(p *profile, err error) error {
	var said *xmpp.StanzaError
	switch {
	case errors.Is(err, dial.ErrClosed), errors.Is(err, dial.ErrNoInvites):
		return &failure{Code: exitUser, What: err.Error(), Hint: "ask its admin for an account: sottod user add " + p.who.Local}
	case !errors.As(err, &said):
		return err
	case said.Cond == xmpp.Conflict:
		return &failure{Code: exitUser, What: "the name " + p.who.Local + " is taken", Hint: "sotto -as ANOTHER register ..., or log in if it is yours: " + p.as + " login"}
	}
	return &failure{Code: exitUser, What: "the server makes no account: " + cmp.Or(said.Text, string(said.Cond)), Hint: "ask who invited you, or the server's admin"}
}

// newPassword is typed twice, or taken from a pipe.
func newPassword(ctx context.Context, who string) (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return readPassword(ctx, who)
	}
	word, err := hiddenLine(ctx, "New password for "+who+": ")
	if err != nil {
		return "", err
	}
	again, err := hiddenLine(ctx, "Once more: ")
	if err == nil && again != word {
		err = &failure{Code: exitUser, What: "the two are not the same"}
	}
	return word, err
}
