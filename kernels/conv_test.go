package kernels_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

const (
	torch = kernels.PadTorch
	same  = kernels.PadSame
)

// convShapes are 1, primes, tiles and their neighbours (16, 64 and 128 rows; 8, 16, 32 and 64 columns), odd H and W at
// stride 2, W = 1, and fully connected layers.
var convShapes = []kernels.Conv{
	kernels.NewConv(1, 1, 1, 8, 8, 1, 1, torch),
	kernels.NewConv(3, 1, 1, 88, 40, 1, 1, torch),
	kernels.NewConv(2, 5, 7, 16, 24, 1, 1, torch),
	kernels.NewConv(1, 9, 7, 24, 16, 1, 1, torch),
	kernels.NewConv(1, 8, 8, 40, 72, 1, 1, torch),
	kernels.NewConv(1, 13, 5, 8, 64, 1, 1, torch),
	kernels.NewConv(1, 127, 1, 16, 8, 1, 1, torch),
	kernels.NewConv(3, 43, 1, 8, 32, 1, 1, torch),
	kernels.NewConv(2, 5, 4, 16, 8, 1, 2, torch),
	kernels.NewConv(1, 1, 1, 8, 8, 3, 1, torch),
	kernels.NewConv(1, 1, 1, 8, 8, 3, 2, torch),
	kernels.NewConv(2, 1, 2, 16, 8, 3, 2, same),
	kernels.NewConv(2, 5, 3, 8, 24, 3, 1, torch),
	kernels.NewConv(1, 11, 13, 24, 40, 3, 1, same),
	kernels.NewConv(2, 7, 9, 16, 32, 3, 2, torch),
	kernels.NewConv(3, 8, 5, 8, 72, 3, 2, same),
	kernels.NewConv(1, 17, 1, 40, 16, 3, 2, torch),
}

// stemShapes have 3 channels.
var stemShapes = []kernels.Conv{
	kernels.NewConv(1, 1, 1, 3, 8, 3, 2, torch),
	kernels.NewConv(2, 9, 7, 3, 24, 3, 2, torch),
	kernels.NewConv(1, 12, 17, 3, 32, 3, 2, same),
	kernels.NewConv(1, 5, 4, 3, 40, 3, 1, torch),
}

var convVariants = []string{"simple", "uniform", "tiled", "coopmat"}

// forEachConvVariant runs f for every variant on every device that has what it needs.
func forEachConvVariant(t *testing.T, f func(t *testing.T, dev *vk.Device, variant string)) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, variant := range convVariants {
			if !runsConv(dev, variant) {
				_, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: convShapes[0], Variant: variant})
				require.ErrorAs(t, err, new(*vk.UnsupportedError))
				continue
			}
			t.Run(variant, func(t *testing.T) { f(t, dev, variant) })
		}
	})
}

// runsConv reports whether the device has what the variant needs.
func runsConv(dev *vk.Device, variant string) bool {
	switch variant {
	case "simple":
		return dev.Has("subgroup")
	case "uniform":
		return dev.Limits().SubgroupMin == 8 && dev.Has("bufferDeviceAddress") && dev.Has("shaderInt64")
	case "coopmat":
		return len(coopElems(dev)) > 0
	}
	return true
}

// coopElems are the element types of which the device has matrices.
func coopElems(dev *vk.Device) (elems []kernels.Elem) {
	for _, e := range []kernels.Elem{kernels.F16, kernels.BF16} {
		has := func(m vk.CoopMat) bool { return m.A == e.String() && m.B == m.A && m.C == "f32" && m.D == m.C }
		if slices.ContainsFunc(dev.Info().CoopMat, has) {
			elems = append(elems, e)
		}
	}
	return elems
}

// checkStats merges partial statistics on the host and compares them with those of y.
func checkStats(t *testing.T, stats []float32, parts int, y []float64, c int, tol shadertest.Tol) {
	t.Helper()
	var rows float32
	for _, n := range stats[parts*2*c : parts*2*c+parts] {
		rows += n
	}
	assert.EqualValues(t, len(y)/c, rows, "rows of all parts")
	got := float32s(ref.MergeStats(shadertest.Float64s(stats), parts, c))
	want := ref.Stats(y, c)
	shadertest.Compare(t, "mean", got[:c], want[:c], tol)
	shadertest.Compare(t, "M2", got[c:], want[c:], tol)
}

// withElems appends every third case with each 16-bit element type that the device stores.
func withElems[C interface{ with(kernels.Elem) C }](dev *vk.Device, cases []C) []C {
	all := cases
	for _, e := range []kernels.Elem{kernels.F16, kernels.BF16} {
		for i := int(e); i < len(cases) && e.Check(dev) == nil; i += 3 {
			all = append(all, cases[i].with(e))
		}
	}
	return all
}

// forVariant is the cases for a variant: withElems, but coopmat takes those that are not of the stem for all types that it has.
func forVariant[C interface {
	with(kernels.Elem) C
	on(variant string) C
	shape() kernels.Conv
}](dev *vk.Device, variant string, cases []C) (all []C) {
	if variant != "coopmat" {
		for _, c := range withElems(dev, cases) {
			all = append(all, c.on(variant))
		}
		return all
	}
	for _, c := range cases {
		for _, e := range coopElems(dev) {
			if c.shape().C%8 == 0 {
				all = append(all, c.with(e).on(variant))
			}
		}
	}
	return all
}

type convFwdCase struct {
	conv    kernels.Conv
	in      kernels.Pending
	stats   bool
	bias    bool
	act     kernels.Act
	add     bool
	variant string
}

// on is the case for a variant; uniform takes plain operands only, coopmat such of 16 bits.
func (c convFwdCase) on(variant string) convFwdCase {
	c.variant = variant
	switch stem, _, _ := strings.Cut(variant, "/"); stem {
	case "uniform":
		c.in, c.conv.Elem = kernels.Pending{}, kernels.F32
	case "coopmat":
		c.conv.Elem = max(c.conv.Elem, kernels.F16)
	}
	return c
}

func (c convFwdCase) shape() kernels.Conv { return c.conv }

func (c convFwdCase) with(e kernels.Elem) convFwdCase { c.conv.Elem = e; return c }

func (c convFwdCase) String() string {
	return fmt.Sprintf("%v/in=%s/stats=%v/bias=%v/act=%v/add=%v", c.conv, flags(c.in), c.stats, c.bias, c.act, c.add)
}

func (c convFwdCase) run(t *testing.T, dev *vk.Device) {
	v := c.conv
	op, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{
		Conv: v, In: c.in, Stats: c.stats, Bias: c.bias, ActOut: c.act, Add: c.add, Variant: c.variant,
	})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem, f.rounds = v.Elem, op.Variant() == "coopmat"
	x, wantX := f.tensor(c.in, v.N, v.H*v.W, v.C)
	wt, wantWT := f.activation(true, v.K*v.R*v.S*v.C, -1, 1)
	bias, wantBias := f.random(c.bias, v.K, -1, 1)
	add, wantAdd := f.activation(c.add, v.N*v.P*v.Q*v.K, -1, 1)
	y, stats := f.activationOutput(v.N*v.P*v.Q*v.K), f.OutputBytes(op.StatsBytes())
	args := kernels.ConvFwdArgs{X: x, WT: wt, Bias: bias, Add: add, Y: y.Range(), Stats: stats.Range()}
	f.Run(func(rec *vk.Recorder) { op.Record(rec, args) })

	want := ref.ConvFwd(v, f.operand(ref.Value(c.in, wantX, v.N, v.H*v.W, v.C)), wantWT)
	want = ref.Epilogue(want, wantBias, wantAdd, c.act, v.K)
	shadertest.Compare(t, "y", f.activations(y, len(want)), want, f.tolerance(shadertest.Tol{NMSE: 1e-12, Shape: []int{v.N, v.P, v.Q, v.K}}))
	if c.stats {
		checkStats(t, stats.Float32s(), op.Parts(), want, v.K, f.sums(shadertest.Tol{NMSE: 1e-11}))
	}
}

func TestConvFwd(t *testing.T) {
	silu := kernels.Pending{BN: true, Act: kernels.SiLU}
	gated := kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}
	ins := []kernels.Pending{{}, silu, gated, {BN: true}}
	forEachConvVariant(t, func(t *testing.T, dev *vk.Device, variant string) {
		var cases []convFwdCase
		for i, conv := range convShapes {
			cases = append(cases, convFwdCase{conv: conv, in: ins[i%len(ins)], stats: true})
		}
		for _, conv := range stemShapes {
			cases = append(cases, convFwdCase{conv: conv, stats: true})
		}
		for _, conv := range []kernels.Conv{convShapes[4], convShapes[14], stemShapes[1]} {
			cases = append(cases,
				convFwdCase{conv: conv, bias: true, act: kernels.SiLU},
				convFwdCase{conv: conv, in: kernels.Pending{Gate: true}, bias: true, add: true},
				convFwdCase{conv: conv, in: gated, stats: true, bias: true, act: kernels.SiLU, add: true})
		}
		for _, c := range forVariant(dev, variant, cases) {
			t.Run(c.String(), func(t *testing.T) { c.run(t, dev) })
		}
	})
}

type convDgradCase struct {
	conv    kernels.Conv
	dy      kernels.GradIn
	sink    kernels.Sink
	variant string
}

// on is the case for a variant; uniform takes plain operands only, coopmat such of 16 bits.
func (c convDgradCase) on(variant string) convDgradCase {
	c.variant = variant
	switch stem, _, _ := strings.Cut(variant, "/"); stem {
	case "uniform":
		c.dy, c.conv.Elem = kernels.GradIn{}, kernels.F32
	case "coopmat":
		c.conv.Elem = max(c.conv.Elem, kernels.F16)
	}
	return c
}

func (c convDgradCase) shape() kernels.Conv { return c.conv }

func (c convDgradCase) with(e kernels.Elem) convDgradCase { c.conv.Elem = e; return c }

func (c convDgradCase) String() string {
	return fmt.Sprintf("%v/dy=%s/sink=%s", c.conv, flags(c.dy), flags(c.sink))
}

func (c convDgradCase) run(t *testing.T, dev *vk.Device) {
	v := c.conv
	op, err := kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: v, DY: c.dy, Sink: c.sink, Variant: c.variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem, f.rounds = v.Elem, op.Variant() == "coopmat"
	dy, wantDY := f.grad(c.dy, v.N, v.P*v.Q, v.K)
	w, wantW := f.random(true, v.K*v.R*v.S*v.C, -1, 1)
	sink, dx, sums, wantSink := f.sink(c.sink, v.N, v.H*v.W, v.C, op.SumsBytes())
	f.Run(func(rec *vk.Recorder) { op.Record(rec, kernels.ConvDgradArgs{DY: dy, W: w, Sink: sink}) })

	du := ref.ConvDgrad(v, f.operand(ref.DY(c.dy, wantDY, v.N, v.P*v.Q, v.K)), f.operand(wantW))
	f.compareSink(t, c.sink, du, wantSink, v.N, v.H*v.W, v.C, op.Parts(), dx, sums)
}

// The gradients and sinks that occur in EfficientNetV2, and a few that do not.
var (
	gradIns = []kernels.GradIn{
		{BN: true},
		{BN: true, Act: kernels.SiLU},
		{BN: true, Keep: true},
		{BN: true, Keep: true, Act: kernels.SiLU},
		{BN: true, Gate: true, NoG: true, Act: kernels.SiLU},
		{BN: true, Gate: true, Act: kernels.SiLU},
		{},
		{Keep: true, Act: kernels.SiLU},
	}
	sinks = []kernels.Sink{
		{Act: kernels.SiLU},
		{SE: true, Act: kernels.SiLU},
		{Sums: true, Keep: true},
		{Add: true, Sums: true, Keep: true},
		{Act: kernels.SiLU, SumsOnly: true},
		{Add: true, Act: kernels.SiLU, SumsOnly: true, Keep: true},
		{Add: true},
		{Sums: true},
		{},
		{Add: true, SE: true, Act: kernels.SiLU},
		{Add: true, Act: kernels.SiLU},
	}
)

func TestConvDgrad(t *testing.T) {
	forEachConvVariant(t, func(t *testing.T, dev *vk.Device, variant string) {
		var cases []convDgradCase
		for i, conv := range convShapes {
			cases = append(cases, convDgradCase{conv: conv, dy: gradIns[i%2], sink: sinks[i%3]})
		}
		for i := range max(len(gradIns), len(sinks)) {
			conv := []kernels.Conv{convShapes[2], convShapes[14]}[i%2]
			cases = append(cases, convDgradCase{conv: conv, dy: gradIns[i%len(gradIns)], sink: sinks[i%len(sinks)]})
		}
		for _, c := range forVariant(dev, variant, cases) {
			t.Run(c.String(), func(t *testing.T) { c.run(t, dev) })
		}
	})
}

type convWgradCase struct {
	conv    kernels.Conv
	dy      kernels.GradIn
	in      kernels.Pending
	variant string
}

// on is the case for a variant; uniform takes plain operands only, coopmat such of 16 bits.
func (c convWgradCase) on(variant string) convWgradCase {
	c.variant = variant
	switch stem, _, _ := strings.Cut(variant, "/"); stem {
	case "uniform":
		c.in, c.dy, c.conv.Elem = kernels.Pending{}, kernels.GradIn{}, kernels.F32
	case "coopmat":
		c.conv.Elem = max(c.conv.Elem, kernels.F16)
	}
	return c
}

func (c convWgradCase) shape() kernels.Conv { return c.conv }

func (c convWgradCase) with(e kernels.Elem) convWgradCase { c.conv.Elem = e; return c }

func (c convWgradCase) String() string {
	return fmt.Sprintf("%v/dy=%s/in=%s", c.conv, flags(c.dy), flags(c.in))
}

func (c convWgradCase) run(t *testing.T, dev *vk.Device) {
	v := c.conv
	op, err := kernels.NewConvWgrad(dev, kernels.ConvWgradConfig{Conv: v, DY: c.dy, In: c.in, Variant: c.variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem, f.rounds = v.Elem, op.Variant() == "coopmat"
	dy, wantDY := f.grad(c.dy, v.N, v.P*v.Q, v.K)
	x, wantX := f.tensor(c.in, v.N, v.H*v.W, v.C)
	dw, scratch := f.Output(v.K*v.R*v.S*v.C), f.OutputBytes(op.ScratchBytes())
	args := kernels.ConvWgradArgs{DY: dy, X: x, DW: dw.Range(), Scratch: scratch.Range()}
	f.Run(func(rec *vk.Recorder) { op.Record(rec, args) })

	want := ref.ConvWgrad(v, f.operand(ref.DY(c.dy, wantDY, v.N, v.P*v.Q, v.K)), f.operand(ref.Value(c.in, wantX, v.N, v.H*v.W, v.C)))
	shadertest.Compare(t, "dw", dw.Float32s(), want, f.sums(shadertest.Tol{NMSE: 1e-12, Shape: []int{v.K, v.R, v.S, v.C}}))
}

func TestConvWgrad(t *testing.T) {
	ins := []kernels.Pending{{}, {BN: true, Act: kernels.SiLU}, {BN: true, Act: kernels.SiLU, Gate: true}, {BN: true}, {Gate: true}}
	forEachConvVariant(t, func(t *testing.T, dev *vk.Device, variant string) {
		var cases []convWgradCase
		for i, conv := range convShapes {
			cases = append(cases, convWgradCase{conv: conv, dy: gradIns[i%2], in: ins[i%3]})
		}
		for i, conv := range stemShapes {
			if variant != "uniform" {
				cases = append(cases, convWgradCase{conv: conv, dy: gradIns[i]})
			}
		}
		for i := range max(len(gradIns), len(ins)) {
			conv := []kernels.Conv{convShapes[2], convShapes[14]}[i%2]
			cases = append(cases, convWgradCase{conv: conv, dy: gradIns[i%len(gradIns)], in: ins[i%len(ins)]})
		}
		for _, c := range forVariant(dev, variant, cases) {
			t.Run(c.String(), func(t *testing.T) { c.run(t, dev) })
		}
	})
}

// TestConvChunks lowers MaxRange until every pass needs several calls, whose offsets must stay aligned to 256 bytes.
func TestConvChunks(t *testing.T) {
	conv := kernels.NewConv(150, 3, 3, 8, 16, 3, 2, same)
	stem := kernels.NewConv(150, 3, 3, 3, 16, 3, 2, same)
	for _, variant := range convVariants {
		t.Run(variant, func(t *testing.T) {
			o := shadertest.Options()
			lower := vk.Limits{OffsetAlign: 256, MaxRange: 20 << 10, Invocations: 128, SharedBytes: 16 << 10}
			o.Lower = &lower
			if variant == "tiled" {
				o.Disable = append(o.Disable, "subgroup")
			}
			dev, err := vk.Open(o)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, dev.Close()) })
			if !runsConv(dev, variant) {
				return
			}
			gated := kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}
			dy := kernels.GradIn{BN: true, Gate: true, Keep: true, Act: kernels.SiLU}
			t.Run("fwd", func(t *testing.T) {
				convFwdCase{conv: conv, in: gated, stats: true, add: true}.on(variant).run(t, dev)
			})
			if variant != "coopmat" {
				t.Run("fwd stem", func(t *testing.T) { convFwdCase{conv: stem, stats: true}.on(variant).run(t, dev) })
			}
			for _, sink := range sinks[:4] {
				t.Run(fmt.Sprintf("dgrad %s", flags(sink)), func(t *testing.T) {
					convDgradCase{conv: conv, dy: dy, sink: sink}.on(variant).run(t, dev)
				})
			}
			t.Run("wgrad", func(t *testing.T) { convWgradCase{conv: conv, dy: dy, in: gated}.on(variant).run(t, dev) })
			if variant != "uniform" && variant != "coopmat" {
				t.Run("wgrad stem", func(t *testing.T) { convWgradCase{conv: stem, dy: dy}.on(variant).run(t, dev) })
			}

			big := kernels.NewConv(2, 64, 64, 8, 8, 3, 1, torch)
			var unsupported *vk.UnsupportedError
			_, err = kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: big})
			assert.ErrorAs(t, err, &unsupported, "one image exceeds MaxRange")
			_, err = kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: big})
			assert.ErrorAs(t, err, &unsupported)
			_, err = kernels.NewConvWgrad(dev, kernels.ConvWgradConfig{Conv: big})
			assert.ErrorAs(t, err, &unsupported)
		})
	}
}

func TestConvErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	var shape *kernels.ShapeError
	for _, conv := range []kernels.Conv{
		{},
		kernels.NewConv(1, 4, 4, 12, 8, 3, 1, torch),
		kernels.NewConv(1, 4, 4, 8, 12, 3, 1, torch),
		{N: 1, H: 4, W: 4, C: 8, K: 8, R: 3, S: 3, Stride: 1, PadTop: 3, P: 4, Q: 4},
	} {
		_, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: conv})
		assert.ErrorAs(t, err, &shape, "%v", conv)
		_, err = kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: conv})
		assert.ErrorAs(t, err, &shape, "%v", conv)
		_, err = kernels.NewConvWgrad(dev, kernels.ConvWgradConfig{Conv: conv})
		assert.ErrorAs(t, err, &shape, "%v", conv)
	}
	good := convShapes[2]
	_, err := kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: stemShapes[0]})
	assert.ErrorAs(t, err, &shape, "dgrad of the stem")
	_, err = kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: good, Variant: "fast"})
	assert.ErrorAs(t, err, &shape)
	_, err = kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: good, DY: kernels.GradIn{NoG: true}})
	assert.ErrorAs(t, err, &shape)
	_, err = kernels.NewConvDgrad(dev, kernels.ConvDgradConfig{Conv: good, Sink: kernels.Sink{SE: true}})
	assert.ErrorAs(t, err, &shape)

	// Missing and short ranges are reported by the recorder, which keeps the first error.
	op, err := kernels.NewConvFwd(dev, kernels.ConvFwdConfig{Conv: good})
	require.NoError(t, err)
	rec := dev.NewRecorder("errors")
	op.Record(rec, kernels.ConvFwdArgs{})
	assert.ErrorAs(t, rec.Err(), &shape)
}
