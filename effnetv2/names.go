package effnetv2

import (
	"cmp"
	"slices"
	"strings"
)

// Naming is a scheme of parameter names.
type Naming int

const (
	// Timm are the names of pytorch-image-models, "blocks.3.0.conv_pw.weight": the native ones, since timm has every variant.
	Timm Naming = iota
	// Torchvision are the names of torchvision, "features.4.0.block.0.0.weight".
	Torchvision
)

// String returns "timm" or "torchvision".
func (n Naming) String() string {
	if n == Torchvision {
		return "torchvision"
	}
	return "timm"
}

// Name returns the parameter's name in the scheme.
func (p Param) Name(n Naming) string {
	if n == Torchvision {
		return p.Torchvision
	}
	return p.Timm
}

// editDistance is the Levenshtein distance in bytes.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost++
			}
			diag, row[j+1] = row[j+1], min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// nearest returns the candidate most similar to name, "" if there is none.
func nearest(name string, candidates []string) string {
	if len(candidates) == 0 {
		return ""
	}
	// Names share their last element far more often by meaning than by accident, so equal leaves win ties.
	leaf := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	return slices.MinFunc(candidates, func(a, b string) int {
		score := func(s string) int {
			d := 2 * editDistance(s, name)
			if leaf(s) != leaf(name) {
				d++
			}
			return d
		}
		return cmp.Compare(score(a), score(b))
	})
}
