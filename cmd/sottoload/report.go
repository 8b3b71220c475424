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
	for i, f := range all[names[0]] {
		fmt.Fprintf(&b, "| %s | %s |", f.name, f.unit)
		for _, n := range names {
			fmt.Fprintf(&b, " %.2f |", valueAt(all[n], i))
		}
		fmt.Fprintf(&b, " %s |\n", ratio(names, all, i))
	}
	return b.String()
}

func valueAt(l []figure, i int) float64 {
	if i >= len(l) {
		return 0
	}
	return l[i].value
}

func ratio(names []string, all map[string][]figure, i int) string {
	first := all[names[0]][i]
	var best float64
	for _, n := range names[1:] {
		v := valueAt(all[n], i)
		if best == 0 || first.lessIsMore == (v < best) {
			best = v
		}
	}
	if best == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", first.value/best)
}
