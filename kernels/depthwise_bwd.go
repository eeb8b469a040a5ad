package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// DepthwiseBwdConfig is the shape of a DepthwiseBwd: a 3x3 convolution whose input is u = act(bn(x)), nothing else pending.
type DepthwiseBwdConfig struct {
	Conv    Conv
	DY      GradIn // how dy is built from its parts
	Sink    Sink   // what happens to du: Act with its sums; Add may be set
	Variant string // as of DepthwiseFwdConfig, or Apart, which NewDepthwiseBwd refuses; empty: the shipped choice, one kernel
}

// DepthwiseBwdArgs are the buffers of a DepthwiseBwd: W and DW are [R S C], Sink.Y is x, Scratch has ScratchBytes.
type DepthwiseBwdArgs struct {
	DY             Grad
	W, DW, Scratch vk.Range
	Sink           SinkArgs
}

// DepthwiseBwd computes both gradients of a depthwise convolution in one pass over dy and x,
//
//	du[n,h,w,c] = sum over p,q,r,s with p*stride+r-padTop = h, q*stride+s-padLeft = w of dy[n,p,q,c] * w[r,s,c]
//	dw[r,s,c]   = sum over the same n,p,q,h,w of dy[n,p,q,c] * u[n,h,w,c], u = act(z) of x
//
// It disposes of du as Sink says and overwrites what that names, and dw. What DepthwiseDgrad and DepthwiseWgrad would
// read twice, dy's parts and x, is read once: 2 + 1 passes over P*Q*C, 1 + 1 over H*W*C.
// Two stages: invocations sum all taps over their share of the tiles in a fixed order, then the shares ("splits") are added
// in theirs.
type DepthwiseBwd struct {
	cfg    DepthwiseBwdConfig
	grid   depthwiseGrid
	width  int // channels of an invocation
	splits int // of each call
	calls  int
	spec   shaders.DepthwiseBwdSpec
}

// CanDepthwiseBwd tells whether the two gradients can be taken together: NewDepthwiseBwd takes such a convolution, sink and
// pending input.
func CanDepthwiseBwd(c Conv, in Pending, s Sink) bool {
	return c.R == 3 && c.S == 3 && in == Pending{BN: true, Act: s.Act} && s.Act != NoAct && !s.SE && !s.SumsOnly && !s.Keep
}

// NewDepthwiseBwd returns a *ShapeError if the configuration is no such convolution, and a *vk.UnsupportedError if one
// image does not fit a binding.
func NewDepthwiseBwd(dev *vk.Device, cfg DepthwiseBwdConfig) (*DepthwiseBwd, error) {
	const op = "depthwise bwd"
	c, dy, sink := cfg.Conv, cfg.DY, cfg.Sink
	if err := checkDepthwise(dev, op, c); err != nil {
		return nil, err
	}
	if err := dy.check(op); err != nil {
		return nil, err
	}
	if !CanDepthwiseBwd(c, Pending{BN: true, Act: sink.Act}, sink) {
		return nil, &ShapeError{Op: op, Got: fmt.Sprintf("%s into a sink %+v", c, sink), Want: "3x3 into a sink with an activation and its sums alone"}
	}
	// Rows and columns of dy at which a stride of x begins: the first lies padTop before the image.
	p, q := (c.H-1+c.PadTop)/c.Stride+1, (c.W-1+c.PadLeft)/c.Stride+1
	grid, err := newDepthwiseGrid(dev, op, cfg.Variant, c, p, q, c.Stride, c.XBytes()/int64(c.N), c.YBytes()/int64(c.N))
	if err != nil {
		return nil, err
	}
	o := &DepthwiseBwd{cfg: cfg, grid: grid, width: grid.width(), calls: ceilDiv(c.N, grid.images)}
	o.splits = depthwiseSplits(dev, &o.grid, c, c.C/o.width, o.calls)
	o.spec = shaders.DepthwiseBwdSpec{
		LocalX: uint32(o.grid.x), LocalY: uint32(o.grid.y), Stride: uint32(c.Stride), Tq: uint32(grid.tq),
		DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
		SinkAdd: sink.Add, SinkSums: true, SinkAct: uint32(sink.Act),
	}
	return o, nil
}

// Parts is the number of partial sums.
func (o *DepthwiseBwd) Parts() int { return o.splits * o.calls }

// SumsBytes is the size of Sink.Sums.
func (o *DepthwiseBwd) SumsBytes() int64 {
	return 4 * int64(o.Parts()) * int64(o.cfg.Sink.rows()*o.cfg.Conv.C)
}

// ScratchBytes is the size of Scratch.
func (o *DepthwiseBwd) ScratchBytes() int64 {
	return when(o.Parts() > 1, 4*int64(o.Parts())*9*int64(o.cfg.Conv.C))
}

// Variant is the one that was chosen.
func (o *DepthwiseBwd) Variant() string { return o.grid.variant }

// Record appends the calls.
func (o *DepthwiseBwd) Record(rec *vk.Recorder, a DepthwiseBwdArgs) {
	c, g := o.cfg.Conv, o.grid
	label := "depthwise bwd " + c.String()
	weights := 4 * 9 * int64(c.C)
	args := append(o.cfg.DY.arguments(&a.DY, c.YBytes(), c.N, c.C), o.cfg.Sink.arguments(&a.Sink, c.XBytes(), c.N, c.C, o.SumsBytes())...)
	if !checkArguments(rec, label, append(args, argument{"w", &a.W, weights}, argument{"dw", &a.DW, weights},
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
		push := shaders.DepthwiseBwdParams{Ct: uint32(c.C / o.width), H: uint32(c.H), W: uint32(c.W), P: uint32(c.P), Q: uint32(c.Q),
			PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), Strips: uint32(g.strips), Runs: uint32(g.runs),
			Rows: uint32(g.rows), Image0: uint32(first), Tiles: uint32(count * g.strips * g.runs),
			Splits: uint32(o.splits), Split0: uint32(call * o.splits)}
		rec.Dispatch(vk.Call{
			Shader: o.shader(),
			Spec:   o.spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.DepthwiseBwdBindings{
				W: a.W,
				G: imageSlice(a.DY.G, yImage, first, count), Y: imageSlice(a.DY.Y, yImage, first, count),
				DyBN: a.DY.BN, DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E,
				Dx: imageSlice(a.Sink.DX, xImage, first, count), Add: imageSlice(a.Sink.Add, xImage, first, count),
				X: imageSlice(a.Sink.Y, xImage, first, count), SinkBN: a.Sink.BN, Sums: a.Sink.Sums, Dw: parts,
			}.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.C/o.width, g.x)), uint32(ceilDiv(o.splits, g.y)), 1},
			Label:  label,
			FLOPs:  2 * depthwiseFLOPs(c, count),
		})
	}
	if o.Parts() > 1 {
		wgradReduce(rec, label, parts, a.DW, o.Parts())
	}
}

// shader returns the variant for the width and the element type.
func (o *DepthwiseBwd) shader() *vk.Shader {
	e := o.cfg.Conv.Elem
	if o.width == 2 {
		return e.pick(&shaders.DepthwiseBwdPair, &shaders.DepthwiseBwdPairF16, &shaders.DepthwiseBwdPairBf16)
	}
	return e.pick(&shaders.DepthwiseBwd, &shaders.DepthwiseBwdF16, &shaders.DepthwiseBwdBf16)
}
