package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestImagesAreCut runs kernels over channels on bindings of 64 KiB, which hold 16 of the 19 images: 20 would fit, but
// only every eighth begins at an aligned offset.
func TestImagesAreCut(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		dev = narrow(t, dev)
		const n, hw, c = 19, 99, 8
		conv := kernels.NewConv(n, 11, 9, c, c, 3, 2, kernels.PadSame)
		silu := kernels.Pending{BN: true, Act: kernels.SiLU}
		gated := kernels.GradIn{BN: true, Keep: true, Gate: true, Act: kernels.SiLU}
		sink := kernels.Sink{Add: true, Keep: true, Act: kernels.SiLU, SumsOnly: true}
		t.Run("depthwise fwd", func(t *testing.T) {
			testDepthwiseFwd(t, dev, kernels.DepthwiseFwdConfig{Conv: conv, In: kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}, Stats: true})
		})
		t.Run("depthwise dgrad", func(t *testing.T) {
			testDepthwiseDgrad(t, dev, kernels.DepthwiseDgradConfig{Conv: conv, DY: gated, Sink: sink})
		})
		t.Run("depthwise wgrad", func(t *testing.T) {
			testDepthwiseWgrad(t, dev, kernels.DepthwiseWgradConfig{Conv: conv, DY: gated, In: silu})
		})
		t.Run("apply", func(t *testing.T) {
			testApply(t, dev, "", kernels.F32, kernels.ApplyConfig{In: silu, Keep: true, Skip: true}, n, hw, c)
		})
		t.Run("apply grad", func(t *testing.T) { testApplyGrad(t, dev, "", kernels.F32, gated, n, hw, c) })
		t.Run("apply sink", func(t *testing.T) { testApplySink(t, dev, "", kernels.F32, sink, n, hw, c) })
		t.Run("apply sink with SE", func(t *testing.T) {
			testApplySink(t, dev, "", kernels.F32, kernels.Sink{SE: true, Act: kernels.SiLU}, n, hw, c)
		})
		t.Run("pool", func(t *testing.T) {
			testPool(t, dev, "", kernels.F32, kernels.PoolConfig{In: silu, Grad: true}, n, hw, c)
		})
		t.Run("se", func(t *testing.T) { testSE(t, dev, "", n, c, 3, hw, 50) })
		t.Run("too large", func(t *testing.T) {
			var unsupported *vk.UnsupportedError
			_, err := kernels.NewApply(dev, kernels.ApplyConfig{N: 2, HW: 2049, C: 8})
			assert.ErrorAs(t, err, &unsupported)
		})
	})
}
