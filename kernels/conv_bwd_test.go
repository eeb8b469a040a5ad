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

// pointShapes are the 1x1 convolutions of convShapes and the channels of EfficientNetV2's projections: K that fill and do not
// fill the invocations of a column, one and many tiles, parts and splits, and parts that end inside a tile.
var pointShapes = append(convShapes[:8:8],
	kernels.NewConv(2, 7, 5, 136, 112, 1, 1, torch),
	kernels.NewConv(3, 7, 7, 72, 256, 1, 1, torch),
	kernels.NewConv(5, 10, 10, 72, 160, 1, 1, torch),
	kernels.NewConv(2, 33, 19, 200, 48, 1, 1, torch),
	kernels.NewConv(7, 5, 3, 24, 192, 1, 1, torch),
)

// The sinks of a ConvBwd.
var pointSinks = []kernels.Sink{
	{Act: kernels.SiLU},
	{SE: true, Act: kernels.SiLU},
	{Add: true, Act: kernels.SiLU},
	{Add: true, SE: true, Act: kernels.SiLU},
}

var pointVariants = []string{"simple", "tiled", "coopmat"}

type convBwdCase struct {
	conv kernels.Conv
	dy   kernels.GradIn
	sink kernels.Sink

	variant string
}

func (c convBwdCase) with(e kernels.Elem) convBwdCase { c.conv.Elem = e; return c }

// on is the case for a variant; coopmat takes elements of 16 bits only.
func (c convBwdCase) on(variant string) convBwdCase {
	if c.variant = variant; variant == "coopmat" {
		c.conv.Elem = max(c.conv.Elem, kernels.F16)
	}
	return c
}

func (c convBwdCase) shape() kernels.Conv { return c.conv }

func (c convBwdCase) String() string {
	return fmt.Sprintf("%v/dy=%s/sink=%s", c.conv, flags(c.dy), flags(c.sink))
}

func (c convBwdCase) run(t *testing.T, dev *vk.Device) {
	v, hw := c.conv, c.conv.H*c.conv.W
	op, err := kernels.NewConvBwd(dev, kernels.ConvBwdConfig{Conv: v, DY: c.dy, Sink: c.sink, Variant: c.variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem, f.rounds = v.Elem, op.Variant() == "coopmat"
	grad, wantGrad := f.grad(c.dy, v.N, hw, v.K)
	w, wantW := f.random(true, v.K*v.C, -1, 1)
	gate, wantGate := f.random(c.sink.SE, v.N*v.C, 0, 1)
	sink, dx, sums, wantSink := f.sink(c.sink, v.N, hw, v.C, op.SumsBytes())
	dw, scratch := f.Output(v.K*v.C), f.OutputBytes(op.ScratchBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvBwdArgs{DY: grad, W: w, Gate: gate, Sink: sink, DW: dw.Range(), Scratch: scratch.Range()})
	})

	dy := f.operand(ref.DY(c.dy, wantGrad, v.N, hw, v.K))
	in := kernels.Pending{BN: true, Act: c.sink.Act, Gate: c.sink.SE}
	value := ref.Value(in, ref.Tensor{Raw: wantSink.Y, BN: wantSink.BN, Gate: wantGate}, v.N, hw, v.C)
	f.compareSink(t, c.sink, ref.ConvDgrad(v, dy, f.operand(wantW)), wantSink, v.N, hw, v.C, op.Parts(), dx, sums)
	shadertest.Compare(t, "dw", dw.Float32s(), ref.ConvWgrad(v, dy, f.operand(value)), f.sums(shadertest.Tol{NMSE: 1e-12, Shape: []int{v.K, v.C}}))
}

func TestConvBwd(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		var cases []convBwdCase
		for i, conv := range pointShapes {
			cases = append(cases, convBwdCase{conv: conv, dy: gradIns[i%4], sink: pointSinks[i%2]})
		}
		for i, dy := range gradIns {
			cases = append(cases, convBwdCase{conv: pointShapes[2], dy: dy, sink: pointSinks[i%len(pointSinks)]})
		}
		for _, variant := range pointVariants {
			if !runsConv(dev, variant) {
				_, err := kernels.NewConvBwd(dev, kernels.ConvBwdConfig{Conv: pointShapes[0], Sink: pointSinks[0], Variant: variant})
				require.ErrorAs(t, err, new(*vk.UnsupportedError))
				continue
			}
			some := cases
			if variant == "coopmat" && dev.IsCPU() { // where compiling products of matrices takes a second each
				some = slices.DeleteFunc(slices.Clone(cases), func(c convBwdCase) bool { return c.conv.K > 40 })
			}
			for _, c := range forVariant(dev, variant, some) {
				t.Run(variant+"/"+c.String(), func(t *testing.T) { c.run(t, dev) })
			}
		}
	})
}

// TestConvBwdTiles forces tiles that the shapes above are not cut into.
func TestConvBwdTiles(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, variant := range []string{"simple/4x8x3", "simple/4x4x1", "tiled/8x8x2x2", "tiled/4x32x8x8"} {
			if name, _, _ := strings.Cut(variant, "/"); runsConv(dev, name) {
				c := convBwdCase{conv: kernels.NewConv(3, 5, 7, 40, 72, 1, 1, torch), dy: gradIns[0], sink: pointSinks[1], variant: variant}
				if variant == "tiled/4x32x8x8" && dev.Limits().SharedBytes < 16*(32*19+128*8) { // dy, then du
					_, err := kernels.NewConvBwd(dev, kernels.ConvBwdConfig{Conv: c.conv, DY: c.dy, Sink: c.sink, Variant: variant})
					require.ErrorAs(t, err, new(*vk.UnsupportedError))
					continue
				}
				t.Run(variant, func(t *testing.T) { c.run(t, dev) })
			}
		}
	})
}

// TestConvBwdChunks lowers MaxRange until several calls are needed, whose offsets must stay aligned to 256 bytes, and
// everything else to what any device has.
func TestConvBwdChunks(t *testing.T) {
	o := shadertest.Options()
	o.Lower = &vk.Limits{OffsetAlign: 256, MaxRange: 20 << 10, Invocations: 128, SharedBytes: 16 << 10}
	dev, err := vk.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, dev.Close()) })
	dy := kernels.GradIn{BN: true, Gate: true, Keep: true, Act: kernels.SiLU}
	for i, sink := range pointSinks {
		for _, conv := range []kernels.Conv{
			kernels.NewConv(150, 3, 3, 16, 8, 1, 1, torch),
			kernels.NewConv(4, 2, 2, 8, 256, 1, 1, torch),
		} {
			for _, variant := range pointVariants {
				if !runsConv(dev, variant) || variant == "coopmat" || i > 1 && variant == "tiled" {
					continue
				}
				c := convBwdCase{conv, dy, sink, variant}
				t.Run(c.String()+"/"+variant, func(t *testing.T) { c.run(t, dev) })
			}
		}
	}
	var unsupported *vk.UnsupportedError
	for _, conv := range []kernels.Conv{
		kernels.NewConv(2, 64, 64, 8, 8, 1, 1, torch),  // one image exceeds MaxRange
		kernels.NewConv(1, 1, 1, 64, 256, 1, 1, torch), // the weights do
	} {
		_, err = kernels.NewConvBwd(dev, kernels.ConvBwdConfig{Conv: conv, Sink: pointSinks[0]})
		assert.ErrorAs(t, err, &unsupported, "%v", conv)
	}
}

func TestConvBwdErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	good := pointShapes[2]
	var shape *kernels.ShapeError
	for _, c := range []kernels.ConvBwdConfig{
		{},
		{Conv: good},
		{Conv: good, Sink: kernels.Sink{Sums: true}},
		{Conv: good, Sink: kernels.Sink{Act: kernels.SiLU, SumsOnly: true}},
		{Conv: good, Sink: pointSinks[0], DY: kernels.GradIn{NoG: true}},
		{Conv: good, Sink: pointSinks[0], Variant: "fast"},
		{Conv: kernels.NewConv(1, 4, 4, 8, 264, 1, 1, torch), Sink: pointSinks[0]},
		{Conv: kernels.NewConv(1, 4, 4, 8, 8, 1, 2, torch), Sink: pointSinks[0]},
		{Conv: kernels.NewConv(1, 4, 4, 8, 8, 3, 1, torch), Sink: pointSinks[0]},
	} {
		_, err := kernels.NewConvBwd(dev, c)
		assert.ErrorAs(t, err, &shape, "%+v", c)
	}
	op, err := kernels.NewConvBwd(dev, kernels.ConvBwdConfig{Conv: good, Sink: pointSinks[0]})
	require.NoError(t, err)
	rec := dev.NewRecorder("errors")
	op.Record(rec, kernels.ConvBwdArgs{})
	assert.ErrorAs(t, rec.Err(), &shape)
}
