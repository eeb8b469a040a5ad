// Package suggest finds the name that a user probably meant.
package suggest

import (
	"fmt"
	"strings"
)

// Hint asks whether the nearest of the names was meant; it is fallback if none is near.
func Hint(got string, names []string, fallback string) string {
	if near := Nearest(got, names); near != "" {
		return fmt.Sprintf("did you mean %s?", near)
	}
	return fallback
}

// Nearest returns the name with the smallest edit distance from got, case aside; empty if a third of the letters of got,
// or more than three, would have to change.
func Nearest(got string, names []string) string {
	got = strings.ToLower(got)
	best, bestDistance := "", min(3, (len(got)+2)/3)+1
	for _, name := range names {
		if d := distance(got, strings.ToLower(name)); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that turn a into b (optimal string
// alignment).
func distance(a, b string) int {
	prev2, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := prev[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(prev[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev2[j-2]+1)
			}
		}
		prev2, prev, row = prev, row, prev2
	}
	return prev[len(b)]
}
