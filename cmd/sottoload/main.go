// SPDX-License-Identifier: Apache-2.0

// Command sottoload measures servers: idle sessions, messages between people
// who are there, durable mail for people who are away, drains, log-ins and a
// full room. It starts sottod, Prosody and ejabberd itself, one after the
// other, with TLS on and without rate limits, and prints ratios.
//
// Spec:     RFC 6120, XEP-0198; open ports are loopback only.
// Runs:     one goroutine per simulated device.
// Touches:  temporary folders of its own.
// Imports:  sotto/xmpp.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

type commands struct {
	Servers  string        `help:"Which servers to measure." default:"sottod,prosody,ejabberd"`
	Sottod   string        `help:"The sottod binary." default:"bin/sottod" type:"path"`
	Figures  string        `help:"Which figures to measure." default:"login,idle,chat,offline,drain,room,hello,storm"`
	Sessions int           `help:"Idle sessions." default:"8000"`
	Pairs    int           `help:"Talking pairs." default:"50"`
	Messages int           `help:"Messages for chat and offline." default:"20000"`
	Waiting  int           `help:"Waiting messages of the drain." default:"10000"`
	Logins   int           `help:"Log-ins." default:"1500"`
	Crowd    int           `help:"People who come online in the storm." default:"2000"`
	Rush     time.Duration `help:"Within which they come." default:"30s"`
	Timeout  time.Duration `help:"For each figure of each server." default:"4m"`
	Out      string        `help:"Also write the table as Markdown to this file." type:"path"`
}

func main() {
	var c commands
	kong.Parse(&c, kong.Name("sottoload"), kong.Description("Measures XMPP servers on this machine, side by side."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "sottoload:", err)
		os.Exit(1)
	}
}

// measures are the figures by name.
var measures = []struct {
	name string
	run  func(ctx context.Context, c *commands, p *peer) ([]figure, error)
}{
	{"login", measureLogin}, {"idle", measureIdle}, {"chat", measureChat},
	{"offline", measureOffline}, {"drain", measureDrain}, {"room", measureRoom}, {"hello", measureHello},
	{"storm", measureStorm},
}

// A figure is one measured number of one server.
type figure struct {
	name, unit string
	value      float64
	lessIsMore bool
}

func (c *commands) run(ctx context.Context) error {
	all := map[string][]figure{}
	var names []string
	for _, name := range strings.Split(c.Servers, ",") {
		got, title, err := c.one(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all[title] = got
		names = append(names, title)
	}
	table := report(names, all)
	fmt.Print(table)
	if c.Out == "" {
		return nil
	}
	return os.WriteFile(c.Out, []byte(table), 0o644)
}

// one measures one server; each figure gets a fresh start and empty data.
func (c *commands) one(ctx context.Context, name string) (all []figure, title string, err error) {
	for _, m := range measures {
		if !strings.Contains(","+c.Figures+",", ","+m.name+",") {
			continue
		}
		p, err := startPeer(ctx, c, name)
		if err != nil {
			return nil, name, err
		}
		title = p.title
		short, cancel := context.WithTimeout(ctx, c.Timeout)
		got, err := m.run(short, c, p)
		cancel()
		p.stop()
		if err != nil && name != "sottod" && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "%-28s %s: not measured: %v\n", title, m.name, err)
			continue // a peer's trouble does not cost the other figures
		}
		if err != nil {
			return nil, title, fmt.Errorf("%s: %w", m.name, err)
		}
		for _, f := range got {
			fmt.Fprintf(os.Stderr, "%-28s %-44s %12.2f %s\n", title, f.name, f.value, f.unit)
		}
		all = append(all, got...)
	}
	return all, title, nil
}
