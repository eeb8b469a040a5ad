package selftest

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/effnetv2/golden"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
)

// stepTests hold whole passes of networks against torchvision's results.
func stepTests() []test {
	var list []test
	for _, name := range []string{"nano", "nano-same", "b0"} {
		for _, pass := range []struct {
			variant, hint string
			mode          layers.Mode
			noFuse        bool
		}{
			{"infer", hintFused, layers.Infer, false},
			{"train", hintFused, layers.Train, false},
			{"train no-fuse", hintDriver, layers.Train, true},
		} {
			list = append(list, test{kernel: "whole step, " + name, variant: pass.variant, hint: pass.hint,
				run: func(b *bed) { b.wholeStep(name, pass.mode, pass.noFuse) }})
		}
	}
	return list
}

// wholeStep compares one pass. The error that is noted is the largest of all tensors relative to the tensor's largest value,
// squared, so that it stands on the scale of the others' NMSE.
func (b *bed) wholeStep(name string, mode layers.Mode, noFuse bool) {
	c, err := golden.Load(name)
	if err != nil {
		b.err = err
		return
	}
	padding := kernels.PadTorch
	if c.Padding == "same" {
		padding = kernels.PadSame
	}
	batch := &effnetv2.Batch{N: c.N, H: c.H, W: c.W, Images: c.Images(), Labels: c.Labels()}
	out, err := effnetv2.ExactStep(b.ctx, b.dev, c.Variant, c.Weights(), batch, effnetv2.StepOptions{Mode: mode, Padding: padding, NoFuse: noFuse})
	if err != nil {
		b.err = err
		return
	}
	var report golden.Report
	if mode == layers.Infer {
		report = c.Infer(out.Logits)
	} else {
		report = c.Train(out)
	}
	for _, check := range report {
		b.nmse = max(b.nmse, check.Err*check.Err)
		if !check.OK() {
			b.wrong = append(b.wrong, fmt.Sprintf("%s: error %.1e, want at most %.1e", check.What, check.Err, check.Limit))
		}
	}
}
