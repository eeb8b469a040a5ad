package effnetv2

import (
	"fmt"
	"slices"
	"strings"
)

// ShapeMismatch is one tensor whose shape is not the network's.
type ShapeMismatch struct {
	Name      string
	Got, Want []int
}

// MatchError reports weights that are not those of the wanted network; names are in the scheme that the file uses.
type MatchError struct {
	Source    string
	Variant   string
	Classes   int
	LooksLike string            // the row whose tensors these are, "" if none
	Missing   []string          // the network has them, the file does not
	LeftOver  []string          // the file has them, the network does not
	Wrong     []ShapeMismatch   // both have them, in different shapes
	Nearest   map[string]string // for a missing name, the most similar left-over one
}

func (e *MatchError) Error() string {
	var b strings.Builder
	b.WriteString("effnetv2: ")
	if e.Source != "" {
		b.WriteString(e.Source + ": ")
	}
	fmt.Fprintf(&b, "got weights with %d names missing, %d left over and %d of another shape, want those of %s with %d classes",
		len(e.Missing), len(e.LeftOver), len(e.Wrong), e.Variant, e.Classes)
	if e.LooksLike != "" {
		fmt.Fprintf(&b, "; these are the weights of %s", e.LooksLike)
		if e.LooksLike != e.Variant {
			return b.String() // the lists would name nearly every tensor
		}
	}
	for _, n := range e.Missing {
		fmt.Fprintf(&b, "\n  missing: %s", n)
		if near := e.Nearest[n]; near != "" {
			fmt.Fprintf(&b, " (nearest left over: %s)", near)
		}
	}
	for _, n := range e.LeftOver {
		fmt.Fprintf(&b, "\n  left over: %s", n)
	}
	for _, w := range e.Wrong {
		fmt.Fprintf(&b, "\n  %s is %v, want %v", w.Name, w.Got, w.Want)
	}
	return b.String()
}

// Hint says which model to ask for.
func (e *MatchError) Hint() string {
	if e.LooksLike != "" && e.LooksLike != e.Variant {
		return "use --model " + e.LooksLike
	}
	return ""
}

// Match returns the state of network v out of a file's tensors: by timm's names, in PyTorch's shapes (OIHW). The names may be
// timm's or torchvision's; every one must be there and none may be left over, except that the counters num_batches_tracked
// may be absent and are then 0. classes 0 takes as many as the file has. The slices are sd's own, not copies. The error is a
// *MatchError.
func (v Variant) Match(sd *StateDict, classes int) (map[string][]float32, error) {
	naming := sd.Naming()
	if classes == 0 {
		classes = sd.Classes()
	}
	state := map[string][]float32{}
	e := &MatchError{Source: sd.Source, Variant: v.Name, Classes: classes}
	known := map[string]bool{}
	for _, p := range v.Params(classes) {
		name := p.Name(naming)
		known[name] = true
		t, ok := sd.Tensors[name]
		switch {
		case !ok && p.Kind == BNCount:
			state[p.Timm] = []float32{0}
		case !ok:
			e.Missing = append(e.Missing, name)
		case p.Kind == BNCount && len(t.I64)+len(t.F32) == 1:
			state[p.Timm] = []float32{t.scalar()}
		case !slices.Equal(t.Shape, p.Shape) || len(t.F32) != p.Len():
			e.Wrong = append(e.Wrong, ShapeMismatch{name, t.Shape, p.Shape})
		default:
			state[p.Timm] = t.F32
		}
	}
	for _, n := range sd.Names {
		if !known[n] {
			e.LeftOver = append(e.LeftOver, n)
		}
	}
	if len(e.Missing)+len(e.LeftOver)+len(e.Wrong) == 0 {
		return state, nil
	}
	if other, _, err := DetectVariant(sd); err == nil {
		e.LooksLike = other.Name
	}
	if e.LooksLike == "" || e.LooksLike == e.Variant {
		e.Nearest = map[string]string{}
		for _, n := range e.Missing[:min(len(e.Missing), 20)] { // each costs a comparison with every left-over name
			e.Nearest[n] = nearest(n, e.LeftOver)
		}
	}
	return nil, e
}

func (t Tensor) scalar() float32 {
	if len(t.I64) == 1 {
		return float32(t.I64[0])
	}
	return t.F32[0]
}

// Naming tells the scheme of the names.
func (sd *StateDict) Naming() Naming {
	if slices.ContainsFunc(sd.Names, func(n string) bool { return strings.HasPrefix(n, "features.") }) {
		return Torchvision
	}
	return Timm
}

// Classes is the number of outputs of the classifier, 0 if there is none.
func (sd *StateDict) Classes() int {
	for _, name := range []string{"classifier.weight", "classifier.1.weight"} {
		if t := sd.Tensors[name]; len(t.Shape) == 2 {
			return t.Shape[0]
		}
	}
	return 0
}

// DetectVariant finds the row that has exactly the tensors of sd, and the number of its classes.
func DetectVariant(sd *StateDict) (Variant, int, error) {
	naming, classes := sd.Naming(), sd.Classes()
	for _, v := range All() {
		count, counters := 0, 0
		fits := !slices.ContainsFunc(v.Params(classes), func(p Param) bool {
			t, ok := sd.Tensors[p.Name(naming)]
			if p.Kind == BNCount {
				if ok {
					counters++
				}
				return false
			}
			count++
			return !ok || !slices.Equal(t.Shape, p.Shape)
		})
		if fits && count+counters == len(sd.Names) {
			return v, classes, nil
		}
	}
	source := sd.Source
	if source == "" {
		source = "the state"
	}
	return Variant{}, 0, fmt.Errorf("effnetv2: %s has %d tensors, want the tensors of one of the models", source, len(sd.Names))
}

// StateDict makes a state to be written from weights by timm's names in PyTorch's shapes, in the names of the scheme. Every
// tensor must be there in its size, except that absent counters are 0.
func (v Variant) StateDict(classes int, weights map[string][]float32, naming Naming) (*StateDict, error) {
	sd := &StateDict{Metadata: map[string]string{}}
	for _, p := range v.Params(classes) {
		x := weights[p.Timm]
		if p.Kind == BNCount {
			count := int64(0)
			if len(x) == 1 {
				count = int64(x[0])
			}
			sd.Add(p.Name(naming), Tensor{DType: "I64", Shape: []int{}, I64: []int64{count}})
			continue
		}
		if len(x) != p.Len() {
			return nil, fmt.Errorf("effnetv2: %s: %s has %d elements, want %d for shape %v", v.Name, p.Timm, len(x), p.Len(), p.Shape)
		}
		sd.Add(p.Name(naming), Tensor{DType: "F32", Shape: p.Shape, F32: x})
	}
	return sd, nil
}
