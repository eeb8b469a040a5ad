package kernels

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// depthwiseGrid is how a depthwise kernel is cut up. An invocation owns 4 channels of a tile: tq columns and rows rows
// of the output (of dy, for dgrad and wgrad) of one image, and walks down the rows.
type depthwiseGrid struct {
	tq, strips int // strips of tq columns
	rows, runs int // runs of rows rows
	x, y       int // workgroup: along channels, along tiles
	images     int // per call
	variant    string
}

// cutStrip resolves the name of a variant, with or without the columns of a strip: "narrow/2". They are 0 if it names none.
func cutStrip(dev *vk.Device, op, name string) (variant string, columns int, err error) {
	variant, strip, named := strings.Cut(name, "/")
	if named {
		if columns, err = strconv.Atoi(strip); err != nil || columns < 1 || columns > 4 {
			return "", 0, &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name), Want: "a strip of 1 to 4 columns, such as narrow/2"}
		}
	}
	variant, err = cutVariant(dev, op, variant)
	return variant, columns, err
}

// shippedStrip is how many columns a strip has where no variant names it. Registers bound it: (K-1)/stride+1 rows of it
// and K*K taps, 4 channels each. Wider strips activate fewer elements twice; on lavapipe strips of 4 beat strips of 2
// by a tenth to a half (BenchmarkDepthwise).
func shippedStrip(conv Conv, columns int) int {
	if conv.R > 3 || columns > 1 {
		return 2
	}
	return 4
}

// depthwiseCandidates are the variants and strips that a Tuner may choose from, the shipped one first. Those of equal
// tuning keys must be equal.
func depthwiseCandidates(dev *vk.Device, conv Conv, columns int) (names []string) {
	first, strip := shippedChoices[deviceClass(dev)].lanes, shippedStrip(conv, columns)
	for s := strip; s >= 1; s /= 2 {
		names = append(names, fmt.Sprintf("%s/%d", first, s))
	}
	if dev.IsCPU() {
		return names[:2] // compiling one takes longer than timing it
	}
	return append(names, fmt.Sprintf("%s/%d", narrowVariant, strip))
}

// newDepthwiseGrid cuts an output of p x q of which an invocation computes columns times tq columns; perImage is the
// size of an image in each tensor.
func newDepthwiseGrid(dev *vk.Device, op, variant string, conv Conv, p, q, columns int, perImage ...int64) (g depthwiseGrid, err error) {
	var strip int
	if g.variant, strip, err = cutStrip(dev, op, variant); err != nil {
		return g, err
	}
	if strip == 0 {
		strip = shippedStrip(conv, columns)
	}
	g.tq = min(q, strip)
	c4 := conv.C / 4
	g.strips, g.rows = ceilDiv(q, g.tq), p
	if g.variant == wideVariant {
		// Runs short enough that the device is filled, long enough that their first rows, read twice, weigh little.
		const enough, least = 1 << 17, 4
		g.rows = ceilDiv(p, min(ceilDiv(enough, conv.N*g.strips*c4), ceilDiv(p, least)))
	}
	g.runs = ceilDiv(p, g.rows)
	g.x, g.y = channelLanes(dev, g.variant, c4, g.strips*g.runs)
	g.images, err = imagesPerCall(dev, op+" "+conv.String(), conv.N, perImage...)
	return g, err
}

// width is how many channels an invocation owns where both a pair and 4 can be had: with 4, registers leave room for one
// subgroup a SIMD on GCN and for 4 on RDNA.
func (g *depthwiseGrid) width() int {
	if g.variant == wideVariant {
		return 2
	}
	return 4
}

// groups are the workgroups for count images, lanes invocations along the channels.
func (g *depthwiseGrid) groups(lanes, count int) [3]uint32 {
	return [3]uint32{uint32(ceilDiv(lanes, g.x)), uint32(ceilDiv(g.strips*g.runs, g.y)), uint32(count)}
}

// checkDepthwise reports shapes that are no depthwise convolution of this package.
func checkDepthwise(dev *vk.Device, op string, c Conv) error {
	if err := c.Elem.Check(dev); err != nil {
		return fmt.Errorf("kernels: %s %s: %w", op, c, err)
	}
	switch {
	case c.N < 1 || c.H < 1 || c.W < 1 || c.P < 1 || c.Q < 1 || c.C < 8 || c.C%8 != 0:
		return &ShapeError{Op: op, Got: c.String(), Want: "sizes of at least 1 and C a multiple of 8"}
	case c.K != c.C:
		return &ShapeError{Op: op, Got: c.String(), Want: "K = C"}
	case c.R != c.S || c.R != 3 && c.R != 5 || c.Stride != 1 && c.Stride != 2:
		return &ShapeError{Op: op, Got: c.String(), Want: "a filter of 3x3 or 5x5 and stride 1 or 2"}
	case c.PadTop < 0 || c.PadTop >= c.R || c.PadLeft < 0 || c.PadLeft >= c.S:
		return &ShapeError{Op: op, Got: fmt.Sprintf("padding of %d and %d", c.PadTop, c.PadLeft), Want: "less than the filter"}
	}
	return nil
}

// depthwiseFLOPs is what a depthwise convolution needs for count images in each of its passes.
func depthwiseFLOPs(c Conv, count int) int64 {
	return 2 * int64(count) * int64(c.P) * int64(c.Q) * int64(c.C) * int64(c.R) * int64(c.S)
}

// DepthwiseFwdConfig is the shape of a DepthwiseFwd.
type DepthwiseFwdConfig struct {
	Conv    Conv    // K = C, 3x3 or 5x5
	In      Pending // what is pending on x
	Stats   bool    // take partial statistics of y
	Bias    bool
	ActOut  Act
	Variant string // "narrow", "wide", or one with a strip, "wide/2"; empty: the shipped choice
}

// DepthwiseFwdArgs are the buffers of a DepthwiseFwd: x [N H W C] and what is pending on it, w [R S C], bias [C],
// y [N P Q C], and Stats of StatsBytes.
type DepthwiseFwdArgs struct {
	X                 Tensor
	W, Bias, Y, Stats vk.Range
}

// DepthwiseFwd computes
//
//	y[n,p,q,c] = act(sum over r,s of value(x)[n, p*stride+r-padTop, q*stride+s-padLeft, c] * w[r,s,c] + bias[c])
//
// and overwrites y. With Stats it writes partial statistics of y: [Parts][2][C] (mean, M2), then [Parts] counts. Each
// element of x is loaded and activated about once: an invocation keeps the output rows that are under way in registers.
type DepthwiseFwd struct {
	cfg   DepthwiseFwdConfig
	grid  depthwiseGrid
	width int // channels of an invocation
	spec  shaders.DepthwiseFwdSpec
}

// NewDepthwiseFwd returns a *ShapeError if the configuration is no depthwise convolution, and a *vk.UnsupportedError if
// one image does not fit a binding.
func NewDepthwiseFwd(dev *vk.Device, cfg DepthwiseFwdConfig) (*DepthwiseFwd, error) {
	const op = "depthwise fwd"
	c := cfg.Conv
	if err := checkDepthwise(dev, op, c); err != nil {
		return nil, err
	}
	grid, err := newDepthwiseGrid(dev, op, cfg.Variant, c, c.P, c.Q, 1, c.XBytes()/int64(c.N), c.YBytes()/int64(c.N))
	if err != nil {
		return nil, err
	}
	width := grid.width()
	grid.x, grid.y = channelLanes(dev, grid.variant, c.C/width, grid.strips*grid.runs)
	return &DepthwiseFwd{cfg: cfg, grid: grid, width: width, spec: shaders.DepthwiseFwdSpec{
		LocalX: uint32(grid.x), LocalY: uint32(grid.y), K: uint32(c.R), Stride: uint32(c.Stride), Tq: uint32(grid.tq),
		Stats: cfg.Stats, Bias: cfg.Bias, ActOut: uint32(cfg.ActOut),
		InBn: cfg.In.BN, InAct: uint32(cfg.In.Act), InGate: cfg.In.Gate,
	}}, nil
}

// Parts is the number of partial statistics.
func (o *DepthwiseFwd) Parts() int { return o.cfg.Conv.N * o.grid.strips * o.grid.runs }

// StatsBytes is the size of Stats; 0 without it.
func (o *DepthwiseFwd) StatsBytes() int64 {
	parts := int64(o.Parts())
	return when(o.cfg.Stats, 4*(parts*2*int64(o.cfg.Conv.C)+roundUp(parts, 4)))
}

// Variant is the one that was chosen.
func (o *DepthwiseFwd) Variant() string { return o.grid.variant }

// Record appends the calls.
func (o *DepthwiseFwd) Record(rec *vk.Recorder, a DepthwiseFwdArgs) {
	c := o.cfg.Conv
	label := "depthwise fwd " + c.String()
	if !checkArguments(rec, label, append(pendingArguments(o.cfg.In, &a.X, c.N, c.C),
		argument{"x", &a.X.Raw, c.XBytes()}, argument{"w", &a.W, 4 * int64(c.R*c.S*c.C)},
		argument{"bias", &a.Bias, when(o.cfg.Bias, 4*int64(c.C))}, argument{"y", &a.Y, c.YBytes()},
		argument{"stats", &a.Stats, o.StatsBytes()})...) {
		return
	}
	g := o.grid
	for first := 0; first < c.N; first += g.images {
		count := min(g.images, c.N-first)
		push := shaders.DepthwiseFwdParams{Ct: uint32(c.C / o.width), H: uint32(c.H), W: uint32(c.W), P: uint32(c.P), Q: uint32(c.Q),
			PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), Strips: uint32(g.strips), Runs: uint32(g.runs),
			Rows: uint32(g.rows), Image0: uint32(first), Parts: uint32(o.Parts())}
		rec.Dispatch(vk.Call{
			Shader: o.shader(),
			Spec:   o.spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.DepthwiseFwdBindings{
				X: imageSlice(a.X.Raw, c.XBytes()/int64(c.N), first, count), W: a.W, Bias: a.Bias,
				Y:     imageSlice(a.Y, c.YBytes()/int64(c.N), first, count),
				Stats: a.Stats, InBN: a.X.BN, InGate: a.X.Gate,
			}.Ranges(),
			Groups: g.groups(c.C/o.width, count),
			Label:  label,
			FLOPs:  depthwiseFLOPs(c, count),
		})
	}
}

// shader returns the variant for the width and the element type.
func (o *DepthwiseFwd) shader() *vk.Shader {
	e := o.cfg.Conv.Elem
	if o.width == 2 {
		return e.pick(&shaders.DepthwiseFwdPair, &shaders.DepthwiseFwdPairF16, &shaders.DepthwiseFwdPairBf16)
	}
	return e.pick(&shaders.DepthwiseFwd, &shaders.DepthwiseFwdF16, &shaders.DepthwiseFwdBf16)
}

// DepthwiseDgradConfig is the shape of a DepthwiseDgrad.
type DepthwiseDgradConfig struct {
	Conv    Conv
	DY      GradIn // how dy is built from its parts
	Sink    Sink   // what happens to du
	Variant string // "narrow", "wide", or one with a strip, "wide/2"; empty: the shipped choice
}

// DepthwiseDgradArgs are the buffers of a DepthwiseDgrad: W is [R S C].
type DepthwiseDgradArgs struct {
	DY   Grad
	W    vk.Range
	Sink SinkArgs
}

// DepthwiseDgrad computes the gradient of the value of x,
//
//	du[n,h,w,c] = sum over p,q,r,s with p*stride+r-padTop = h, q*stride+s-padLeft = w of dy[n,p,q,c] * w[r,s,c]
//
// from dy built on load, and disposes of it as Sink says; what is written is overwritten. Each element of dy is built
// about once, and only taps that exist are visited.
type DepthwiseDgrad struct {
	cfg  DepthwiseDgradConfig
	grid depthwiseGrid
	spec shaders.DepthwiseDgradSpec
}

// NewDepthwiseDgrad returns a *ShapeError if the configuration is no depthwise convolution, and a *vk.UnsupportedError
// if one image does not fit a binding.
func NewDepthwiseDgrad(dev *vk.Device, cfg DepthwiseDgradConfig) (*DepthwiseDgrad, error) {
	const op = "depthwise dgrad"
	c := cfg.Conv
	if err := checkDepthwise(dev, op, c); err != nil {
		return nil, err
	}
	if err := cfg.DY.check(op); err != nil {
		return nil, err
	}
	if err := cfg.Sink.check(op); err != nil {
		return nil, err
	}
	// Rows and columns of dy at which a stride of du begins: the first lies padTop before the image.
	p, q := (c.H-1+c.PadTop)/c.Stride+1, (c.W-1+c.PadLeft)/c.Stride+1
	grid, err := newDepthwiseGrid(dev, op, cfg.Variant, c, p, q, c.Stride, c.XBytes()/int64(c.N), c.YBytes()/int64(c.N))
	if err != nil {
		return nil, err
	}
	return &DepthwiseDgrad{cfg: cfg, grid: grid, spec: shaders.DepthwiseDgradSpec{
		LocalX: uint32(grid.x), LocalY: uint32(grid.y), K: uint32(c.R), Stride: uint32(c.Stride), Tq: uint32(grid.tq),
		DyBn: cfg.DY.BN, DyKeep: cfg.DY.Keep, DyGate: cfg.DY.Gate, DyNog: cfg.DY.NoG, DyAct: uint32(cfg.DY.Act),
		SinkAdd: cfg.Sink.Add, SinkKeep: cfg.Sink.Keep, SinkSums: cfg.Sink.takesSums(), SinkSumsOnly: cfg.Sink.SumsOnly,
		SinkSe: cfg.Sink.SE, SinkAct: uint32(cfg.Sink.Act),
	}}, nil
}

// Parts is the number of partial sums, with SE of each image.
func (o *DepthwiseDgrad) Parts() int {
	if o.cfg.Sink.SE {
		return o.grid.strips * o.grid.runs
	}
	return o.cfg.Conv.N * o.grid.strips * o.grid.runs
}

// SumsBytes is the size of Sink.Sums; 0 if no sums are taken.
func (o *DepthwiseDgrad) SumsBytes() int64 {
	c := o.cfg.Conv
	return when(o.cfg.Sink.takesSums(), 4*int64(c.N*o.grid.strips*o.grid.runs)*int64(o.cfg.Sink.rows()*c.C))
}

// Variant is the one that was chosen.
func (o *DepthwiseDgrad) Variant() string { return o.grid.variant }

// Record appends the calls.
func (o *DepthwiseDgrad) Record(rec *vk.Recorder, a DepthwiseDgradArgs) {
	c := o.cfg.Conv
	label := "depthwise dgrad " + c.String()
	args := append(o.cfg.DY.arguments(&a.DY, c.YBytes(), c.N, c.C),
		o.cfg.Sink.arguments(&a.Sink, c.XBytes(), c.N, c.C, o.SumsBytes())...)
	if !checkArguments(rec, label, append(args, argument{"w", &a.W, 4 * int64(c.R*c.S*c.C)})...) {
		return
	}
	g := o.grid
	xImage, yImage := c.XBytes()/int64(c.N), c.YBytes()/int64(c.N)
	for first := 0; first < c.N; first += g.images {
		count := min(g.images, c.N-first)
		push := shaders.DepthwiseDgradParams{C4: uint32(c.C / 4), H: uint32(c.H), W: uint32(c.W), P: uint32(c.P), Q: uint32(c.Q),
			PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), Strips: uint32(g.strips), Runs: uint32(g.runs),
			Rows: uint32(g.rows), Image0: uint32(first)}
		rec.Dispatch(vk.Call{
			Shader: c.Elem.pick(&shaders.DepthwiseDgrad, &shaders.DepthwiseDgradF16, &shaders.DepthwiseDgradBf16),
			Spec:   o.spec.Words(),
			Push:   push.Bytes(),
			Bind: shaders.DepthwiseDgradBindings{
				W: a.W,
				G: imageSlice(a.DY.G, yImage, first, count), Y: imageSlice(a.DY.Y, yImage, first, count),
				DyBN: a.DY.BN, DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E,
				Dx: imageSlice(a.Sink.DX, xImage, first, count), Add: imageSlice(a.Sink.Add, xImage, first, count),
				X:      imageSlice(a.Sink.Y, xImage, first, count),
				SinkBN: a.Sink.BN, SinkKeep: a.Sink.Keep, Sums: a.Sink.Sums,
			}.Ranges(),
			Groups: g.groups(c.C/4, count),
			Label:  label,
			FLOPs:  depthwiseFLOPs(c, count),
		})
	}
}
