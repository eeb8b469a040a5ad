package layers

import (
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Method is an optimizer.
type Method int

const (
	// RMSProp is TensorFlow's form: the epsilon is inside the root, the mean square starts at 1.
	RMSProp Method = iota
	// SGD is PyTorch's form with momentum.
	SGD
	// NesterovSGD is SGD with Nesterov's momentum.
	NesterovSGD
)

// Slots are the flat buffers that an optimizer step updates beside the weights. MeanSquare is unused with SGD.
type Slots struct {
	MeanSquare, Momentum, EMA vk.Range // layout of the parameter set
	StatsEMA                  vk.Range // layout of the statistics set
}

// Optimizer appends the gradient norm, the update of all weights with weight decay on those that decay, the moving
// averages of weights and running statistics, and the step's metrics, which it returns in l.Metrics. If a gradient is not
// finite the weights, slots and averages keep their values (kernels.GradNorm sets the flag and lowers the loss scale,
// kernels.Metrics reports both). The running statistics are the forward pass's and have moved by then, as in PyTorch
// (torch.cuda.amp.GradScaler leaves out the optimizer's step alone) and TensorFlow; kernels.BNFinalize keeps what is not
// finite out of them.
func (g *Graph) Optimizer(method Method, slots Slots, l *Loss) {
	g.Section("optimizer")
	opt := g.opt
	norm := g.Value("gradient norm", 16, false)
	nOp, err := kernels.NewGradNorm(g.dev, kernels.GradNormConfig{Count: opt.Params.Bytes() / 4})
	nOp = must(g, "gradient norm", nOp, err)
	scratch := g.scratch("gradient norm.partial", nOp.ScratchBytes())
	g.Add(func(rec *vk.Recorder) {
		nOp.Record(rec, kernels.GradNormArgs{G: opt.Grads, Scratch: scratch.Range(), Out: norm.Range(), Step: opt.Step,
			LossScale: opt.LossScale})
	}, scratch, norm)

	count, decay := opt.Params.Bytes()/4, opt.Params.DecayBytes()/4
	if method == RMSProp {
		op, err := kernels.NewRMSProp(g.dev, kernels.RMSPropConfig{Count: count, Decay: decay})
		op = must(g, "rmsprop", op, err)
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.RMSPropArgs{W: opt.Weights, G: opt.Grads, MS: slots.MeanSquare, Mom: slots.Momentum,
				EMA: slots.EMA, Norm: norm.Range(), Step: opt.Step})
		}, norm)
	} else {
		op, err := kernels.NewSGD(g.dev, kernels.SGDConfig{Count: count, Decay: decay, Nesterov: method == NesterovSGD})
		op = must(g, "sgd", op, err)
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.SGDArgs{W: opt.Weights, G: opt.Grads, Mom: slots.Momentum, EMA: slots.EMA, Norm: norm.Range(), Step: opt.Step})
		}, norm)
	}
	eOp, err := kernels.NewEMA(g.dev, kernels.EMAConfig{Count: opt.Running.Bytes() / 4})
	eOp = must(g, "ema", eOp, err)
	g.Add(func(rec *vk.Recorder) {
		eOp.Record(rec, kernels.EMAArgs{X: opt.Stats, EMA: slots.StatsEMA, Norm: norm.Range(), Step: opt.Step})
	}, norm)

	l.Metrics = g.Value("metrics", 32, true)
	mOp, err := kernels.NewMetrics(g.dev, kernels.MetricsConfig{N: opt.Batch})
	mOp = must(g, "metrics", mOp, err)
	g.Add(func(rec *vk.Recorder) {
		mOp.Record(rec, kernels.MetricsArgs{Loss: l.PerItem.Range(), Norm: norm.Range(), LossScale: opt.LossScale,
			Out: l.Metrics.Range()})
	}, l.PerItem, norm, l.Metrics)
}
