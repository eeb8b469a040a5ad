package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func TestPack(t *testing.T) {
	const eps = 1e-3
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, c := range []kernels.PackConfig{
			{K: 1, RSC: 1},
			{K: 24, RSC: 27},
			{K: 24, RSC: 27, Fold: true, Eps: eps},
			{K: 13, RSC: 72, Fold: true, Eps: eps},
			{K: 24, RSC: 27, Elem: kernels.F16},
			{K: 24, RSC: 27, Fold: true, Eps: eps, Elem: kernels.BF16},
			{K: 16, RSC: 25, Depthwise: true},
			{K: 16, RSC: 9, Depthwise: true, Fold: true, Eps: eps},
		} {
			if c.Elem.Check(dev) != nil {
				continue
			}
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
				op, err := kernels.NewPack(dev, c)
				require.NoError(t, err)
				f := newFixture(t, dev)
				w, want := f.random(true, c.K*c.RSC, -1, 1)
				gamma, wantGamma := f.random(c.Fold, c.K, -1, 1)
				beta, wantBeta := f.random(c.Fold, c.K, -1, 1)
				mean, wantMean := f.random(c.Fold, c.K, -1, 1)
				variance, wantVar := f.random(c.Fold, c.K, 0, 2)
				f.elem = c.Elem
				wt, bias := f.activationOutput(c.K*c.RSC), f.OutputBytes(int64(4*len(wantBeta)))
				args := kernels.PackArgs{W: w, WT: wt.Range(), Gamma: gamma, Beta: beta, Mean: mean, Var: variance, Bias: bias.Range()}
				f.Run(func(rec *vk.Recorder) { op.Record(rec, args) })

				if !c.Depthwise {
					want = ref.Transpose(want, c.K, c.RSC)
				}
				if !c.Fold {
					shadertest.Compare(t, "wt", f.activations(wt, len(want)), want, f.tolerance(shadertest.Tol{}))
					return
				}
				want, wantBias := ref.Fold(want, wantGamma, wantBeta, wantMean, wantVar, eps)
				shadertest.Compare(t, "wt", f.activations(wt, len(want)), want, f.tolerance(shadertest.Tol{NMSE: 1e-13}))
				shadertest.Compare(t, "bias", bias.Float32s(), wantBias, shadertest.Tol{NMSE: 1e-13})
			})
		}
		_, err := kernels.NewPack(dev, kernels.PackConfig{K: 8})
		assert.ErrorAs(t, err, new(*kernels.ShapeError))
	})
}
