package layers

import (
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ConvBNAct appends a convolution, batch norm and activation. The output is pending in training and plain in inference.
func (g *Graph) ConvBNAct(x *Tensor, spec ConvBN) *Tensor {
	if spec.Depthwise {
		spec.Out = x.C
	}
	if g.opt.Mode == Infer {
		return g.inferConv(x, spec, nil)
	}
	return g.conv(x, spec).out()
}

// Materialise writes a pending tensor's value; a plain tensor is returned as it is. The stem's output goes through it:
// the 3x3 convolution behind the stem would apply batch norm and SiLU nine times to each element.
func (g *Graph) Materialise(x *Tensor, name string) *Tensor {
	if x.pending == (kernels.Pending{}) {
		return x
	}
	return g.apply(x, nil, nil, name)
}

// Block describes a FusedMBConv or MBConv block (Tan & Le 2021, section 3.2; Tan & Le 2019 for MBConv). A stage absent
// from the block has an empty Name: Expand for expansion 1, Depthwise and SE in FusedMBConv, Project in FusedMBConv
// with expansion 1, whose only convolution is Expand and carries the activation.
type Block struct {
	Expand, Depthwise, Project ConvBN
	SE                         SE
	Skip                       bool // the input is added to the output (stride 1, equal widths)
}

// MBConv appends [1x1 expand] - depthwise - squeeze-and-excite - 1x1 project, + input.
func (g *Graph) MBConv(x *Tensor, b Block) *Tensor {
	i := g.nextBlock()
	h := x
	if b.Expand.Name != "" {
		h = g.ConvBNAct(h, b.Expand)
	}
	h = g.ConvBNAct(h, b.Depthwise)
	if b.SE.Name != "" {
		h = g.SE(h, b.SE)
	}
	return g.finish(x, h, b.Project, b.Skip, i)
}

// FusedMBConv appends kxk expand - 1x1 project, + input; with expansion 1 a single kxk convolution with activation.
func (g *Graph) FusedMBConv(x *Tensor, b Block) *Tensor {
	i := g.nextBlock()
	if b.Project.Name == "" {
		return g.finish(x, x, b.Expand, b.Skip, i)
	}
	return g.finish(x, g.ConvBNAct(x, b.Expand), b.Project, b.Skip, i)
}

func (g *Graph) nextBlock() int { g.block++; return g.block - 1 }

// finish appends a block's last convolution and adds the block's input x if the block has a skip connection, with
// stochastic depth on the branch (Huang et al. 2016, arXiv:1603.09382): out = branch*keep[n] + x.
func (g *Graph) finish(x, h *Tensor, last ConvBN, skip bool, block int) *Tensor {
	c := g.newConv(h, last)
	if skip && (x.H != c.P || x.W != c.Q || x.C != c.K) {
		g.failf("%s: a skip connection from %dx%dx%d to %dx%dx%d, want equal shapes", last.Name, x.H, x.W, x.C, c.P, c.Q, c.K)
	}
	if g.opt.Mode == Infer {
		var add *Tensor
		if skip {
			add = x
		}
		return g.inferConv(h, last, add)
	}
	u := g.conv(h, last)
	if !skip {
		return g.apply(u.out(), nil, nil, last.Name+".out")
	}
	out := g.apply(u.out(), g.keepFactor(block), x, last.Name+".out")
	g.reader(x).skipTo = out
	return out
}

// reader is the unit that reads x: the one whose dgrad adds the skip connection's gradient.
func (g *Graph) reader(x *Tensor) *unit {
	for i := len(g.units) - 1; i >= 0; i-- {
		if g.units[i].in == x {
			return g.units[i]
		}
	}
	g.failf("internal error: nothing reads the input of a block with a skip connection")
	return nil
}

// keepFactor is the row of stochastic-depth factors of a block.
func (g *Graph) keepFactor(block int) *keepFactor {
	if block >= g.opt.Blocks {
		g.failf("block %d of a network declared with %d blocks", block, g.opt.Blocks)
	}
	row := (g.opt.Batch + paramAlign/4 - 1) / (paramAlign / 4) * (paramAlign / 4) // rows start where a binding may
	if g.keep == nil {
		g.keep = g.Value("keep", 4*int64(g.opt.Blocks*row), false)
		op, err := kernels.NewKeepMask(g.dev, kernels.KeepMaskConfig{Blocks: g.opt.Blocks, N: row})
		op = must(g, "stochastic depth", op, err)
		keep := g.keep
		g.Add(func(rec *vk.Recorder) { op.Record(rec, kernels.KeepMaskArgs{Step: g.opt.Step, Keep: keep.Range()}) }, keep)
	}
	return &keepFactor{all: g.keep, off: 4 * int64(block*row), n: 4 * int64(g.opt.Batch)}
}

// inferConv appends a convolution whose batch norm is folded into weights and bias, with activation and residual add.
func (g *Graph) inferConv(in *Tensor, spec ConvBN, add *Tensor) *Tensor {
	c := g.newConv(in, spec)
	name := spec.Name
	g.outputs += c.YBytes()
	rsc, wBytes, elem := c.R*c.S*c.C, c.WTBytes(), g.opt.Elem
	if spec.Depthwise { // whose weights are float32
		rsc, wBytes, elem = c.R*c.S, 4*int64(c.R*c.S*c.C), kernels.F32
	}
	wt, bias := g.Value(name+".wt", wBytes, true), g.Value(name+".bias", 4*int64(spec.Out), true)
	pack, err := kernels.NewPack(g.dev, kernels.PackConfig{K: spec.Out, RSC: rsc, Elem: elem, Depthwise: spec.Depthwise, Fold: true, Eps: float32(spec.Epsilon)})
	pack = must(g, name, pack, err)
	w, _ := g.param(spec.Weight)
	gamma, _ := g.param(spec.Gamma)
	beta, _ := g.param(spec.Beta)
	mean, variance := g.running(spec.Mean), g.running(spec.Var)
	g.Prepare(func(rec *vk.Recorder) {
		pack.Record(rec, kernels.PackArgs{W: w, WT: wt.Range(), Gamma: gamma, Beta: beta, Mean: mean, Var: variance, Bias: bias.Range()})
	}, wt, bias)
	if g.materialises(spec) && in.pending != (kernels.Pending{}) {
		in = g.apply(in, nil, nil, name+".in")
	}
	out := &Tensor{H: c.P, W: c.Q, C: c.K, val: g.Value(name+".y", c.YBytes(), false)}
	uses := append(in.uses(), wt, bias, out.val)
	if spec.Depthwise {
		op := g.depthwiseFwd(name, kernels.DepthwiseFwdConfig{Conv: c, In: in.pending, Bias: true, ActOut: spec.Act})
		g.Add(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseFwdArgs{X: in.args(), W: wt.Range(), Bias: bias.Range(), Y: out.val.Range()})
		}, uses...)
		return out
	}
	op := g.convFwd(name, kernels.ConvFwdConfig{Conv: c, In: in.pending, Bias: true, ActOut: spec.Act, Add: add != nil})
	if add != nil {
		uses = append(uses, add.val)
	}
	g.Add(func(rec *vk.Recorder) {
		a := kernels.ConvFwdArgs{X: in.args(), WT: wt.Range(), Bias: bias.Range(), Y: out.val.Range()}
		if add != nil {
			a.Add = add.val.Range()
		}
		op.Record(rec, a)
	}, uses...)
	return out
}
