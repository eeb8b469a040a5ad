package train_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/train"
)

// numbered is a data set whose image i is i+1 pixels wide, 2 high, and all of the value i. Reading takes longest for the
// first images of a batch, so that they finish out of order.
type numbered struct {
	n, bad int
	reads  *atomic.Int64
}

func (d numbered) Len() int          { return d.n }
func (d numbered) Classes() []string { return make([]string, d.n) }
func (d numbered) Label(i int) int   { return i }
func (d numbered) Name(i int) string { return fmt.Sprint(i) }
func (d numbered) Image(i int) (train.Pixels, error) {
	d.reads.Add(1)
	if i == d.bad {
		return train.Pixels{}, &train.ImageError{File: fmt.Sprint(i), Err: errors.New("broken")}
	}
	time.Sleep(time.Duration(5-i%5) * 100 * time.Microsecond)
	px := train.Pixels{W: i + 1, H: 2, Pix: make([]byte, 8*(i+1))}
	for j := range px.Pix {
		px.Pix[j] = byte(i)
	}
	return px, nil
}

func buffers(n, size int) (b [][]byte) {
	for range n {
		b = append(b, make([]byte, size))
	}
	return b
}

func newLoader(t *testing.T, d train.Dataset, next func() (train.Request, bool), count, size int) *train.Loader {
	t.Helper()
	before := runtime.NumGoroutine()
	l, err := train.NewLoader(train.LoaderConfig{Data: d, Next: next, Buffers: buffers(count, size), Workers: 3})
	require.NoError(t, err)
	t.Cleanup(func() {
		l.Close()
		for range 1000 { // a goroutine that has said it is done still has to end
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(time.Millisecond)
		}
		t.Errorf("%d goroutines leak", runtime.NumGoroutine()-before)
	})
	return l
}

func TestEvalLoader(t *testing.T) {
	for _, count := range []int{1, 2, 5} {
		d := numbered{n: 10, bad: -1, reads: new(atomic.Int64)}
		l := newLoader(t, d, train.EvalRequests(10, 4, 16, train.CropSquash), count, 4*10*8)
		var seen []int
		for batch := 0; ; batch++ {
			b, err := l.Next(context.Background())
			if errors.Is(err, train.ErrEnd) {
				break
			}
			require.NoError(t, err)
			assert.Len(t, b.Images, 4)
			at := 0
			for i, p := range b.Images {
				image := b.Index[i]
				assert.Equal(t, kernels.ImageRow{Offset: uint32(at / 4), Width: uint32(image + 1), Height: 2,
					CropWidth: float32(image + 1), CropHeight: 2, Partner: uint32(i), Lambda: 1}, p)
				end := at + 8*(image+1)
				for _, v := range b.Pixels[at:end] {
					assert.Equal(t, byte(image), v)
				}
				at = end
				weight := float32(1)
				if i >= b.Valid {
					weight = 0
				} else {
					seen = append(seen, image)
				}
				assert.Equal(t, train.Label{A: uint32(image), B: uint32(image), Lambda: 1, Weight: weight}, b.Labels[i])
			}
			assert.Len(t, b.Pixels, at)
			images, labels := make([]byte, 4*kernels.ImageRowBytes), make([]byte, 4*train.LabelBytes)
			b.Encode(images, labels)
			assert.Equal(t, uint32(b.Images[3].Offset), binary.LittleEndian.Uint32(images[3*kernels.ImageRowBytes:]))
			assert.Equal(t, b.Labels[3], train.Label{A: binary.LittleEndian.Uint32(labels[48:]), B: binary.LittleEndian.Uint32(labels[52:]),
				Lambda: math.Float32frombits(binary.LittleEndian.Uint32(labels[56:])), Weight: math.Float32frombits(binary.LittleEndian.Uint32(labels[60:]))})
			b.Release()
		}
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, seen)
		_, err := l.Next(context.Background())
		assert.ErrorIs(t, err, train.ErrEnd)
	}
}

// TestTrainLoader checks that a run that begins in the middle gets the batches of the whole one, across stages.
func TestTrainLoader(t *testing.T) {
	d := numbered{n: 10, bad: -1, reads: new(atomic.Int64)}
	plan := &train.Plan{Steps: 9, StepsPerEpoch: 3,
		Stages: train.Linear(3, train.Stage{Size: 2, Mixup: 0.2}, train.Stage{Size: 6, Mixup: 1, Magnitude: 9})}
	augment := &train.Augment{Seed: 5, AreaMin: 0.3, AreaMax: 1, AspectMin: 0.5, AspectMax: 2, Flip: true, Ops: 2}
	run := func(from int) (all []*train.Batch) {
		s, err := train.NewSampler(10, 3, 5)
		require.NoError(t, err)
		l := newLoader(t, d, train.TrainRequests(plan, s, augment, from), 2, int(train.BatchBytes(d, 3, plan.MaxSize())))
		for {
			b, err := l.Next(context.Background())
			if errors.Is(err, train.ErrEnd) {
				return all
			}
			require.NoError(t, err)
			kept := *b
			kept.Pixels, kept.Images, kept.Labels = slices.Clone(b.Pixels), slices.Clone(b.Images), slices.Clone(b.Labels)
			b.Release()
			all = append(all, &kept)
		}
	}
	whole, late := run(0), run(4)
	require.Len(t, whole, 9)
	require.Len(t, late, 5)
	for i, b := range late {
		first := whole[4+i]
		assert.Equal(t, first.Pixels, b.Pixels)
		assert.Equal(t, first.Images, b.Images)
		assert.Equal(t, first.Labels, b.Labels)
		assert.Equal(t, first.StepSettings, b.StepSettings)
	}
	for step, b := range whole {
		assert.Equal(t, plan.At(step), b.StepSettings)
		for i, p := range b.Images {
			assert.Equal(t, uint32(2-i), p.Partner, "the reversed batch")
			assert.Equal(t, b.Labels[i].A, b.Labels[2-i].B)
			assert.Equal(t, p.Lambda, b.Labels[i].Lambda)
		}
	}
}

func TestLoaderErrors(t *testing.T) {
	d := numbered{n: 10, bad: 6, reads: new(atomic.Int64)}
	l := newLoader(t, d, train.EvalRequests(10, 4, 16, train.CropSquash), 2, 4*10*8)
	b, err := l.Next(context.Background())
	require.NoError(t, err)
	b.Release()
	for range 2 {
		_, err = l.Next(context.Background())
		assert.EqualError(t, err, "train: image 6: broken")
	}

	d.bad = -1
	l = newLoader(t, d, train.EvalRequests(10, 4, 16, train.CropSquash), 1, 10)
	_, err = l.Next(context.Background())
	assert.ErrorContains(t, err, "a batch of 4 images has 80 bytes, want at most the buffer's 10")

	_, err = train.NewLoader(train.LoaderConfig{Data: d})
	assert.ErrorContains(t, err, "no buffer")
}

// TestLoaderStops cancels a wait for a batch that cannot come, since its buffer is held, and closes a loader at work.
func TestLoaderStops(t *testing.T) {
	d := numbered{n: 1000, bad: -1, reads: new(atomic.Int64)}
	l := newLoader(t, d, train.EvalRequests(1000, 4, 2, train.CropSquash), 1, int(train.BatchBytes(d, 4, 2)))
	_, err := l.Next(context.Background())
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = l.Next(ctx)
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	l.Close()
	assert.Equal(t, int64(4), d.reads.Load(), "no more than the buffers hold is read")
}

// TestBatchBytes compares the bound with what images of known and unknown size need.
func TestBatchBytes(t *testing.T) {
	demo, _, err := train.OpenData("demo", nil)
	require.NoError(t, err)
	assert.Equal(t, int64(8*28*28*4), train.BatchBytes(demo, 8, 32), "small images as they are")
	assert.Equal(t, int64(8*19*19*4), train.BatchBytes(demo, 8, 10), "shrunk")
	assert.Equal(t, int64(2*599*599*4), train.BatchBytes(numbered{n: 1}, 2, 300))
}
