package kernels_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// tunables is one small configuration of every operation that is tuned.
func tunables(elem kernels.Elem) []kernels.Tunable {
	conv := kernels.NewConv(2, 7, 9, 16, 32, 3, 2, torch)
	stem := kernels.NewConv(2, 12, 12, 3, 24, 3, 2, torch)
	depthwise := kernels.NewConv(2, 9, 7, 16, 16, 3, 2, torch)
	point := kernels.NewConv(2, 9, 7, 24, 16, 1, 1, torch)
	conv.Elem, stem.Elem, depthwise.Elem, point.Elem = elem, elem, elem, elem
	gated := kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}
	dy := kernels.GradIn{BN: true, Keep: true, Act: kernels.SiLU}
	return []kernels.Tunable{
		kernels.ConvFwdConfig{Conv: conv, In: gated, Stats: true},
		kernels.ConvFwdConfig{Conv: stem, Bias: true, ActOut: kernels.SiLU},
		kernels.ConvDgradConfig{Conv: conv, DY: dy, Sink: kernels.Sink{SE: true, Act: kernels.SiLU}},
		kernels.ConvDgradConfig{Conv: conv, DY: dy, Sink: kernels.Sink{Add: true, Sums: true, Keep: true}},
		kernels.ConvWgradConfig{Conv: conv, DY: dy, In: gated},
		kernels.DepthwiseFwdConfig{Conv: depthwise, In: gated, Stats: true},
		kernels.DepthwiseDgradConfig{Conv: depthwise, DY: dy, Sink: kernels.Sink{Act: kernels.SiLU}},
		kernels.DepthwiseWgradConfig{Conv: depthwise, DY: dy, In: gated},
		kernels.ConvBwdConfig{Conv: point, DY: dy, Sink: kernels.Sink{SE: true, Act: kernels.SiLU}},
		kernels.DepthwiseBwdConfig{Conv: depthwise, DY: dy, Sink: kernels.Sink{Act: kernels.SiLU}},
	}
}

// choosable are the tunables that there is a choice for on the device.
func choosable(dev *vk.Device, elem kernels.Elem) []kernels.Tunable {
	return slices.DeleteFunc(tunables(elem), func(c kernels.Tunable) bool { return len(kernels.Candidates(dev, c)) < 2 })
}

// openTuner returns a tuner with its cache in dir, and what it logs.
func openTuner(dev *vk.Device, dir string) (*kernels.Tuner, *bytes.Buffer) {
	return openTunerTelling(dev, dir, nil)
}

func openTunerTelling(dev *vk.Device, dir string, progress func(done, total int, label string)) (*kernels.Tuner, *bytes.Buffer) {
	var log bytes.Buffer
	return kernels.OpenTuner(dev, &kernels.TunerOptions{CacheDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil)), Progress: progress}), &log
}

// Every candidate of every operation can be constructed and agrees with the reference, one of them wins, and a second
// tuner knows it from the file.
func TestTuner(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		eachElem(t, dev, func(t *testing.T, elem kernels.Elem) { testTuner(t, dev, elem) })
	})
}

func testTuner(t *testing.T, dev *vk.Device, elem kernels.Elem) {
	all, least := choosable(dev, elem), 9
	if !dev.Has("subgroup") { // without which a CPU driver has one way to do a dense convolution
		least = 5
	}
	require.GreaterOrEqual(t, len(all), least)
	dir := filepath.Join(t.TempDir(), "made", "when", "needed")
	var told []int
	tuner, log := openTunerTelling(dev, dir, func(done, total int, label string) {
		assert.Equal(t, len(all), total)
		told = append(told, done)
	})
	for _, c := range all {
		names := kernels.Candidates(dev, c)
		assert.LessOrEqual(t, len(names), 8, "%+v", c)
		for _, name := range names {
			if name == kernels.Apart { // is not one operation
				assert.ErrorAs(t, kernels.Construct(dev, kernels.With(c, name)), new(*kernels.ShapeError))
				continue
			}
			assert.NoError(t, kernels.Construct(dev, kernels.With(c, name)), "%+v", c)
		}
		assert.Empty(t, tuner.Choose(c), "nothing is known yet")
	}
	require.NoError(t, tuner.Run(context.Background()))
	require.Len(t, told, len(all)+1)
	for i, done := range told {
		assert.Equal(t, i, done)
	}
	assert.Empty(t, tuner.Rejected())
	assert.Empty(t, log.String())

	again, _ := openTunerTelling(dev, dir, func(int, int, string) { t.Error("there is nothing to time") })
	for _, c := range all {
		choice := tuner.Choose(c)
		assert.Contains(t, kernels.Candidates(dev, c), choice)
		assert.Equal(t, choice, again.Choose(c))
		assert.Equal(t, "forced", tuner.Choose(kernels.With(c, "forced")), "a forced variant stays")
	}
	assert.Equal(t, tuner.Choices(), again.Choices())
	require.NoError(t, again.Run(context.Background()))

	fixed := kernels.FixedTuner(dev, tuner.Choices(), nil)
	for _, c := range all {
		assert.Equal(t, tuner.Choose(c), fixed.Choose(c))
	}
	unknown := kernels.ConvFwdConfig{Conv: kernels.NewConv(1, 4, 4, 8, 8, 1, 1, torch)}
	assert.Empty(t, fixed.Choose(unknown))
	require.NoError(t, fixed.Run(context.Background()))
	assert.Empty(t, fixed.Choose(unknown), "a fixed tuner times nothing")
	foreign := kernels.FixedTuner(dev, map[string]string{kernels.TuneKey(dev, unknown): "tiled/64x64x8"}, nil)
	assert.Empty(t, foreign.Choose(unknown), "no candidate of this device")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "nothing temporary is left")
}

// The candidates of GPUs give the same results on this device, too.
func TestCandidatesAgree(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	tiled := []string{"tiled/16x8x8@64", "tiled/8x16x4@512", "tiled/4x32x4@64"}
	for _, c := range tunables(kernels.F32) {
		var names []string
		switch c.(type) {
		case kernels.ConvFwdConfig, kernels.ConvDgradConfig, kernels.ConvWgradConfig:
			names = tiled
		case kernels.ConvBwdConfig:
			names = []string{kernels.Apart, "tiled"}
		case kernels.DepthwiseBwdConfig:
			names = []string{kernels.Apart, "wide/1", "wide/2"}
		default:
			names = []string{"narrow", "wide/1", "wide/2"}
		}
		assert.NoError(t, kernels.Agree(dev, c, names), "%+v", c)
	}
}

// Without a tuner everything keeps the variant that it names.
func TestNoTuner(t *testing.T) {
	var tuner *kernels.Tuner
	for _, c := range tunables(kernels.F32) {
		assert.Empty(t, tuner.Choose(c))
		assert.Equal(t, "tiled", tuner.Choose(kernels.With(c, "tiled")))
	}
	assert.NoError(t, tuner.Run(context.Background()))
	assert.Empty(t, tuner.Choices())
}

// A candidate that is faster than all others wins if its results are right, and never if they are not.
func TestTunerPlanted(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	conv := kernels.NewConv(2, 8, 8, 16, 16, 3, 1, torch)
	yBytes := conv.YBytes()
	for _, c := range []struct {
		name   string
		record func(rec *vk.Recorder, y vk.Range, real func(*vk.Recorder))
		trial  error
		want   string // in the reason; empty: it wins
	}{
		{name: "right", record: func(rec *vk.Recorder, y vk.Range, real func(*vk.Recorder)) { real(rec) }},
		{name: "writes nothing", record: func(*vk.Recorder, vk.Range, func(*vk.Recorder)) {}, want: "is NaN"},
		{name: "zeros", record: func(rec *vk.Recorder, y vk.Range, _ func(*vk.Recorder)) { rec.Fill(y, 0) }, want: "y: number 0 is 0"},
		{name: "NaN", record: func(rec *vk.Recorder, y vk.Range, _ func(*vk.Recorder)) { rec.Fill(y, 0x7fc00000) }, want: "is NaN"},
		{name: "one wrong", record: func(rec *vk.Recorder, y vk.Range, real func(*vk.Recorder)) {
			real(rec)
			rec.Fill(y.Slice(yBytes-4, 4), 0x40a00000)
		}, want: fmt.Sprintf("number %d is 5,", yBytes/4-1)},
		{name: "one missing", record: func(rec *vk.Recorder, y vk.Range, real func(*vk.Recorder)) {
			real(rec)
			rec.Fill(y.Slice(0, 4), 0x7fc00000)
		}, want: "number 0 is NaN"},
		{name: "does not compile", trial: errors.New("no such thing"), want: "no such thing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tuner, log := openTuner(dev, "off")
			p := kernels.Planted{ConvFwdConfig: kernels.ConvFwdConfig{Conv: conv}, Record: c.record, Trial: c.trial, Slow: 8}
			require.Empty(t, tuner.Choose(p))
			require.NoError(t, tuner.Run(context.Background()))
			choice := tuner.Choose(p)
			if c.want == "" {
				assert.Equal(t, "planted", choice)
				assert.Empty(t, tuner.Rejected())
				return
			}
			require.NotEmpty(t, choice)
			assert.NotEqual(t, "planted", choice)
			assert.Contains(t, tuner.Rejected()["planted"], c.want)
			assert.Contains(t, log.String(), "variant disqualified")
		})
	}
}

// On a GPU a dispatch is tried on a slice of the work first, and not at all if the whole would take too long.
func TestTunerWatchdog(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	tuner, log := openTuner(dev, "off")
	tuner.AsGPU()
	all := tunables(kernels.F32)
	for _, c := range all {
		tuner.Choose(c)
	}
	p := kernels.Planted{ConvFwdConfig: kernels.ConvFwdConfig{Conv: kernels.NewConv(4, 16, 16, 64, 64, 3, 1, torch)},
		Record: func(rec *vk.Recorder, _ vk.Range, real func(*vk.Recorder)) {
			for range 500 {
				real(rec)
			}
		}}
	tuner.Choose(p)
	require.NoError(t, tuner.Run(context.Background()))
	for _, c := range all {
		assert.Equal(t, len(kernels.Candidates(dev, c)) > 1, tuner.Choose(c) != "")
	}
	assert.Len(t, tuner.Rejected(), 1)
	assert.Contains(t, tuner.Rejected()["planted"], "a dispatch would take ")
	assert.Contains(t, log.String(), "variant disqualified")
}

// A device that is lost while a variant runs ends the tuning; the variant is not tried again.
func TestTunerDeviceLost(t *testing.T) {
	dev, dir := shadertest.Devices(t)[0], t.TempDir()
	p := kernels.Planted{ConvFwdConfig: kernels.ConvFwdConfig{Conv: kernels.NewConv(1, 8, 8, 8, 8, 1, 1, torch)},
		Trial: fmt.Errorf("trying: %w", vk.ErrDeviceLost)}
	tuner, _ := openTuner(dev, dir)
	tuner.Choose(p)
	assert.ErrorIs(t, tuner.Run(context.Background()), vk.ErrDeviceLost)
	again, _ := openTuner(dev, dir)
	assert.Equal(t, kernels.Candidates(dev, p)[0], again.Choose(p))
	assert.Contains(t, again.Rejected(), "planted")
}

// An end of the context ends the tuning; what was timed until then is kept.
func TestTunerCancelled(t *testing.T) {
	dev, dir := shadertest.Devices(t)[0], t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tuner, _ := openTunerTelling(dev, dir, func(done, _ int, _ string) {
		if done == 2 {
			cancel()
		}
	})
	for _, c := range tunables(kernels.F32) {
		tuner.Choose(c)
	}
	err := tuner.Run(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	again, _ := openTuner(dev, dir)
	assert.Len(t, again.Winners(), 2)
}

// A damaged, foreign or outdated file is passed over, and written anew.
func TestTuningCache(t *testing.T) {
	dev, dir := shadertest.Devices(t)[0], t.TempDir()
	c := tunables(kernels.F32)[0]
	tuner, _ := openTuner(dev, dir)
	tuner.Choose(c)
	require.NoError(t, tuner.Run(context.Background()))
	path := tuner.CachePath()
	good, err := os.ReadFile(path)
	require.NoError(t, err)
	var file map[string]any
	require.NoError(t, json.Unmarshal(good, &file))
	change := func(f func(file, entry map[string]any)) []byte {
		var file map[string]any
		require.NoError(t, json.Unmarshal(good, &file))
		for _, e := range file["entries"].(map[string]any) {
			f(file, e.(map[string]any))
		}
		data, err := json.Marshal(file)
		require.NoError(t, err)
		return data
	}
	for name, bad := range map[string]struct {
		data []byte
		log  bool // the whole file is ignored
	}{
		"empty":           {nil, true},
		"half":            {good[:len(good)/2], true},
		"not JSON":        {[]byte("\x00\x01\x02"), true},
		"another JSON":    {[]byte(`[1, 2]`), true},
		"another format":  {change(func(file, _ map[string]any) { file["format"] = "vkeffnet tuning 0" }), true},
		"another driver":  {change(func(file, _ map[string]any) { file["device"].(map[string]any)["version"] = "other" }), true},
		"another device":  {change(func(file, _ map[string]any) { file["device"].(map[string]any)["uuid"] = "other" }), true},
		"no entries":      {change(func(file, _ map[string]any) { delete(file, "entries") }), false},
		"other shaders":   {change(func(_, entry map[string]any) { entry["shaders"] = "other" }), false},
		"other list":      {change(func(_, entry map[string]any) { entry["candidates"] = "other" }), false},
		"unknown winner":  {change(func(_, entry map[string]any) { entry["winner"] = "fastest" }), false},
		"unwanted winner": {change(func(_, entry map[string]any) { entry["winner"] = "" }), false},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, bad.data, 0o644))
			tuner, log := openTuner(dev, dir)
			assert.Equal(t, bad.log, strings.Contains(log.String(), "tuning cache ignored"), log.String())
			assert.Empty(t, tuner.Choose(c))
			require.NoError(t, tuner.Run(context.Background()))
			assert.NotEmpty(t, tuner.Choose(c))
			again, log := openTuner(dev, dir)
			assert.Equal(t, tuner.Choose(c), again.Choose(c))
			assert.Empty(t, log.String())
		})
	}
	t.Run("cannot be written", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		require.NoError(t, os.WriteFile(file, nil, 0o644))
		tuner, log := openTuner(dev, file)
		tuner.Choose(c)
		require.NoError(t, tuner.Run(context.Background()))
		assert.NotEmpty(t, tuner.Choose(c))
		assert.Contains(t, log.String(), "tuning cache not written")
	})
}

// Writers of one file never leave half of it, and keep each other's choices when they do not meet.
func TestTuningCacheWriters(t *testing.T) {
	dev, dir := shadertest.Devices(t)[0], t.TempDir()
	all := choosable(dev, kernels.F32)
	for _, c := range all[:2] {
		tuner, _ := openTuner(dev, dir)
		tuner.Choose(c)
		require.NoError(t, tuner.Run(context.Background()))
	}
	both, _ := openTuner(dev, dir)
	assert.NotEmpty(t, both.Choose(all[0]))
	assert.NotEmpty(t, both.Choose(all[1]))

	var wait sync.WaitGroup
	for _, c := range all {
		wait.Add(1)
		go func() {
			defer wait.Done()
			tuner, log := openTuner(dev, dir)
			tuner.Choose(c)
			assert.NoError(t, tuner.Run(context.Background()))
			assert.Empty(t, log.String(), "no reader sees half a file")
		}()
	}
	wait.Wait()
	last, log := openTuner(dev, dir)
	assert.Empty(t, log.String())
	assert.NotEmpty(t, last.Winners())
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "nothing temporary is left")
}

// What decides speed is in the key; sizes of about the same work share it.
func TestTuneKey(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	elem := kernels.NewConv(2, 16, 16, 16, 32, 3, 2, torch)
	elem.Elem = kernels.F16
	key := func(n, size, c, k, r, stride int, pad kernels.Padding) string {
		return kernels.TuneKey(dev, kernels.ConvFwdConfig{Conv: kernels.NewConv(n, size, size, c, k, r, stride, pad)})
	}
	base := key(2, 16, 16, 32, 3, 2, torch)
	assert.Equal(t, base, key(2, 17, 16, 32, 3, 2, torch))
	assert.Equal(t, base, key(8, 8, 16, 32, 3, 2, torch))
	assert.Equal(t, key(64, 256, 16, 32, 3, 2, torch), key(128, 256, 16, 32, 3, 2, torch), "beyond what is tuned on")
	others := map[string]bool{base: true, kernels.TuneKey(dev, kernels.ConvFwdConfig{Conv: elem}): true}
	assert.Len(t, others, 2)
	for _, k := range []string{key(2, 24, 16, 32, 3, 2, torch), key(2, 16, 24, 32, 3, 2, torch), key(2, 16, 16, 24, 3, 2, torch),
		key(2, 16, 16, 32, 5, 2, torch), key(2, 11, 16, 32, 3, 1, torch), key(2, 16, 16, 32, 3, 2, same)} {
		assert.False(t, others[k], k)
		others[k] = true
	}
	conv := kernels.NewConv(2, 16, 16, 32, 32, 3, 1, torch)
	for _, c := range []kernels.Tunable{
		kernels.ConvFwdConfig{Conv: conv},
		kernels.ConvFwdConfig{Conv: conv, Stats: true},
		kernels.ConvFwdConfig{Conv: conv, In: kernels.Pending{BN: true}},
		kernels.ConvFwdConfig{Conv: conv, In: kernels.Pending{BN: true, Act: kernels.SiLU}},
		kernels.ConvDgradConfig{Conv: conv},
		kernels.ConvDgradConfig{Conv: conv, DY: kernels.GradIn{BN: true}},
		kernels.ConvDgradConfig{Conv: conv, Sink: kernels.Sink{Sums: true}},
		kernels.ConvWgradConfig{Conv: conv},
		kernels.DepthwiseFwdConfig{Conv: conv},
		kernels.DepthwiseDgradConfig{Conv: conv},
		kernels.DepthwiseWgradConfig{Conv: conv},
	} {
		k := kernels.TuneKey(dev, c)
		assert.False(t, others[k], k)
		others[k] = true
	}
}

// Names of variants with tiles are taken where they fit and refused where not.
func TestVariantNames(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	conv := kernels.NewConv(2, 8, 8, 16, 16, 3, 1, torch)
	for _, name := range []string{"tiled/16x8x8", "tiled/4x32x4@7", "tiled/8x16x8@256"} {
		assert.NoError(t, kernels.Construct(dev, kernels.ConvFwdConfig{Conv: conv, Variant: name}), name)
	}
	for _, name := range []string{"tiled/", "tiled/16", "tiled/16x8", "tiled/16x8x8x8", "tiled/16x8x8@", "tiled/16x8x8@0", "tiled/16x8x8@-1",
		"tiled/16x8x8@7x", "tiled/-16x8x8", "fast/16x8x8", "/16x8x8"} {
		assert.ErrorAs(t, kernels.Construct(dev, kernels.ConvFwdConfig{Conv: conv, Variant: name}), new(*kernels.ShapeError), name)
	}
	for _, name := range []string{"tiled/64x64x8", "tiled/0x8x8", "tiled/16x8x6", "tiled/16x8x16"} {
		assert.ErrorAs(t, kernels.Construct(dev, kernels.ConvDgradConfig{Conv: conv, Variant: name}), new(*vk.UnsupportedError), name)
	}
	for _, name := range []string{"narrow/0", "narrow/8", "wide/x", "wide/", "tall/2"} {
		assert.ErrorAs(t, kernels.Construct(dev, kernels.DepthwiseWgradConfig{Conv: conv, Variant: name}), new(*kernels.ShapeError), name)
	}
}
