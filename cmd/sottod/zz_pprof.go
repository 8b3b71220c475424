// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	_ "net/http/pprof"
	"os"
)

func init() {
	if a := os.Getenv("SOTTO_PPROF"); a != "" {
		go http.ListenAndServe(a, nil)
	}
}
