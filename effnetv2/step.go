package effnetv2

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// StepOptions choose how ExactStep computes.
type StepOptions struct {
	Mode    layers.Mode // Infer takes the running statistics, Train those of the batch
	Padding kernels.Padding
	Elem    kernels.Elem // how activations are stored
	NoFuse  bool
}

// ExactStep runs one pass over a batch for comparison with another framework. The state is by timm's names in PyTorch's
// shapes, as Match returns it, and is not changed; its classifier gives the number of classes.
//
// Infer computes the logits. Train also computes the mean cross-entropy (no label smoothing), the gradient of every
// parameter and the running statistics after the step; dropout and stochastic depth are off and no weight is updated. The
// loss is scaled as training begins, which is taken from the gradients again; where they overflow all the same the step is
// computed anew with half the scale, down to 1.
//
// Errors are those of Build for a batch that does not fit, and of the device.
func ExactStep(ctx context.Context, dev *vk.Device, v Variant, state map[string][]float32, b *Batch, o StepOptions) (*StepOutput, error) {
	m, err := New(dev, v, len(state["classifier.bias"]))
	if err != nil {
		return nil, err
	}
	defer m.Release()
	if err := m.Load(state); err != nil {
		return nil, err
	}
	build := BuildOptions{Mode: o.Mode, Batch: b.N, H: b.H, W: b.W, Padding: o.Padding, Elem: o.Elem, NoFuse: o.NoFuse}
	var scale *vk.Buffer
	if o.Mode == layers.Train {
		step, err := dev.NewBuffer("step", kernels.StepBytes, vk.UploadMemory)
		if err != nil {
			return nil, err
		}
		defer step.Release()
		new(kernels.StepScalars).Encode(step.Bytes()) // everything random is off
		if scale, err = dev.NewBuffer("loss scale", kernels.LossScaleBytes, vk.UploadMemory); err != nil {
			return nil, err
		}
		defer scale.Release()
		grads, err := dev.NewBuffer("gradients", m.Params.Bytes(), vk.DeviceMemory)
		if err != nil {
			return nil, err
		}
		defer grads.Release()
		build.Loss, build.Step, build.LossScale, build.Grads = true, step.Range(), scale.Range(), grads.Range()
	}
	n, err := m.Build(build)
	if err != nil {
		return nil, err
	}
	arena := layers.NewArena(dev)
	defer arena.Release()
	defer n.Release()
	if err := n.Realize(ctx, arena, nil); err != nil {
		return nil, err
	}
	if err := dev.Upload(n.Image.Range(), o.Elem.Append(nil, toNHWC(b))); err != nil {
		return nil, err
	}
	if n.Loss != nil {
		if err := dev.Upload(n.Loss.Labels.Range(), encodeLabels(b.Labels)); err != nil {
			return nil, err
		}
	}
	if err := n.Prepare(ctx); err != nil {
		return nil, err
	}
	for factor := kernels.NewLossScale(o.Elem).Factor; ; factor /= 2 {
		if scale != nil {
			copy(scale.Bytes(), kernels.LossScale{Factor: factor}.Encode())
		}
		if err := n.Step().Run(ctx); err != nil {
			return nil, err
		}
		out, err := m.stepOutput(n, b.N, build.Grads, state)
		if err != nil || out.unscale(factor) || factor <= kernels.SmallestLossScale {
			return out, err
		}
		if err := m.Load(state); err != nil { // the running statistics have moved
			return nil, err
		}
	}
}

// unscale divides the gradients by the loss scale and reports whether all are finite.
func (o *StepOutput) unscale(factor float32) bool {
	finite := true
	for _, g := range o.Grads {
		for i := range g {
			g[i] /= factor
			finite = finite && g[i]-g[i] == 0
		}
	}
	return finite
}

// stepOutput reads the results of a step back.
func (m *Model) stepOutput(n *Network, batch int, grads vk.Range, before map[string][]float32) (*StepOutput, error) {
	out := &StepOutput{}
	padded, err := m.download(n.Logits.Range())
	if err != nil {
		return nil, err
	}
	stride := layers.ClassStride(m.Classes)
	for i := range batch {
		out.Logits = append(out.Logits, padded[i*stride:i*stride+m.Classes]...)
	}
	if n.Loss == nil {
		return out, nil
	}
	items, err := m.download(n.Loss.PerItem.Range())
	if err != nil {
		return nil, err
	}
	var sum float64
	for i := range batch {
		sum += float64(items[4*i])
	}
	out.Loss = float32(sum / float64(batch))
	if out.Grads, err = m.Tensors(grads, vk.Range{}); err != nil {
		return nil, err
	}
	if out.Buffers, err = m.Tensors(vk.Range{}, m.Stats()); err != nil {
		return nil, err
	}
	for _, p := range m.layout {
		if p.Kind != BNCount {
			continue
		}
		seen := float32(1)
		if count := before[p.Timm]; len(count) == 1 {
			seen += count[0]
		}
		out.Buffers[p.Timm] = []float32{seen}
	}
	return out, nil
}

// download reads float32s.
func (m *Model) download(r vk.Range) ([]float32, error) {
	data := make([]byte, r.Size)
	if err := m.dev.Download(r, data); err != nil {
		return nil, fmt.Errorf("effnetv2: reading results: %w", err)
	}
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out, nil
}

// toNHWC reorders a batch's images from [N 3 H W] to [N H W 3].
func toNHWC(b *Batch) []float32 {
	out := make([]float32, len(b.Images))
	plane := b.H * b.W
	for n := range b.N {
		image := b.Images[n*3*plane : (n+1)*3*plane]
		for i := range plane {
			for c := range 3 {
				out[(n*plane+i)*3+c] = image[c*plane+i]
			}
		}
	}
	return out
}

// encodeLabels makes unmixed targets of full weight, as kernels.Targets reads them: {a, b, lambda, weight} an image.
func encodeLabels(labels []int64) []byte {
	var data []byte
	for _, l := range labels {
		for _, word := range []uint32{uint32(l), uint32(l), math.Float32bits(1), math.Float32bits(1)} {
			data = binary.LittleEndian.AppendUint32(data, word)
		}
	}
	return data
}
