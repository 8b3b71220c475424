// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"slices"

	"sotto/crypto/omemo"
	"sotto/crypto/safety"
	"sotto/internal/client"
)

// devices gives the devices of an account; ours when none is named.
func (d *desk) devices(ctx context.Context, r *request, say func(answer) error) error {
	self := d.client.Self()
	who := r.Who
	if who == "" {
		who = self
	}
	bad := d.meet(ctx, who)
	if errors.Is(bad, context.Canceled) || errors.Is(bad, errMoved) {
		return bad
	}
	on, err := d.client.Listed(who)
	if err != nil {
		return err
	}
	all, err := d.client.Devices(who)
	if err != nil {
		return err
	}
	if who == self {
		me, err := d.self()
		if err = errors.Join(err, say(answer{Device: me})); err != nil {
			return err
		}
	}
	for _, k := range all {
		line := &device{User: who, Device: k.Device, Fingerprint: safety.Fingerprint(k.Curve), Trust: k.Trust.String(), Listed: on[k.Device], Since: k.Since}
		if k.Changed() {
			line.Changed = safety.Fingerprint(k.Offered)
		}
		if err := say(answer{Device: line}); err != nil {
			return err
		}
	}
	if len(all) == 0 && who != self && bad == nil {
		return &failure{Code: exitUser, What: who + " has no device that reads encrypted messages, or there is no such account"}
	}
	return bad
}

// self is the device that we are.
func (d *desk) self() (*device, error) {
	me := d.client.Device()
	on, err := d.client.Listed(d.client.Self())
	return &device{User: d.client.Self(), Device: me, Fingerprint: d.client.Fingerprint(), Trust: "this", Listed: on[me]}, err
}

// meet gets somebody's keys as they are now.
func (d *desk) meet(ctx context.Context, who string) error {
	if err := d.connected(ctx); err != nil {
		return err
	}
	return d.online(d.client.Meet(ctx, who))
}

// verify gives the safety number; with the number that was compared it marks
// the keys behind it, and only those.
func (d *desk) verify(ctx context.Context, r *request, say func(answer) error) error {
	bad := d.meet(ctx, r.Who)
	if errors.Is(bad, context.Canceled) || errors.Is(bad, errMoved) {
		return bad
	}
	n, err := d.client.SafetyNumber(r.Who)
	switch {
	case errors.Is(err, client.ErrStranger) && bad != nil:
		return bad
	case errors.Is(err, client.ErrStranger):
		return &failure{Code: exitUser, What: r.Who + " has no device that reads encrypted messages, or there is no such account"}
	case err != nil:
		return err
	}
	if r.Number != "" {
		err := d.client.Verify(r.Who, r.Number)
		if errors.Is(err, client.ErrNumber) {
			return &failure{Code: exitUser, What: err.Error(), Hint: d.p.as + " verify " + r.Who}
		}
		if err != nil {
			return err
		}
	}
	ok, err := d.verified(r.Who)
	if err != nil {
		return err
	}
	return say(answer{Safety: &safetyNumber{User: r.Who, Number: n, Verified: ok}})
}

// verified says whether every key behind the safety number was compared.
func (d *desk) verified(who string) (bool, error) {
	on, err := d.client.Listed(who)
	if err != nil {
		return false, err
	}
	all, err := d.client.Devices(who)
	for _, k := range all {
		if on[k.Device] && k.Trust != omemo.Distrusted && (k.Trust != omemo.Verified || k.Changed()) {
			return false, err
		}
	}
	return err == nil, err
}

// distrust cuts one device off: nothing is sealed for it any more.
func (d *desk) distrust(r *request, say func(answer) error) error {
	all, err := d.client.Devices(r.Who)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(all, func(k omemo.Device) bool { return k.Device == r.Device })
	switch {
	case at < 0:
		return &failure{Code: exitUser, What: "this device is not known", Hint: d.p.as + " devices " + r.Who}
	case r.Undo && all[at].Changed():
		return &failure{Code: exitUser, What: "another key claims this device's number", Hint: d.p.as + " verify " + r.Who}
	case r.Undo:
		err := d.client.Trust(r.Who, r.Device, omemo.FirstUse)
		return errors.Join(err, say(answer{Done: &done{Did: "trusted", Who: r.Who, Say: "this device gets your messages again"}}))
	}
	if err := d.client.Trust(r.Who, r.Device, omemo.Distrusted); err != nil {
		return err
	}
	return say(answer{Done: &done{Did: "distrusted", Who: r.Who, Say: "this device gets none of your messages any more"}})
}
