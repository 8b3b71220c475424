// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"sotto/offline"
	"sotto/relay"
	"sotto/relay/account"
	"sotto/relay/admin"
)

// An order is one line on the admin socket; the answer is one line, too.
type order struct {
	Verb, User, Password string
	Device               string   `json:",omitempty"`
	By                   string   `json:",omitempty"` // who invites
	Domain               string   `json:",omitempty"`
	Web                  string   `json:",omitempty"` // where our HTTPS is
	File                 string   `json:",omitempty"` // an absolute path
	Users                []string `json:",omitempty"` // of an export; none: all
	Mail                 bool     `json:",omitempty"` // and what waits for them
	Days                 int      `json:",omitempty"`
}

// An answer is the last line; before it may come some that only say how far
// it is.
type answer struct {
	Say   string   `json:",omitempty"`
	Error string   `json:",omitempty"`
	Lines []string `json:",omitempty"`
	Data  []byte   `json:",omitempty"`
}

func adminPath(c *Config) string {
	if c.Admin != "" {
		return c.Admin
	}
	return filepath.Join(c.Data, "admin.sock")
}

// listenAdmin opens the socket for this user only. The store's lock is ours,
// so a socket that is left over belongs to nobody.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	return l, os.Chmod(path, 0o600)
}

func (s *server) serveAdmin() {
	for {
		nc, err := s.admin.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			_ = nc.SetDeadline(time.Now().Add(30 * time.Second))
			line, err := bufio.NewReaderSize(nc, 1<<16).ReadBytes('\n')
			var o order
			if err != nil || json.Unmarshal(line, &o) != nil {
				return
			}
			say := func(line string) {
				_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
				_ = json.NewEncoder(nc).Encode(answer{Say: line})
			}
			_ = nc.SetDeadline(time.Now().Add(5 * time.Minute))
			_ = json.NewEncoder(nc).Encode(obey(&o, s.store, s.relay, say))
		}()
	}
}

// obey carries out one order, on the running server or, when there is none, on
// the folder itself.
func obey(o *order, st *offline.Store, r *relay.Server, say func(string)) answer {
	var err error
	var a answer
	switch o.Verb {
	case "add":
		if err = account.Create(st, o.User, o.Password); err == nil && r != nil {
			r.Created(o.User)
		}
	case "passwd":
		err = account.SetPassword(st, o.User, o.Password)
	case "del":
		if r == nil {
			err = eraseAlone(o.User, st)
		} else {
			err = r.DeleteUser(o.User)
		}
	case "disable", "enable":
		if r == nil {
			err = st.Disable(o.User, o.Verb == "disable")
		} else {
			err = r.Disable(o.User, o.Verb == "disable")
		}
	case "admin", "no-admin":
		err = admin.Set(st, o.User, o.Verb == "admin")
	case "admins":
		a.Lines, err = admin.All(st)
	case "list":
		a.Lines, err = st.Users()
	case "status":
		a.Lines = statusLines(st, r)
	case "devices":
		a.Lines, err = deviceLines(o.User, st, r)
	case "revoke":
		a.Lines, err = revokeDevice(o, st, r)
	case "invite":
		a.Lines, err = inviteLines(o, st)
	case "reports":
		a.Lines, err = reportLines(st)
	case "import", "export":
		a.Lines, err = carry(o, r, say)
	case "profile":
		a.Data, err = profile(o.User)
	default:
		err = fmt.Errorf("no order %q", o.Verb)
	}
	if err != nil {
		a.Error = err.Error()
	}
	return a
}

// eraseAlone deletes an account while no server runs.
func eraseAlone(user string, st *offline.Store) error {
	files, err := st.Blobs()
	if err != nil {
		return err
	}
	return errors.Join(files.Forget(user), st.DeleteAccount(user))
}

// give sends an order to the running server, or does it on the folder when no
// server runs.
func give(c *Config, o order) ([]string, error) {
	say := func(line string) { fmt.Fprintln(os.Stderr, line) }
	a, err := ask(c, o, say)
	if err == errNoServer && o.Verb != "status" {
		a, err = alone(c, &o, say)
	}
	if err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Lines, nil
}

// alone does it on the folder; accounts are carried by a server that nobody
// can reach.
func alone(c *Config, o *order, say func(string)) (a answer, err error) {
	if o.Verb == "import" || o.Verb == "export" {
		s, err := newServer(*c)
		if err != nil {
			return a, err
		}
		a = obey(o, s.store, s.relay, say)
		return a, errors.Join(s.relay.Shutdown(context.Background()), s.store.Close())
	}
	st, err := openStore(c)
	if err != nil {
		return a, err
	}
	a = obey(o, st, nil, say)
	return a, st.Close()
}

var errNoServer = errors.New("no server runs on this data folder")

// ask sends an order to the running server.
func ask(c *Config, o order, say func(string)) (a answer, err error) {
	nc, err := net.Dial("unix", adminPath(c))
	if err != nil {
		return a, errNoServer
	}
	defer nc.Close()
	if err := json.NewEncoder(nc).Encode(o); err != nil {
		return a, err
	}
	for d := json.NewDecoder(nc); ; {
		a = answer{}
		if err := d.Decode(&a); err != nil || a.Say == "" {
			return a, err
		}
		say(a.Say)
	}
}
