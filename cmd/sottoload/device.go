// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"sotto/xmpp"
	"sotto/xmpp/dial"
)

// A device is one simulated client.
type device struct {
	conn *xmpp.Conn

	mu  sync.Mutex
	out []byte
	in  uint32 // stanzas taken, for <a h>
	end chan struct{}
}

// login brings a device on; handler sees every stanza.
func (p *peer) login(ctx context.Context, user, resource string, sm bool, on func(d *device, st *xmpp.Stanza) error) (*device, error) {
	c, _, err := dial.Dial(ctx, dial.Login{
		Addr: p.addr, JID: xmpp.JID{Local: user, Domain: domain}, Password: password,
		TLS: p.tls(), Classic: true, ForceMech: "SCRAM-SHA-256", Resource: resource, SM: sm,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", user, err)
	}
	d := &device{conn: c, end: make(chan struct{})}
	go func() {
		defer close(d.end)
		_ = c.Run(context.Background(), func(st *xmpp.Stanza) error { return d.take(st, on) }, d.fill)
	}()
	return d, nil
}

// take answers what keeps a stream alive and passes on the rest.
func (d *device) take(st *xmpp.Stanza, on func(d *device, st *xmpp.Stanza) error) error {
	switch {
	case st.Name == xmpp.Name{Space: xmpp.NSSM, Local: "r"}:
		d.send(fmt.Appendf(nil, "<a xmlns='%s' h='%d'/>", xmpp.NSSM, d.in))
		return nil
	case st.Kind != xmpp.KindNonza:
		d.in++
	}
	if st.Kind == xmpp.KindIQ && st.Type == "get" {
		d.send(xmpp.ResultOf(st, nil).Bytes())
		return nil
	}
	if on == nil {
		return nil
	}
	return on(d, st)
}

func (d *device) send(b []byte) {
	d.mu.Lock()
	d.out = append(d.out, b...)
	d.mu.Unlock()
	d.conn.Wake()
}

func (d *device) fill(w *xmpp.Writer) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	w.Bytes(d.out)
	d.out = d.out[:0]
	return nil
}

func (d *device) close() {
	d.conn.Close(nil)
	<-d.end
}

const password = "correct horse"

// register makes accounts by XEP-0077, which all three servers can.
func (p *peer) register(users ...string) error {
	for _, u := range users {
		if err := p.registerOne(u); err != nil {
			return fmt.Errorf("register %s: %w", u, err)
		}
	}
	return nil
}

func (p *peer) registerOne(user string) error {
	nc, err := net.Dial("tcp", p.addr)
	if err != nil {
		return err
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	open := "<stream:stream to='" + domain + "' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	dec := xmpp.NewDecoder(nc, xmpp.AfterAuth)
	var st xmpp.Stanza
	say := func(c net.Conn, what string, header bool) error {
		if _, err := c.Write([]byte(what)); err != nil {
			return err
		}
		if header {
			if _, err := dec.Header(); err != nil {
				return err
			}
		}
		return dec.Next(&st)
	}
	if err := say(nc, open, true); err != nil {
		return err
	}
	if err := say(nc, "<starttls xmlns='"+xmpp.NSTLS+"'/>", false); err != nil {
		return err
	}
	t := tls.Client(nc, p.tls())
	dec.Reset(t)
	if err := say(t, open, true); err != nil {
		return err
	}
	iq := "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>" + user + "</username><password>" + password + "</password></query></iq>"
	if err := say(t, iq, false); err != nil {
		return err
	}
	if st.Type != "result" {
		return errors.New("refused: " + string(st.Raw))
	}
	return nil
}

// each runs f for 0..n-1, k at a time, until the first error.
func each(n, k int, f func(i int) error) error {
	var wg sync.WaitGroup
	next, errs := make(chan int), make(chan error, k)
	for range k {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range next {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case next <- i:
		case err = <-errs:
		}
	}
	close(next)
	wg.Wait()
	if err == nil && len(errs) > 0 {
		err = <-errs
	}
	return err
}
