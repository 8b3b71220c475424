// SPDX-License-Identifier: Apache-2.0

// Command sotto is the client on the command line: it keeps its keys, talks end
// to end encrypted and says honestly how far each message has come.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"

	"sotto/xmpp"
)

type cli struct {
	As    string `env:"SOTTO_AS" placeholder:"WHO" help:"Who you are: alice, or alice@example.org."`
	JSON  bool   `name:"json" help:"One JSON object per line, for scripts."`
	Debug bool   `help:"Say on stderr what the connection does."`
	Wire  string `type:"path" placeholder:"FILE" help:"Add all stanzas to FILE, to look for faults."`

	Chat     chatCmd     `cmd:"" help:"Talk on the whole screen: people, messages, ticks."`
	Login    loginCmd    `cmd:"" help:"Log in on this machine, or change password and server."`
	Register registerCmd `cmd:"" help:"Make an account, by an invitation or where anybody may."`
	Send     sendCmd     `cmd:"" help:"Send a message and say how far it has come."`
	Listen   listenCmd   `cmd:"" help:"Print messages, ticks and presence as they come."`
	Contacts struct{}    `cmd:"" help:"List people: online or last seen, unread messages."`
	Add      addCmd      `cmd:"" help:"Ask somebody to be your contact, or accept who asks."`
	Remove   whoCmd      `cmd:"" help:"Take somebody off your contacts, or say no to who asks."`
	Devices  devicesCmd  `cmd:"" help:"List your devices, or somebody's, with their keys."`
	Verify   verifyCmd   `cmd:"" help:"Compare safety numbers: nobody sits in between."`
	Distrust distrustCmd `cmd:"" help:"Send nothing to one device any more."`
	History  historyCmd  `cmd:"" help:"Print the talk with somebody."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with an exit code.
func run(ctx context.Context, args []string, out, notes io.Writer) int {
	var c cli
	err := c.run(ctx, args, out, notes)
	f := failureOf(err)
	switch {
	case f == nil, errors.Is(err, errHelp):
		return 0
	case c.JSON || slices.Contains(args, "--json"):
		b, _ := json.Marshal(f)
		fmt.Fprintf(out, "%s\n", b)
		return f.Code
	}
	fmt.Fprintln(notes, "sotto:", f.What)
	if f.Hint != "" {
		fmt.Fprintln(notes, "hint:", f.Hint)
	}
	return f.Code
}

var errHelp = errors.New("help was printed")

func (c *cli) run(ctx context.Context, args []string, out, notes io.Writer) (err error) {
	command, err := c.parse(args, out, notes)
	if err != nil {
		return err
	}
	level := slog.LevelError
	if c.Debug {
		level = slog.LevelDebug
	}
	slog.SetDefault(slog.New(slog.NewTextHandler(notes, &slog.HandlerOptions{Level: level})))
	verb, _, _ := strings.Cut(command, " ")
	if verb == "register" {
		if c.As, err = c.Register.read(ctx, c.As); err != nil {
			return err
		}
	}
	p, err := openProfile(c.As)
	if err != nil {
		return err
	}
	wire, closeWire, err := c.openWire()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeWire()) }()
	print := newPrinter(out, notes, p, c.JSON, verb)
	say := print.show
	if verb == "chat" {
		return c.Chat.run(ctx, p, wire)
	}
	switch verb {
	case "login":
		return c.Login.run(ctx, p, wire, say)
	case "register":
		return c.Register.run(ctx, p, wire, say)
	}
	if verb == "add" {
		if err := c.Add.open(ctx, p); err != nil {
			return err
		}
	}
	r, err := c.request(p, verb)
	if err != nil {
		return err
	}
	ask := func(r *request, say func(answer) error) error { return p.ask(ctx, r, wire, say) }
	if verb == "verify" {
		return c.Verify.run(ctx, ask, r, c, say)
	}
	err = ask(r, say)
	if errors.Is(err, context.Canceled) && verb == "listen" {
		return nil
	}
	if errors.Is(err, context.Canceled) && verb == "send" {
		return print.interrupted(r.ID)
	}
	return err
}

// parse reads the arguments; a mistake is a failure of usage.
func (c *cli) parse(args []string, out, notes io.Writer) (string, error) {
	helped := false
	k, err := kong.New(c, kong.Name("sotto"), kong.Writers(out, notes), kong.Help(help), kong.Exit(func(int) { helped = true }))
	if err != nil {
		return "", err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	args = singleDash(args)
	kc, err := k.Parse(args)
	if !helped && err != nil && strings.HasPrefix(err.Error(), "expected one of") { // no command: chat
		kc, err = k.Parse(append(args, "chat"))
	}
	if helped {
		return "", errHelp
	}
	if err != nil {
		return "", &failure{Code: exitUsage, What: err.Error(), Hint: "sotto --help"}
	}
	return kc.Command(), nil
}

// singleDash lets people write -as, which our parser knows as --as.
func singleDash(args []string) []string {
	args = slices.Clone(args)
	for i, a := range args {
		if a == "--" {
			break
		}
		if a == "-as" || strings.HasPrefix(a, "-as=") {
			args[i] = "-" + a
		}
	}
	return args
}

const usage = `sotto talks to people on an XMPP server that cannot read what they say.

    sotto -as alice login                    log in on this machine
    sotto -as alice                          talk on the whole screen
    sotto -as alice send bob "hello"         send, and see how far it comes
    sotto -as alice listen                   print what comes, until Ctrl-C
    sotto -as alice verify bob               compare safety numbers
`

// help is one screen: examples first, then the commands.
func help(o kong.HelpOptions, kc *kong.Context) error {
	if kc.Selected() != nil {
		return kong.DefaultHelpPrinter(o, kc)
	}
	fmt.Fprint(kc.Stdout, usage+"\nCommands (sotto COMMAND --help says more):\n")
	for _, n := range kc.Model.Leaves(true) {
		fmt.Fprintf(kc.Stdout, "    %-10s %s\n", n.Name, n.Help)
	}
	fmt.Fprint(kc.Stdout, "\nFor all:")
	for _, f := range kc.Model.Flags {
		text := " --" + f.Name
		if !f.IsBool() {
			text += " " + f.FormatPlaceHolder()
		}
		fmt.Fprint(kc.Stdout, text)
	}
	fmt.Fprint(kc.Stdout, "\nKeys and history: $SOTTO_HOME. Exit codes: 1 failed, 2 usage, 3 no connection.\n")
	return nil
}

// openWire opens the file that sees all stanzas.
func (c *cli) openWire() (func(bool, *xmpp.Element), func() error, error) {
	if c.Wire == "" {
		return nil, func() error { return nil }, nil
	}
	f, err := os.OpenFile(c.Wire, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	return func(sent bool, el *xmpp.Element) {
		mark := "< "
		if sent {
			mark = "> "
		}
		if _, err := f.WriteString(mark + string(el.Append(nil, xmpp.NSClient)) + "\n"); err != nil {
			slog.Error("write stanza", "err", err)
		}
	}, f.Close, nil
}
