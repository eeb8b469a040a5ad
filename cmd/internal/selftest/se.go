package selftest

import (
	"slices"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func seTests() []test {
	pools := cutTests([]cutTest{{"pool", pool}})
	return slices.Concat(pools, inHalf(pools), cutTests([]cutTest{{"se fwd, bwd", squeezeExcite}}))
}

func pool(b *bed, variant string) {
	for _, cfg := range []kernels.PoolConfig{
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}, Grad: true},
		{In: kernels.Pending{BN: true, Act: kernels.SiLU}},
		{},
	} {
		cfg.N, cfg.HW, cfg.C, cfg.Variant, cfg.Elem = applyN, applyHW, applyC, variant, b.elem
		op, err := kernels.NewPool(b.dev, cfg)
		if !b.made(err) {
			return
		}
		x, wantX := b.tensor(cfg.In, cfg.N, cfg.HW, cfg.C)
		want := ref.Pool(cfg.In, wantX, cfg.Grad, cfg.N, cfg.HW, cfg.C)
		out := b.outputBytes(op.PoolBytes())
		b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.PoolArgs{X: x, Pool: out.rng()}) })
		got, row := out.read(), cfg.N*cfg.C
		for i, name := range []string{"mean", "s2", "s4"}[:len(want)/row] {
			b.compare(name, got[i*row:][:row], want[i*row:][:row])
		}
		b.release()
	}
}

// squeezeExcite runs the two small layers forward and backward.
func squeezeExcite(b *bed, variant string) {
	for _, s := range [][5]int{{1, 8, 1, 1, 1}, {5, 136, 37, 49, 3}, {2, 672, 28, 4, 1}} {
		n, c, r, hw, parts := s[0], s[1], s[2], s[3], s[4]
		fwd, err := kernels.NewSEFwd(b.dev, kernels.SEFwdConfig{N: n, C: c, R: r, Variant: variant})
		if !b.made(err) {
			return
		}
		bwd, err := kernels.NewSEBwd(b.dev, kernels.SEBwdConfig{N: n, C: c, R: r, HW: hw, Parts: parts, Variant: variant})
		if !b.made(err) {
			return
		}
		var want ref.SEWeights
		var w1, b1, w2, b2 vk.Range
		w1, want.W1 = b.input(true, r*c, -1, 1)
		b1, want.B1 = b.input(true, r, -1, 1)
		w2, want.W2 = b.input(true, c*r, -1, 1)
		b2, want.B2 = b.input(true, c, -1, 1)
		pool, wantPool := b.input(true, n*c, -1, 1)
		sums, wantSums := b.input(true, n*parts*3*c, -1, 1)
		hidden, gate, e, merged := b.output(n*r), b.output(n*c), b.output(n*c), b.output(n*3*c)
		dw1, db1, dw2, db2 := b.output(r*c), b.output(r), b.output(c*r), b.output(c)
		scratch := b.outputBytes(bwd.ScratchBytes())
		b.run(func(rec *vk.Recorder) {
			fwd.Record(rec, kernels.SEFwdArgs{Pool: pool, W1: w1, B1: b1, W2: w2, B2: b2, Hidden: hidden.rng(), Gate: gate.rng()})
			bwd.Record(rec, kernels.SEBwdArgs{Sums: sums, Gate: gate.rng(), Hidden: hidden.rng(), Pool: pool, W1: w1, W2: w2,
				S: merged.rng(), E: e.rng(), DW1: dw1.rng(), DB1: db1.rng(), DW2: dw2.rng(), DB2: db2.rng(), Scratch: scratch.rng()})
		})
		wantHidden, wantGate := ref.SEFwd(wantPool, want, n, c, r)
		wantMerged := ref.MergeSums(wantSums, n, parts, 3*c)
		wantE, wantDW := ref.SEBwd(wantMerged, wantGate, wantHidden, wantPool, want, n, c, r, hw)
		for _, v := range []struct {
			name string
			got  *buffer
			want []float64
		}{
			{"hidden", hidden, wantHidden}, {"gate", gate, wantGate}, {"s", merged, wantMerged}, {"e", e, wantE},
			{"dw1", dw1, wantDW.W1}, {"db1", db1, wantDW.B1}, {"dw2", dw2, wantDW.W2}, {"db2", db2, wantDW.B2},
		} {
			b.compare(v.name, v.got.read(), v.want)
		}
		b.release()
	}
}
