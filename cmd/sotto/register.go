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
	by                  string // who invites, if that is said
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
		case n == 0 && key == "roster":
			i.by = j.String()
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
func (r *registerCmd) fetch(ctx context.Context) (err error) {
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
	r.Link, err = fetchLink(ctx, r.Link, conf)
	return err
}

// open reads an invitation instead of an address.
func (a *addCmd) open(ctx context.Context, p *profile) error {
	if strings.HasPrefix(a.Who, "https://") {
		conf, err := p.trust()
		if err != nil {
			return err
		}
		ctx, stop := context.WithTimeout(ctx, patience)
		defer stop()
		if a.Who, err = fetchLink(ctx, a.Who, conf); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(a.Who, "xmpp:") {
		return nil
	}
	i, err := readLink(a.Who)
	if err == nil && i.by == "" {
		err = &failure{Code: exitUsage, What: "this invitation is to an account at " + i.domain + ", not to somebody", Hint: "sotto -as NAME register LINK"}
	}
	a.Who, a.token = i.by, i.token
	return err
}

// fetchLink finds the xmpp: line on an invitation's page.
func fetchLink(ctx context.Context, page string, conf *tls.Config) (string, error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return "", &failure{Code: exitUsage, What: page + " is no address of a page"}
	}
	c := http.Client{Transport: &http.Transport{TLSClientConfig: conf, Proxy: http.ProxyFromEnvironment}}
	defer c.CloseIdleConnections()
	got, err := c.Do(q)
	if err != nil {
		return "", &failure{Code: exitNetwork, What: "cannot open the invitation: " + err.Error(), Hint: caHint}
	}
	defer got.Body.Close()
	b, err := io.ReadAll(io.LimitReader(got.Body, pageMax))
	if err != nil {
		return "", &failure{Code: exitNetwork, What: "cannot read the invitation: " + err.Error()}
	}
	link := linkOf.Find([]byte(html.UnescapeString(string(b))))
	if got.StatusCode != http.StatusOK || link == nil {
		return "", &failure{Code: exitUser, What: "there is no invitation at " + page + " any more", Hint: "ask who sent it to you for another one"}
	}
	return string(link), nil
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
