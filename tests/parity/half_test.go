package parity_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
	"github.com/seed-8d806880/vkeffnet/effnetv2/golden"
	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/layers"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestHalf runs the exact pass with activations of 16 bits. Every error may be what PyTorch's float32 makes, scaled from
// float32's unit roundoff of 2^-24 to that of the type, as if every number were of that type; only what is stored is, sums are
// float32, so that B0's errors are a third of it and less.
// The loss is held to the limit of the logits, as PyTorch's error of one number may be any.
//
// In bf16 rounding leaves a fifth of a gradient uncertain (PyTorch's autocast: twice as much, tests/golden/autocast.py), so
// its limits say little; the shaders are those of f16, whose limits find what is wrong.
func TestHalf(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, name := range []string{"nano", "b0"} {
			c, err := golden.Load(name)
			require.NoError(t, err)
			b := &effnetv2.Batch{N: c.N, H: c.H, W: c.W, Images: c.Images(), Labels: c.Labels()}
			for e, roundoff := range map[kernels.Elem]float64{kernels.F16: 0x1p-11, kernels.BF16: 0x1p-8} {
				if e.Check(dev) != nil {
					continue
				}
				t.Run(name+"/"+e.String(), func(t *testing.T) {
					var report golden.Report
					for _, mode := range []layers.Mode{layers.Infer, layers.Train} {
						out, err := effnetv2.ExactStep(context.Background(), dev, c.Variant, c.Weights(), b, effnetv2.StepOptions{Mode: mode, Elem: e})
						require.NoError(t, err)
						if mode == layers.Infer {
							report = append(report, c.Infer(out.Logits)...)
						} else {
							report = append(report, c.Train(out)...)
						}
					}
					limits := map[string]float64{}
					for i := range report {
						check := &report[i]
						what, _, _ := strings.Cut(check.What, ":")
						check.Limit = check.Torch * roundoff / 0x1p-24
						if what == "train.loss" {
							check.Limit = limits["train.logits"]
						}
						limits[what] = check.Limit
					}
					t.Log("\n" + report.String())
					assert.True(t, report.OK(), report.String())
				})
			}
		}
	})
}
