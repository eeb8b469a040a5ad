package train_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/train"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// halfRun is smallRun with activations of 16 bits.
func halfRun(t *testing.T, data, precision string) *train.Config {
	c := smallRun(t, data)
	c.Precision = precision
	return c
}

// TestRunHalf: runs in half precision repeat bit for bit, stopped after every step or not. The loss scale of f16 begins so
// high here that the first steps overflow: they are counted and change nothing but the running statistics.
func TestRunHalf(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		ctx, data := context.Background(), smallData(t)
		stop := make(chan struct{})
		close(stop)
		for _, e := range []kernels.Elem{kernels.F16, kernels.BF16} {
			if e.Check(dev) != nil {
				continue
			}
			t.Run(e.String(), func(t *testing.T) {
				first, stops := 0.0, 1
				if e == kernels.F16 {
					first, stops = 1<<17, 5 // after each of so many steps
				}
				alone := halfRun(t, data, e.String())
				alone.LossScale = first
				_, err := train.Run(ctx, dev, alone, nil)
				require.NoError(t, err)
				want := finished(t, alone)

				c := halfRun(t, data, e.String())
				c.LossScale = first
				skipped := 0
				for step := range stops {
					_, err := train.Run(ctx, dev, c, &train.RunOptions{Resume: step > 0, Stop: stop})
					require.ErrorIs(t, err, train.ErrStopped)
					k, _, err := train.LatestCheckpoint(filepath.Join(c.Out, "checkpoints"))
					require.NoError(t, err)
					if skipped == step && k.State.SkippedSteps > uint32(skipped) {
						skipped++
						assertUntouched(t, k)
					}
					assert.Equal(t, max(first, 1)/float64(int(1)<<skipped), k.State.LossScale)
					assert.EqualValues(t, step+1-skipped, k.State.GoodSteps)
					assert.EqualValues(t, skipped, k.State.SkippedSteps)
					require.NoError(t, k.Close())
				}
				_, err = train.Run(ctx, dev, c, &train.RunOptions{Resume: true})
				require.NoError(t, err)
				assertSame(t, want, finished(t, c))
				if e == kernels.F16 {
					assert.Positive(t, skipped, "nothing overflowed")
				}
				assert.Less(t, skipped, stops, "nothing was learnt")
				steps, _, err := train.ReadMetrics(filepath.Join(c.Out, "metrics.jsonl"))
				require.NoError(t, err)
				require.Len(t, steps, 6)
				for i, r := range steps {
					assert.Equal(t, max(first, 1)/float64(int(1)<<min(i, skipped)), r.LossScale, "step %d", i)
					assert.Equal(t, min(i+1, skipped), r.SkippedSteps, "step %d", i)
					assert.Equal(t, i < skipped, math.IsNaN(float64(r.GradNorm)), "step %d", i)
				}

				c.Precision, c.LossScale = "f32", 0
				_, err = train.Run(ctx, dev, c, &train.RunOptions{Resume: true})
				assert.EqualError(t, err, `train: precision is "f32", want "`+e.String()+`" for --resume, as the run in `+c.Out+` began with`)
			})
		}
	})
}

// assertUntouched holds a checkpoint whose steps were all skipped against the state that training begins with.
func assertUntouched(t *testing.T, k *train.Checkpoint) {
	t.Helper()
	for name, want := range map[string]float32{"momentum": 0, "mean_square": 1} {
		for i, b := 0, readBlob(t, k, name); i < len(b); i += 4 {
			require.Equal(t, math.Float32bits(want), binary.LittleEndian.Uint32(b[i:]), "%s, word %d", name, i/4)
		}
	}
	assert.True(t, bytes.Equal(readBlob(t, k, "weights"), readBlob(t, k, "ema")), "the weights or their average moved")
	assert.False(t, bytes.Equal(readBlob(t, k, "stats"), readBlob(t, k, "stats_ema")), "the running statistics did not move, or their average did")
}

// TestRunHalfOverflow: where activations overflow themselves no loss scale helps, and the run says so when it has tried
// them all.
func TestRunHalfOverflow(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	if kernels.F16.Check(dev) != nil {
		return // TestRunHalfUnsupported has such devices
	}
	c := halfRun(t, smallData(t), "f16")
	c.Epochs, c.Std = 8, [3]float64{1e-6, 1e-6, 1e-6}
	var log bytes.Buffer
	_, err := train.Run(context.Background(), dev, c, &train.RunOptions{Log: slog.New(slog.NewTextHandler(&log, nil))})
	var notFinite *train.NotFiniteError
	require.ErrorAs(t, err, &notFinite)
	assert.EqualError(t, err, "train: step 16: loss or gradients are not finite in f16, with a loss scale of 1 and all larger ones")
	assert.Contains(t, notFinite.Hint(), "--precision bf16 or f32")
	assert.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")))
	assert.Contains(t, log.String(), `steps in a row were skipped, as their gradients overflowed" step=7 skipped=8 loss_scale=512`)
}

// TestRunHalfUnsupported: a device without 16-bit storage is told at once what it lacks.
func TestRunHalfUnsupported(t *testing.T) {
	o := shadertest.Options()
	o.Disable = append(o.Disable, "storageBuffer16BitAccess")
	dev, err := vk.Open(o)
	require.NoError(t, err)
	defer dev.Close()
	c := halfRun(t, smallData(t), "f16")
	_, err = train.Run(context.Background(), dev, c, nil)
	var unsupported *vk.UnsupportedError
	require.ErrorAs(t, err, &unsupported)
	assert.EqualError(t, err, "vk: storing activations as f16 needs storageBuffer16BitAccess, which the device lacks")
	_, err = os.Stat(c.Out)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
