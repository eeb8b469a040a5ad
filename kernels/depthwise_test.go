package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// depthwiseShapes has every filter, stride and padding, images of one pixel, one row and one column, odd sizes at
// stride 2, widths around the strips of 4 columns, and channels that do not fill a vector of lanes.
var depthwiseShapes = []kernels.Conv{
	kernels.NewConv(1, 1, 1, 8, 8, 3, 1, kernels.PadTorch),
	kernels.NewConv(3, 4, 1, 8, 8, 3, 2, kernels.PadTorch),
	kernels.NewConv(1, 1, 7, 16, 16, 5, 1, kernels.PadTorch),
	kernels.NewConv(2, 7, 5, 24, 24, 3, 1, kernels.PadTorch),
	kernels.NewConv(2, 7, 5, 24, 24, 3, 2, kernels.PadTorch),
	kernels.NewConv(1, 8, 6, 8, 8, 3, 2, kernels.PadSame),
	kernels.NewConv(2, 5, 9, 8, 8, 5, 1, kernels.PadTorch),
	kernels.NewConv(1, 11, 13, 8, 8, 5, 2, kernels.PadTorch),
	kernels.NewConv(3, 6, 10, 8, 8, 5, 2, kernels.PadSame),
	kernels.NewConv(1, 19, 17, 72, 72, 3, 1, kernels.PadTorch),
}

// eachDepthwise runs f as a subtest; what names the configuration. The first configuration is run with every shape and
// variant; the flags of the others do not meet the shape, and compiling takes most of the time, so that they are run with
// every third shape and the device's own variant.
func eachDepthwise(t *testing.T, dev *vk.Device, config int, what string, f func(t *testing.T, c kernels.Conv, variant string)) {
	for i, c := range depthwiseShapes {
		run := variants
		if config > 0 {
			run = []string{""}
			if i%3 != config%3 {
				continue
			}
		}
		for _, variant := range run {
			t.Run(fmt.Sprintf("%s pad%d,%d %s/%s", c, c.PadTop, c.PadLeft, what, variant), func(t *testing.T) { f(t, c, variant) })
		}
		// 16-bit elements take other loads and stores, whatever the configuration.
		if c.Elem = kernels.Elem(1 + i%2); i%4 == config%4 && c.Elem.Check(dev) == nil {
			t.Run(fmt.Sprintf("%s pad%d,%d %s", c, c.PadTop, c.PadLeft, what), func(t *testing.T) { f(t, c, "") })
		}
	}
}

func TestDepthwiseFwd(t *testing.T) {
	configs := []kernels.DepthwiseFwdConfig{
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}, Stats: true},
		{Stats: true},
		{In: kernels.Pending{BN: true, Gate: true}, Bias: true, ActOut: kernels.SiLU},
		{Bias: true},
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for i, cfg := range configs {
			eachDepthwise(t, dev, i, fmt.Sprint(flags(cfg.In), " stats=", cfg.Stats, " bias=", cfg.Bias), func(t *testing.T, c kernels.Conv, variant string) {
				cfg.Conv, cfg.Variant = c, variant
				testDepthwiseFwd(t, dev, cfg)
			})
		}
	})
}

func testDepthwiseFwd(t *testing.T, dev *vk.Device, cfg kernels.DepthwiseFwdConfig) {
	c := cfg.Conv
	op, err := kernels.NewDepthwiseFwd(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = c.Elem
	x, wantX := f.tensor(cfg.In, c.N, c.H*c.W, c.C)
	w, wantW := f.random(true, c.R*c.S*c.C, -1, 1)
	bias, wantBias := f.random(cfg.Bias, c.C, -1, 1)
	y, stats := f.activationOutput(c.N*c.P*c.Q*c.C), f.OutputBytes(op.StatsBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseFwdArgs{X: x, W: w, Bias: bias, Y: y.Range(), Stats: stats.Range()})
	})
	want := ref.DepthwiseFwd(c, ref.Value(cfg.In, wantX, c.N, c.H*c.W, c.C), wantW)
	want = ref.Epilogue(want, wantBias, nil, cfg.ActOut, c.C)
	shadertest.Compare(t, "y", f.activations(y, len(want)), want, f.tolerance(shadertest.Tol{NMSE: 1e-12, Shape: []int{c.N, c.P, c.Q, c.C}}))
	if cfg.Stats {
		got := shadertest.Float64s(stats.Float32s())
		merged := ref.MergeStats(got, op.Parts(), c.C)
		shadertest.Compare(t, "stats", float32s(merged), ref.Stats(want, c.C), shadertest.Tol{NMSE: 1e-11, Shape: []int{2, c.C}})
		var rows float64
		for _, n := range got[op.Parts()*2*c.C:][:op.Parts()] {
			rows += n
		}
		assert.EqualValues(t, c.N*c.P*c.Q, rows, "rows counted in the statistics")
	}
}

// TestDepthwiseFwdStatsDoNotCancel takes statistics of outputs around 1000.
func TestDepthwiseFwdStatsDoNotCancel(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		conv := kernels.NewConv(2, 9, 9, 8, 8, 3, 1, kernels.PadTorch)
		op, err := kernels.NewDepthwiseFwd(dev, kernels.DepthwiseFwdConfig{Conv: conv, Stats: true})
		require.NoError(t, err)
		f := newFixture(t, dev)
		x, wantX := f.random(true, 2*81*8, 999, 1001)
		centre := make([]float32, 9*8) // the filter that copies its input
		for c := range 8 {
			centre[4*8+c] = 1
		}
		w := f.Input(centre)
		y, stats := f.Output(2*81*8), f.OutputBytes(op.StatsBytes())
		f.Run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseFwdArgs{X: kernels.Tensor{Raw: x}, W: w.Range(), Y: y.Range(), Stats: stats.Range()})
		})
		merged := ref.MergeStats(shadertest.Float64s(stats.Float32s()), op.Parts(), 8)
		shadertest.Compare(t, "M2", float32s(merged[8:]), ref.Stats(wantX, 8)[8:], shadertest.Tol{Elem: 5e-6})
	})
}

func TestDepthwiseDgrad(t *testing.T) {
	configs := []kernels.DepthwiseDgradConfig{
		{DY: kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}, Sink: kernels.Sink{Act: kernels.SiLU}},
		{DY: kernels.GradIn{BN: true, Keep: true}, Sink: kernels.Sink{Add: true, Keep: true, Sums: true}},
		{Sink: kernels.Sink{Add: true}},
		{DY: kernels.GradIn{BN: true, Gate: true, NoG: true, Act: kernels.SiLU}, Sink: kernels.Sink{Add: true, Keep: true, SumsOnly: true, Act: kernels.SiLU}},
		{DY: kernels.GradIn{BN: true, Act: kernels.SiLU}, Sink: kernels.Sink{SE: true, Act: kernels.SiLU}},
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for i, cfg := range configs {
			eachDepthwise(t, dev, i, flags(cfg.DY)+" to "+flags(cfg.Sink), func(t *testing.T, c kernels.Conv, variant string) {
				cfg.Conv, cfg.Variant = c, variant
				testDepthwiseDgrad(t, dev, cfg)
			})
		}
	})
}

func testDepthwiseDgrad(t *testing.T, dev *vk.Device, cfg kernels.DepthwiseDgradConfig) {
	c := cfg.Conv
	op, err := kernels.NewDepthwiseDgrad(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = c.Elem
	dy, wantDY := f.grad(cfg.DY, c.N, c.P*c.Q, c.C)
	w, wantW := f.random(true, c.R*c.S*c.C, -1, 1)
	sink, dx, sums, wantSink := f.sink(cfg.Sink, c.N, c.H*c.W, c.C, op.SumsBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseDgradArgs{DY: dy, W: w, Sink: sink})
	})
	du := ref.DepthwiseDgrad(c, ref.DY(cfg.DY, wantDY, c.N, c.P*c.Q, c.C), wantW)
	f.compareSink(t, cfg.Sink, du, wantSink, c.N, c.H*c.W, c.C, op.Parts(), dx, sums)
}

func TestDepthwiseWgrad(t *testing.T) {
	configs := []kernels.DepthwiseWgradConfig{
		{DY: kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}, In: kernels.Pending{BN: true, Act: kernels.SiLU}},
		{DY: kernels.GradIn{BN: true, Gate: true, NoG: true, Keep: true}, In: kernels.Pending{BN: true, Gate: true}},
		{},
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for i, cfg := range configs {
			eachDepthwise(t, dev, i, flags(cfg.DY)+" by "+flags(cfg.In), func(t *testing.T, c kernels.Conv, variant string) {
				cfg.Conv, cfg.Variant = c, variant
				testDepthwiseWgrad(t, dev, cfg)
			})
		}
	})
}

func testDepthwiseWgrad(t *testing.T, dev *vk.Device, cfg kernels.DepthwiseWgradConfig) {
	c := cfg.Conv
	op, err := kernels.NewDepthwiseWgrad(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = c.Elem
	dy, wantDY := f.grad(cfg.DY, c.N, c.P*c.Q, c.C)
	x, wantX := f.tensor(cfg.In, c.N, c.H*c.W, c.C)
	dw, scratch := f.Output(c.R*c.S*c.C), f.OutputBytes(op.ScratchBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseWgradArgs{DY: dy, X: x, DW: dw.Range(), Scratch: scratch.Range()})
	})
	want := ref.DepthwiseWgrad(c, ref.DY(cfg.DY, wantDY, c.N, c.P*c.Q, c.C), ref.Value(cfg.In, wantX, c.N, c.H*c.W, c.C))
	shadertest.Compare(t, "dw", dw.Float32s(), want, shadertest.Tol{NMSE: 1e-11, Shape: []int{c.R, c.S, c.C}})
}

func TestDepthwiseBwd(t *testing.T) {
	configs := []kernels.DepthwiseBwdConfig{
		{DY: kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}, Sink: kernels.Sink{Act: kernels.SiLU, Sums: true}},
		{DY: kernels.GradIn{BN: true, Act: kernels.SiLU}, Sink: kernels.Sink{Add: true, Act: kernels.SiLU, Sums: true}},
		{Sink: kernels.Sink{Act: kernels.SiLU, Sums: true}},
	}
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for i, cfg := range configs {
			eachDepthwise(t, dev, i, flags(cfg.DY)+" to "+flags(cfg.Sink), func(t *testing.T, c kernels.Conv, variant string) {
				cfg.Conv, cfg.Variant = c, variant
				if c.R == 5 {
					_, err := kernels.NewDepthwiseBwd(dev, cfg)
					require.ErrorAs(t, err, new(*kernels.ShapeError))
					return
				}
				testDepthwiseBwd(t, dev, cfg)
			})
		}
	})
}

func testDepthwiseBwd(t *testing.T, dev *vk.Device, cfg kernels.DepthwiseBwdConfig) {
	c := cfg.Conv
	op, err := kernels.NewDepthwiseBwd(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = c.Elem
	dy, wantDY := f.grad(cfg.DY, c.N, c.P*c.Q, c.C)
	w, wantW := f.random(true, c.R*c.S*c.C, -1, 1)
	sink, dx, sums, wantSink := f.sink(cfg.Sink, c.N, c.H*c.W, c.C, op.SumsBytes())
	dw, scratch := f.Output(c.R*c.S*c.C), f.OutputBytes(op.ScratchBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseBwdArgs{DY: dy, W: w, DW: dw.Range(), Scratch: scratch.Range(), Sink: sink})
	})
	built := ref.DY(cfg.DY, wantDY, c.N, c.P*c.Q, c.C)
	f.compareSink(t, cfg.Sink, ref.DepthwiseDgrad(c, built, wantW), wantSink, c.N, c.H*c.W, c.C, op.Parts(), dx, sums)
	u := ref.Value(kernels.Pending{BN: true, Act: cfg.Sink.Act}, ref.Tensor{Raw: wantSink.Y, BN: wantSink.BN}, c.N, c.H*c.W, c.C)
	shadertest.Compare(t, "dw", dw.Float32s(), ref.DepthwiseWgrad(c, built, u), shadertest.Tol{NMSE: 1e-11, Shape: []int{c.R, c.S, c.C}})
}

func TestDepthwiseErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	good := kernels.NewConv(1, 4, 4, 8, 8, 3, 1, kernels.PadTorch)
	for name, change := range map[string]func(c *kernels.Conv){
		"channels":      func(c *kernels.Conv) { c.C, c.K = 12, 12 },
		"dense":         func(c *kernels.Conv) { c.K = 16 },
		"filter":        func(c *kernels.Conv) { c.R, c.S = 7, 7 },
		"stride":        func(c *kernels.Conv) { c.Stride = 3 },
		"no image":      func(c *kernels.Conv) { c.N = 0 },
		"large padding": func(c *kernels.Conv) { c.PadTop = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			conv := good
			change(&conv)
			var shape *kernels.ShapeError
			_, err := kernels.NewDepthwiseFwd(dev, kernels.DepthwiseFwdConfig{Conv: conv})
			assert.ErrorAs(t, err, &shape)
			_, err = kernels.NewDepthwiseDgrad(dev, kernels.DepthwiseDgradConfig{Conv: conv})
			assert.ErrorAs(t, err, &shape)
			_, err = kernels.NewDepthwiseWgrad(dev, kernels.DepthwiseWgradConfig{Conv: conv})
			assert.ErrorAs(t, err, &shape)
		})
	}
}
