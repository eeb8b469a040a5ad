package effnetv2

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// Model holds the weights and running statistics of one network on a device. Networks built from it (Build) share them.
// A Model is used by one goroutine at a time.
type Model struct {
	Variant Variant
	Classes int
	Params  *layers.ParamSet // trainable tensors, under timm's names
	Running *layers.ParamSet // running means and variances

	dev            *vk.Device
	weights, stats *vk.Buffer
	layout         []Param
}

// New lays out the weights of a variant with a head for that many classes. Nothing is allocated on the device until
// Allocate, Load or Init. The model must be released before the device is closed.
func New(dev *vk.Device, v Variant, classes int) (*Model, error) {
	if classes < 2 {
		return nil, fmt.Errorf("effnetv2: got %d classes, want at least 2", classes)
	}
	m := &Model{Variant: v, Classes: classes, dev: dev, layout: v.Params(classes)}
	var trainable, running []layers.Param
	for _, p := range m.layout {
		switch {
		case p.Kind == BNCount:
		case p.Trainable:
			trainable = append(trainable, layers.Param{Name: p.Timm, Count: p.deviceCount(classes), Decay: p.Decay})
		default:
			running = append(running, layers.Param{Name: p.Timm, Count: p.Len()})
		}
	}
	var err error
	if m.Params, err = layers.NewParamSet(trainable); err != nil {
		return nil, err
	}
	if m.Running, err = layers.NewParamSet(running); err != nil {
		return nil, err
	}
	m.weights = dev.DeclareBuffer("weights", m.Params.Bytes())
	m.stats = dev.DeclareBuffer("running statistics", m.Running.Bytes())
	return m, nil
}

// deviceCount is the number of floats that the tensor takes on the device, where the head's rows are a multiple of 8.
func (p Param) deviceCount(classes int) int {
	n := p.Len()
	if p.Kind == FCWeight || p.Kind == FCBias {
		n = n / classes * layers.ClassStride(classes)
	}
	return n
}

// Weights and Stats are the flat buffers in the layouts of Params and Running.
func (m *Model) Weights() vk.Range { return m.weights.Range() }

// Stats is the flat buffer of the running means and variances.
func (m *Model) Stats() vk.Range { return m.stats.Range() }

// Device is the device that the model lives on.
func (m *Model) Device() *vk.Device { return m.dev }

// Release frees the weights.
func (m *Model) Release() {
	m.weights.Release()
	m.stats.Release()
}

// Allocate gives the weights memory without setting them.
func (m *Model) Allocate() error {
	if err := m.weights.Allocate(); err != nil {
		return fmt.Errorf("effnetv2: weights of %s: %w", m.Variant.Name, err)
	}
	return m.stats.Allocate()
}

// Init allocates the weights and draws them as the paper's code does (package-level Init).
func (m *Model) Init(seed uint64) error { return m.Load(Init(m.Variant, m.Classes, seed)) }

// Load allocates the weights if need be and sets all of them from tensors under timm's names in OIHW layout, as
// Variant.Match returns them.
func (m *Model) Load(tensors map[string][]float32) error {
	if err := m.Allocate(); err != nil {
		return err
	}
	for _, part := range []struct {
		set  *layers.ParamSet
		flat vk.Range
	}{{m.Params, m.Weights()}, {m.Running, m.Stats()}} {
		data, err := m.Encode(part.set, tensors)
		if err != nil {
			return err
		}
		if err := m.dev.Upload(part.flat, data); err != nil {
			return err
		}
	}
	return nil
}

// Encode lays tensors under timm's names in OIHW out as a flat device buffer of the set.
func (m *Model) Encode(set *layers.ParamSet, tensors map[string][]float32) ([]byte, error) {
	data := make([]byte, set.Bytes())
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, p := range m.layout {
		entry := set.Lookup(p.Timm)
		if entry == nil {
			continue
		}
		t, ok := tensors[p.Timm]
		if !ok || len(t) != p.Len() {
			_ = group.Wait()
			return nil, fmt.Errorf("effnetv2: weights of %s: %s has %d values, want %d", m.Variant.Name, p.Timm, len(t), p.Len())
		}
		group.Go(func() error { // which cannot fail
			at := data[entry.Offset():]
			for i, x := range ToDevice(p.Kind, p.Shape, t) {
				binary.LittleEndian.PutUint32(at[4*i:], math.Float32bits(x))
			}
			return nil
		})
	}
	return data, group.Wait()
}

// Decode is the inverse of Encode.
func (m *Model) Decode(set *layers.ParamSet, data []byte) map[string][]float32 {
	out := make(map[string][]float32)
	for _, p := range m.layout {
		entry := set.Lookup(p.Timm)
		if entry == nil {
			continue
		}
		t := make([]float32, p.Len())
		for i := range t {
			t[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[entry.Offset()+4*int64(i):]))
		}
		out[p.Timm] = FromDevice(p.Kind, p.Shape, t)
	}
	return out
}

// Tensors reads flat buffers of the two sets back as tensors under timm's names in OIHW; pass Weights and Stats, or the
// moving averages of both. A zero range is left out.
func (m *Model) Tensors(weights, stats vk.Range) (map[string][]float32, error) {
	all := make(map[string][]float32)
	for _, part := range []struct {
		set  *layers.ParamSet
		flat vk.Range
	}{{m.Params, weights}, {m.Running, stats}} {
		if part.flat.IsZero() {
			continue
		}
		data := make([]byte, part.set.Bytes())
		if err := m.dev.Download(part.flat, data); err != nil {
			return nil, err
		}
		for name, t := range m.Decode(part.set, data) {
			all[name] = t
		}
	}
	return all, nil
}

// BuildOptions choose what Build makes of a model.
type BuildOptions struct {
	Mode    layers.Mode
	Batch   int
	H, W    int
	Padding kernels.Padding
	Elem    kernels.Elem // how activations are stored
	NoFuse  bool
	Tuner   *kernels.Tuner // see layers.Options
	// Weights and Stats replace the model's own: the moving averages, say.
	Weights, Stats vk.Range
	Step           vk.Range // kernels.StepScalars; needed in training and with Loss
	LossScale      vk.Range // kernels.LossScale; needed in training
	Loss           bool     // append the loss; in training with the backward pass, whose gradients go to Grads
	Grads          vk.Range // layout of Model.Params
	// Slots, if not nil, appends an optimizer step by Method.
	Method layers.Method
	Slots  *layers.Slots
}

// Network is a model's plan for one batch and image size, with the values that the host touches.
type Network struct {
	*layers.Plan
	Image  *layers.Value // [N][H][W][3], normalised; stored as BuildOptions.Elem says
	Logits *layers.Value // [N][layers.ClassStride(classes)]
	Loss   *layers.Loss  // nil without BuildOptions.Loss
}

// Build plans the network; realize the plan before running it.
func (m *Model) Build(o BuildOptions) (*Network, error) {
	if o.Weights.IsZero() {
		o.Weights = m.Weights()
	}
	if o.Stats.IsZero() {
		o.Stats = m.Stats()
	}
	blocks := m.Variant.Blocks()
	n := &Network{}
	var err error
	n.Plan, err = layers.Build(m.dev, layers.Options{Mode: o.Mode, Batch: o.Batch, Padding: o.Padding, Elem: o.Elem, NoFuse: o.NoFuse, Tuner: o.Tuner,
		Blocks: len(blocks), Weights: o.Weights, Grads: o.Grads, Stats: o.Stats, Step: o.Step, LossScale: o.LossScale,
		Params: m.Params, Running: m.Running,
	}, func(g *layers.Graph) {
		x := g.Input(o.H, o.W)
		n.Image = x.Value()
		logits := m.define(g, x, blocks)
		n.Logits = logits.Val
		if o.Loss {
			n.Loss = g.Loss(logits)
			if o.Slots != nil {
				g.Optimizer(o.Method, *o.Slots, n.Loss)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("effnetv2: %s, batch %d of %dx%d: %w", m.Variant.Name, o.Batch, o.H, o.W, err)
	}
	return n, nil
}

// Tune lets a tuner time the kernel variants that networks of these options choose from, as far as it does not know them yet:
// Build them with BuildOptions.Tuner afterwards. A nil tuner does nothing. Errors are those of Build and of kernels.Tuner.Run.
func (m *Model) Tune(ctx context.Context, tuner *kernels.Tuner, networks ...BuildOptions) error {
	if tuner == nil {
		return nil
	}
	for range 2 { // a choice may bring in operations that the first networks do not have
		for _, o := range networks {
			o.Tuner = tuner
			if _, err := m.Build(o); err != nil { // asks for every variant
				return err
			}
		}
		if err := tuner.Run(ctx); err != nil {
			return err
		}
	}
	return nil
}

// define builds stem, blocks and head under timm's names.
func (m *Model) define(g *layers.Graph, x *layers.Tensor, blocks []Block) *layers.Logits {
	v := m.Variant
	conv := func(prefix, conv, bn string, out, kernel, stride int, act kernels.Act) layers.ConvBN {
		return layers.ConvBN{Name: prefix + conv, Weight: prefix + conv + ".weight", Gamma: prefix + bn + ".weight", Beta: prefix + bn + ".bias",
			Mean: prefix + bn + ".running_mean", Var: prefix + bn + ".running_var", Out: out, Kernel: kernel, Stride: stride, Act: act,
			Epsilon: v.BNEps, RunningMomentum: v.BNMomentum}
	}
	h := g.Materialise(g.ConvBNAct(x, conv("", "conv_stem", "bn1", v.Stem, 3, 2, kernels.SiLU)), "stem.out")
	for _, b := range blocks {
		prefix := "blocks." + strconv.Itoa(b.Stage) + "." + strconv.Itoa(b.Index) + "."
		wide := b.Mid
		lb := layers.Block{Skip: b.Skip}
		if b.Kind == Fused {
			if b.Expand == 1 {
				lb.Expand = conv(prefix, "conv", "bn1", b.Out, b.Kernel, b.Stride, kernels.SiLU)
			} else {
				lb.Expand = conv(prefix, "conv_exp", "bn1", wide, b.Kernel, b.Stride, kernels.SiLU)
				lb.Project = conv(prefix, "conv_pwl", "bn2", b.Out, 1, 1, kernels.NoAct)
			}
			h = g.FusedMBConv(h, lb)
			continue
		}
		if b.Expand == 1 {
			lb.Depthwise = conv(prefix, "conv_dw", "bn1", wide, b.Kernel, b.Stride, kernels.SiLU)
			lb.Project = conv(prefix, "conv_pw", "bn2", b.Out, 1, 1, kernels.NoAct)
		} else {
			lb.Expand = conv(prefix, "conv_pw", "bn1", wide, 1, 1, kernels.SiLU)
			lb.Depthwise = conv(prefix, "conv_dw", "bn2", wide, b.Kernel, b.Stride, kernels.SiLU)
			lb.Project = conv(prefix, "conv_pwl", "bn3", b.Out, 1, 1, kernels.NoAct)
		}
		lb.Depthwise.Depthwise = true
		if b.SEReduced > 0 {
			lb.SE = layers.SE{Name: prefix + "se", Reduced: b.SEReduced,
				Reduce: prefix + "se.conv_reduce.weight", ReduceBias: prefix + "se.conv_reduce.bias",
				ExpandWeight: prefix + "se.conv_expand.weight", ExpandBias: prefix + "se.conv_expand.bias"}
		}
		h = g.MBConv(h, lb)
	}
	return g.Head(h, layers.Head{Conv: conv("", "conv_head", "bn2", v.Head, 1, 1, kernels.SiLU),
		Weight: "classifier.weight", Bias: "classifier.bias", Classes: m.Classes})
}
