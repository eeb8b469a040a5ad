package layers

import (
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// SE describes squeeze-and-excite (Hu et al. 2017, arXiv:1709.01507): gate = sigmoid(W2 silu(W1 mean(u) + b1) + b2).
type SE struct {
	Name                     string
	Reduce, ReduceBias       string // parameters W1 [Reduced][C], b1
	ExpandWeight, ExpandBias string // W2 [C][Reduced], b2
	Reduced                  int
}

// se is one squeeze-and-excite in the graph.
type se struct {
	g                  *Graph
	spec               SE
	unit               *unit
	h, w               int
	pool, hidden, gate *Value
}

// SE appends the pooling pass and the two small layers; the gate is pending on the tensor that it returns.
func (g *Graph) SE(x *Tensor, spec SE) *Tensor {
	train := g.opt.Mode == Train
	s := &se{g: g, spec: spec, unit: x.unit, h: x.H, w: x.W}
	s.pool = g.pool(x, spec.Name, train)
	n := int64(g.opt.Batch)
	s.hidden = g.Value(spec.Name+".hidden", 4*n*int64(spec.Reduced), false)
	s.gate = g.Value(spec.Name+".gate", 4*n*int64(x.C), false)
	op, err := kernels.NewSEFwd(g.dev, kernels.SEFwdConfig{N: g.opt.Batch, C: x.C, R: spec.Reduced})
	op = must(g, spec.Name, op, err)
	w1, _ := g.param(spec.Reduce)
	b1, _ := g.param(spec.ReduceBias)
	w2, _ := g.param(spec.ExpandWeight)
	b2, _ := g.param(spec.ExpandBias)
	mean := 4 * n * int64(x.C)
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.SEFwdArgs{Pool: s.pool.Range().Slice(0, mean), W1: w1, B1: b1, W2: w2, B2: b2,
			Hidden: s.hidden.Range(), Gate: s.gate.Range()})
	}, s.pool, s.hidden, s.gate)
	out := *x
	out.gate, out.se, out.pending.Gate = s.gate, s, true
	return &out
}

// pool appends the global mean of x's value per image and channel; in training also the two sums that batch norm's
// gradient needs of it (kernels.Pool).
func (g *Graph) pool(x *Tensor, name string, grad bool) *Value {
	rows := 1
	if grad {
		rows = 3
	}
	pool := g.Value(name+".pool", 4*int64(rows*g.opt.Batch*x.C), false)
	op, err := kernels.NewPool(g.dev, kernels.PoolConfig{N: g.opt.Batch, HW: x.H * x.W, C: x.C, Elem: g.opt.Elem, In: x.pending, Grad: grad})
	op = must(g, name, op, err)
	g.Add(func(rec *vk.Recorder) { op.Record(rec, kernels.PoolArgs{X: x.args(), Pool: pool.Range()}) }, append(x.uses(), pool)...)
	return pool
}

// backward appends the gradient of the gate and, from the five sums, of the batch norm below it.
func (s *se) backward(sums *Value, parts int) {
	g, u, name := s.g, s.unit, s.spec.Name
	n, c := int64(g.opt.Batch), int64(u.spec.Out)
	op, err := kernels.NewSEBwd(g.dev, kernels.SEBwdConfig{N: g.opt.Batch, C: u.spec.Out, R: s.spec.Reduced, HW: s.h * s.w, Parts: parts})
	op = must(g, name, op, err)
	totals, eps := g.Value(name+".sums", 4*n*3*c, false), g.Value(name+".e", 4*n*c, false)
	scratch := g.scratch(name+".bwd", op.ScratchBytes())
	w1, dw1 := g.param(s.spec.Reduce)
	_, db1 := g.param(s.spec.ReduceBias)
	w2, dw2 := g.param(s.spec.ExpandWeight)
	_, db2 := g.param(s.spec.ExpandBias)
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.SEBwdArgs{Sums: sums.Range(), Gate: s.gate.Range(), Hidden: s.hidden.Range(),
			Pool: s.pool.Range().Slice(0, 4*n*c), W1: w1, W2: w2, S: totals.Range(), E: eps.Range(),
			DW1: dw1, DB1: db1, DW2: dw2, DB2: db2, Scratch: scratch.Range()})
	}, sums, s.gate, s.hidden, s.pool, totals, eps, scratch)
	g.batchNormGradSE(u, totals, s.gate, eps, s.pool)
	u.gin = kernels.GradIn{BN: true, Gate: true, Act: u.spec.Act}
	u.gate, u.eps = s.gate, eps
}

// batchNormGradSE appends the gradient of u's batch norm from sums per image; totals and gate are nil where only the
// pooled path exists (the head).
func (g *Graph) batchNormGradSE(u *unit, totals, gate, eps, pool *Value) {
	op, err := kernels.NewBNBackwardSE(g.dev, kernels.BNBackwardSEConfig{N: g.opt.Batch, C: u.spec.Out, M: u.rows(), NoG: totals == nil})
	op = must(g, u.spec.Name, op, err)
	_, dgamma := g.param(u.spec.Gamma)
	_, dbeta := g.param(u.spec.Beta)
	g.Add(func(rec *vk.Recorder) {
		op.Record(rec, kernels.BNBackwardSEArgs{S: totals.Range(), Gate: gate.Range(), E: eps.Range(), Pool: pool.Range(),
			BN: u.bn.Range(), DGamma: dgamma, DBeta: dbeta})
	}, totals, gate, eps, pool, u.bn)
}
