// SPDX-License-Identifier: Apache-2.0

package client

import (
	"testing"
	"time"
)

func TestAgo(t *testing.T) {
	now := time.Date(2026, 3, 4, 9, 30, 0, 0, time.UTC) // a Wednesday
	for _, row := range []struct {
		t    time.Time
		want string
	}{
		{now.Add(time.Second), "just now"},
		{now.Add(-59 * time.Second), "just now"},
		{now.Add(-45 * time.Minute), "45 min ago"},
		{now.Add(-61 * time.Minute), "today 08:29"},
		{now.Add(-10 * time.Hour), "yesterday 23:30"},
		{now.Add(-33 * time.Hour), "yesterday 00:30"},
		{now.Add(-34 * time.Hour), "Monday 23:30"},
		{now.AddDate(0, 0, -6), "Thursday 09:30"},
		{now.AddDate(0, 0, -7), "25 February 09:30"},
		{now.AddDate(-1, 0, 0), "4 March 2025"},
	} {
		if got := Ago(row.t, now); got != row.want {
			t.Errorf("%v is %q, not %q", row.t, got, row.want)
		}
	}
}
