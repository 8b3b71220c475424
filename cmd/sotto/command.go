// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"sotto/xmpp"
)

type whoCmd struct {
	Who string `arg:"" help:"bob, or bob@example.org."`
}

type sendCmd struct {
	To      string        `arg:"" help:"bob, or bob@example.org."`
	Text    []string      `arg:"" help:"The message; - reads it from a pipe."`
	Wait    string        `enum:"queued,sent,delivered,read" default:"sent" placeholder:"STATE" help:"How far to follow it: queued, sent (the server has it), delivered or read."`
	Timeout time.Duration `default:"30s" help:"How long to wait for that."`
}

type listenCmd struct {
	Count   int           `placeholder:"N" help:"End after N messages."`
	Seen    bool          `help:"Mark what is printed as read."`
	Timeout time.Duration `help:"End after this time; without it, Ctrl-C ends."`
}

type addCmd struct {
	Who  string `arg:"" help:"bob, or bob@example.org; or an invitation of his, its page or its xmpp: line."`
	Name string `help:"What you call them."`

	token string
}

type devicesCmd struct {
	Who string `arg:"" optional:"" help:"Whose; yours if not given."`
}

type verifyCmd struct {
	Who string `arg:"" help:"bob, or bob@example.org."`
	Yes bool   `help:"Mark as verified without a question: you have compared the numbers."`
}

type distrustCmd struct {
	Who    string `arg:"" help:"bob, or bob@example.org."`
	Device uint32 `arg:"" help:"The number that sotto devices shows."`
	Undo   bool   `help:"Trust it again as on the first day; verify compares."`
}

type historyCmd struct {
	Who string `arg:"" help:"bob, or bob@example.org."`
	N   int    `short:"n" default:"20" help:"How many messages."`
}

// How long the small commands wait for the server; history is here already.
const (
	patience        = 15 * time.Second
	historyPatience = 5 * time.Second
)

// request turns the command line into what the desk carries out.
func (c *cli) request(p *profile, verb string) (*request, error) {
	r := &request{Verb: verb}
	who := ""
	switch verb {
	case "send":
		text, err := c.Send.text()
		if err != nil {
			return nil, err
		}
		who, r.Text, r.ID, r.Until = c.Send.To, text, rand.Text(), within(c.Send.Timeout)
		if err := r.Wait.UnmarshalText([]byte(c.Send.Wait)); err != nil {
			return nil, err
		}
	case "listen":
		r.Count, r.Seen, r.Until = c.Listen.Count, c.Listen.Seen, within(c.Listen.Timeout)
		return r, nil
	case "contacts":
		r.Until = within(patience)
		return r, nil
	case "add":
		who, r.Name, r.Token, r.Until = c.Add.Who, c.Add.Name, c.Add.token, within(patience)
	case "remove":
		who, r.Until = c.Remove.Who, within(patience)
	case "devices":
		who, r.Until = c.Devices.Who, within(patience)
	case "verify":
		who, r.Until = c.Verify.Who, within(patience)
	case "distrust":
		who, r.Device, r.Undo, r.Until = c.Distrust.Who, c.Distrust.Device, c.Distrust.Undo, within(patience)
	case "history":
		who, r.Count, r.Until = c.History.Who, c.History.N, within(historyPatience)
	}
	var err error
	r.Who, err = p.address(who)
	return r, err
}

// address completes a name; the domain is ours when none is given.
func (p *profile) address(who string) (string, error) {
	if who == "" {
		return "", nil
	}
	full := who
	if !strings.Contains(who, "@") {
		full += "@" + p.who.Domain
	}
	j, err := xmpp.ParseJID(full)
	if err != nil || j.Local == "" {
		return "", &failure{Code: exitUsage, What: fmt.Sprintf("%q is no address", who), Hint: "an address looks like bob@example.org"}
	}
	return j.Bare().String(), nil
}

func (s *sendCmd) text() (string, error) {
	text := strings.Join(s.Text, " ")
	if text == "-" {
		b, err := io.ReadAll(os.Stdin)
		if err != nil {
			return "", err
		}
		text = strings.TrimRight(string(b), "\r\n")
	}
	if strings.TrimSpace(text) == "" {
		return "", &failure{Code: exitUsage, What: "the message is empty"}
	}
	return text, nil
}

// run shows the number; when both people see the same digits, the keys behind
// that very number are marked.
func (v *verifyCmd) run(ctx context.Context, ask func(*request, func(answer) error) error, r *request, c *cli, say func(answer) error) error {
	var seen *safetyNumber
	err := ask(r, func(a answer) error {
		seen = a.Safety
		if c.JSON && v.Yes {
			return nil
		}
		return say(a)
	})
	if err != nil || seen == nil || seen.Verified && !v.Yes {
		return err
	}
	switch {
	case v.Yes:
	case c.JSON:
		return nil
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return say(answer{Done: &done{Did: "compare", Who: r.Who, Say: "if both of you see the same digits, add --yes"}})
	default:
		fmt.Fprintf(os.Stderr, "Read them to each other, over a phone or face to face.\nDo both of you see the same digits? [y/N] ")
		line, err := typed(ctx, func() (string, error) { return bufio.NewReader(os.Stdin).ReadString('\n') })
		if errors.Is(err, context.Canceled) {
			return err
		}
		if word := strings.ToLower(strings.TrimSpace(line)); err != nil || word != "y" && word != "yes" {
			return say(answer{Done: &done{Did: "not verified", Who: r.Who, Say: "if the digits differ, somebody may sit in between"}})
		}
	}
	r.Number, r.Until = seen.Number, within(patience)
	return ask(r, func(a answer) error {
		if c.JSON || a.Safety == nil {
			return say(a)
		}
		return say(answer{Done: &done{Did: "verified", Who: r.Who, Say: "these are the keys that you compared"}})
	})
}
