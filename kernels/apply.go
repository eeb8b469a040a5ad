package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// applyGrid is how an elementwise kernel over [N HW C] is cut up: workgroups of x channel groups by y pixels, which walk
// over tile pixels of one image.
type applyGrid struct {
	n, hw, c int
	elem     Elem
	x, y     int
	tile     int
	each     int // tile/y where that is to be one piece of code (include/pixels.glsl), or 0
	images   int // per call
}

// newApplyGrid cuts a kernel; sums, if its workgroups take sums, whose parts should be few.
func newApplyGrid(dev *vk.Device, op, variant string, n, hw, c int, elem Elem, sums bool) (g applyGrid, err error) {
	if n < 1 || hw < 1 || c < 8 || c%8 != 0 {
		return g, &ShapeError{Op: op, Got: fmt.Sprintf("[%d %d %d]", n, hw, c), Want: "at least 1 image and pixel, C a multiple of 8"}
	}
	if err := elem.Check(dev); err != nil {
		return g, fmt.Errorf("kernels: %s: %w", op, err)
	}
	if variant, err = cutVariant(dev, op, variant); err != nil {
		return g, err
	}
	g = applyGrid{n: n, hw: hw, c: c, elem: elem}
	g.x, g.y = channelLanes(dev, variant, c/4, hw)
	// Long enough walks that reading the channel's constants weighs little, and that sums have few parts.
	walk := 8
	if variant == narrowVariant {
		walk = 64
	}
	g.tile = max(g.y*walk, ceilDiv(hw, int(dev.Limits().MaxGroups)))
	if variant == narrowVariant && !sums {
		x := largestDivisor(c/4, 8)
		y := largestDivisor(hw, 8/x)
		if each := largestDivisor(hw/y, 8); hw/(y*each) <= int(dev.Limits().MaxGroups) {
			g.x, g.y, g.each, g.tile = x, y, each, y*each
		}
	}
	g.images, err = imagesPerCall(dev, op+" "+g.String(), n, g.imageBytes())
	return g, err
}

// String names the shape as labels and errors do.
func (g *applyGrid) String() string {
	s := fmt.Sprintf("n%d %dx%d", g.n, g.hw, g.c)
	if g.elem != F32 {
		s += " " + g.elem.String()
	}
	return s
}

func (g *applyGrid) imageBytes() int64 { return g.elem.Bytes() * int64(g.hw) * int64(g.c) }
func (g *applyGrid) bytes() int64      { return int64(g.n) * g.imageBytes() }
func (g *applyGrid) tiles() int        { return ceilDiv(g.hw, g.tile) }

// elements are those of count images.
func (g *applyGrid) elements(count int) int64 { return int64(count) * int64(g.hw) * int64(g.c) }

func (g *applyGrid) groups(count int) [3]uint32 {
	return [3]uint32{uint32(ceilDiv(g.c/4, g.x)), uint32(g.tiles()), uint32(count)}
}

// slice is the part of r for count images.
func (g *applyGrid) slice(r vk.Range, first, count int) vk.Range {
	return imageSlice(r, g.imageBytes(), first, count)
}

// ApplyConfig is the shape of an Apply.
type ApplyConfig struct {
	N, HW, C   int
	Elem       Elem    // of every [N HW C]
	In         Pending // what is pending on x
	Keep, Skip bool
	Variant    string // "narrow" or "wide"; empty: chosen
}

// ApplyArgs are the buffers of an Apply: x, Skip and Out [N HW C], Keep [N].
type ApplyArgs struct {
	X               Tensor
	Keep, Skip, Out vk.Range
}

// Apply computes out = value(x)*keep[n] + skip and overwrites out, which may be x's raw buffer or skip.
type Apply struct {
	cfg  ApplyConfig
	grid applyGrid
}

// NewApply returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if one image does not fit a
// binding.
func NewApply(dev *vk.Device, cfg ApplyConfig) (*Apply, error) {
	grid, err := newApplyGrid(dev, "apply", cfg.Variant, cfg.N, cfg.HW, cfg.C, cfg.Elem, false)
	if err != nil {
		return nil, err
	}
	return &Apply{cfg: cfg, grid: grid}, nil
}

// Record appends the calls.
func (o *Apply) Record(rec *vk.Recorder, a ApplyArgs) {
	g := &o.grid
	label := "apply " + g.String()
	if !checkArguments(rec, label, append(pendingArguments(o.cfg.In, &a.X, g.n, g.c), argument{"x", &a.X.Raw, g.bytes()},
		argument{"keep", &a.Keep, when(o.cfg.Keep, 4*int64(g.n))}, argument{"skip", &a.Skip, when(o.cfg.Skip, g.bytes())},
		argument{"out", &a.Out, g.bytes()})...) {
		return
	}
	spec := shaders.ApplySpec{LocalX: uint32(g.x), LocalY: uint32(g.y), Keep: o.cfg.Keep, Skip: o.cfg.Skip,
		InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate, Each: uint32(g.each)}
	for first := 0; first < g.n; first += g.images {
		count := min(g.images, g.n-first)
		push := shaders.ApplyParams{C4: uint32(g.c / 4), Hw: uint32(g.hw), Tile: uint32(g.tile), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: g.elem.pick(&shaders.Apply, &shaders.ApplyF16, &shaders.ApplyBf16),
			Spec:   spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.ApplyBindings{X: g.slice(a.X.Raw, first, count), Keep: a.Keep, Skip: g.slice(a.Skip, first, count),
				Dst: g.slice(a.Out, first, count), InBN: a.X.BN, InGate: a.X.Gate}.Ranges(),
			Groups: g.groups(count),
			Label:  label,
			FLOPs:  4 * g.elements(count),
		})
	}
}

// ApplyGradConfig is the shape of an ApplyGrad.
type ApplyGradConfig struct {
	N, HW, C int
	Elem     Elem // of every [N HW C]
	DY       GradIn
	Variant  string // "narrow" or "wide"; empty: chosen
}

// ApplyGradArgs are the buffers of an ApplyGrad: Out is [N HW C] and may be DY.G.
type ApplyGradArgs struct {
	DY  Grad
	Out vk.Range
}

// ApplyGrad writes the gradient of a raw output that is otherwise built while loading: out = dy. It overwrites out.
type ApplyGrad struct {
	cfg  ApplyGradConfig
	grid applyGrid
}

// NewApplyGrad returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if one image does not
// fit a binding.
func NewApplyGrad(dev *vk.Device, cfg ApplyGradConfig) (*ApplyGrad, error) {
	const op = "apply grad"
	if err := cfg.DY.check(op); err != nil {
		return nil, err
	}
	grid, err := newApplyGrid(dev, op, cfg.Variant, cfg.N, cfg.HW, cfg.C, cfg.Elem, false)
	if err != nil {
		return nil, err
	}
	return &ApplyGrad{cfg: cfg, grid: grid}, nil
}

// Record appends the calls.
func (o *ApplyGrad) Record(rec *vk.Recorder, a ApplyGradArgs) {
	g, dy := &o.grid, o.cfg.DY
	label := "apply grad " + g.String()
	if !checkArguments(rec, label, append(dy.arguments(&a.DY, g.bytes(), g.n, g.c), argument{"out", &a.Out, g.bytes()})...) {
		return
	}
	spec := shaders.ApplyGradSpec{LocalX: uint32(g.x), LocalY: uint32(g.y),
		DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act), Each: uint32(g.each)}
	for first := 0; first < g.n; first += g.images {
		count := min(g.images, g.n-first)
		push := shaders.ApplyGradParams{C4: uint32(g.c / 4), Hw: uint32(g.hw), Tile: uint32(g.tile), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: g.elem.pick(&shaders.ApplyGrad, &shaders.ApplyGradF16, &shaders.ApplyGradBf16),
			Spec:   spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.ApplyGradBindings{G: g.slice(a.DY.G, first, count), Y: g.slice(a.DY.Y, first, count), DyBN: a.DY.BN,
				DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E, Dst: g.slice(a.Out, first, count)}.Ranges(),
			Groups: g.groups(count),
			Label:  label,
			FLOPs:  8 * g.elements(count),
		})
	}
}

// ApplySinkConfig is the shape of an ApplySink.
type ApplySinkConfig struct {
	N, HW, C int
	Elem     Elem // of every [N HW C]
	Sink     Sink
	Variant  string // "narrow" or "wide"; empty: chosen
}

// ApplySinkArgs are the buffers of an ApplySink: DU [N HW C]; Sink.DX may be DU.
type ApplySinkArgs struct {
	DU   vk.Range
	Sink SinkArgs
}

// ApplySink does to a gradient that is already in memory what the epilogue of a dgrad does (Sink). It overwrites what it
// writes.
type ApplySink struct {
	cfg  ApplySinkConfig
	grid applyGrid
}

// NewApplySink returns a *ShapeError if the configuration cannot be, and a *vk.UnsupportedError if one image does not
// fit a binding.
func NewApplySink(dev *vk.Device, cfg ApplySinkConfig) (*ApplySink, error) {
	const op = "apply sink"
	if err := cfg.Sink.check(op); err != nil {
		return nil, err
	}
	grid, err := newApplyGrid(dev, op, cfg.Variant, cfg.N, cfg.HW, cfg.C, cfg.Elem, true)
	if err != nil {
		return nil, err
	}
	return &ApplySink{cfg: cfg, grid: grid}, nil
}

// Parts is the number of partial sums, with SE of each image.
func (o *ApplySink) Parts() int {
	if o.cfg.Sink.SE {
		return o.grid.tiles()
	}
	return o.grid.n * o.grid.tiles()
}

// SumsBytes is the size of Sink.Sums; 0 if no sums are taken.
func (o *ApplySink) SumsBytes() int64 {
	g := &o.grid
	return when(o.cfg.Sink.takesSums(), 4*int64(g.n*g.tiles())*int64(o.cfg.Sink.rows()*g.c))
}

// Record appends the calls.
func (o *ApplySink) Record(rec *vk.Recorder, a ApplySinkArgs) {
	g, s := &o.grid, o.cfg.Sink
	label := "apply sink " + g.String()
	if !checkArguments(rec, label, append(s.arguments(&a.Sink, g.bytes(), g.n, g.c, o.SumsBytes()),
		argument{"du", &a.DU, g.bytes()})...) {
		return
	}
	spec := shaders.ApplySinkSpec{LocalX: uint32(g.x), LocalY: uint32(g.y), SinkAdd: s.Add, SinkKeep: s.Keep,
		SinkSums: s.takesSums(), SinkSumsOnly: s.SumsOnly, SinkSe: s.SE, SinkAct: uint32(s.Act)}
	for first := 0; first < g.n; first += g.images {
		count := min(g.images, g.n-first)
		push := shaders.ApplySinkParams{C4: uint32(g.c / 4), Hw: uint32(g.hw), Tile: uint32(g.tile), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: g.elem.pick(&shaders.ApplySink, &shaders.ApplySinkF16, &shaders.ApplySinkBf16),
			Spec:   spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.ApplySinkBindings{Du: g.slice(a.DU, first, count), Dx: g.slice(a.Sink.DX, first, count),
				Add: g.slice(a.Sink.Add, first, count), X: g.slice(a.Sink.Y, first, count), SinkBN: a.Sink.BN,
				SinkKeep: a.Sink.Keep, Sums: a.Sink.Sums}.Ranges(),
			Groups: g.groups(count),
			Label:  label,
			FLOPs:  12 * g.elements(count),
		})
	}
}
