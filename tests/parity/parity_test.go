// Package parity_test holds whole networks against torchvision's results (package effnetv2/golden).
package parity_test

import (
	"context"
	"os"
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

func TestMain(m *testing.M) { os.Exit(shadertest.Main(m)) }

// TestStep runs the exact pass in both modes, with and without fusion.
func TestStep(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, name := range golden.Names() {
			t.Run(name, func(t *testing.T) {
				c, err := golden.Load(name)
				require.NoError(t, err)
				b := &effnetv2.Batch{N: c.N, H: c.H, W: c.W, Images: c.Images(), Labels: c.Labels()}
				padding := kernels.PadTorch
				if c.Padding == "same" {
					padding = kernels.PadSame
				}
				for _, mode := range []layers.Mode{layers.Infer, layers.Train} {
					for _, noFuse := range []bool{false, true} {
						label := mode.String()
						if noFuse {
							label += "/no-fuse"
						}
						t.Run(label, func(t *testing.T) {
							out, err := effnetv2.ExactStep(context.Background(), dev, c.Variant, c.Weights(), b,
								effnetv2.StepOptions{Mode: mode, Padding: padding, NoFuse: noFuse})
							require.NoError(t, err)
							report := c.Infer(out.Logits)
							if mode == layers.Train {
								report = c.Train(out)
							}
							t.Log("\n" + report.String())
							assert.True(t, report.OK(), report.String())
						})
					}
				}
			})
		}
	})
}
