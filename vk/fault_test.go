package vk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// useAll opens a device and uses everything once. It returns what was left, the number of results of Vulkan
// calls that it saw, and the first error.
func useAll(o *vk.Options) (left []string, results int64, err error) {
	d, err := vk.Open(o)
	if err != nil {
		return nil, 0, err
	}
	err = useDevice(d)
	err = errors.Join(err, d.Close())
	return vk.Left(d), vk.Results(d), err
}

func useDevice(d *vk.Device) error {
	x, err := d.NewBuffer("x", 4096, vk.DeviceMemory)
	if err != nil {
		return err
	}
	defer x.Release()
	y := d.DeclareBuffer("y", 5<<20) // more than one chunk of staging
	if err := y.Allocate(); err != nil {
		return err
	}
	defer y.Release()
	if err := d.Upload(y.Range(), make([]byte, y.Size())); err != nil {
		return err
	}
	rec := d.NewRecorder("walk")
	rec.Fill(x.Range(), 0)
	c := callSaxpy(1, x.Range(), y.Range().Slice(0, x.Size()))
	c.Push, c.Bind[0] = make([]byte, 8), vk.Range{} // no element: X is not read
	rec.Dispatch(c)
	rec.Copy(y.Range().Slice(0, x.Size()), x.Range())
	p, err := rec.Build(context.Background(), &vk.BuildOptions{Budget: time.Nanosecond})
	if err != nil {
		return err
	}
	defer p.Release()
	for range 3 { // the budget cuts the segment into single calls
		if err := p.Run(context.Background()); err != nil {
			return err
		}
	}
	s, err := p.Submit()
	if err != nil {
		return err
	}
	if err := s.Wait(context.Background()); err != nil {
		return err
	}
	return d.Download(y.Range(), make([]byte, y.Size()))
}

// Every Vulkan result of a small program fails once; each gives an error that names the call, and nothing is
// left behind. Only a block of memory that cannot be had is tried again, smaller.
func TestEveryResultFails(t *testing.T) {
	disable := []string{"unifiedMemory"}
	_, total, err := useAll(&vk.Options{CacheDir: t.TempDir(), Disable: disable})
	require.NoError(t, err)
	require.Greater(t, total, int64(50))
	codes := []vk.Result{vk.InitFailed, vk.OutOfDeviceMemory, vk.DeviceLost}
	calls := map[string]bool{}
	recovered := 0
	for n := int64(1); n <= total; n++ {
		code := codes[n%3]
		left, _, err := useAll(&vk.Options{CacheDir: t.TempDir(), Disable: disable, Fault: &vk.Fault{Nth: n, Code: code}})
		what := fmt.Sprintf("result %d of %d is %s", n, total, code)
		assert.Empty(t, left, what)
		if code == vk.OutOfDeviceMemory && err == nil {
			recovered++
			continue
		}
		var e *vk.Error
		if assert.ErrorAs(t, err, &e, what) {
			assert.Equal(t, code, e.Result, what)
			assert.True(t, strings.HasPrefix(e.Call, "vk"), what)
			calls[e.Call] = true
			assert.Equal(t, code == vk.OutOfDeviceMemory, errors.Is(err, vk.ErrOutOfMemory), what)
			assert.Equal(t, code == vk.DeviceLost, errors.Is(err, vk.ErrDeviceLost), what)
		}
	}
	assert.LessOrEqual(t, recovered, 4, "calls of one block of 4 MiB")
	for _, call := range []string{"vkCreateInstance", "vkEnumeratePhysicalDevices", "vkCreateDevice", "vkCreateComputePipelines",
		"vkAllocateDescriptorSets", "vkBeginCommandBuffer", "vkQueueSubmit", "vkWaitForFences", "vkGetPipelineCacheData"} {
		assert.True(t, calls[call], "%s never failed", call)
	}
}

// A lost device says which calls were under way.
func TestLostDeviceNamesItsCalls(t *testing.T) {
	run := func(f *vk.Fault) (int64, error) {
		d, err := vk.Open(&vk.Options{CacheDir: "off", Fault: f})
		require.NoError(t, err)
		defer d.Close()
		y := newBuffer(t, d, "y", 4096)
		rec := d.NewRecorder("lost")
		for i := range 3 {
			c := callSpin(1, y.Range())
			c.Label = fmt.Sprintf("spin %d", i)
			rec.Dispatch(c)
		}
		rec.Fill(y.Range(), 0)
		p, err := rec.Build(context.Background(), nil)
		require.NoError(t, err)
		require.NoError(t, p.Run(context.Background()))
		s, err := p.Submit()
		require.NoError(t, err)
		before := vk.Results(d)
		return before, s.Wait(context.Background())
	}
	before, err := run(nil)
	require.NoError(t, err)
	_, err = run(&vk.Fault{Nth: before + 1, Code: vk.DeviceLost})
	require.ErrorIs(t, err, vk.ErrDeviceLost)
	var e *vk.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "vkWaitForFences", e.Call)
	assert.Equal(t, []string{"spin 0", "spin 1", "spin 2", "fill y"}, e.InFlight)
	assert.ErrorContains(t, err, "in flight: spin 0, spin 1, spin 2, fill y")
}
