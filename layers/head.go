package layers

import (
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Head describes the classification head: 1x1 convolution with batch norm and activation, global mean, dropout and a
// fully connected layer with bias.
type Head struct {
	Conv         ConvBN
	Weight, Bias string // of the fully connected layer: [Classes rounded up to 8][Conv.Out], [Classes rounded up to 8]
	Classes      int
}

// headStream is the Philox stream of the head's dropout.
const headStream = 1

// ClassStride is the number of columns that logits and targets have: classes rounded up to a multiple of 8. The extra
// columns have zero weights and take no part in the loss.
func ClassStride(classes int) int { return (classes + 7) / 8 * 8 }

// Logits is the output of the network: [N][ClassStride(Classes)] float32.
type Logits struct {
	Val     *Value
	Classes int
	grad    *Value
}

// Head appends the classification head.
func (g *Graph) Head(x *Tensor, spec Head) *Logits {
	n, ld := g.opt.Batch, ClassStride(spec.Classes)
	h := g.ConvBNAct(x, spec.Conv)
	train := g.opt.Mode == Train
	pool := g.pool(h, "head", train)
	features, featureBytes := pool, 4*int64(n*h.C)
	dropout := func(name string, from, to *Value, scale float32) {
		op, err := kernels.NewDropout(g.dev, kernels.DropoutConfig{N: n, C: h.C, Stream: headStream, Scale: scale})
		op = must(g, name, op, err)
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DropoutArgs{X: from.Range().Slice(0, featureBytes), Y: to.Range(), Step: g.opt.Step})
		}, from, to)
	}
	if train {
		features = g.Value("head.features", featureBytes, false)
		dropout("head.dropout", pool, features, 1)
	}
	x1 := &Tensor{H: 1, W: 1, C: h.C, val: features}
	fc := kernels.NewConv(n, 1, 1, h.C, ld, 1, 1, g.opt.Padding)
	out := &Logits{Val: g.Value("logits", fc.YBytes(), true), Classes: spec.Classes}
	w, dw := g.param(spec.Weight)
	b, db := g.param(spec.Bias)
	wt := g.Value("head.fc.wt", fc.WBytes(), !train)
	pack, err := kernels.NewPack(g.dev, kernels.PackConfig{K: ld, RSC: h.C})
	pack = must(g, "head.fc", pack, err)
	record := func(rec *vk.Recorder) { pack.Record(rec, kernels.PackArgs{W: w, WT: wt.Range()}) }
	if train {
		g.Add(record, wt)
	} else {
		g.Prepare(record, wt)
	}
	op := g.convFwd("head.fc", kernels.ConvFwdConfig{Conv: fc, Bias: true})
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvFwdArgs{X: kernels.Tensor{Raw: features.Range().Slice(0, featureBytes)}, WT: wt.Range(), Bias: b, Y: out.Val.Range()})
	}, features, wt, out.Val)
	if !train {
		return out
	}
	g.backward = append(g.backward, func() {
		dy := kernels.GradIn{}
		grad := func() kernels.Grad { return kernels.Grad{G: out.grad.Range()} }
		bias, err := kernels.NewBiasGrad(g.dev, kernels.BiasGradConfig{N: n, K: ld})
		bias = must(g, "head.fc", bias, err)
		g.Add(func(rec *vk.Recorder) { bias.Record(rec, kernels.BiasGradArgs{DY: out.grad.Range(), DB: db}) }, out.grad)
		wgrad := g.convWgrad("head.fc", kernels.ConvWgradConfig{Conv: fc, DY: dy})
		scratch := g.scratch("head.fc.wgrad", wgrad.ScratchBytes())
		g.Add(func(rec *vk.Recorder) {
			wgrad.Record(rec, kernels.ConvWgradArgs{DY: grad(), X: x1.args(), DW: dw, Scratch: scratch.Range()})
		}, out.grad, features, scratch)
		dgrad := g.convDgrad("head.fc", kernels.ConvDgradConfig{Conv: fc, DY: dy})
		dx := g.Value("head.dfeatures", featureBytes, false)
		g.Add(func(rec *vk.Recorder) {
			dgrad.Record(rec, kernels.ConvDgradArgs{DY: grad(), W: w, Sink: kernels.SinkArgs{DX: dx.Range()}})
		}, out.grad, dx)
		// The gradient of the mean spreads evenly: the pooled path of kernels.GradIn with no other gradient beside it.
		u := h.unit
		eps := g.Value("head.e", featureBytes, false)
		dropout("head.dropout", dx, eps, 1/float32(h.H*h.W))
		g.batchNormGradSE(u, nil, nil, eps, pool)
		u.gin = kernels.GradIn{BN: true, Gate: true, NoG: true, Act: u.spec.Act}
		u.eps = eps
	})
	return out
}

// Loss is what Graph.Loss made.
type Loss struct {
	Labels  *Value // host or image program writes [N]{uint32 a, b; float32 lambda, weight} before the step (kernels.Targets)
	PerItem *Value // [N][4] loss, top-1 hit, top-5 hit, 0
	Metrics *Value // [8] of kernels.Metrics
}

// Loss appends softmax cross-entropy against soft targets and, in training, the whole backward pass.
func (g *Graph) Loss(logits *Logits) *Loss {
	n, ld := g.opt.Batch, ClassStride(logits.Classes)
	train := g.opt.Mode == Train
	l := &Loss{Labels: g.Value("labels", 16*int64(n), true), PerItem: g.Value("loss", 16*int64(n), true)}
	targets := g.Value("targets", 4*int64(n*ld), false)
	tOp, err := kernels.NewTargets(g.dev, kernels.TargetsConfig{N: n, Classes: logits.Classes, Ld: ld})
	tOp = must(g, "targets", tOp, err)
	g.Add(func(rec *vk.Recorder) {
		tOp.Record(rec, kernels.TargetsArgs{Labels: l.Labels.Range(), Step: g.opt.Step, Targets: targets.Range()})
	}, l.Labels, targets)
	if train {
		logits.grad = g.Value("logits.grad", 4*int64(n*ld), false)
	}
	op, err := kernels.NewLoss(g.dev, kernels.LossConfig{N: n, Classes: logits.Classes, Ld: ld, Grad: train})
	op = must(g, "loss", op, err)
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.LossArgs{Logits: logits.Val.Range(), Targets: targets.Range(), LossScale: g.opt.LossScale,
			DLogits: logits.grad.Range(), Out: l.PerItem.Range()})
	}, logits.Val, targets, logits.grad, l.PerItem)
	if train {
		g.Section("backward")
		for i := len(g.backward) - 1; i >= 0; i-- {
			g.backward[i]()
		}
	}
	return l
}
