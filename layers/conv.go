package layers

import (
	"slices"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ConvBN describes a convolution with batch norm and activation. The five names are parameters of the graph's sets.
type ConvBN struct {
	Name                     string // for labels and errors: "blocks.3.0.conv_pw"
	Weight, Gamma, Beta      string
	Mean, Var                string
	Out, Kernel, Stride      int
	Depthwise                bool // Out is the input's C
	Act                      kernels.Act
	Epsilon, RunningMomentum float64 // running = (1-RunningMomentum)*running + RunningMomentum*batch (PyTorch's convention)
}

// unit is a convolution with its batch norm and activation: y = conv(in), pending act(bn(y)).
type unit struct {
	g    *Graph
	spec ConvBN
	conv kernels.Conv
	in   *Tensor
	read *Tensor // what the kernels read: in, or its materialised value
	y    *Value
	bn   *Value // [6][K]

	// The skip connection's gradient: when in is also added to a later tensor, that tensor.
	skipTo *Tensor

	// The gradient of y, as stored: see kernels.GradIn.
	gin           kernels.GradIn
	dz, gate, eps *Value
	keep          *keepFactor
}

func (u *unit) weight() (w, dw vk.Range) { return u.g.param(u.spec.Weight) }

// conv appends the forward pass of a unit in training and returns its pending output.
func (g *Graph) conv(in *Tensor, spec ConvBN) *unit {
	u := &unit{g: g, spec: spec, in: in, read: in}
	u.conv = g.newConv(in, spec)
	u.y = g.Value(spec.Name+".y", u.conv.YBytes(), false)
	g.outputs += u.conv.YBytes()
	u.bn = g.Value(spec.Name+".bn", 4*6*int64(spec.Out), false)
	if g.materialises(spec) && in.pending != (kernels.Pending{}) {
		u.read = g.apply(in, nil, nil, spec.Name+".in")
	}
	w, _ := u.weight()
	var stats *Value
	var parts int
	if spec.Depthwise {
		op := g.depthwiseFwd(spec.Name, kernels.DepthwiseFwdConfig{Conv: u.conv, In: u.read.pending, Stats: true})
		stats, parts = g.Value(spec.Name+".stats", op.StatsBytes(), false), op.Parts()
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseFwdArgs{X: u.read.args(), W: w, Y: u.y.Range(), Stats: stats.Range()})
		}, append(u.read.uses(), u.y, stats)...)
	} else {
		wt := g.Value(spec.Name+".wt", u.conv.WTBytes(), false)
		pack, err := kernels.NewPack(g.dev, kernels.PackConfig{K: spec.Out, RSC: spec.Kernel * spec.Kernel * in.C, Elem: g.opt.Elem})
		pack = must(g, spec.Name, pack, err)
		g.Add(func(rec *vk.Recorder) { pack.Record(rec, kernels.PackArgs{W: w, WT: wt.Range()}) }, wt)
		op := g.convFwd(spec.Name, kernels.ConvFwdConfig{Conv: u.conv, In: u.read.pending, Stats: true})
		stats, parts = g.Value(spec.Name+".stats", op.StatsBytes(), false), op.Parts()
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ConvFwdArgs{X: u.read.args(), WT: wt.Range(), Y: u.y.Range(), Stats: stats.Range()})
		}, append(u.read.uses(), wt, u.y, stats)...)
	}
	fin, err := kernels.NewBNFinalize(g.dev, kernels.BNFinalizeConfig{C: spec.Out, Parts: parts, M: u.rows(),
		Eps: float32(spec.Epsilon), Momentum: float32(spec.RunningMomentum)})
	fin = must(g, spec.Name, fin, err)
	gamma, _ := g.param(spec.Gamma)
	beta, _ := g.param(spec.Beta)
	mean, variance := g.running(spec.Mean), g.running(spec.Var)
	g.Add(func(rec *vk.Recorder) {
		fin.Record(rec, kernels.BNFinalizeArgs{Stats: stats.Range(), Gamma: gamma, Beta: beta, RunMean: mean, RunVar: variance, BN: u.bn.Range()})
	}, stats, u.bn)
	g.units = append(g.units, u)
	g.backward = append(g.backward, u.backwardPass)
	return u
}

// materialises decides whether a convolution reads only what is complete, its input and the gradient of its output written
// by passes of their own.
func (g *Graph) materialises(spec ConvBN) bool {
	return g.opt.NoFuse || !spec.Depthwise && kernels.WantsPlain(g.dev, g.opt.Elem)
}

// rows is the number of pixels that a channel's statistics are taken over.
func (u *unit) rows() int { return u.conv.N * u.conv.P * u.conv.Q }

// out is the unit's output with everything pending.
func (u *unit) out() *Tensor {
	return &Tensor{H: u.conv.P, W: u.conv.Q, C: u.conv.K, val: u.y, unit: u, pending: kernels.Pending{BN: true, Act: u.spec.Act}}
}

// apply materialises a pending tensor: out = value(in)*keep[n] + skip.
func (g *Graph) apply(in *Tensor, keep *keepFactor, skip *Tensor, name string) *Tensor {
	out := &Tensor{H: in.H, W: in.W, C: in.C, unit: in.unit, keep: keep,
		val: g.Value(name, g.bytes(in.H, in.W, in.C), false)}
	op, err := kernels.NewApply(g.dev, kernels.ApplyConfig{N: g.opt.Batch, HW: in.H * in.W, C: in.C, Elem: g.opt.Elem, In: in.pending,
		Keep: keep != nil, Skip: skip != nil})
	op = must(g, name, op, err)
	uses := append(in.uses(), out.val, keep.value())
	if skip != nil {
		uses = append(uses, skip.val)
	}
	g.Add(func(rec *vk.Recorder) {
		a := kernels.ApplyArgs{X: in.args(), Keep: keep.rng(), Out: out.val.Range()}
		if skip != nil {
			a.Skip = skip.val.Range()
		}
		op.Record(rec, a)
	}, uses...)
	return out
}

// grad is the gradient of y as the backward kernels load it.
func (u *unit) grad() (kernels.Grad, []*Value) {
	d := kernels.Grad{G: u.dz.Range(), Y: u.y.Range(), BN: u.bn.Range()}
	uses := []*Value{u.dz, u.y, u.bn}
	if u.gin.Keep {
		d.Keep = u.keep.rng()
		uses = append(uses, u.keep.value())
	}
	if u.gin.Gate {
		d.Gate, d.E = u.gate.Range(), u.eps.Range()
		uses = append(uses, u.gate, u.eps)
	}
	return d, uses
}

// backwardPass appends wgrad, dgrad and the batch-norm gradient of the tensor that the unit read.
func (u *unit) backwardPass() {
	g, name := u.g, u.spec.Name
	gin, grad, uses := u.gin, func() kernels.Grad { d, _ := u.grad(); return d }, func() []*Value { _, v := u.grad(); return v }()
	if u.materialiseGrad() {
		dy := g.Value(name+".dy", u.conv.YBytes(), false)
		op, err := kernels.NewApplyGrad(g.dev, kernels.ApplyGradConfig{N: u.conv.N, HW: u.conv.P * u.conv.Q, C: u.conv.K, Elem: g.opt.Elem, DY: gin})
		op = must(g, name, op, err)
		stored := grad
		g.Add(func(rec *vk.Recorder) { op.Record(rec, kernels.ApplyGradArgs{DY: stored(), Out: dy.Range()}) }, append(uses, dy)...)
		gin, grad, uses = kernels.GradIn{}, func() kernels.Grad { return kernels.Grad{G: dy.Range()} }, []*Value{dy}
	}
	if u.in.unit == nil { // the image needs no gradient
		u.wgrad(gin, grad, uses)
		return
	}
	sink := u.inputSink()
	switch {
	case g.opt.NoFuse:
	case u.spec.Depthwise && kernels.CanDepthwiseBwd(u.conv, u.in.pending, sink.Sink):
		cfg := kernels.DepthwiseBwdConfig{Conv: u.conv, DY: gin, Sink: sink.Sink}
		if cfg.Variant = g.opt.Tuner.Choose(cfg); cfg.Variant != kernels.Apart {
			u.depthwiseBwd(cfg, grad, uses, sink)
			return
		}
	case !u.spec.Depthwise && kernels.CanConvBwd(u.conv, u.in.pending, sink.Sink):
		cfg := kernels.ConvBwdConfig{Conv: u.conv, DY: gin, Sink: sink.Sink}
		if cfg.Variant = g.opt.Tuner.Choose(cfg); !cfg.IsApart(g.dev) {
			u.convBwd(cfg, grad, uses, sink)
			return
		}
	}
	u.wgrad(gin, grad, uses)
	u.dgrad(gin, grad, uses, sink)
}

// materialiseGrad decides whether dy is written before it is read. A 3x3 convolution's two backward kernels would build
// each element of dy nine times and more; where arithmetic is what binds (a CPU driver), one pass that writes it is less.
func (u *unit) materialiseGrad() bool {
	return u.g.materialises(u.spec) || u.g.dev.IsCPU() && !u.spec.Depthwise && u.conv.R > 1
}

func (u *unit) wgrad(gin kernels.GradIn, grad func() kernels.Grad, uses []*Value) {
	g, name := u.g, u.spec.Name
	_, dw := u.weight()
	uses = slices.Concat(uses, u.read.uses())
	if u.spec.Depthwise {
		op := g.depthwiseWgrad(name, kernels.DepthwiseWgradConfig{Conv: u.conv, DY: gin, In: u.read.pending})
		scratch := g.scratch(name+".wgrad", op.ScratchBytes())
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseWgradArgs{DY: grad(), X: u.read.args(), DW: dw, Scratch: scratch.Range()})
		}, append(uses, scratch)...)
		return
	}
	op := g.convWgrad(name, kernels.ConvWgradConfig{Conv: u.conv, DY: gin, In: u.read.pending})
	scratch := g.scratch(name+".wgrad", op.ScratchBytes())
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvWgradArgs{DY: grad(), X: u.read.args(), DW: dw, Scratch: scratch.Range()})
	}, append(uses, scratch)...)
}

// inputSink is what becomes of the gradient of a unit's input, with the buffers that it touches beside the sums.
type inputSink struct {
	kernels.Sink
	to   *Tensor // the unit's input
	add  *Tensor // whose gradient the skip connection adds, or nil
	uses []*Value
}

// inputSink declares the gradient of the unit's input.
func (u *unit) inputSink() *inputSink {
	t := u.in
	t.grad = u.g.Value(u.spec.Name+".dx", u.conv.XBytes(), false)
	s := &inputSink{Sink: t.sink(), to: t, add: u.skipTo, uses: []*Value{t.grad, t.unit.y, t.unit.bn, t.keep.value()}}
	if s.Add = s.add != nil; s.Add {
		s.uses = append(s.uses, s.add.grad)
	}
	return s
}

func (s *inputSink) args(sums *Value) kernels.SinkArgs {
	a := kernels.SinkArgs{DX: s.to.grad.Range(), Y: s.to.unit.y.Range(), BN: s.to.unit.bn.Range(), Sums: sums.Range()}
	if s.Add {
		a.Add = s.add.grad.Range()
	}
	if s.Keep {
		a.Keep = s.to.keep.rng()
	}
	return a
}

// depthwiseBwd appends both gradients of a depthwise convolution in one kernel.
func (u *unit) depthwiseBwd(cfg kernels.DepthwiseBwdConfig, grad func() kernels.Grad, uses []*Value, sink *inputSink) {
	g, name := u.g, u.spec.Name
	op, err := kernels.NewDepthwiseBwd(g.dev, cfg)
	op = must(g, name, op, err)
	sums, scratch := g.Value(name+".sums", op.SumsBytes(), false), g.scratch(name+".wgrad", op.ScratchBytes())
	w, dw := u.weight()
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseBwdArgs{DY: grad(), W: w, DW: dw, Scratch: scratch.Range(), Sink: sink.args(sums)})
	}, slices.Concat(uses, sink.uses, []*Value{sums, scratch})...)
	sink.to.unit.batchNormGrad(sink.to, sums, op.Parts())
}

// convBwd appends both gradients of a 1x1 convolution in one kernel.
func (u *unit) convBwd(cfg kernels.ConvBwdConfig, grad func() kernels.Grad, uses []*Value, sink *inputSink) {
	g, name := u.g, u.spec.Name
	op, err := kernels.NewConvBwd(g.dev, cfg)
	op = must(g, name, op, err)
	sums, scratch := g.Value(name+".sums", op.SumsBytes(), false), g.scratch(name+".wgrad", op.ScratchBytes())
	w, dw := u.weight()
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvBwdArgs{DY: grad(), W: w, Gate: u.in.gate.Range(), Sink: sink.args(sums), DW: dw, Scratch: scratch.Range()})
	}, slices.Concat(uses, sink.uses, []*Value{u.in.gate, sums, scratch})...)
	sink.to.unit.batchNormGrad(sink.to, sums, op.Parts())
}

// dgrad appends the gradient of the unit's input and, from its sums, the batch-norm gradient of the unit that made it.
func (u *unit) dgrad(gin kernels.GradIn, grad func() kernels.Grad, uses []*Value, sink *inputSink) {
	g, name, t := u.g, u.spec.Name, sink.to
	config, args := sink.Sink, sink.args
	if g.opt.NoFuse { // the sink is a pass of its own
		config, args = kernels.Sink{}, func(*Value) kernels.SinkArgs { return kernels.SinkArgs{DX: t.grad.Range()} }
		uses = append(slices.Clone(uses), t.grad)
	} else {
		uses = slices.Concat(uses, sink.uses)
	}
	var sums *Value
	var parts int
	w, _ := u.weight()
	if u.spec.Depthwise {
		op := g.depthwiseDgrad(name, kernels.DepthwiseDgradConfig{Conv: u.conv, DY: gin, Sink: config})
		sums, parts = g.scratch(name+".sums", op.SumsBytes()), op.Parts()
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseDgradArgs{DY: grad(), W: w, Sink: args(sums)})
		}, append(uses, sums)...)
	} else {
		op := g.convDgrad(name, kernels.ConvDgradConfig{Conv: u.conv, DY: gin, Sink: config})
		sums, parts = g.scratch(name+".sums", op.SumsBytes()), op.Parts()
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ConvDgradArgs{DY: grad(), W: w, Sink: args(sums)})
		}, append(uses, sums)...)
	}
	if g.opt.NoFuse {
		op, err := kernels.NewApplySink(g.dev, kernels.ApplySinkConfig{N: g.opt.Batch, HW: t.H * t.W, C: t.C, Elem: g.opt.Elem, Sink: sink.Sink})
		op = must(g, name, op, err)
		sums, parts = g.Value(name+".sums", op.SumsBytes(), false), op.Parts()
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ApplySinkArgs{DU: t.grad.Range(), Sink: sink.args(sums)})
		}, append(sink.uses, sums)...)
	}
	t.unit.batchNormGrad(t, sums, parts)
}

// sink is what becomes of the gradient of t's value where it is made.
func (t *Tensor) sink() kernels.Sink {
	switch {
	case t.pending.Gate:
		return kernels.Sink{SE: true, Act: t.unit.spec.Act}
	case t.pending.BN:
		return kernels.Sink{Act: t.unit.spec.Act, Sums: true}
	default:
		return kernels.Sink{Act: t.unit.spec.Act, SumsOnly: t.unit.spec.Act != kernels.NoAct, Sums: true, Keep: t.keep != nil}
	}
}

// batchNormGrad appends the gradient of u's batch norm and notes how u's backward kernels find the gradient of y.
func (u *unit) batchNormGrad(t *Tensor, sums *Value, parts int) {
	g := u.g
	u.dz = t.grad
	if t.pending.Gate {
		t.se.backward(sums, parts)
		return
	}
	u.gin = kernels.GradIn{BN: true}
	if !t.pending.BN {
		u.gin.Keep, u.gin.Act, u.keep = t.keep != nil, u.spec.Act, t.keep
	}
	op, err := kernels.NewBNBackward(g.dev, kernels.BNBackwardConfig{C: u.spec.Out, Parts: parts, M: u.rows()})
	op = must(g, u.spec.Name, op, err)
	_, dgamma := g.param(u.spec.Gamma)
	_, dbeta := g.param(u.spec.Beta)
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.BNBackwardArgs{Sums: sums.Range(), BN: u.bn.Range(), DGamma: dgamma, DBeta: dbeta})
	}, sums, u.bn)
}
