package bench

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Frame is a part of a step's device time: the step, a section of it, a kernel in a section, or a kernel's dispatches of
// one shape.
type Frame struct {
	Name  string
	Count int     // dispatches
	MS    float64 // sum of the medians
	Begin float64 // sum of what stands before it in the same parent, in ms from the step's begin
	Floor float64 // ms at the ceilings
	Bound Bound   // the ceiling that most of Floor is due to
	Parts []*Frame

	floors floors
}

// Share is the part of the ceilings that the frame reaches.
func (f *Frame) Share() float64 {
	if f.MS == 0 {
		return 0
	}
	return f.Floor / f.MS
}

// Flame arranges the results of Kernels as a tree: step, sections, kernels, shapes, the longest first. Shapes and kernels
// that take less than the given share of the step are put together where they are two or more, and a kernel none of whose
// shapes takes as much has no parts.
func Flame(results []Result, least float64) *Frame {
	root := &Frame{Name: "step", floors: floors{}}
	for _, r := range results {
		shape := strings.TrimSpace(strings.TrimPrefix(" "+shape(r)+" ", fmt.Sprintf(" n%d ", r.Batch)))
		f := root
		f.add(r)
		for _, name := range []string{r.Section, r.Kernel, shape} {
			f = f.part(name)
			f.add(r)
		}
	}
	root.arrange(least*root.MS, 0)
	return root
}

// shape is what a label says beside the words of the kernel's name.
func shape(r Result) string {
	words := strings.Fields(r.Name)
	for len(words) > 1 && slices.Contains(strings.Split(r.Kernel, "_"), words[0]) {
		words = words[1:]
	}
	return strings.Join(words, " ")
}

func (f *Frame) part(name string) *Frame {
	for _, p := range f.Parts {
		if p.Name == name {
			return p
		}
	}
	p := &Frame{Name: name, floors: floors{}}
	f.Parts = append(f.Parts, p)
	return p
}

func (f *Frame) add(r Result) {
	f.Count += r.Count
	f.MS += r.MedianMS * float64(r.Count)
	f.floors.add(r.FloorMS*float64(r.Count), r.Bound)
	f.Floor, f.Bound = f.floors.total()
}

// arrange sorts the parts, puts those below least together, and gives each its begin.
func (f *Frame) arrange(least float64, depth int) {
	slices.SortStableFunc(f.Parts, func(a, b *Frame) int { return cmp.Compare(b.MS, a.MS) })
	small := slices.IndexFunc(f.Parts, func(p *Frame) bool { return p.MS < least })
	switch {
	case depth == 2 && small == 0 && len(f.Parts) > 1:
		f.Parts = nil
	case depth > 0 && small >= 0 && len(f.Parts)-small > 1:
		rest := &Frame{Name: fmt.Sprintf("%d other %s", len(f.Parts)-small, [...]string{1: "kernels", 2: "shapes"}[depth]), floors: floors{}}
		for _, p := range f.Parts[small:] {
			rest.Count += p.Count
			rest.MS += p.MS
			for bound, ms := range p.floors {
				rest.floors.add(ms, bound)
			}
		}
		rest.Floor, rest.Bound = rest.floors.total()
		f.Parts = append(f.Parts[:small:small], rest)
	}
	begin := f.Begin
	for _, p := range f.Parts {
		p.Begin = begin
		begin += p.MS
		p.arrange(least, depth+1)
	}
}
