package layers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Plan is a graph whose values have their places: offsets in an arena for what lives within a step, and a buffer of its
// own for what outlives it. Until Realize nothing is allocated, so a plan can be inspected on any device.
type Plan struct {
	dev        *vk.Device
	graph      *Graph
	arena      int64 // bytes of the arena that this plan needs
	naive      int64 // bytes if no two values shared memory
	persistent *vk.Buffer
	prepare    *vk.Program
	step       *vk.Program
}

// slab is the largest piece in which an arena is allocated: drivers refuse single allocations beyond 2 GiB or 4 GiB with
// memory free (docs/architecture.md names no smaller one).
const slab = int64(1) << 31

// Arena is the memory that the plans of one network share: the stages of progressive training use it in turn.
type Arena struct {
	dev   *vk.Device
	slab  int64
	slabs []*vk.Buffer
}

// NewArena returns an arena without memory.
func NewArena(dev *vk.Device) *Arena { return &Arena{dev: dev, slab: slabBytes(dev)} }

func slabBytes(dev *vk.Device) int64 {
	n := slab
	if m := dev.Limits().MaxAllocation; m > 0 {
		n = min(n, m)
	}
	return n / paramAlign * paramAlign
}

// Reserve makes the arena at least so large. Plans that were realized before keep their places only if it did not grow:
// reserve the largest plan's size first.
func (a *Arena) Reserve(bytes int64) error {
	for i := 0; int64(i)*a.slab < bytes; i++ {
		want := min(a.slab, bytes-int64(i)*a.slab)
		if i < len(a.slabs) {
			if a.slabs[i].Size() >= want {
				continue
			}
			a.slabs[i].Release()
			a.slabs = a.slabs[:i]
		}
		b, err := a.dev.NewBuffer(fmt.Sprintf("activations %d", i), want, vk.DeviceMemory)
		if err != nil {
			return fmt.Errorf("layers: activations need %d bytes: %w", bytes, err)
		}
		a.slabs = append(a.slabs, b)
	}
	return nil
}

// at is the range at an offset of the arena.
func (a *Arena) at(off, size int64) vk.Range {
	return vk.Range{Buf: a.slabs[off/a.slab], Off: off % a.slab, Size: size}
}

// Release frees the arena's memory.
func (a *Arena) Release() {
	for _, b := range a.slabs {
		b.Release()
	}
	a.slabs = nil
}

// newPlan gives each value of the graph an offset.
func newPlan(g *Graph) (*Plan, error) {
	if len(g.steps) == 0 {
		return nil, errors.New("layers: the graph has no dispatches")
	}
	p := &Plan{dev: g.dev, graph: g}
	var persistent int64
	var moving []*Value
	for _, v := range g.values {
		switch {
		case v.Persistent:
			v.off = persistent
			persistent += aligned(v.Bytes)
		case v.first <= v.last:
			p.naive += aligned(v.Bytes)
			moving = append(moving, v)
		}
	}
	p.persistent = g.dev.DeclareBuffer("inputs and outputs", max(persistent, paramAlign))
	var err error
	p.arena, err = layout(moving, slabBytes(g.dev))
	return p, err
}

// layout places values so that no two that live at the same time share memory and none crosses a multiple of slab, and
// returns the bytes that this takes. Values are placed from the largest to the smallest, each at the lowest offset that
// is free from its first to its last use (greedy by size, Pisarchyk & Lee 2020, arXiv:2001.03288, section 4.3).
func layout(values []*Value, slab int64) (total int64, err error) {
	order := append([]*Value{}, values...)
	sort.SliceStable(order, func(i, j int) bool { return order[i].Bytes > order[j].Bytes })
	var placed []*Value // by offset
	for _, v := range order {
		if v.Bytes > slab {
			return 0, fmt.Errorf("layers: %s has %d bytes, the device allocates at most %d at once; use a smaller batch", v.Name, v.Bytes, slab)
		}
		off := int64(0)
		for _, w := range placed {
			if w.last < v.first || v.last < w.first {
				continue
			}
			if fit(off, v.Bytes, slab)+v.Bytes <= w.off {
				break
			}
			off = max(off, w.off+aligned(w.Bytes))
		}
		v.off = fit(off, v.Bytes, slab)
		i := sort.Search(len(placed), func(i int) bool { return placed[i].off > v.off })
		placed = slices.Insert(placed, i, v)
		total = max(total, v.off+aligned(v.Bytes))
	}
	return total, nil
}

func aligned(n int64) int64 { return (n + paramAlign - 1) / paramAlign * paramAlign }

// fit moves off to the next slab if a value of that size would cross a boundary there.
func fit(off, bytes, slab int64) int64 {
	if off/slab != (off+bytes-1)/slab {
		return (off/slab + 1) * slab
	}
	return off
}

// ArenaBytes is the arena memory that the plan needs; NaiveBytes is what its values would take without sharing memory.
func (p *Plan) ArenaBytes() int64 { return p.arena }

// NaiveBytes is the sum of the sizes of the values that live within a step.
func (p *Plan) NaiveBytes() int64 { return p.naive }

// PersistentBytes is the size of inputs, outputs and folded weights.
func (p *Plan) PersistentBytes() int64 { return p.persistent.Size() }

// FloorBytes is what a step has to move if every convolution's output is written once and read once and, in training,
// read once more in backward, its gradient being written and read once: 2 or 5 passes.
func (p *Plan) FloorBytes() int64 {
	passes := int64(2)
	if p.graph.opt.Mode == Train {
		passes = 5
	}
	return passes * p.graph.outputs
}

// Record lists the dispatches of a step as data, without memory behind them.
func (p *Plan) Record() (*vk.Recorder, error) {
	declared := p.dev.DeclareBuffer("activations", max(min(p.arena, slabBytes(p.dev)), paramAlign))
	n := (p.arena + slabBytes(p.dev) - 1) / slabBytes(p.dev)
	a := &Arena{dev: p.dev, slab: slabBytes(p.dev)}
	for range n {
		a.slabs = append(a.slabs, declared)
	}
	p.place(a)
	rec := p.record(p.graph.steps, "step")
	return rec, rec.Err()
}

func (p *Plan) place(a *Arena) {
	for _, v := range p.graph.values {
		switch {
		case v.Persistent:
			v.rng = vk.Range{Buf: p.persistent, Off: v.off, Size: v.Bytes}
		case v.first <= v.last:
			v.rng = a.at(v.off, v.Bytes)
		}
	}
}

func (p *Plan) record(nodes []node, name string) *vk.Recorder {
	rec := p.dev.NewRecorder(name)
	section := ""
	for _, n := range nodes {
		if n.section != section {
			section = n.section
			rec.Mark(section)
		}
		n.record(rec)
	}
	return rec
}

// Realize gives the plan its memory in the arena, which must be large enough, and compiles its programs. It may run while
// another plan's program does, as long as that one's results in the arena are not needed any more when this one runs. A
// second Realize replaces the programs and keeps the plan's own memory.
func (p *Plan) Realize(ctx context.Context, a *Arena, opt *vk.BuildOptions) error {
	p.releasePrograms()
	if err := a.Reserve(p.arena); err != nil {
		return err
	}
	if err := p.persistent.Allocate(); err != nil {
		return fmt.Errorf("layers: inputs and outputs need %d bytes: %w", p.persistent.Size(), err)
	}
	p.place(a)
	var err error
	if p.step, err = p.record(p.graph.steps, "step").Build(ctx, opt); err != nil {
		return err
	}
	if len(p.graph.prepare) > 0 {
		p.prepare, err = p.record(p.graph.prepare, "prepare").Build(ctx, opt)
	}
	return err
}

// Prepare folds batch norm into the weights: run it once after the weights have changed. In training it does nothing.
func (p *Plan) Prepare(ctx context.Context) error {
	if p.prepare == nil {
		return nil
	}
	return p.prepare.Run(ctx)
}

// Step is the recorded program of one step.
func (p *Plan) Step() *vk.Program { return p.step }

// Release frees the plan's programs and its own memory. The arena stays.
func (p *Plan) Release() {
	p.releasePrograms()
	p.persistent.Release()
}

func (p *Plan) releasePrograms() {
	p.step.Release()
	p.prepare.Release()
	p.step, p.prepare = nil, nil
}
