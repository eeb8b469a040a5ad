package kernels

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Tunable is a configuration whose variant a Tuner can choose: those of the convolutions, ConvFwdConfig to DepthwiseBwdConfig.
type Tunable interface {
	op() string    // "conv fwd"; the first word is that of its shaders' names
	shape() Conv   // of the convolution
	fused() string // what else decides how fast it is: prologues and epilogues
	variant() string
	with(shape Conv, variant string) Tunable
	candidates(dev *vk.Device) []string // the shipped one first; a function of the tuning key and the device
	reference(dev *vk.Device) string    // variant that the others' results are compared with
	// trial sizes the operation and takes its buffers from b. The caller records it.
	trial(dev *vk.Device, b *trialBuffers) (record func(*vk.Recorder), outputs []output, err error)
}

// output is a result of a trial that must not depend on the variant.
type output struct {
	name string
	rng  vk.Range
	elem Elem
	// merge adds up partial results, whose number does depend on the variant; nil: compared as it is.
	merge func(x []float64) []float64
}

// tuneKey names what a choice holds for: operation, element type, filter, stride, padding, groups, exact channels (from
// which alignments follow), N*P*Q to the nearest power of two and at most what is tuned on, and what is fused.
func tuneKey(dev *vk.Device, c Tunable) string {
	v := c.shape()
	return fmt.Sprintf("%s %s %dx%d/%d pad%d,%d groups%d c%d k%d npq%d %s", c.op(), v.Elem, v.R, v.S, v.Stride, v.PadTop, v.PadLeft,
		v.filterGroups(c.op()), v.C, v.K, tunePixels(dev, c), c.fused())
}

// filterGroups is C for depthwise convolutions.
func (c Conv) filterGroups(op string) int {
	if strings.HasPrefix(op, "depthwise") {
		return c.C
	}
	return 1
}

// What one dispatch of a trial may be: a millisecond or two on a slow device of the kind.
const (
	cpuTrialFLOPs, cpuTrialBytes = 1 << 24, 1 << 22
	gpuTrialFLOPs, gpuTrialBytes = 1 << 32, 1 << 28

	leastTrialPixels = 256 // and no less of a larger operation, or tiles whose rows do not divide it look slow
)

// tunePixels is the N*P*Q that stands for that of c: the power of two nearest to it, at most what a trial may be.
func tunePixels(dev *vk.Device, c Tunable) int {
	v := c.shape()
	flops, bytes := int64(gpuTrialFLOPs), int64(gpuTrialBytes)
	if dev.IsCPU() {
		flops, bytes = cpuTrialFLOPs, cpuTrialBytes
	}
	perPixel := 2 * int64(v.R*v.S*v.K) * int64(v.C/v.filterGroups(c.op()))
	pixelBytes := v.Elem.Bytes() * int64(v.Stride*v.Stride*v.C+v.K)
	most := max(min(flops/perPixel, bytes/pixelBytes), leastTrialPixels)
	pixels := max(int64(v.N)*int64(v.P)*int64(v.Q), 1)
	return 1 << (bits.Len64(uint64(min(pixels*7/5, most))) - 1) // 7/5: half a power of two
}

// shrink returns the shape with at most about so many output pixels: fewer images, then fewer rows.
func (c Conv) shrink(pixels int) Conv {
	if n := max(pixels/(c.P*c.Q), 1); n < c.N {
		c.N = n
	}
	if p := max(pixels/c.Q, 1); c.N == 1 && p < c.P {
		c.P, c.H = p, min(p*c.Stride, c.H)
	}
	return c
}

func (c ConvFwdConfig) op() string      { return convFwdOp }
func (c ConvFwdConfig) shape() Conv     { return c.Conv }
func (c ConvFwdConfig) variant() string { return c.Variant }
func (c ConvFwdConfig) fused() string {
	return named("stats", c.Stats, "bias", c.Bias, "act", c.ActOut != NoAct, "add", c.Add) + c.In.fused()
}
func (c ConvFwdConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c ConvFwdConfig) candidates(dev *vk.Device) []string {
	return convCandidates(dev, c.gemm(tunePixels(dev, c)))
}
func (c ConvFwdConfig) reference(dev *vk.Device) string { return convReference(dev) }
func (c ConvFwdConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewConvFwd(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := ConvFwdArgs{X: b.tensor(c.In, v.XBytes(), v.N, v.C), WT: b.activation("wt", v.WTBytes()), Bias: b.input("bias", when(c.Bias, 4*int64(v.K))),
		Add: b.activation("add", when(c.Add, v.YBytes())), Y: b.buffer("y", v.YBytes()), Stats: b.buffer("stats", op.StatsBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.fwdOutputs(a.Y, a.Stats, op.Parts(), v.K), b.err
}

func (c ConvDgradConfig) op() string      { return convDgradOp }
func (c ConvDgradConfig) shape() Conv     { return c.Conv }
func (c ConvDgradConfig) variant() string { return c.Variant }
func (c ConvDgradConfig) fused() string   { return c.DY.fused() + c.Sink.fused() }
func (c ConvDgradConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c ConvDgradConfig) candidates(dev *vk.Device) []string {
	return convCandidates(dev, c.gemm(tunePixels(dev, c)))
}
func (c ConvDgradConfig) reference(dev *vk.Device) string { return convReference(dev) }
func (c ConvDgradConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewConvDgrad(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := ConvDgradArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), W: b.input("w", v.WBytes()),
		Sink: b.sink(c.Sink, v.XBytes(), v.N, v.C, op.SumsBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.sinkOutputs(c.Sink, a.Sink, v.N, v.C, op.Parts()), b.err
}

func (c ConvWgradConfig) op() string      { return convWgradOp }
func (c ConvWgradConfig) shape() Conv     { return c.Conv }
func (c ConvWgradConfig) variant() string { return c.Variant }
func (c ConvWgradConfig) fused() string   { return c.DY.fused() + c.In.fused() }
func (c ConvWgradConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c ConvWgradConfig) candidates(dev *vk.Device) []string {
	return convCandidates(dev, c.gemm())
}
func (c ConvWgradConfig) reference(dev *vk.Device) string { return convReference(dev) }
func (c ConvWgradConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewConvWgrad(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := ConvWgradArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), X: b.tensor(c.In, v.XBytes(), v.N, v.C), DW: b.buffer("dw", v.WBytes()),
		Scratch: b.buffer("scratch", op.ScratchBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, []output{{name: "dw", rng: a.DW}}, b.err
}

func (c ConvBwdConfig) op() string      { return convBwdOp }
func (c ConvBwdConfig) shape() Conv     { return c.Conv }
func (c ConvBwdConfig) variant() string { return c.Variant }
func (c ConvBwdConfig) fused() string   { return c.DY.fused() + c.Sink.fused() }
func (c ConvBwdConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c ConvBwdConfig) candidates(dev *vk.Device) []string {
	c.Variant = ""
	pixels := tunePixels(dev, c)
	variant, _, err := cutConvBwd(dev, "", c.Conv, pixels, pixels)
	if err != nil || dev.IsCPU() && c.IsApart(dev) { // one kernel has not won there, and it is another one for every K
		return []string{Apart}
	}
	tiles, most := bwdTiles(dev, variant, c.Conv, pixels, pixels), 4
	if dev.IsCPU() {
		most = 1
	}
	var names []string
	for _, t := range tiles[:min(most, len(tiles))] {
		names = append(names, t.name(variant))
	}
	if c.IsApart(dev) {
		return append([]string{Apart}, names...)
	}
	return append(names, Apart)
}
func (c ConvBwdConfig) reference(*vk.Device) string { return Apart }
func (c ConvBwdConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	v := c.Conv
	in := Pending{BN: true, Act: c.Sink.Act, Gate: c.Sink.SE}
	a := ConvBwdArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), W: b.input("w", v.WBytes()), Gate: b.input("x.gate", when(in.Gate, 4*int64(v.N*v.C))),
		DW: b.buffer("dw", v.WBytes())}
	if c.Variant == Apart {
		dgrad, err := NewConvDgrad(dev, ConvDgradConfig{Conv: v, DY: c.DY, Sink: c.Sink})
		if err != nil {
			return nil, nil, err
		}
		wgrad, err := NewConvWgrad(dev, ConvWgradConfig{Conv: v, DY: c.DY, In: in})
		if err != nil {
			return nil, nil, err
		}
		a.Sink, a.Scratch = b.sink(c.Sink, v.XBytes(), v.N, v.C, dgrad.SumsBytes()), b.buffer("scratch", wgrad.ScratchBytes())
		x := Tensor{Raw: a.Sink.Y, BN: a.Sink.BN, Gate: a.Gate}
		return func(rec *vk.Recorder) {
			wgrad.Record(rec, ConvWgradArgs{DY: a.DY, X: x, DW: a.DW, Scratch: a.Scratch})
			dgrad.Record(rec, ConvDgradArgs{DY: a.DY, W: a.W, Sink: a.Sink})
		}, b.bwdOutputs(c.Sink, a.Sink, v, dgrad.Parts(), a.DW), b.err
	}
	op, err := NewConvBwd(dev, c)
	if err != nil {
		return nil, nil, err
	}
	a.Sink, a.Scratch = b.sink(c.Sink, v.XBytes(), v.N, v.C, op.SumsBytes()), b.buffer("scratch", op.ScratchBytes())
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.bwdOutputs(c.Sink, a.Sink, v, op.Parts(), a.DW), b.err
}

// convReference is the variant of dense convolutions that others are compared with: the plainest that runs well enough.
func convReference(dev *vk.Device) string {
	if dev.IsCPU() && hasSimple(dev) {
		return convSimple
	}
	return convTiled
}

func (c DepthwiseFwdConfig) op() string      { return "depthwise fwd" }
func (c DepthwiseFwdConfig) shape() Conv     { return c.Conv }
func (c DepthwiseFwdConfig) variant() string { return c.Variant }
func (c DepthwiseFwdConfig) fused() string {
	return named("stats", c.Stats, "bias", c.Bias, "act", c.ActOut != NoAct) + c.In.fused()
}
func (c DepthwiseFwdConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c DepthwiseFwdConfig) candidates(dev *vk.Device) []string {
	return depthwiseCandidates(dev, c.Conv, 1)
}
func (c DepthwiseFwdConfig) reference(*vk.Device) string { return narrowVariant }
func (c DepthwiseFwdConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewDepthwiseFwd(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := DepthwiseFwdArgs{X: b.tensor(c.In, v.XBytes(), v.N, v.C), W: b.input("w", 4*int64(v.R*v.S*v.C)),
		Bias: b.input("bias", when(c.Bias, 4*int64(v.C))), Y: b.buffer("y", v.YBytes()), Stats: b.buffer("stats", op.StatsBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.fwdOutputs(a.Y, a.Stats, op.Parts(), v.K), b.err
}

func (c DepthwiseDgradConfig) op() string      { return "depthwise dgrad" }
func (c DepthwiseDgradConfig) shape() Conv     { return c.Conv }
func (c DepthwiseDgradConfig) variant() string { return c.Variant }
func (c DepthwiseDgradConfig) fused() string   { return c.DY.fused() + c.Sink.fused() }
func (c DepthwiseDgradConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c DepthwiseDgradConfig) candidates(dev *vk.Device) []string {
	return depthwiseCandidates(dev, c.Conv, c.Conv.Stride)
}
func (c DepthwiseDgradConfig) reference(*vk.Device) string { return narrowVariant }
func (c DepthwiseDgradConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewDepthwiseDgrad(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := DepthwiseDgradArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), W: b.input("w", 4*int64(v.R*v.S*v.C)),
		Sink: b.sink(c.Sink, v.XBytes(), v.N, v.C, op.SumsBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.sinkOutputs(c.Sink, a.Sink, v.N, v.C, op.Parts()), b.err
}

func (c DepthwiseWgradConfig) op() string      { return "depthwise wgrad" }
func (c DepthwiseWgradConfig) shape() Conv     { return c.Conv }
func (c DepthwiseWgradConfig) variant() string { return c.Variant }
func (c DepthwiseWgradConfig) fused() string   { return c.DY.fused() + c.In.fused() }
func (c DepthwiseWgradConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c DepthwiseWgradConfig) candidates(dev *vk.Device) []string {
	return depthwiseCandidates(dev, c.Conv, 1)
}
func (c DepthwiseWgradConfig) reference(*vk.Device) string { return narrowVariant }
func (c DepthwiseWgradConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	op, err := NewDepthwiseWgrad(dev, c)
	if err != nil {
		return nil, nil, err
	}
	v := c.Conv
	a := DepthwiseWgradArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), X: b.tensor(c.In, v.XBytes(), v.N, v.C),
		DW: b.buffer("dw", 4*int64(v.R*v.S*v.C)), Scratch: b.buffer("scratch", op.ScratchBytes())}
	return func(rec *vk.Recorder) { op.Record(rec, a) }, []output{{name: "dw", rng: a.DW}}, b.err
}

func (c DepthwiseBwdConfig) op() string      { return "depthwise bwd" }
func (c DepthwiseBwdConfig) shape() Conv     { return c.Conv }
func (c DepthwiseBwdConfig) variant() string { return c.Variant }
func (c DepthwiseBwdConfig) fused() string   { return c.DY.fused() + c.Sink.fused() }
func (c DepthwiseBwdConfig) with(shape Conv, variant string) Tunable {
	c.Conv, c.Variant = shape, variant
	return c
}
func (c DepthwiseBwdConfig) candidates(dev *vk.Device) []string {
	names := depthwiseCandidates(dev, c.Conv, c.Conv.Stride)
	if !dev.IsCPU() {
		names = append(names, Apart)
	}
	return names
}
func (c DepthwiseBwdConfig) reference(dev *vk.Device) string {
	if dev.IsCPU() {
		return narrowVariant
	}
	return Apart
}
func (c DepthwiseBwdConfig) trial(dev *vk.Device, b *trialBuffers) (func(*vk.Recorder), []output, error) {
	v := c.Conv
	a := DepthwiseBwdArgs{DY: b.grad(c.DY, v.YBytes(), v.N, v.K), W: b.input("w", 4*int64(v.R*v.S*v.C)), DW: b.buffer("dw", 4*int64(v.R*v.S*v.C))}
	if c.Variant == Apart {
		dgrad, err := NewDepthwiseDgrad(dev, DepthwiseDgradConfig{Conv: v, DY: c.DY, Sink: c.Sink})
		if err != nil {
			return nil, nil, err
		}
		wgrad, err := NewDepthwiseWgrad(dev, DepthwiseWgradConfig{Conv: v, DY: c.DY, In: Pending{BN: true, Act: c.Sink.Act}})
		if err != nil {
			return nil, nil, err
		}
		a.Sink, a.Scratch = b.sink(c.Sink, v.XBytes(), v.N, v.C, dgrad.SumsBytes()), b.buffer("scratch", wgrad.ScratchBytes())
		return func(rec *vk.Recorder) {
			wgrad.Record(rec, DepthwiseWgradArgs{DY: a.DY, X: Tensor{Raw: a.Sink.Y, BN: a.Sink.BN}, DW: a.DW, Scratch: a.Scratch})
			dgrad.Record(rec, DepthwiseDgradArgs{DY: a.DY, W: a.W, Sink: a.Sink})
		}, b.bwdOutputs(c.Sink, a.Sink, v, dgrad.Parts(), a.DW), b.err
	}
	op, err := NewDepthwiseBwd(dev, c)
	if err != nil {
		return nil, nil, err
	}
	a.Sink, a.Scratch = b.sink(c.Sink, v.XBytes(), v.N, v.C, op.SumsBytes()), b.buffer("scratch", op.ScratchBytes())
	return func(rec *vk.Recorder) { op.Record(rec, a) }, b.bwdOutputs(c.Sink, a.Sink, v, op.Parts(), a.DW), b.err
}

// named lists the names whose flags are set; pairs are name, flag.
func named(pairs ...any) string {
	var s string
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1].(bool) {
			s += "+" + pairs[i].(string)
		}
	}
	return s
}

func (p Pending) fused() string {
	return " in" + named("bn", p.BN, "act", p.Act != NoAct, "gate", p.Gate)
}

func (g GradIn) fused() string {
	return " dy" + named("bn", g.BN, "keep", g.Keep, "gate", g.Gate, "nog", g.NoG, "act", g.Act != NoAct)
}

func (s Sink) fused() string {
	return " sink" + named("add", s.Add, "keep", s.Keep, "sums", s.Sums, "sumsonly", s.SumsOnly, "se", s.SE, "act", s.Act != NoAct)
}
