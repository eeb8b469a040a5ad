package kernels_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// step is a step buffer.
func (f *fixture) step(s kernels.StepScalars) vk.Range {
	b := make([]byte, kernels.StepBytes)
	s.Encode(b)
	return f.InputBytes(b).Range()
}

// seeded returns scalars whose seed is p's.
func seeded(p kernels.Philox, step uint32) kernels.StepScalars {
	return kernels.StepScalars{Step: step, SeedLo: uint32(p.Seed), SeedHi: uint32(p.Seed >> 32)}
}

func TestDropout(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range []struct {
			n, c        int
			stream      uint32
			rate, scale float32
		}{
			{1, 8, 1, 0, 1}, {1, 8, 1, 0.5, 1}, {3, 1280, 1, 0.2, 1}, {7, 136, 9, 0.4, 0.5}, {67, 8, 1 << 30, 0.9, 3},
		} {
			t.Run(fmt.Sprintf("n%d %d rate=%g", s.n, s.c, s.rate), func(t *testing.T) {
				op, err := kernels.NewDropout(dev, kernels.DropoutConfig{N: s.n, C: s.c, Stream: s.stream, Scale: s.scale})
				require.NoError(t, err)
				f := newFixture(t, dev)
				p := kernels.Philox{Seed: 0x0123456789abcdef}
				scalars := seeded(p, 77)
				scalars.Dropout = s.rate
				x, wantX := f.random(true, s.n*s.c, 0.5, 1) // no zeros, so that zeros are the mask's
				y := f.Output(s.n * s.c)
				step := f.step(scalars)
				f.Run(func(rec *vk.Recorder) { op.Record(rec, kernels.DropoutArgs{X: x, Y: y.Range(), Step: step}) })
				want := ref.Dropout(p, 77, s.stream, float64(s.rate), float64(s.scale), wantX)
				got := y.Float32s()
				for i := range got {
					require.Equal(t, want[i] == 0, got[i] == 0, "mask of element %d", i)
				}
				shadertest.Compare(t, "y", got, want, shadertest.Tol{NMSE: 1e-13})
			})
		}
	})
}

func TestKeepMask(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range []struct {
			blocks, n int
			rate      float32
		}{{1, 1, 0.2}, {40, 3, 0.2}, {7, 67, 0.9}, {100, 8, 0}} {
			t.Run(fmt.Sprintf("%d blocks n%d rate=%g", s.blocks, s.n, s.rate), func(t *testing.T) {
				op, err := kernels.NewKeepMask(dev, kernels.KeepMaskConfig{Blocks: s.blocks, N: s.n})
				require.NoError(t, err)
				f := newFixture(t, dev)
				p := kernels.Philox{Seed: 42}
				scalars := seeded(p, 5)
				scalars.DropPath = s.rate
				step, keep := f.step(scalars), f.Output(s.blocks*s.n)
				f.Run(func(rec *vk.Recorder) { op.Record(rec, kernels.KeepMaskArgs{Step: step, Keep: keep.Range()}) })
				want := ref.KeepMask(p, 5, float64(s.rate), s.blocks, s.n)
				got := keep.Float32s()
				for i := range got {
					require.Equal(t, want[i] == 0, got[i] == 0, "factor %d", i)
				}
				shadertest.Compare(t, "keep", got, want, shadertest.Tol{NMSE: 1e-13})
				assert.NotContains(t, got[:s.n], float32(0), "block 0 is never dropped")
			})
		}
	})
}

// TestMasks holds the share of what is kept, of single rows and of neighbours together, against the binomial
// distribution: five standard deviations.
func TestMasks(t *testing.T) {
	p := kernels.Philox{Seed: 3}
	const rate, n = 0.2, 1 << 16
	ones := make([]float64, n)
	for i := range ones {
		ones[i] = 1 - rate
	}
	within := func(count int, probability float64, of int, what string) {
		t.Helper()
		sigma := math.Sqrt(probability * (1 - probability) * float64(of))
		assert.InDelta(t, probability*float64(of), float64(count), 5*sigma, what)
	}
	both := func(a, b []float64, shift int) (count int) {
		for i := range len(a) - shift {
			if a[i+shift] != 0 && b[i] != 0 {
				count++
			}
		}
		return count
	}
	mask := ref.Dropout(p, 1, 1, rate, 1, ones)
	within(both(mask, mask, 0), 1-rate, n, "kept")
	for _, shift := range []int{1, 2, 3, 4, 1280} {
		within(both(mask, mask, shift), (1-rate)*(1-rate), n-shift, fmt.Sprintf("elements %d apart", shift))
	}
	within(both(mask, ref.Dropout(p, 2, 1, rate, 1, ones), 0), (1-rate)*(1-rate), n, "two steps")
	within(both(mask, ref.Dropout(p, 1, 2, rate, 1, ones), 0), (1-rate)*(1-rate), n, "two streams")
	within(both(mask, ref.Dropout(kernels.Philox{Seed: 4}, 1, 1, rate, 1, ones), 0), (1-rate)*(1-rate), n, "two seeds")

	const blocks, images = 8, 1 << 12
	keep := ref.KeepMask(p, 1, 0.8, blocks, images)
	for b := range blocks {
		row := keep[b*images:][:images]
		q := 1 - 0.8*float64(b)/blocks
		within(both(row, row, 0), q, images, fmt.Sprintf("block %d", b))
	}
}

func TestDropoutErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	_, err := kernels.NewDropout(dev, kernels.DropoutConfig{N: 1, C: 12})
	assert.EqualError(t, err, "kernels: dropout: got [1 12], want at least 1 image, C a multiple of 8")
	_, err = kernels.NewKeepMask(dev, kernels.KeepMaskConfig{Blocks: 0, N: 1})
	assert.EqualError(t, err, "kernels: keep mask: got 0 blocks, 1 images, want at least 1 of each")
}
