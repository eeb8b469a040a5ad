package kernels

import (
	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// DepthwiseWgradConfig is the shape of a DepthwiseWgrad.
type DepthwiseWgradConfig struct {
	Conv    Conv
	DY      GradIn  // how dy is built from its parts
	In      Pending // what is pending on x
	Variant string  // as of DepthwiseFwdConfig
}

// DepthwiseWgradArgs are the buffers of a DepthwiseWgrad: DW is [R S C], Scratch has ScratchBytes.
type DepthwiseWgradArgs struct {
	DY          Grad
	X           Tensor
	DW, Scratch vk.Range
}

// DepthwiseWgrad computes
//
//	dw[r,s,c] = sum over n,p,q of dy[n,p,q,c] * value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c]
//
// and overwrites dw. x and dy are built on load, each element about once. Two stages: invocations sum all taps over their
// share of the tiles in a fixed order, then the shares ("splits") are added in theirs.
type DepthwiseWgrad struct {
	cfg    DepthwiseWgradConfig
	grid   depthwiseGrid
	splits int // of each call
	calls  int
	spec   shaders.DepthwiseWgradSpec
}

// NewDepthwiseWgrad returns a *ShapeError if the configuration is no depthwise convolution, and a *vk.UnsupportedError
// if one image does not fit a binding.
func NewDepthwiseWgrad(dev *vk.Device, cfg DepthwiseWgradConfig) (*DepthwiseWgrad, error) {
	const op = "depthwise wgrad"
	c := cfg.Conv
	if err := checkDepthwise(dev, op, c); err != nil {
		return nil, err
	}
	if err := cfg.DY.check(op); err != nil {
		return nil, err
	}
	grid, err := newDepthwiseGrid(dev, op, cfg.Variant, c, c.P, c.Q, 1, c.XBytes()/int64(c.N), c.YBytes()/int64(c.N))
	if err != nil {
		return nil, err
	}
	o := &DepthwiseWgrad{cfg: cfg, grid: grid, calls: ceilDiv(c.N, grid.images)}
	o.splits = depthwiseSplits(dev, &o.grid, c, c.C/4, o.calls)
	o.spec = shaders.DepthwiseWgradSpec{
		LocalX: uint32(o.grid.x), LocalY: uint32(o.grid.y), K: uint32(c.R), Stride: uint32(c.Stride), Tq: uint32(grid.tq),
		DyBn: cfg.DY.BN, DyKeep: cfg.DY.Keep, DyGate: cfg.DY.Gate, DyNog: cfg.DY.NoG, DyAct: uint32(cfg.DY.Act),
		InBn: cfg.In.BN, InAct: uint32(cfg.In.Act), InGate: cfg.In.Gate,
	}
	return o, nil
}

// depthwiseSplits is how many invocations along g.y share the tiles of a call, each with sums over all taps: enough to
// fill the device with lanes invocations along the channels, but no more than tiles or than a binding holds. It cuts the
// workgroup accordingly.
func depthwiseSplits(dev *vk.Device, g *depthwiseGrid, c Conv, lanes, calls int) int {
	enough := 1 << 15
	if g.variant == narrowVariant {
		enough = 1 << 8
	}
	most := dev.Limits().MaxRange / (int64(calls) * 4 * int64(c.R*c.S*c.C))
	splits := max(min(ceilDiv(enough, lanes), g.images*g.strips*g.runs, int(most)), 1)
	g.x, g.y = channelLanes(dev, g.variant, lanes, splits)
	return splits
}

// ScratchBytes is the size of Scratch.
func (o *DepthwiseWgrad) ScratchBytes() int64 {
	c, rows := o.cfg.Conv, o.splits*o.calls
	return when(rows > 1, 4*int64(rows)*int64(c.R*c.S*c.C))
}

// Variant is the one that was chosen.
func (o *DepthwiseWgrad) Variant() string { return o.grid.variant }

// Record appends the calls.
func (o *DepthwiseWgrad) Record(rec *vk.Recorder, a DepthwiseWgradArgs) {
	c, g := o.cfg.Conv, o.grid
	label := "depthwise wgrad " + c.String()
	bytes := 4 * int64(c.R*c.S*c.C)
	args := append(o.cfg.DY.arguments(&a.DY, c.YBytes(), c.N, c.C), pendingArguments(o.cfg.In, &a.X, c.N, c.C)...)
	if !checkArguments(rec, label, append(args, argument{"x", &a.X.Raw, c.XBytes()}, argument{"dw", &a.DW, bytes},
		argument{"scratch", &a.Scratch, o.ScratchBytes()})...) {
		return
	}
	parts := a.Scratch
	if parts.IsZero() {
		parts = a.DW
	}
	xImage, yImage := c.XBytes()/int64(c.N), c.YBytes()/int64(c.N)
	for call := range o.calls {
		first := call * g.images
		count := min(g.images, c.N-first)
		push := shaders.DepthwiseWgradParams{C4: uint32(c.C / 4), H: uint32(c.H), W: uint32(c.W), P: uint32(c.P), Q: uint32(c.Q),
			PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), Strips: uint32(g.strips), Runs: uint32(g.runs),
			Rows: uint32(g.rows), Image0: uint32(first), Tiles: uint32(count * g.strips * g.runs),
			Splits: uint32(o.splits), Split0: uint32(call * o.splits)}
		rec.Dispatch(vk.Call{
			Shader: c.Elem.pick(&shaders.DepthwiseWgrad, &shaders.DepthwiseWgradF16, &shaders.DepthwiseWgradBf16),
			Spec:   o.spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.DepthwiseWgradBindings{
				X: imageSlice(a.X.Raw, xImage, first, count),
				G: imageSlice(a.DY.G, yImage, first, count), Y: imageSlice(a.DY.Y, yImage, first, count),
				DyBN: a.DY.BN, DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E,
				InBN: a.X.BN, InGate: a.X.Gate, Dw: parts,
			}.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.C/4, g.x)), uint32(ceilDiv(o.splits, g.y)), 1},
			Label:  label,
			FLOPs:  depthwiseFLOPs(c, count),
		})
	}
	if rows := o.splits * o.calls; rows > 1 {
		wgradReduce(rec, label, parts, a.DW, rows)
	}
}
