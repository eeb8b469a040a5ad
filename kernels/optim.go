package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// flatCut is how a pass over a flat range is cut: the LANES and EACH of include/flat.glsl and grad_norm.comp.
type flatCut struct {
	lanes, each uint32
	narrow      bool
}

// cutFlat is the cut of an elementwise pass: on a CPU driver one vector of lanes, whose elements fit in one piece of code.
func cutFlat(dev *vk.Device) flatCut {
	if shippedChoices[deviceClass(dev)].lanes == narrowVariant {
		return flatCut{lanes: 8, each: 4, narrow: true}
	}
	return flatCut{lanes: 64, each: 4}
}

// cutNorm is the cut of grad_norm.comp.
func cutNorm(dev *vk.Device) flatCut {
	c := cutFlat(dev)
	c.each = 64
	return c
}

// elements is how many floats a workgroup owns.
func (c flatCut) elements() int64 { return 4 * int64(c.lanes) * int64(c.each) }

// flatCall is a part of a flat range: n floats from first on, in so many workgroups; tail, if the last is not full.
type flatCall struct {
	first, n int64
	groups   [3]uint32
	tail     bool
}

// calls cuts a flat range of count floats into calls whose bindings and workgroups are within the device's limits. Every
// call but the last has full workgroups, so parts keep their order and offsets are aligned; a narrow cut also has
// the tail in a call of its own.
func (c flatCut) calls(dev *vk.Device, count int64) []flatCall {
	l, size := dev.Limits(), c.elements()
	most := min(l.MaxRange/4, int64(l.MaxGroups)*size) / size * size
	var out []flatCall
	add := func(first, n int64) {
		groups := (n + size - 1) / size
		out = append(out, flatCall{first, n, [3]uint32{uint32(groups), 1, 1}, n%size != 0})
	}
	for first := int64(0); first < count; first += most {
		n := min(most, count-first)
		if full := n / size * size; c.narrow && full > 0 && full < n {
			add(first, full)
			add(first+full, n-full)
			break
		}
		add(first, n)
	}
	return out
}

func checkCount(dev *vk.Device, op string, count, elements int64) error {
	if count < 1 || count%4 != 0 {
		return &ShapeError{Op: op, Got: fmt.Sprintf("%d elements", count), Want: "a multiple of 4 above 0"}
	}
	if dev.Limits().MaxRange < 4*elements {
		return &vk.UnsupportedError{What: op, Needs: fmt.Sprintf("bindings of %d bytes, more than the limit of %d bytes", 4*elements, dev.Limits().MaxRange)}
	}
	return nil
}

// checkDecay is checkCount for an optimizer whose first decay elements decay.
func checkDecay(dev *vk.Device, op string, count, decay int64) error {
	if err := checkCount(dev, op, count, cutFlat(dev).elements()); err != nil {
		return err
	}
	if decay < 0 || decay > count || decay%4 != 0 {
		return &ShapeError{Op: op, Got: fmt.Sprintf("weight decay on %d of %d elements", decay, count), Want: "a multiple of 4 up to all"}
	}
	return nil
}

// decay4 is how many vectors of 4 of the n elements from first on decay.
func decay4(decay, first, n int64) uint32 { return uint32(min(max(decay-first, 0), n) / 4) }

func floats(r vk.Range, first, n int64) vk.Range { return r.Slice(4*first, 4*n) }

// GradNormConfig is the shape of a GradNorm. Count, here as below, is a multiple of 4.
type GradNormConfig struct{ Count int64 }

// GradNormArgs are the buffers of a GradNorm: G [Count], Scratch of ScratchBytes, Out [4], Step the step buffer, LossScale
// the loss scale's.
type GradNormArgs struct{ G, Scratch, Out, Step, LossScale vk.Range }

// GradNorm overwrites out = {norm, factor, flag, scale}: norm = sqrt(sum g^2)/scale with the loss scale's Factor; what
// takes the scale from gradients and clips them to the step buffer's ClipNorm, min(1, ClipNorm/norm)/scale (1/scale if
// ClipNorm is 0); and 1 if the norm is not finite, else 0. Two stages in float32 in a fixed order, the first one with
// Kahan's compensation.
//
// Then it sets the loss scale for the next step. Gradients that are not finite add 1 to Skipped, set Good to 0 and halve
// Factor, to 1 at least; others add 1 to Good, and when that is Interval double Factor, to 2^24 at most, and set Good to 0.
// With Interval 0 Factor stays.
type GradNorm struct {
	dev *vk.Device
	cfg GradNormConfig
}

// NewGradNorm returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the device's bindings
// are too small.
func NewGradNorm(dev *vk.Device, cfg GradNormConfig) (*GradNorm, error) {
	return &GradNorm{dev, cfg}, checkCount(dev, "gradient norm", cfg.Count, cutNorm(dev).elements())
}

// parts is how many sums of squares the first stage writes.
func (o *GradNorm) parts() int64 {
	cut := cutNorm(o.dev)
	parts := (o.cfg.Count + cut.elements() - 1) / cut.elements()
	if cut.narrow {
		parts *= int64(cut.lanes)
	}
	return parts
}

// ScratchBytes is the size of Scratch.
func (o *GradNorm) ScratchBytes() int64 { return 4 * o.parts() }

// Record appends the calls.
func (o *GradNorm) Record(rec *vk.Recorder, a GradNormArgs) {
	label := fmt.Sprintf("gradient norm %d", o.cfg.Count)
	if !checkArguments(rec, label, argument{"g", &a.G, 4 * o.cfg.Count}, argument{"scratch", &a.Scratch, o.ScratchBytes()},
		argument{"out", &a.Out, 16}, argument{"step", &a.Step, StepBytes}, argument{"loss scale", &a.LossScale, LossScaleBytes}) {
		return
	}
	cut := cutNorm(o.dev)
	for _, c := range cut.calls(o.dev, o.cfg.Count) {
		push := shaders.GradNormParams{Count4: uint32(c.n / 4), First: uint32(c.first / cut.elements())}
		rec.Dispatch(vk.Call{Shader: &shaders.GradNorm, Push: push.Bytes(), Label: label, FLOPs: 2 * c.n,
			Spec:   shaders.GradNormSpec{Lanes: cut.lanes, Each: cut.each, Tail: c.tail, Alone: cut.narrow}.Words(),
			Bind:   shaders.GradNormBindings{G: floats(a.G, c.first, c.n), Partial: a.Scratch}.Ranges(),
			Groups: c.groups})
	}
	push := shaders.GradNormTotalParams{Parts: uint32(o.parts())}
	rec.Dispatch(vk.Call{Shader: &shaders.GradNormTotal, Push: push.Bytes(), Label: label,
		Bind:   shaders.GradNormTotalBindings{Partial: a.Scratch, Step: a.Step, LossScale: a.LossScale, Norm: a.Out}.Ranges(),
		Groups: [3]uint32{1, 1, 1}})
}

// RMSPropConfig is the shape of an RMSProp.
type RMSPropConfig struct {
	Count int64
	Decay int64 // of them, from the first on, those that weight decay applies to
}

// RMSPropArgs are the buffers of an RMSProp: W, G, MS, Mom and EMA [Count], Norm [4] of GradNorm, Step the step buffer.
type RMSPropArgs struct{ W, G, MS, Mom, EMA, Norm, Step vk.Range }

// RMSProp updates W, MS, Mom and EMA in place, in TensorFlow's form (the epsilon is inside the root):
//
//	g    = G*Norm[1] (+ weightDecay*w in the first Decay elements), Norm[1] being GradNorm's factor
//	ms  += (1-rho)*(g^2 - ms)
//	mom  = momentum*mom + lr*g/sqrt(ms+eps)
//	w   -= mom
//	ema += (1-emaDecay)*(w - ema)
//
// The scalars are the step buffer's. Nothing changes if Norm's not-finite flag is set. Sources: tf.raw_ops.ApplyRMSProp;
// google/automl efficientnetv2/hparams.py. The recipe starts MS at 1 and Mom at 0.
type RMSProp struct {
	dev *vk.Device
	cfg RMSPropConfig
}

// NewRMSProp returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the device's bindings are
// too small.
func NewRMSProp(dev *vk.Device, cfg RMSPropConfig) (*RMSProp, error) {
	return &RMSProp{dev, cfg}, checkDecay(dev, "rmsprop", cfg.Count, cfg.Decay)
}

// Record appends the calls.
func (o *RMSProp) Record(rec *vk.Recorder, a RMSPropArgs) {
	label, size := fmt.Sprintf("rmsprop %d", o.cfg.Count), 4*o.cfg.Count
	if !checkArguments(rec, label, argument{"w", &a.W, size}, argument{"g", &a.G, size}, argument{"ms", &a.MS, size},
		argument{"mom", &a.Mom, size}, argument{"ema", &a.EMA, size}, argument{"norm", &a.Norm, 16}, argument{"step", &a.Step, StepBytes}) {
		return
	}
	cut := cutFlat(o.dev)
	for _, c := range cut.calls(o.dev, o.cfg.Count) {
		push := shaders.RmspropParams{Count4: uint32(c.n / 4), Decay4: decay4(o.cfg.Decay, c.first, c.n)}
		rec.Dispatch(vk.Call{Shader: &shaders.Rmsprop, Spec: shaders.RmspropSpec{Lanes: cut.lanes, Each: cut.each, Tail: c.tail}.Words(), Push: push.Bytes(), Label: label,
			Bind: shaders.RmspropBindings{W: floats(a.W, c.first, c.n), G: floats(a.G, c.first, c.n), Ms: floats(a.MS, c.first, c.n),
				Mom: floats(a.Mom, c.first, c.n), Ema: floats(a.EMA, c.first, c.n), Norm: a.Norm, Step: a.Step}.Ranges(),
			Groups: c.groups, FLOPs: 15 * c.n})
	}
}

// SGDConfig is the shape of an SGD.
type SGDConfig struct {
	Count    int64
	Decay    int64 // of them, from the first on, those that weight decay applies to
	Nesterov bool
}

// SGDArgs are the buffers of an SGD: W, G, Mom and EMA [Count], Norm [4] of GradNorm, Step the step buffer.
type SGDArgs struct{ W, G, Mom, EMA, Norm, Step vk.Range }

// SGD updates W, Mom and EMA in place, in PyTorch's form:
//
//	g    = G*Norm[1] (+ weightDecay*w in the first Decay elements), Norm[1] being GradNorm's factor
//	mom  = momentum*mom + g
//	w   -= lr*(g + momentum*mom) with Nesterov, else lr*mom
//	ema += (1-emaDecay)*(w - ema)
//
// Nothing changes if Norm's not-finite flag is set. Source: torch.optim.SGD; Mom starts at 0.
type SGD struct {
	dev *vk.Device
	cfg SGDConfig
}

// NewSGD returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the device's bindings are too
// small.
func NewSGD(dev *vk.Device, cfg SGDConfig) (*SGD, error) {
	return &SGD{dev, cfg}, checkDecay(dev, "sgd", cfg.Count, cfg.Decay)
}

// Record appends the calls.
func (o *SGD) Record(rec *vk.Recorder, a SGDArgs) {
	label, size := fmt.Sprintf("sgd %d", o.cfg.Count), 4*o.cfg.Count
	if !checkArguments(rec, label, argument{"w", &a.W, size}, argument{"g", &a.G, size}, argument{"mom", &a.Mom, size},
		argument{"ema", &a.EMA, size}, argument{"norm", &a.Norm, 16}, argument{"step", &a.Step, StepBytes}) {
		return
	}
	cut := cutFlat(o.dev)
	for _, c := range cut.calls(o.dev, o.cfg.Count) {
		push := shaders.SgdParams{Count4: uint32(c.n / 4), Decay4: decay4(o.cfg.Decay, c.first, c.n)}
		rec.Dispatch(vk.Call{Shader: &shaders.Sgd, Spec: shaders.SgdSpec{Lanes: cut.lanes, Each: cut.each, Tail: c.tail, Nesterov: o.cfg.Nesterov}.Words(),
			Push: push.Bytes(), Label: label, FLOPs: 10 * c.n,
			Bind: shaders.SgdBindings{W: floats(a.W, c.first, c.n), G: floats(a.G, c.first, c.n), Mom: floats(a.Mom, c.first, c.n),
				Ema: floats(a.EMA, c.first, c.n), Norm: a.Norm, Step: a.Step}.Ranges(),
			Groups: c.groups})
	}
}

// EMAConfig is the shape of an EMA.
type EMAConfig struct{ Count int64 }

// EMAArgs are the buffers of an EMA: X and EMA [Count], Norm [4] of GradNorm, Step the step buffer.
type EMAArgs struct{ X, EMA, Norm, Step vk.Range }

// EMA updates ema += (1-emaDecay)*(x - ema) in place, unless Norm's not-finite flag is set.
type EMA struct {
	dev *vk.Device
	cfg EMAConfig
}

// NewEMA returns a *ShapeError if the configuration cannot be and a *vk.UnsupportedError if the device's bindings are too
// small.
func NewEMA(dev *vk.Device, cfg EMAConfig) (*EMA, error) {
	return &EMA{dev, cfg}, checkCount(dev, "ema", cfg.Count, cutFlat(dev).elements())
}

// Record appends the calls.
func (o *EMA) Record(rec *vk.Recorder, a EMAArgs) {
	label, size := fmt.Sprintf("ema %d", o.cfg.Count), 4*o.cfg.Count
	if !checkArguments(rec, label, argument{"x", &a.X, size}, argument{"ema", &a.EMA, size}, argument{"norm", &a.Norm, 16},
		argument{"step", &a.Step, StepBytes}) {
		return
	}
	cut := cutFlat(o.dev)
	for _, c := range cut.calls(o.dev, o.cfg.Count) {
		push := shaders.EmaParams{Count4: uint32(c.n / 4)}
		rec.Dispatch(vk.Call{Shader: &shaders.Ema, Spec: shaders.EmaSpec{Lanes: cut.lanes, Each: cut.each, Tail: c.tail}.Words(), Push: push.Bytes(), Label: label, FLOPs: 3 * c.n,
			Bind:   shaders.EmaBindings{X: floats(a.X, c.first, c.n), Ema: floats(a.EMA, c.first, c.n), Norm: a.Norm, Step: a.Step}.Ranges(),
			Groups: c.groups})
	}
}
