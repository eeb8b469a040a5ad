package bench_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/cmd/internal/bench"
)

func TestPredict(t *testing.T) {
	o := bench.Options{Warmup: 2, Repeats: 10}
	starts := []time.Duration{9 * time.Second, time.Second, 2 * time.Second} // median 2 s
	assert.Zero(t, bench.Predict(o, time.Minute, 0, nil, 1e12), "nothing is known")
	assert.Equal(t, 2*time.Second+(1+1+10+3)*100*time.Millisecond, bench.Predict(o, time.Hour, 1e10, starts, 1e9))
	assert.Equal(t, 2*time.Second+(1+1+3+1)*100*time.Second, bench.Predict(o, time.Minute, 1e10, starts, 1e12), "long steps are timed three times")
	assert.Equal(t, 2*time.Second+(1+1+10+1)*100*time.Second, bench.Predict(o, 0, 1e10, starts, 1e12), "without a budget as often as asked")
}

func TestFastest(t *testing.T) {
	r := bench.Result{MedianMS: 20, MinMS: 10, ImagesPerS: 50, GFLOPS: 4, GBps: 2, CeilingShare: 0.25}
	assert.Equal(t, bench.Result{MedianMS: 10, MinMS: 10, ImagesPerS: 100, GFLOPS: 8, GBps: 4, CeilingShare: 0.5}, r.Fastest())
}
