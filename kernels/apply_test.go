package kernels_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// applyShapes are [N HW C]: one pixel, primes, channels that fill no vector, and more pixels than one tile.
var applyShapes = [][3]int{{1, 1, 8}, {3, 7, 24}, {2, 131, 40}, {2, 1031, 16}, {1, 67, 160}}

// eachApply runs f as a subtest on every device, for every configuration, shape and variant; name names a configuration.
func eachApply[C any](t *testing.T, configs []C, name func(C) string, f func(t *testing.T, dev *vk.Device, variant string, e kernels.Elem, cfg C, n, hw, c int)) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for i, cfg := range configs {
			for j, s := range applyShapes {
				for _, variant := range variants {
					t.Run(fmt.Sprintf("%v %s/%s", s, name(cfg), variant), func(t *testing.T) {
						f(t, dev, variant, kernels.F32, cfg, s[0], s[1], s[2])
					})
				}
				if e := kernels.Elem(1 + j%2); (i+j)%3 == 0 && e.Check(dev) == nil {
					t.Run(fmt.Sprintf("%v %s/%v", s, name(cfg), e), func(t *testing.T) { f(t, dev, "", e, cfg, s[0], s[1], s[2]) })
				}
			}
		}
	})
}

func TestApply(t *testing.T) {
	configs := []kernels.ApplyConfig{
		{In: kernels.Pending{BN: true}, Keep: true, Skip: true},
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}, Keep: true, Skip: true},
		{In: kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}},
		{Skip: true},
	}
	name := func(cfg kernels.ApplyConfig) string {
		return fmt.Sprint(flags(cfg.In), " keep=", cfg.Keep, " skip=", cfg.Skip)
	}
	eachApply(t, configs, name, testApply)
}

func testApply(t *testing.T, dev *vk.Device, variant string, e kernels.Elem, cfg kernels.ApplyConfig, n, hw, c int) {
	cfg.N, cfg.HW, cfg.C, cfg.Variant, cfg.Elem = n, hw, c, variant, e
	op, err := kernels.NewApply(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = e
	x, wantX := f.tensor(cfg.In, n, hw, c)
	keep, wantKeep := f.random(cfg.Keep, n, 0, 1.5)
	skip, wantSkip := f.activation(cfg.Skip, n*hw*c, -1, 1)
	out := f.activationOutput(n * hw * c)
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ApplyArgs{X: x, Keep: keep, Skip: skip, Out: out.Range()})
	})
	want := ref.Apply(cfg.In, wantX, wantKeep, wantSkip, n, hw, c)
	shadertest.Compare(t, "out", f.activations(out, n*hw*c), want, f.tolerance(shadertest.Tol{NMSE: 1e-12, Shape: []int{n, hw, c}}))
}

func TestApplyGrad(t *testing.T) {
	configs := []kernels.GradIn{
		{BN: true},
		{BN: true, Keep: true, Act: kernels.SiLU},
		{BN: true, Gate: true, Act: kernels.SiLU},
		{BN: true, Gate: true, NoG: true, Act: kernels.SiLU},
		{Keep: true},
	}
	eachApply(t, configs, flags[kernels.GradIn], testApplyGrad)
}

func testApplyGrad(t *testing.T, dev *vk.Device, variant string, e kernels.Elem, dy kernels.GradIn, n, hw, c int) {
	op, err := kernels.NewApplyGrad(dev, kernels.ApplyGradConfig{N: n, HW: hw, C: c, Elem: e, DY: dy, Variant: variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = e
	g, wantG := f.grad(dy, n, hw, c)
	out, inPlace := f.activationOutput(n*hw*c), (*shadertest.Buf)(nil)
	if !dy.NoG && e == kernels.F32 {
		inPlace = f.InOut(float32s(wantG.G))
	}
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ApplyGradArgs{DY: g, Out: out.Range()})
		if inPlace != nil {
			g.G = inPlace.Range()
			op.Record(rec, kernels.ApplyGradArgs{DY: g, Out: inPlace.Range()})
		}
	})
	want := ref.DY(dy, wantG, n, hw, c)
	tol := f.tolerance(shadertest.Tol{NMSE: 1e-12, Shape: []int{n, hw, c}})
	shadertest.Compare(t, "out", f.activations(out, n*hw*c), want, tol)
	if inPlace != nil {
		shadertest.Compare(t, "out in place of g", inPlace.Float32s(), want, tol)
	}
}

func TestApplySink(t *testing.T) {
	configs := []kernels.Sink{
		{},
		{Add: true, Keep: true, Sums: true},
		{Act: kernels.SiLU},
		{Add: true, Keep: true, Act: kernels.SiLU, SumsOnly: true},
		{SE: true, Act: kernels.SiLU},
	}
	eachApply(t, configs, flags[kernels.Sink], testApplySink)
}

func testApplySink(t *testing.T, dev *vk.Device, variant string, e kernels.Elem, sink kernels.Sink, n, hw, c int) {
	op, err := kernels.NewApplySink(dev, kernels.ApplySinkConfig{N: n, HW: hw, C: c, Elem: e, Sink: sink, Variant: variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = e
	du, wantDU := f.activation(true, n*hw*c, -1, 1)
	args, dx, sums, wantArgs := f.sink(sink, n, hw, c, op.SumsBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ApplySinkArgs{DU: du, Sink: args})
	})
	f.compareSink(t, sink, wantDU, wantArgs, n, hw, c, op.Parts(), dx, sums)
}
