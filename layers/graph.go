package layers

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Mode says what a graph is for.
type Mode int

const (
	// Train uses batch statistics, updates the running ones and can be differentiated.
	Train Mode = iota
	// Infer uses running statistics, folded into the weights once by the plan's preparation.
	Infer
)

// String is the name that reports use.
func (m Mode) String() string { return [...]string{"train", "infer"}[m] }

// Options are the properties that all layers of a graph share.
type Options struct {
	Mode    Mode
	Batch   int
	Padding kernels.Padding
	Elem    kernels.Elem // how activations and their gradients are stored
	// NoFuse keeps every pending operation out of the convolutions: activations and gradients are written by passes of
	// their own. The same numbers with more traffic: first aid when a fused kernel misbehaves on a driver.
	NoFuse bool
	Tuner  *kernels.Tuner // chooses the variants of convolutions; nil: the table of the device's class
	// Blocks is the number of blocks of the network, the N of stochastic depth (block i drops with dropPath*i/N).
	Blocks int

	Weights vk.Range // flat buffers of the parameter set: weights, and in training their gradients
	Grads   vk.Range
	Stats   vk.Range // flat buffer of the statistics set
	Step    vk.Range // kernels.StepScalars
	// LossScale is a kernels.LossScale, which training changes with every step.
	LossScale vk.Range
	Params    *ParamSet
	Running   *ParamSet // the statistics set: running means and variances
}

// Graph collects the dispatches of one network for one batch and image size; Build makes one. It is used by one goroutine.
type Graph struct {
	dev      *vk.Device
	opt      Options
	values   []*Value
	prepare  []node   // once per set of weights (inference)
	steps    []node   // every step
	units    []*unit  // in forward order
	backward []func() // in forward order; run in reverse
	outputs  int64    // bytes of all convolution outputs
	keep     *Value   // [Blocks][N] factors of stochastic depth
	block    int      // index of the block being built
	section  string
}

// Value is a buffer of the plan: the planner gives it a place from its first to its last use.
type Value struct {
	Name        string
	Bytes       int64
	Persistent  bool // lives across steps (folded weights, inputs and outputs that the host touches)
	rng         vk.Range
	first, last int // indices into Graph.steps; first > last: never used
	off         int64
}

// Range is the place that the plan gave; zero for a nil Value. It is valid after Plan.
func (v *Value) Range() vk.Range {
	if v == nil {
		return vk.Range{}
	}
	return v.rng
}

type node struct {
	section string
	uses    []*Value
	record  func(*vk.Recorder)
}

// buildError carries the first error of a graph's construction out to Build.
type buildError struct{ error }

// Build calls define, which puts the network together, and plans what it defined. Inside define the graph's methods stop
// at the first error (a shape that no kernel takes, a parameter that is missing); Build returns it.
func Build(dev *vk.Device, opt Options, define func(*Graph)) (plan *Plan, err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(buildError)
			if !ok {
				panic(r)
			}
			plan, err = nil, e.error
		}
	}()
	g := &Graph{dev: dev, opt: opt, section: "forward"}
	if opt.Batch < 1 {
		return nil, fmt.Errorf("layers: got a batch of %d, want at least 1", opt.Batch)
	}
	define(g)
	return newPlan(g)
}

// check ends the construction if err is not nil.
func (g *Graph) check(err error) {
	if err != nil {
		panic(buildError{err})
	}
}

func (g *Graph) failf(format string, args ...any) { g.check(fmt.Errorf("layers: "+format, args...)) }

// Section names the dispatches that follow, for tables and traces ("forward", "backward", "optimizer").
func (g *Graph) Section(name string) { g.section = name }

// Value declares a buffer of the plan.
func (g *Graph) Value(name string, bytes int64, persistent bool) *Value {
	if bytes <= 0 {
		g.failf("%s has %d bytes, want more", name, bytes)
	}
	v := &Value{Name: name, Bytes: bytes, Persistent: persistent, first: 1, last: 0}
	g.values = append(g.values, v)
	return v
}

// scratch declares a buffer of one dispatch; nil if the kernel needs none.
func (g *Graph) scratch(name string, bytes int64) *Value {
	if bytes == 0 {
		return nil
	}
	return g.Value(name, bytes, false)
}

// Add appends work to the step. record runs after the values have got their places; uses are the values that it touches.
func (g *Graph) Add(record func(*vk.Recorder), uses ...*Value) {
	i := len(g.steps)
	g.steps = append(g.steps, node{g.section, use(i, uses), record})
}

// Prepare appends work that is done once after the weights have changed (inference).
func (g *Graph) Prepare(record func(*vk.Recorder), uses ...*Value) {
	g.prepare = append(g.prepare, node{"prepare", uses, record})
}

// use notes that node i touches the values.
func use(i int, values []*Value) []*Value {
	var kept []*Value
	for _, v := range values {
		if v == nil {
			continue
		}
		if v.first > v.last {
			v.first = i
		}
		v.last = i
		kept = append(kept, v)
	}
	return kept
}

// param returns the weights and gradient of a parameter.
func (g *Graph) param(name string) (w, dw vk.Range) {
	p := g.opt.Params.Lookup(name)
	if p == nil {
		g.failf("no parameter is named %q", name)
	}
	return g.opt.Params.Of(g.opt.Weights, p), g.opt.Params.Of(g.opt.Grads, p)
}

// running returns a running statistic.
func (g *Graph) running(name string) vk.Range {
	p := g.opt.Running.Lookup(name)
	if p == nil {
		g.failf("no running statistic is named %q", name)
	}
	return g.opt.Running.Of(g.opt.Stats, p)
}

// must returns a constructed kernel or ends the construction, naming the layer.
func must[T any](g *Graph, where string, op T, err error) T {
	if err != nil {
		g.check(fmt.Errorf("%s: %w", where, err))
	}
	return op
}

// Tensor is a value of the network: [N H W C], in one of two states. As a unit's pending output, val holds the raw
// convolution output y, and batch norm, activation and gate are applied by its readers. As a plain tensor, val holds the
// value itself; unit, keep and skip then tell how it was made, for the backward pass.
type Tensor struct {
	H, W, C int
	val     *Value
	pending kernels.Pending
	unit    *unit  // nil for the image
	gate    *Value // [N][C], pending or nil
	se      *se
	keep    *keepFactor // stochastic depth of the branch that was added
	grad    *Value      // backward: what the sink wrote
}

// keepFactor is one block's row of the stochastic-depth factors.
type keepFactor struct {
	all *Value
	off int64
	n   int64
}

func (k *keepFactor) value() *Value {
	if k == nil {
		return nil
	}
	return k.all
}

func (k *keepFactor) rng() vk.Range {
	if k == nil {
		return vk.Range{}
	}
	return k.all.Range().Slice(k.off, k.n)
}

// args are the buffers that a kernel reads to load t.
func (t *Tensor) args() kernels.Tensor {
	a := kernels.Tensor{Raw: t.val.Range()}
	if t.pending.BN {
		a.BN = t.unit.bn.Range()
	}
	if t.pending.Gate {
		a.Gate = t.gate.Range()
	}
	return a
}

// uses are the values behind args.
func (t *Tensor) uses() []*Value {
	u := []*Value{t.val}
	if t.pending.BN {
		u = append(u, t.unit.bn)
	}
	if t.pending.Gate {
		u = append(u, t.gate)
	}
	return u
}

// bytes is the size of an activation.
func (g *Graph) bytes(h, w, c int) int64 {
	return g.opt.Elem.Bytes() * int64(g.opt.Batch) * int64(h) * int64(w) * int64(c)
}

// newConv is the shape of a convolution of x.
func (g *Graph) newConv(x *Tensor, spec ConvBN) kernels.Conv {
	c := kernels.NewConv(g.opt.Batch, x.H, x.W, x.C, spec.Out, spec.Kernel, spec.Stride, g.opt.Padding)
	c.Elem = g.opt.Elem
	return c
}

// Input declares the image tensor [N H W 3], normalised and stored as activations are. It outlives the step: the host or another program
// writes it between two steps.
func (g *Graph) Input(h, w int) *Tensor {
	if h < 1 || w < 1 {
		g.failf("image is %dx%d, want at least 1x1", h, w)
	}
	return &Tensor{H: h, W: w, C: 3, val: g.Value("image", g.bytes(h, w, 3), true)}
}

// Value is the buffer behind a tensor.
func (t *Tensor) Value() *Value { return t.val }
