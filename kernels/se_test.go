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

func TestPool(t *testing.T) {
	configs := []kernels.PoolConfig{
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}, Grad: true},
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}},
		{In: kernels.Pending{BN: true, Gate: true}},
		{},
	}
	name := func(cfg kernels.PoolConfig) string { return fmt.Sprint(flags(cfg.In), " grad=", cfg.Grad) }
	eachApply(t, configs, name, testPool)
}

func testPool(t *testing.T, dev *vk.Device, variant string, e kernels.Elem, cfg kernels.PoolConfig, n, hw, c int) {
	cfg.N, cfg.HW, cfg.C, cfg.Variant, cfg.Elem = n, hw, c, variant, e
	op, err := kernels.NewPool(dev, cfg)
	require.NoError(t, err)
	f := newFixture(t, dev)
	f.elem = e
	x, wantX := f.tensor(cfg.In, n, hw, c)
	pool := f.OutputBytes(op.PoolBytes())
	f.Run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.PoolArgs{X: x, Pool: pool.Range()})
	})
	want := ref.Pool(cfg.In, wantX, cfg.Grad, n, hw, c)
	for row, name := range []string{"mean", "s2", "s4"}[:len(want)/(n*c)] {
		shadertest.Compare(t, name, pool.Float32s()[row*n*c:][:n*c], want[row*n*c:][:n*c],
			shadertest.Tol{NMSE: 1e-11, Shape: []int{n, c}})
	}
}

// seShapes are N, C, R, HW, parts.
var seShapes = [][5]int{{1, 8, 1, 1, 1}, {3, 24, 5, 7, 2}, {2, 192, 12, 16, 1}, {67, 40, 3, 49, 3}, {2, 136, 37, 4, 1}, {1, 672, 28, 49, 5}}

func TestSE(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range seShapes {
			for _, variant := range variants {
				t.Run(fmt.Sprintf("%v/%s", s, variant), func(t *testing.T) { testSE(t, dev, variant, s[0], s[1], s[2], s[3], s[4]) })
			}
		}
	})
}

func testSE(t *testing.T, dev *vk.Device, variant string, n, c, r, hw, parts int) {
	fwd, err := kernels.NewSEFwd(dev, kernels.SEFwdConfig{N: n, C: c, R: r, Variant: variant})
	require.NoError(t, err)
	bwd, err := kernels.NewSEBwd(dev, kernels.SEBwdConfig{N: n, C: c, R: r, HW: hw, Parts: parts, Variant: variant})
	require.NoError(t, err)
	f := newFixture(t, dev)
	var want ref.SEWeights
	var w1, b1, w2, b2 vk.Range
	w1, want.W1 = f.random(true, r*c, -1, 1)
	b1, want.B1 = f.random(true, r, -1, 1)
	w2, want.W2 = f.random(true, c*r, -1, 1)
	b2, want.B2 = f.random(true, c, -1, 1)
	pool, wantPool := f.random(true, n*c, -1, 1)
	sums, wantSums := f.random(true, n*parts*3*c, -1, 1)
	hidden, gate := f.Output(n*r), f.Output(n*c)
	e, sumsOut := f.Output(n*c), f.Output(n*3*c)
	dw1, db1, dw2, db2 := f.Output(r*c), f.Output(r), f.Output(c*r), f.Output(c)
	scratch := f.OutputBytes(bwd.ScratchBytes())
	f.Run(func(rec *vk.Recorder) {
		fwd.Record(rec, kernels.SEFwdArgs{Pool: pool, W1: w1, B1: b1, W2: w2, B2: b2, Hidden: hidden.Range(), Gate: gate.Range()})
		bwd.Record(rec, kernels.SEBwdArgs{Sums: sums, Gate: gate.Range(), Hidden: hidden.Range(), Pool: pool, W1: w1, W2: w2,
			S: sumsOut.Range(), E: e.Range(), DW1: dw1.Range(), DB1: db1.Range(), DW2: dw2.Range(), DB2: db2.Range(),
			Scratch: scratch.Range()})
	})
	wantHidden, wantGate := ref.SEFwd(wantPool, want, n, c, r)
	merged := ref.MergeSums(wantSums, n, parts, 3*c)
	wantE, wantDW := ref.SEBwd(merged, wantGate, wantHidden, wantPool, want, n, c, r, hw)
	tol := shadertest.Tol{NMSE: 1e-11}
	for _, v := range []struct {
		name string
		got  *shadertest.Buf
		want []float64
	}{
		{"hidden", hidden, wantHidden}, {"gate", gate, wantGate}, {"s", sumsOut, merged}, {"e", e, wantE},
		{"dw1", dw1, wantDW.W1}, {"db1", db1, wantDW.B1}, {"dw2", dw2, wantDW.W2}, {"db2", db2, wantDW.B2},
	} {
		shadertest.Compare(t, v.name, v.got.Float32s(), v.want, tol)
	}
}

func TestSEErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	var shape *kernels.ShapeError
	_, err := kernels.NewSEFwd(dev, kernels.SEFwdConfig{N: 1, C: 12, R: 1})
	assert.ErrorAs(t, err, &shape)
	_, err = kernels.NewSEBwd(dev, kernels.SEBwdConfig{N: 1, C: 8, R: 1, HW: 0, Parts: 1})
	assert.ErrorAs(t, err, &shape)
	_, err = kernels.NewPool(dev, kernels.PoolConfig{N: 1, HW: 1, C: 8, Grad: true})
	assert.ErrorAs(t, err, &shape)
	var unsupported *vk.UnsupportedError
	_, err = kernels.NewSEFwd(dev, kernels.SEFwdConfig{N: 1, C: 8, R: 1 << 20})
	assert.ErrorAs(t, err, &unsupported)
}
