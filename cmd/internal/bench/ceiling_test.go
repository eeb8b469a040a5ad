package bench_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// TestFloor has 100 GFLOP/s, so 100 operations a nanosecond, and 10 bytes a nanosecond.
func TestFloor(t *testing.T) {
	c := bench.Ceiling{GFLOPS: 100, GBps: 10}
	for _, row := range []struct {
		call  vk.CallInfo
		ns    float64
		bound bench.Bound
	}{
		{vk.CallInfo{FLOPs: 5000, Read: 300, Written: 100}, 50, bench.Arithmetic},
		{vk.CallInfo{FLOPs: 5000, Read: 300, Written: 500}, 80, bench.Bandwidth},
		{vk.CallInfo{Read: 30}, 3, bench.Bandwidth},
	} {
		ns, bound := bench.Floor(c, row.call)
		assert.InDelta(t, row.ns, ns, 1e-9)
		assert.Equal(t, row.bound, bound)
	}
}
