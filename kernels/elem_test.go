package kernels_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestElem stores numbers in the middle and at the ends of each type's range. Vulkan leaves the rounding to the driver, so an
// error of a unit in the last place passes; but what is too large for F16 must become infinite and not the largest number,
// or the loss scale would not notice it.
func TestElem(t *testing.T) {
	inf := float32(math.Inf(1))
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		eachElem(t, dev, func(t *testing.T, e kernels.Elem) {
			exact := []float32{0, 1, -1.5, 0.015625, 256, -65024, 1 << 15, 2048}
			near := []float32{1.0009, -0.3333, 3.14159, 1000.7, -40000.3, 0.00123, 60001, 7.7e-4}
			overflow := []float32{66000, -66000, 1e5, -1e5, 1e9, -1e30, inf, -inf}
			stored := store(t, dev, e, append(append(exact, near...), overflow...))
			assert.Equal(t, exact, stored[:8])
			unit := map[kernels.Elem]float64{kernels.F32: 0x1p-23, kernels.F16: 0x1p-10, kernels.BF16: 0x1p-7}[e]
			for i, x := range near {
				assert.InEpsilon(t, x, stored[8+i], unit)
			}
			for i, x := range overflow {
				if e == kernels.F16 || x-x != 0 {
					assert.Equal(t, inf*x, stored[16+i], "%g", x)
				} else {
					assert.InEpsilon(t, x, stored[16+i], unit)
				}
			}
			assert.True(t, math.IsNaN(float64(store(t, dev, e, []float32{float32(math.NaN())})[0])))
			again := append(stored[:8:8], e.Decode(e.Append(nil, stored[8:]))...)
			assert.Equal(t, stored, again, "Append and Decode change what the device stores")
		})
	})
}

// store returns x as the device stores it: 1 times x, each an image's factor.
func store(t *testing.T, dev *vk.Device, e kernels.Elem, x []float32) []float32 {
	const c = 8
	op, err := kernels.NewApply(dev, kernels.ApplyConfig{N: len(x), HW: 1, C: c, Keep: true, Elem: e})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = e
	ones := make([]float32, len(x)*c)
	for i := range ones {
		ones[i] = 1
	}
	in, keep, out := f.InputBytes(e.Append(nil, ones)), f.Input(x), f.activationOutput(len(x)*c)
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ApplyArgs{X: kernels.Tensor{Raw: in.Range()}, Keep: keep.Range(), Out: out.Range()})
	})
	all, got := f.activations(out, len(x)*c), make([]float32, len(x))
	for i := range got {
		got[i] = all[i*c]
	}
	return got
}
