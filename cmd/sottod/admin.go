// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
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
	Device               string `json:",omitempty"`
	By                   string `json:",omitempty"` // who invites
	Domain               string `json:",omitempty"`
	Web                  string `json:",omitempty"` // where our HTTPS is
	Days                 int    `json:",omitempty"`
}

type answer struct {
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
			_ = json.NewEncoder(nc).Encode(obey(&o, s.store, s.relay))
		}()
	}
}

// obey carries out one order, on the running server or, when there is none, on
// the folder itself.
func obey(o *order, st *offline.Store, r *relay.Server) answer {
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
		h := st.Health()
		a.Lines = []string{
			fmt.Sprintf("waiting messages  %d", h.Entries),
			fmt.Sprintf("takes new mail    %v", !h.ReadOnly),
			fmt.Sprintf("came to the disk  %d since the start", h.Written),
		}
		a.Lines = append(a.Lines, memoryLines()...)
		for _, q := range h.Quarantined {
			a.Lines = append(a.Lines, "damaged           "+q)
		}
	case "devices":
		a.Lines, err = deviceLines(o.User, st, r)
	case "revoke":
		a.Lines, err = revokeDevice(o, st, r)
	case "invite":
		a.Lines, err = inviteLines(o, st)
	case "reports":
		a.Lines, err = reportLines(st)
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
	a, err := ask(c, o)
	if err == errNoServer && o.Verb != "status" {
		st, err := openStore(c)
		if err != nil {
			return nil, err
		}
		a = obey(&o, st, nil)
		if err := st.Close(); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, errors.New(a.Error)
	}
	return a.Lines, nil
}

var errNoServer = errors.New("no server runs on this data folder")

// ask sends an order to the running server.
func ask(c *Config, o order) (a answer, err error) {
	nc, err := net.Dial("unix", adminPath(c))
	if err != nil {
		return a, errNoServer
	}
	defer nc.Close()
	if err := json.NewEncoder(nc).Encode(o); err != nil {
		return a, err
	}
	return a, json.NewDecoder(nc).Decode(&a)
}
