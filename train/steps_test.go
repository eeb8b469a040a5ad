package train_test

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// newLoop prepares a run of nano on the demo's images that writes nothing between its steps.
func newLoop(t testing.TB, dev *vk.Device) *train.Loop {
	c, err := train.LoadConfig("", map[string]string{"model": "nano", "data": "demo", "out": filepath.Join(t.TempDir(), "run"),
		"batch": "8", "epochs": "1000", "stages": "1", "train_size": "28", "eval_size": "28", "magnitude": "10", "mixup": "0.4",
		"eval_every": "0", "checkpoint_every": "0", "log_every": "1000000"})
	require.NoError(t, err)
	l, err := train.NewLoop(context.Background(), dev, c)
	require.NoError(t, err)
	t.Cleanup(l.Close)
	for range 12 { // vk measures its submissions, and every slot gets its memory
		require.NoError(t, l.Next(context.Background()))
	}
	return l
}

// threadTime is the CPU time that the calling thread has used. The threads of a CPU driver, which compute the step in this
// process, do not count.
func threadTime(t testing.TB) time.Duration {
	var ts unix.Timespec
	require.NoError(t, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}

// A training step (its scalars, its batch, its submissions, the figures of the step before) allocates nothing, in the
// goroutines of the loader neither, and costs the host less than a millisecond of CPU time.
func TestStepCostsTheHostNothing(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		l := newLoop(t, dev)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		const n = 40
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin, cpu := time.Now(), threadTime(t)
		for range n {
			if err := l.Next(ctx); err != nil {
				t.Fatal(err)
			}
		}
		cpu = (threadTime(t) - cpu) / n
		runtime.ReadMemStats(&after)
		t.Logf("%s: %v of CPU time in a step of %v, %d allocations in %d steps", dev.Info().Name, cpu, time.Since(begin)/n, after.Mallocs-before.Mallocs, n)
		assert.Less(t, after.Mallocs-before.Mallocs, uint64(n/4), "allocations in %d steps", n) // the runtime itself makes one now and then
		assert.Less(t, cpu, time.Millisecond)
	})
}

// The host is one step ahead of the device, and the loop goes on while the device computes the step submitted last.
func TestStepsOverlap(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		l := newLoop(t, dev)
		running := 0
		for range 20 {
			require.NoError(t, l.Next(context.Background()))
			assert.Equal(t, 1, l.Unread(), "the step submitted last, and no other")
			ended, err := l.LastEnded()
			require.NoError(t, err)
			if !ended {
				running++
			}
		}
		t.Logf("%s: after %d of 20 steps the device was at work", dev.Info().Name, running)
		assert.Greater(t, running, 10)
	})
}

// BenchmarkStep is TestStepCostsTheHostNothing with figures: the time of a step, and the CPU time of the host's part in it.
func BenchmarkStep(b *testing.B) {
	for _, dev := range shadertest.Devices(b) {
		info := dev.Info()
		fmt.Printf("vk-device: %s\nvk-driver: %s\n", info.Name, info.Driver)
		b.Run("model=nano/size=28/batch=8", func(b *testing.B) {
			l := newLoop(b, dev)
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			b.ReportAllocs()
			b.ResetTimer()
			cpu := threadTime(b)
			for range b.N {
				if err := l.Next(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(threadTime(b)-cpu)/float64(b.N), "host-ns/op")
		})
	}
}
