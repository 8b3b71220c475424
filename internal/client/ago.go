// SPDX-License-Identifier: Apache-2.0

package client

import (
	"fmt"
	"time"
)

// Ago says when something was, in people's words.
func Ago(t, now time.Time) string {
	t, now = t.In(now.Location()), now.Round(0)
	switch d := now.Sub(t); {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	}
	y, m, d := now.Date()
	today := time.Date(y, m, d, 0, 0, 0, 0, now.Location())
	switch {
	case !t.Before(today):
		return "today " + t.Format("15:04")
	case !t.Before(today.AddDate(0, 0, -1)):
		return "yesterday " + t.Format("15:04")
	case !t.Before(today.AddDate(0, 0, -6)):
		return t.Format("Monday 15:04")
	case t.Year() == y:
		return t.Format("2 January 15:04")
	}
	return t.Format("2 January 2006")
}
