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
			{K: 16, RSC: 25, Depthwise: true},
			{K: 16, RSC: 9, Depthwise: true, Fold: true, Eps: eps},
		} {
			t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
				w := shadertest.Rand(1, c.K*c.RSC)
				gamma, beta, mean := shadertest.Rand(2, c.K), shadertest.Rand(3, c.K), shadertest.Rand(4, c.K)
				variance := shadertest.RandIn(5, c.K, 0, 2)
				op, err := kernels.NewPack(dev, c)
				require.NoError(t, err)
				tc := shadertest.New(t, dev)
				wt := tc.Output(len(w))
				args := kernels.PackArgs{
					W: tc.Input(w).Range(), WT: wt.Range(), Gamma: tc.Input(gamma).Range(), Beta: tc.Input(beta).Range(),
					Mean: tc.Input(mean).Range(), Var: tc.Input(variance).Range(),
				}
				want := f64(w)
				if !c.Depthwise {
					want = ref.Transpose(want, c.K, c.RSC)
				}
				if !c.Fold {
					tc.Run(func(rec *vk.Recorder) { op.Record(rec, args) })
					shadertest.Compare(t, "wt", wt.Float32s(), want, shadertest.Tol{})
					return
				}
				bias := tc.Output(c.K)
				args.Bias = bias.Range()
				tc.Run(func(rec *vk.Recorder) { op.Record(rec, args) })
				want, wantBias := ref.Fold(want, f64(gamma), f64(beta), f64(mean), f64(variance), eps)
				shadertest.Compare(t, "wt", wt.Float32s(), want, shadertest.Tol{NMSE: 1e-13})
				shadertest.Compare(t, "bias", bias.Float32s(), wantBias, shadertest.Tol{NMSE: 1e-13})
			})
		}
		_, err := kernels.NewPack(dev, kernels.PackConfig{K: 8})
		assert.ErrorAs(t, err, new(*kernels.ShapeError))
	})
}
