// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
)

// report lays the figures side by side, with the ratio of the first server to
// the better of the others.
func report(names []string, all map[string][]figure) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| figure | unit |")
	for _, n := range names {
		fmt.Fprintf(&b, " %s |", n)
	}
	fmt.Fprint(&b, " first / better peer |\n|---|---|")
	b.WriteString(strings.Repeat("---|", len(names)+1) + "\n")
	if len(names) == 0 {
		return b.String()
	}
	for _, f := range all[names[0]] {
		fmt.Fprintf(&b, "| %s | %s |", f.name, f.unit)
		for _, n := range names {
			if v, ok := valueOf(all[n], f.name); ok {
				fmt.Fprintf(&b, " %.2f |", v)
			} else {
				b.WriteString(" – |")
			}
		}
		fmt.Fprintf(&b, " %s |\n", ratio(names, all, f))
	}
	return b.String()
}

func valueOf(l []figure, name string) (float64, bool) {
	for _, f := range l {
		if f.name == name {
			return f.value, true
		}
	}
	return 0, false
}

// ratio is the first server's value by that of the better of the others.
func ratio(names []string, all map[string][]figure, first figure) string {
	var best float64
	found := false
	for _, n := range names[1:] {
		v, ok := valueOf(all[n], first.name)
		if ok && (!found || first.lessIsMore == (v < best)) {
			best, found = v, true
		}
	}
	if best == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", first.value/best)
}
