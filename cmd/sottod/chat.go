// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"sotto/relay/chat"
)

var (
	errNoClient = errors.New("the client for browsers was not installed")
	errNoChat   = errors.New(`web_chat is "no"`)
)

// installChat fetches the client for browsers, unless it is there.
func installChat(c *Config, src chat.Source) error {
	file := c.chatFile()
	if file == "" {
		return errNoChat
	}
	if src.Installed(file) {
		fmt.Printf("converse.js %s is in %s\n", chat.Version, near(file))
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	ctx, end := context.WithTimeout(ctx, 5*time.Minute)
	defer end()
	src.Client = &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 30 * time.Second,
		DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
	}}
	if src.File == "" {
		fmt.Printf("fetching %s (8 MiB)\n", chat.Address)
	}
	if err := src.Install(ctx, file); err != nil {
		return fmt.Errorf("%w: %w", errNoClient, err)
	}
	fmt.Printf("converse.js %s (MPL-2.0)%s is checked and in %s\n", chat.Version, map[bool]string{false: " with libomemo.js (GPL-3.0)"}[src.Plain], near(file))
	return nil
}
