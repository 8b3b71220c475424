// SPDX-License-Identifier: Apache-2.0

package push

// A line is the watches by when they are due.
type line []*watch

// Len implements heap.Interface.
func (l line) Len() int { return len(l) }

// Less implements heap.Interface.
func (l line) Less(i, j int) bool { return l[i].due.Before(l[j].due) }

// Swap implements heap.Interface.
func (l line) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].place, l[j].place = i, j
}

// Push implements heap.Interface.
func (l *line) Push(x any) {
	w := x.(*watch)
	w.place = len(*l)
	*l = append(*l, w)
}

// Pop implements heap.Interface.
func (l *line) Pop() any {
	old := *l
	w := old[len(old)-1]
	*l = old[:len(old)-1]
	return w
}
