package bench_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
)

func TestFlame(t *testing.T) {
	result := func(section, kernel, name string, ms float64, count int, floor float64, bound bench.Bound) bench.Result {
		return bench.Result{Section: section, Kernel: kernel, Name: name, MedianMS: ms, Count: count, FloorMS: floor, Bound: bound, Batch: 8}
	}
	step := bench.Flame([]bench.Result{
		result("forward", "conv_fwd_simple", "conv fwd n8 4x4 8->8 1x1/1", 10, 2, 4, bench.Arithmetic),
		result("forward", "conv_fwd_simple", "conv fwd n4 9x9 8->8 1x1/1", 30, 1, 3, bench.Bandwidth),
		result("forward", "pool", "pool n8 4x8", 0.5, 1, 0.1, bench.Bandwidth),
		result("forward", "apply", "apply n8 4x8", 0.5, 1, 0.1, bench.Bandwidth),
		result("optimizer", "sgd", "sgd 100", 48, 1, 12, bench.Bandwidth),
		result("optimizer", "ema", "ema 100", 0.6, 1, 0, bench.Bandwidth),
		result("optimizer", "ema", "ema 200", 0.4, 1, 0, bench.Bandwidth),
	}, 0.02)
	assert.Equal(t, 8, step.Count)
	assert.InDelta(t, 100, step.MS, 1e-9)
	assert.InDelta(t, 0.232, step.Share(), 1e-9)
	assert.Equal(t, bench.Bandwidth, step.Bound)
	var names []string
	var check func(f *bench.Frame)
	check = func(f *bench.Frame) {
		names = append(names, f.Name)
		begin := f.Begin
		for _, p := range f.Parts {
			assert.InDelta(t, begin, p.Begin, 1e-9, p.Name)
			begin += p.MS
			check(p)
		}
		if f.Parts != nil {
			assert.InDelta(t, f.Begin+f.MS, begin, 1e-9, f.Name)
		}
	}
	check(step)
	assert.Equal(t, []string{"step", "forward", "conv_fwd_simple", "n4 9x9 8->8 1x1/1", "4x4 8->8 1x1/1", "2 other kernels",
		"optimizer", "sgd", "100", "ema"}, names, "what is below 2 % is put together, a kernel's only with others")
	conv := step.Parts[0].Parts[0]
	require.Equal(t, 3, conv.Count)
	assert.Equal(t, bench.Arithmetic, conv.Bound, "8 of its 11 ms at the ceilings are arithmetic")
	assert.InDelta(t, 11.0/50, conv.Share(), 1e-9)
}
