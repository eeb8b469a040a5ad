package effnetv2

import (
	"fmt"
	"slices"
)

// Batch is the input of one exact step, as `vkeffnet step` reads it.
type Batch struct {
	Images  []float32 // [N 3 H W], normalised
	Labels  []int64   // [N]
	N, H, W int
}

// ReadBatch reads a safetensors file with `images` F32 [N 3 H W] and `labels` I64 [N], each label in 0 to classes-1. The labels
// may be absent when needLabels is false.
func ReadBatch(path string, classes int, needLabels bool) (*Batch, error) {
	sd, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	images, ok := sd.Tensors["images"]
	if !ok {
		return nil, fmt.Errorf("effnetv2: batch %s has %v, want images and labels", path, sd.Names)
	}
	if images.DType != "F32" || len(images.Shape) != 4 || images.Shape[1] != 3 {
		return nil, fmt.Errorf("effnetv2: batch %s: images are %s %v, want F32 [N 3 H W]", path, images.DType, images.Shape)
	}
	b := &Batch{Images: images.F32, N: images.Shape[0], H: images.Shape[2], W: images.Shape[3]}
	if b.N < 1 || b.H < 32 || b.W < 32 {
		return nil, fmt.Errorf("effnetv2: batch %s: images are %v, want at least one of at least 32x32", path, images.Shape)
	}
	labels, ok := sd.Tensors["labels"]
	if !ok && !needLabels {
		return b, nil
	}
	if !ok {
		return nil, fmt.Errorf("effnetv2: batch %s has %v, want labels too", path, sd.Names)
	}
	if labels.DType != "I64" || !slices.Equal(labels.Shape, []int{b.N}) {
		return nil, fmt.Errorf("effnetv2: batch %s: labels are %s %v, want I64 [%d]", path, labels.DType, labels.Shape, b.N)
	}
	for i, l := range labels.I64 {
		if l < 0 || l >= int64(classes) {
			return nil, fmt.Errorf("effnetv2: batch %s: label %d is %d, want 0 to %d", path, i, l, classes-1)
		}
	}
	b.Labels = labels.I64
	return b, nil
}

// StepOutput is the result of one exact step, as `vkeffnet step` writes it. Loss, Grads and Buffers are of a training step
// only; they are by timm's names in PyTorch's shapes.
type StepOutput struct {
	Logits  []float32 // [N classes]
	Loss    float32
	Grads   map[string][]float32 // of every trainable parameter
	Buffers map[string][]float32 // running_mean, running_var and num_batches_tracked after the step
}

// WriteStep writes the output of a step of n images under torchvision's names: logits [n classes] and, if train, loss [1],
// grad.NAME and buffer.NAME. The file is written atomically.
func (v Variant) WriteStep(path string, n, classes int, out *StepOutput, train bool) error {
	if len(out.Logits) != n*classes {
		return fmt.Errorf("effnetv2: step output has %d logits, want %d x %d", len(out.Logits), n, classes)
	}
	sd := &StateDict{}
	sd.Add("logits", Tensor{DType: "F32", Shape: []int{n, classes}, F32: out.Logits})
	if !train {
		return sd.WriteFile(path)
	}
	sd.Add("loss", Tensor{DType: "F32", Shape: []int{1}, F32: []float32{out.Loss}})
	for _, p := range v.Params(classes) {
		values, prefix := out.Buffers[p.Timm], "buffer."
		if p.Trainable {
			values, prefix = out.Grads[p.Timm], "grad."
		}
		if len(values) != p.Len() {
			return fmt.Errorf("effnetv2: step output: %s%s has %d elements, want %v", prefix, p.Torchvision, len(values), p.Shape)
		}
		t := Tensor{DType: "F32", Shape: p.Shape, F32: values}
		if p.Kind == BNCount {
			t = Tensor{DType: "I64", Shape: p.Shape, I64: []int64{int64(values[0])}}
		}
		sd.Add(prefix+p.Torchvision, t)
	}
	return sd.WriteFile(path)
}
