// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"os"
	"strings"

	"sotto/relay/push"
	"sotto/relay/push/post"
)

// wakes is how devices that are away are woken.
func (c *Config) wakes() (push.Options, error) {
	o := push.Options{Off: !c.Push}
	for _, n := range c.PushAllow {
		p, _ := netip.ParsePrefix(n) // checked by loadConfig
		o.Post.Allow = append(o.Post.Allow, p)
	}
	for _, a := range c.Contact { // push services take these two forms (RFC 8292 §2.1)
		if o.Post.Contact == "" && (strings.HasPrefix(a, "mailto:") || strings.HasPrefix(a, "https:")) {
			o.Post.Contact = a
		}
	}
	if c.FCMKey == "" || o.Off {
		return o, nil
	}
	var err error
	if o.Post.FCM, err = os.ReadFile(c.FCMKey); err == nil {
		err = post.CheckAccount(o.Post.FCM)
	}
	if err != nil {
		return o, fmt.Errorf("fcm_key: %w", err)
	}
	return o, nil
}
