package layers

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Param is one tensor of a flat parameter buffer.
type Param struct {
	Name  string
	Count int  // floats
	Decay bool // weight decay applies
	off   int64
}

// paramAlign is the alignment of a parameter in its flat buffer: the largest storage-buffer offset alignment that Vulkan
// allows a device to ask for, so that each parameter can be bound alone.
const paramAlign = 256

// ParamSet lays parameters into flat buffers that share one layout: weights, gradients, optimizer slots, moving averages.
// Parameters with weight decay come first, so an optimizer knows them by their place. The gaps are zero and stay zero.
type ParamSet struct {
	list   []*Param
	byName map[string]*Param
	decay  int64 // bytes of the leading part that decays
	size   int64
}

// NewParamSet lays out the parameters in the given order within each of the two parts.
func NewParamSet(list []Param) (*ParamSet, error) {
	s := &ParamSet{byName: make(map[string]*Param, len(list))}
	for _, decay := range []bool{true, false} {
		for i := range list {
			if list[i].Decay != decay {
				continue
			}
			p := list[i]
			if p.Count <= 0 || s.byName[p.Name] != nil {
				return nil, fmt.Errorf("layers: parameter %q: got count %d, want a positive count and a name used once", p.Name, p.Count)
			}
			p.off = s.size
			s.byName[p.Name] = &p
			s.list = append(s.list, &p)
			s.size += (4*int64(p.Count) + paramAlign - 1) / paramAlign * paramAlign
		}
		if decay {
			s.decay = s.size
		}
	}
	return s, nil
}

// Bytes is the size of a flat buffer of the set.
func (s *ParamSet) Bytes() int64 { return s.size }

// Params lists the parameters in the order in which they lie.
func (s *ParamSet) Params() []*Param { return s.list }

// Lookup returns the parameter of that name, nil if there is none.
func (s *ParamSet) Lookup(name string) *Param { return s.byName[name] }

// Of returns p's part of a flat buffer of the set.
func (s *ParamSet) Of(flat vk.Range, p *Param) vk.Range {
	if flat.IsZero() {
		return vk.Range{}
	}
	return flat.Slice(p.off, 4*int64(p.Count))
}

// DecayBytes is the size of the leading part, whose parameters decay.
func (s *ParamSet) DecayBytes() int64 { return s.decay }

// Offset is p's place in the flat buffers, in bytes.
func (p *Param) Offset() int64 { return p.off }
