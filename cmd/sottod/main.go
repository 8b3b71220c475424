// SPDX-License-Identifier: Apache-2.0

// Command sottod is the server: it carries messages that it cannot read, keeps
// them until the receiver's devices have them, then forgets them.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	"sotto/offline"
	"sotto/relay/chat"
)

type cli struct {
	Config string `help:"Configuration file; without one, a private server on localhost." type:"existingfile"`
	Data   string `help:"Data folder, instead of the configured one." type:"path"`

	Run      struct{} `cmd:"" help:"Serve until stopped."`
	Dev      struct{} `cmd:"" help:"Serve on localhost with accounts alice and bob."`
	Defaults struct{} `cmd:"" name:"config" help:"Print the configuration with its defaults."`
	Check    struct{} `cmd:"" help:"Verify the data folder while no server runs."`
	Erase    struct{} `cmd:"" name:"erase-histories" help:"Erase what mode = keep has kept, of all accounts, while no server runs."`
	Status   struct{} `cmd:"" help:"Say how the server is."`
	Profile  struct {
		What string `arg:"" enum:"cpu,heap,goroutine" help:"cpu (for 10 seconds), heap or goroutine."`
		File string `arg:"" type:"path" help:"Where to write it, for go tool pprof."`
	} `cmd:"" help:"Write down where the running server spends time or memory."`
	User struct {
		Add    userName `cmd:"" help:"Make an account; the password is asked for, or read from a pipe."`
		Passwd userName `cmd:"" help:"Change a password."`
		Del    userName `cmd:"" help:"Delete an account and all it has."`
		List   struct{} `cmd:"" help:"List the accounts."`

		Disable userName `cmd:"" help:"Keep everybody out of an account; what it has stays."`
		Enable  userName `cmd:"" help:"Let people in again."`
	} `cmd:"" help:"Accounts; works while the server runs."`
	Admin struct {
		Add  userName `cmd:"" help:"Let an account run the server from its client (XEP-0133)."`
		Del  userName `cmd:"" help:"Do not let it any more."`
		List struct{} `cmd:"" help:"List the admins."`
	} `cmd:"" help:"Who may run the server by commands of a client; works while it runs."`
	Device struct {
		List   userName `cmd:"" help:"List the devices of an account."`
		Revoke struct {
			userName
			ID string `arg:"" help:"As list shows it."`
		} `cmd:"" help:"Take a device off: it is out, and what waits for it is forgotten."`
	} `cmd:"" help:"Devices of accounts; works while the server runs."`
	Invite struct {
		Name string `arg:"" optional:"" help:"The name that the account shall have; left out, the guest chooses."`
		By   string `help:"An account here that the guest becomes a contact of." placeholder:"NAME"`
		Days int    `help:"How long it is good." default:"7"`
	} `cmd:"" help:"Print a link by which somebody makes an account, once."`
	Chat struct {
		Install struct {
			Tarball string `help:"A file that is here already, instead of fetching it." type:"existingfile"`
			NoOMEMO bool   `name:"no-omemo" help:"Leave libomemo.js (GPL-3.0) out: browsers cannot encrypt then."`
		} `cmd:"" help:"Fetch Converse.js, check it, and give it to browsers at /chat; works while the server runs."`
	} `cmd:"" help:"The client for browsers."`
	Export struct {
		File     string   `arg:"" type:"path" help:"Where to write; who has it can try passwords on it."`
		Accounts []string `arg:"" optional:"" help:"Names; none: all."`
		Mail     bool     `help:"With the messages that wait for them."`
	} `cmd:"" help:"Write accounts as other servers read them (XEP-0227): keys of passwords, contacts, cards, bookmarks, published items."`
	Import struct {
		File string `arg:"" type:"path" help:"A file, or a folder of them."`
		From string `help:"The domain that they had, if it was another one." placeholder:"DOMAIN"`
	} `cmd:"" help:"Take accounts from what Prosody, ejabberd or another server wrote (XEP-0227). Broken off, the same command goes on."`
	Reports struct{} `cmd:"" help:"List what people reported when they blocked somebody."`
}

type userName struct {
	Name string `arg:"" help:"Name before the @."`
}

func main() {
	var c cli
	k := kong.Parse(&c, kong.Name("sottod"), kong.UsageOnError(),
		kong.Description("sottod carries messages that it cannot read.\n\n    sottod dev              a private server on localhost, with alice and bob\n    sottod user add carol   make an account\n    sottod check            verify the data folder"))
	if err := c.do(k.Command()); err != nil {
		fmt.Fprintln(os.Stderr, "sottod:", err)
		if h := hint(err); h != "" {
			fmt.Fprintln(os.Stderr, "hint:", h)
		}
		os.Exit(1)
	}
}

func hint(err error) string {
	switch {
	case errors.Is(err, errNoServer):
		return "start it with sottod run, or look at the folder with sottod check"
	case errors.Is(err, errNoClient):
		return "get " + chat.Address + " elsewhere, then: sottod chat install --tarball converse.js-" + chat.Version + ".tgz"
	case errors.Is(err, offline.ErrLocked):
		return "a server is running on this folder; stop it first, or use sottod user, which works meanwhile"
	case strings.Contains(err.Error(), "address already in use"):
		return "another server has the port; stop it or change listen in the configuration"
	case strings.Contains(err.Error(), offline.ErrNoAccount.Error()):
		return "sottod user list"
	case strings.Contains(err.Error(), "accounts imported"):
		return "mend the file and give the same command again: it goes on where it stopped"
	case strings.Contains(err.Error(), errNoDevice.Error()):
		return "sottod device list shows their ids"
	}
	return ""
}

func (c *cli) do(command string) error {
	conf, err := loadConfig(c.Config)
	if err != nil {
		return err
	}
	if c.Data != "" {
		conf.Data = c.Data
	}
	switch command {
	case "run":
		return runServer(conf, func(*server) {})
	case "dev":
		if c.Config == "" {
			conf.HTTPS = []string{"127.0.0.1:5443"}
		}
		return runServer(conf, func(s *server) {
			if err := s.dev(); err != nil {
				fmt.Fprintln(os.Stderr, "sottod:", err)
			}
		})
	case "config":
		sample(os.Stdout)
		return nil
	case "check":
		return check(&conf)
	case "erase-histories":
		return eraseHistories(&conf)
	case "chat install":
		return installChat(&conf, chat.Source{File: c.Chat.Install.Tarball, Plain: c.Chat.Install.NoOMEMO})
	case "profile <what> <file>":
		return takeProfile(&conf, c.Profile.What, c.Profile.File)
	}
	return c.users(&conf, command)
}

func (c *cli) users(conf *Config, command string) error {
	o := order{Verb: "status"}
	switch command {
	case "user add <name>":
		o = order{Verb: "add", User: c.User.Add.Name}
	case "user passwd <name>":
		o = order{Verb: "passwd", User: c.User.Passwd.Name}
	case "user del <name>":
		o = order{Verb: "del", User: c.User.Del.Name}
	case "user list":
		o = order{Verb: "list"}
	case "user disable <name>":
		o = order{Verb: "disable", User: c.User.Disable.Name}
	case "user enable <name>":
		o = order{Verb: "enable", User: c.User.Enable.Name}
	case "admin add <name>":
		o = order{Verb: "admin", User: c.Admin.Add.Name}
	case "admin del <name>":
		o = order{Verb: "no-admin", User: c.Admin.Del.Name}
	case "admin list":
		o = order{Verb: "admins"}
	case "device list <name>":
		o = order{Verb: "devices", User: c.Device.List.Name}
	case "device revoke <name> <id>":
		o = order{Verb: "revoke", User: c.Device.Revoke.Name, Device: c.Device.Revoke.ID}
	case "invite", "invite <name>":
		if c.Invite.Days < 1 || c.Invite.Days > 365 {
			return errors.New("an invitation is good for 1 to 365 days")
		}
		o = order{Verb: "invite", User: c.Invite.Name, By: c.Invite.By, Days: c.Invite.Days, Domain: conf.Domain, Web: conf.webURL()}
	case "export <file>", "export <file> <accounts>":
		o = order{Verb: "export", File: c.Export.File, Users: c.Export.Accounts, Mail: c.Export.Mail}
	case "import <file>":
		o = order{Verb: "import", File: c.Import.File, Domain: c.Import.From}
	case "reports":
		o = order{Verb: "reports"}
	}
	if o.Verb == "add" || o.Verb == "passwd" {
		var err error
		if o.Password, err = askPassword(); err != nil {
			return err
		}
	}
	lines, err := give(conf, o)
	for _, l := range lines {
		fmt.Println(l)
	}
	return err
}

func askPassword() (string, error) {
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		line, err := bufio.NewReader(os.Stdin).ReadString('\n')
		if line == "" && err != nil {
			return "", errors.New("no password was given")
		}
		return strings.TrimRight(line, "\r\n"), nil
	}
	fmt.Fprint(os.Stderr, "Password: ")
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(os.Stderr)
	return string(b), err
}

// eraseHistories is for who goes from mode = keep to forget.
func eraseHistories(c *Config) error {
	s, err := openStore(c)
	if err != nil {
		return err
	}
	n, err := s.Histories()
	if err = errors.Join(err, s.EraseHistories(), s.Close()); err != nil {
		return err
	}
	fmt.Printf("histories of %d owners erased\n", n)
	return nil
}

func check(c *Config) error {
	r, err := offline.Check(filepath.Join(c.Data, "store"))
	if err != nil {
		return err
	}
	fmt.Printf("accounts %d, records %d, waiting messages %d, kept messages %d, files %d\n", r.Accounts, r.Records, r.Waiting, r.Kept, r.Files)
	for _, b := range r.Bad {
		fmt.Println("damaged:", b)
	}
	if len(r.Bad) > 0 {
		return fmt.Errorf("%d damages found", len(r.Bad))
	}
	return nil
}
