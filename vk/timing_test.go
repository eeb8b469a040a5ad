package vk_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Spans lie, call after call, between the submission and the end of waiting, by the host's clock too.
func TestSpans(t *testing.T) {
	d := open(t, nil)
	y := newBuffer(t, d, "y", 1<<16)
	rec := d.NewRecorder("timed")
	rec.Dispatch(callSpin(20_000, y.Range()))
	rec.Fill(y.Range(), 0)
	p, err := rec.Build(context.Background(), &vk.BuildOptions{Timestamps: true})
	require.NoError(t, err)
	_, err = p.Spans(nil)
	assert.ErrorContains(t, err, "has not run")
	start := time.Now()
	require.NoError(t, p.Run(context.Background()))
	end := time.Now()
	spans, err := p.Spans(nil)
	require.NoError(t, err)
	require.Len(t, spans, 2)
	assert.Zero(t, spans[0].Begin)
	assert.Greater(t, spans[0].End, time.Duration(0))
	assert.GreaterOrEqual(t, spans[1].Begin, spans[0].End)
	assert.GreaterOrEqual(t, spans[1].End, spans[1].Begin)
	assert.Less(t, spans[1].End, end.Sub(start))
	times, err := p.Times()
	require.NoError(t, err)
	assert.Equal(t, []time.Duration{spans[0].End, spans[1].End - spans[1].Begin}, times)

	clock, err := d.Clock()
	if !d.Has("VK_EXT_calibrated_timestamps") {
		assert.ErrorAs(t, err, new(*vk.UnsupportedError))
		return
	}
	require.NoError(t, err)
	assert.Less(t, clock.Within, time.Second)
	spans, err = p.Spans(clock)
	require.NoError(t, err)
	assert.Equal(t, times[0], spans[0].End-spans[0].Begin)
	assert.False(t, clock.Host.Add(spans[0].Begin+clock.Within).Before(start), "begins before it is submitted")
	assert.False(t, clock.Host.Add(spans[1].End-clock.Within).After(end), "ends after it was waited for")
}

func TestClockUnsupported(t *testing.T) {
	d := open(t, &vk.Options{Disable: []string{"VK_EXT_calibrated_timestamps"}})
	_, err := d.Clock()
	assert.ErrorAs(t, err, new(*vk.UnsupportedError))
}
