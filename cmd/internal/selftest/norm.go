package selftest

import (
	"slices"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func normTests() []test {
	stored := cutTests([]cutTest{{"apply", apply}, {"apply grad", applyGrad}, {"apply sink", applySink}})
	return slices.Concat(cutTests([]cutTest{{"bn finalize", bnFinalize}, {"bn backward", bnBackward}, {"bn backward se", bnBackwardSE}}),
		stored, inHalf(stored))
}

// cutTest is a test of a kernel over channels that takes a variant.
type cutTest struct {
	kernel string
	run    func(b *bed, variant string)
}

func cutTests(tests []cutTest) []test {
	var list []test
	for _, t := range tests {
		for _, variant := range cutVariants {
			list = append(list, test{kernel: t.kernel, variant: variant, hint: hintDriver, run: func(b *bed) { t.run(b, variant) }})
		}
	}
	return list
}

// bnFinalize takes statistics of numbers around 1000, where sums of squares would cancel.
func bnFinalize(b *bed, variant string) {
	for _, s := range []struct {
		c, parts, rows int
		mean           float64
	}{{8, 1, 1, 0}, {40, 67, 201, 1}, {24, 5, 1003, 1000}} {
		const eps, momentum = 1e-3, 0.1
		op, err := kernels.NewBNFinalize(b.dev, kernels.BNFinalizeConfig{C: s.c, Parts: s.parts, M: s.rows, Eps: eps, Momentum: momentum, Variant: variant})
		if !b.made(err) {
			return
		}
		y := b.uniform(s.rows*s.c, s.mean-1.7, s.mean+1.7)
		stats := make([]float64, s.parts*2*s.c+(s.parts+3)/4*4)
		for p, at := 0, 0; p < s.parts; p++ {
			n := (s.rows - at) / (s.parts - p)
			copy(stats[p*2*s.c:], ref.Stats(y[at*s.c:(at+n)*s.c], s.c))
			stats[s.parts*2*s.c+p] = float64(n)
			at += n
		}
		gamma, wantGamma := b.input(true, s.c, -1, 1)
		beta, wantBeta := b.input(true, s.c, -1, 1)
		mean, variance := b.uniform(s.c, -1, 1), b.uniform(s.c, 0, 2)
		in, runMean, runVar, bn := b.floats(stats), b.floats(mean), b.floats(variance), b.output(6*s.c)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.BNFinalizeArgs{Stats: in.rng(), Gamma: gamma, Beta: beta, RunMean: runMean.rng(), RunVar: runVar.rng(), BN: bn.rng()})
		})
		want, wantMean, wantVar := ref.BNFinalize(ref.Stats(y, s.c), wantGamma, wantBeta, mean, variance, s.rows, eps, momentum)
		got := bn.read()
		for row, name := range []string{"mean", "scale", "beta", "rstd"} {
			b.compare(name, got[row*s.c:][:s.c], want[row*s.c:][:s.c])
		}
		b.compare("running mean", runMean.read(), wantMean)
		b.compare("running variance", runVar.read(), wantVar)
		b.release()
	}
}

func bnBackward(b *bed, variant string) {
	for _, s := range [][3]int{{8, 1, 1}, {136, 67, 1000}} {
		c, parts, m := s[0], s[1], s[2]
		op, err := kernels.NewBNBackward(b.dev, kernels.BNBackwardConfig{C: c, Parts: parts, M: m, Variant: variant})
		if !b.made(err) {
			return
		}
		sums, wantSums := b.input(true, parts*2*c, -1, 1)
		rows := b.uniform(6*c, -1, 1)
		bn, dGamma, dBeta := b.floats(rows), b.output(c), b.output(c)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.BNBackwardArgs{Sums: sums, BN: bn.rng(), DGamma: dGamma.rng(), DBeta: dBeta.rng()})
		})
		wantGamma, wantBeta := ref.BNBackward(rows, ref.MergeSums(wantSums, 1, parts, 2*c), m)
		b.compare("bn", bn.read(), rows)
		b.compare("dgamma", dGamma.read(), wantGamma)
		b.compare("dbeta", dBeta.read(), wantBeta)
		b.release()
	}
}

func bnBackwardSE(b *bed, variant string) {
	for _, noG := range []bool{false, true} {
		const n, c = 5, 136
		op, err := kernels.NewBNBackwardSE(b.dev, kernels.BNBackwardSEConfig{N: n, C: c, M: 7 * n, NoG: noG, Variant: variant})
		if !b.made(err) {
			return
		}
		s, wantS := b.input(!noG, n*3*c, -1, 1)
		gate, wantGate := b.input(!noG, n*c, 0, 1)
		e, wantE := b.input(true, n*c, -1, 1)
		pool, wantPool := b.input(true, 3*n*c, -1, 1)
		rows := b.uniform(6*c, -1, 1)
		bn, dGamma, dBeta := b.floats(rows), b.output(c), b.output(c)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.BNBackwardSEArgs{S: s, Gate: gate, E: e, Pool: pool, BN: bn.rng(), DGamma: dGamma.rng(), DBeta: dBeta.rng()})
		})
		wantGamma, wantBeta := ref.BNBackwardSE(rows, wantS, wantGate, wantE, wantPool, n, 7*n)
		b.compare("bn", bn.read(), rows)
		b.compare("dgamma", dGamma.read(), wantGamma)
		b.compare("dbeta", dBeta.read(), wantBeta)
		b.release()
	}
}

// applyShape is [N HW C] with a rest in every direction.
const applyN, applyHW, applyC = 3, 131, 40

func apply(b *bed, variant string) {
	for _, cfg := range []kernels.ApplyConfig{
		{In: kernels.Pending{BN: true}, Keep: true, Skip: true},
		{In: kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}},
	} {
		cfg.N, cfg.HW, cfg.C, cfg.Variant, cfg.Elem = applyN, applyHW, applyC, variant, b.elem
		op, err := kernels.NewApply(b.dev, cfg)
		if !b.made(err) {
			return
		}
		x, wantX := b.tensor(cfg.In, cfg.N, cfg.HW, cfg.C)
		keep, wantKeep := b.input(cfg.Keep, cfg.N, 0, 1.5)
		skip, wantSkip := b.activation(cfg.Skip, cfg.N*cfg.HW*cfg.C, -1, 1)
		size := cfg.N * cfg.HW * cfg.C
		out := b.activations(size)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ApplyArgs{X: x, Keep: keep, Skip: skip, Out: out.rng()})
		})
		b.compare("out", out.readActivations(size), ref.Apply(cfg.In, wantX, wantKeep, wantSkip, cfg.N, cfg.HW, cfg.C))
		b.release()
	}
}

func applyGrad(b *bed, variant string) {
	for _, f := range fused {
		cfg := kernels.ApplyGradConfig{N: applyN, HW: applyHW, C: applyC, DY: f.dy, Variant: variant, Elem: b.elem}
		op, err := kernels.NewApplyGrad(b.dev, cfg)
		if !b.made(err) {
			return
		}
		dy, wantDY := b.grad(f.dy, cfg.N, cfg.HW, cfg.C)
		size := cfg.N * cfg.HW * cfg.C
		out := b.activations(size)
		b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.ApplyGradArgs{DY: dy, Out: out.rng()}) })
		b.compare("out", out.readActivations(size), ref.DY(f.dy, wantDY, cfg.N, cfg.HW, cfg.C))
		b.release()
	}
}

func applySink(b *bed, variant string) {
	for _, f := range fused {
		cfg := kernels.ApplySinkConfig{N: applyN, HW: applyHW, C: applyC, Sink: f.sink, Variant: variant, Elem: b.elem}
		op, err := kernels.NewApplySink(b.dev, cfg)
		if !b.made(err) {
			return
		}
		du, wantDU := b.activation(true, cfg.N*cfg.HW*cfg.C, -1, 1)
		sink := b.sink(f.sink, cfg.N, cfg.HW, cfg.C, op.SumsBytes())
		b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.ApplySinkArgs{DU: du, Sink: sink.SinkArgs}) })
		b.compareSink(f.sink, wantDU, sink, cfg.N, cfg.HW, cfg.C, op.Parts())
		b.release()
	}
}
