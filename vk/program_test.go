package vk_test

import (
	"context"
	"encoding/binary"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

func downloadWords(t *testing.T, r vk.Range) []uint32 {
	t.Helper()
	b := make([]byte, r.Size)
	require.NoError(t, r.Buf.Device().Download(r, b))
	out := make([]uint32, len(b)/4)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out
}

// Long chains of dependent calls give the exact result, in every replay.
func TestReplayKeepsOrder(t *testing.T) {
	for _, disable := range [][]string{nil, {"unifiedMemory"}} {
		d := open(t, &vk.Options{Disable: disable})
		const n, links = 1000, 60
		x, y := newBuffer(t, d, "x", 4*n), newBuffer(t, d, "y", 4*n)
		rec := d.NewRecorder("order")
		rec.Fill(y.Range(), 0)
		for range links {
			rec.Dispatch(callSaxpy(2, x.Range(), y.Range()))    // y += 2x
			rec.Dispatch(callSaxpy(-0.5, y.Range(), x.Range())) // x -= y/2
			rec.Copy(x.Range(), y.Range())
		}
		p, err := rec.Build(context.Background(), nil)
		require.NoError(t, err)
		for i := range 4 {
			a, b := float32(i+1), float32(0)
			require.NoError(t, d.Upload(x.Range(), repeat(a, n)))
			for range links {
				b += 2 * a
				a = b
			}
			require.NoError(t, p.Run(context.Background()))
			assert.Equal(t, repeat(b, n), floats(downloadFloats(t, y.Range())...))
		}
	}
}

// The specialization constants of a call hold for that call.
func TestSpecialization(t *testing.T) {
	d := open(t, nil)
	x, y := newBuffer(t, d, "x", 400), newBuffer(t, d, "y", 400)
	require.NoError(t, d.Upload(x.Range(), repeat(3, 100)))
	rec := d.NewRecorder("spec")
	rec.Fill(y.Range(), 0)
	for _, spec := range [][]uint32{nil, {32, 1}, {128, 0}, {32, 1}} { // +3 -3 +3 -3, then +3
		c := callSaxpy(1, x.Range(), y.Range())
		c.Spec = spec
		c.Groups[0] = 4
		rec.Dispatch(c)
	}
	rec.Dispatch(callSaxpy(1, x.Range(), y.Range()))
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, repeat(3, 100), floats(downloadFloats(t, y.Range())...))
}

func TestEmptyProgram(t *testing.T) {
	d := open(t, nil)
	p, err := d.NewRecorder("empty").Build(context.Background(), &vk.BuildOptions{Timestamps: true})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, p.Run(context.Background()))
	}
	times, err := p.Times()
	assert.NoError(t, err)
	assert.Empty(t, times)
}

// The first replays find out how many calls fit a submission; what they compute is right all the same.
func TestSubmissionsAreSplitByTime(t *testing.T) {
	d := open(t, nil)
	const calls = 12
	y := newBuffer(t, d, "y", 4096)
	rec := d.NewRecorder("long")
	rec.Fill(y.Range(), 0)
	for range calls {
		rec.Dispatch(callSpin(200_000, y.Range()))
	}
	whole, err := rec.Build(context.Background(), &vk.BuildOptions{Budget: time.Hour})
	require.NoError(t, err)
	require.NoError(t, whole.Run(context.Background()))
	start := time.Now()
	require.NoError(t, whole.Run(context.Background()))
	total := time.Since(start)
	assert.Equal(t, 1, vk.Segments(whole))
	assert.Equal(t, 1, vk.Groups(whole))

	budget := total / 3
	split, err := rec.Build(context.Background(), &vk.BuildOptions{Budget: budget})
	require.NoError(t, err)
	assert.Equal(t, 1, vk.Segments(split))
	for i := 0; vk.Groups(split) == 0; i++ {
		require.Less(t, i, 8, "replays until everything is measured")
		require.NoError(t, split.Run(context.Background()))
		assert.Equal(t, uint32(calls), downloadWords(t, y.Range())[0])
	}
	assert.Greater(t, vk.Groups(split), 1)
	assert.Greater(t, vk.Segments(split), 2)
	for range 2 {
		require.NoError(t, split.Run(context.Background()))
		assert.Equal(t, uint32(calls), downloadWords(t, y.Range())[1023])
	}
}

func TestTimes(t *testing.T) {
	d := open(t, nil)
	y := newBuffer(t, d, "y", 1<<16)
	rec := d.NewRecorder("timed")
	rec.Dispatch(callSpin(1, y.Range()))
	rec.Dispatch(callSpin(20_000, y.Range()))
	rec.Fill(y.Range(), 0)
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	_, err = p.Times()
	assert.ErrorContains(t, err, "without timestamps")
	p, err = rec.Build(context.Background(), &vk.BuildOptions{Timestamps: true})
	require.NoError(t, err)
	_, err = p.Times()
	assert.ErrorContains(t, err, "has not run")
	for range 3 {
		start := time.Now()
		require.NoError(t, p.Run(context.Background()))
		all := time.Since(start)
		times, err := p.Times()
		require.NoError(t, err)
		require.Len(t, times, 3)
		assert.Greater(t, times[1], times[0])
		assert.Less(t, times[0]+times[1]+times[2], all)
	}
}

// Two replays may be under way; Wait waits for its own.
func TestSubmitTwice(t *testing.T) {
	d := open(t, nil)
	y := newBuffer(t, d, "y", 4096)
	require.NoError(t, d.Upload(y.Range(), make([]byte, 4096)))
	rec := d.NewRecorder("twice")
	rec.Dispatch(callSpin(100_000, y.Range()))
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	var all []vk.Submission
	for range 5 {
		s, err := p.Submit()
		require.NoError(t, err)
		all = append(all, s)
	}
	for _, s := range all {
		require.NoError(t, s.Wait(context.Background()))
		done, err := s.Done()
		require.NoError(t, err)
		assert.True(t, done)
	}
	assert.Equal(t, uint32(5), downloadWords(t, y.Range())[7])

	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	s, err := p.Submit()
	require.NoError(t, err)
	if done, _ := s.Done(); !done {
		assert.ErrorIs(t, s.Wait(cancelled), context.Canceled)
	}
	p.Release()
	assert.Equal(t, uint32(6), downloadWords(t, y.Range())[7], "Release waits for what is under way")
	_, err = rec.Build(cancelled, nil)
	assert.NoError(t, err, "nothing is left to compile")
}

// A cancelled Build leaves its shaders to the next one.
func TestCancelledBuild(t *testing.T) {
	d := open(t, nil)
	rec := d.NewRecorder("cancelled")
	rec.Dispatch(callSpin(1, newBuffer(t, d, "y", 4096).Range()))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := rec.Build(ctx, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = rec.Build(context.Background(), nil)
	require.NoError(t, err)
}

// A replay allocates nothing, so that a training loop makes no work for the garbage collector.
func TestRunDoesNotAllocate(t *testing.T) {
	d := open(t, nil)
	y := newBuffer(t, d, "y", 4096)
	rec := d.NewRecorder("steady")
	for range 100 {
		rec.Dispatch(callSpin(1, y.Range()))
	}
	p, err := rec.Build(context.Background(), nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for range 3 {
		require.NoError(t, p.Run(ctx))
	}
	assert.Zero(t, testing.AllocsPerRun(20, func() { err = p.Run(ctx) }))
	assert.NoError(t, err)
	assert.Positive(t, p.SubmitTime())
}

// Programs are built and buffers moved while others run; `go test -race` watches.
func TestConcurrentUse(t *testing.T) {
	d := open(t, &vk.Options{Disable: []string{"unifiedMemory"}})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for i := range 5 {
				x, err := d.NewBuffer("x", 4096, vk.DeviceMemory)
				if !assert.NoError(t, err) {
					return
				}
				assert.NoError(t, d.Upload(x.Range(), make([]byte, 4096)))
				z, err := d.NewBuffer("z", 4096, vk.DeviceMemory)
				if !assert.NoError(t, err) {
					return
				}
				rec := d.NewRecorder("worker")
				for range 10 {
					rec.Dispatch(callSpin(uint32(worker), x.Range()))
					c := callSaxpy(0, z.Range(), z.Range())
					c.Spec = []uint32{32, uint32(i % 2)}
					c.Groups[0] *= 2
					rec.Dispatch(c)
				}
				p, err := rec.Build(context.Background(), nil)
				if !assert.NoError(t, err) {
					return
				}
				for range 3 {
					assert.NoError(t, p.Run(context.Background()))
				}
				got := make([]byte, 4)
				assert.NoError(t, d.Download(x.Range().Slice(4092, 4), got))
				assert.Equal(t, uint32(30), binary.LittleEndian.Uint32(got))
				p.Release()
				x.Release()
				z.Release()
			}
		}()
	}
	wg.Wait()
}
