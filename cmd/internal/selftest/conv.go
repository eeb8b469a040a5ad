package selftest

import (
	"fmt"
	"slices"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// The shapes are those that find most faults: fewer rows and columns than any tile, more than one tile in both directions
// with a rest, odd sizes at stride 2, both paddings.
var (
	denseShapes = []kernels.Conv{
		kernels.NewConv(2, 1, 1, 8, 8, 1, 1, kernels.PadTorch),
		kernels.NewConv(2, 13, 11, 40, 72, 1, 1, kernels.PadTorch),
		kernels.NewConv(1, 11, 13, 24, 40, 3, 1, kernels.PadSame),
		kernels.NewConv(2, 9, 8, 16, 24, 3, 2, kernels.PadTorch),
		kernels.NewConv(1, 8, 12, 16, 72, 3, 2, kernels.PadSame),
	}
	stemShape       = kernels.NewConv(2, 17, 12, 3, 24, 3, 2, kernels.PadTorch)
	depthwiseShapes = []kernels.Conv{
		kernels.NewConv(2, 1, 1, 8, 8, 3, 1, kernels.PadTorch),
		kernels.NewConv(2, 9, 11, 72, 72, 3, 1, kernels.PadTorch),
		kernels.NewConv(1, 8, 13, 24, 24, 3, 2, kernels.PadSame),
		kernels.NewConv(2, 7, 10, 24, 24, 5, 1, kernels.PadTorch),
		kernels.NewConv(1, 11, 8, 40, 40, 5, 2, kernels.PadTorch),
	}
)

// fusion is what a convolution does on load and on store beside convolving.
type fusion struct {
	in   kernels.Pending
	dy   kernels.GradIn
	sink kernels.Sink
}

// plain is what --no-fuse leaves; fused are the combinations that occur in EfficientNetV2.
var (
	plain = []fusion{{}}
	fused = []fusion{
		{kernels.Pending{BN: true, Act: kernels.SiLU}, kernels.GradIn{BN: true, Act: kernels.SiLU}, kernels.Sink{Act: kernels.SiLU}},
		{kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}, kernels.GradIn{BN: true, Keep: true}, kernels.Sink{SE: true, Act: kernels.SiLU}},
		{kernels.Pending{BN: true}, kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}, kernels.Sink{Add: true, Sums: true, Keep: true}},
		{kernels.Pending{}, kernels.GradIn{BN: true, Gate: true, NoG: true, Act: kernels.SiLU}, kernels.Sink{Add: true, Keep: true, SumsOnly: true, Act: kernels.SiLU}},
	}
)

// pointShapes and pointFused are what kernels.ConvBwd takes.
var (
	pointShapes = append(denseShapes[:2:2],
		kernels.NewConv(3, 7, 7, 72, 256, 1, 1, kernels.PadTorch),
		kernels.NewConv(5, 10, 10, 72, 160, 1, 1, kernels.PadTorch))
	pointFused = []fusion{
		fused[0], fused[1],
		{kernels.Pending{BN: true, Act: kernels.SiLU}, kernels.GradIn{BN: true, Keep: true, Act: kernels.SiLU}, kernels.Sink{Add: true, Act: kernels.SiLU}},
	}
)

// convTest is a test of a variant over shapes and forms: in float32 every form with the first two shapes, and every other
// shape with one of them.
func convTest(kernel, variant, hint string, shapes []kernels.Conv, list []fusion, run func(*bed, kernels.Conv, fusion)) test {
	return test{kernel: kernel, variant: variant, hint: hint, run: func(b *bed) {
		for i, c := range shapes {
			c.Elem = b.elem
			for j, f := range list {
				if j == i%len(list) || i < 2 && b.elem == kernels.F32 {
					run(b, c, f)
					b.release()
				}
			}
		}
	}}
}

// depthwiseFused are what kernels.DepthwiseBwd takes.
var depthwiseFused = []fusion{
	{dy: kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU}, sink: kernels.Sink{Act: kernels.SiLU, Sums: true}},
	{dy: kernels.GradIn{BN: true, Act: kernels.SiLU}, sink: kernels.Sink{Add: true, Act: kernels.SiLU, Sums: true}},
}

// fusedTests makes tests of the plain and of the fused forms of a variant.
func fusedTests(kernel, variant string, shapes []kernels.Conv, run func(*bed, kernels.Conv, fusion)) []test {
	both := []test{convTest(kernel, variant, hintDriver, shapes, plain, run), convTest(kernel, variant+" fused", hintFused, shapes, fused, run)}
	return append(both, inHalf(both[1:])...)
}

func denseTests() []test {
	var list []test
	for _, variant := range []string{"simple", "tiled", "uniform", "coopmat"} {
		fwd := func(b *bed, c kernels.Conv, f fusion) { b.convFwd(c, f, variant) }
		dgrad := func(b *bed, c kernels.Conv, f fusion) { b.convDgrad(c, f, variant) }
		wgrad := func(b *bed, c kernels.Conv, f fusion) { b.convWgrad(c, f, variant) }
		forms := slices.Concat(fusedTests("conv fwd", variant, denseShapes, fwd), fusedTests("conv dgrad", variant, denseShapes, dgrad),
			fusedTests("conv wgrad", variant, denseShapes, wgrad))
		switch variant {
		case "uniform": // nothing fused, nothing of 16 bits
			forms = slices.DeleteFunc(forms, func(t test) bool { return t.hint != hintDriver })
		case "coopmat": // of 16 bits only
			forms = slices.DeleteFunc(forms, func(t test) bool { return t.elem == kernels.F32 })
			for i := range forms {
				forms[i].hint = hintCoopmat
			}
		default:
			forms = append(forms, stemTests(variant, fwd, wgrad)...)
		}
		list = append(list, forms...)
	}
	for _, variant := range []string{"simple", "tiled"} {
		bwd := []test{{kernel: "conv bwd", variant: variant, hint: hintFused, run: func(b *bed) {
			for i, c := range pointShapes {
				c.Elem = b.elem
				b.convBwd(c, pointFused[i%len(pointFused)], variant)
				b.release()
			}
		}}}
		list = append(list, slices.Concat(bwd, inHalf(bwd))...)
	}
	pack := []test{{kernel: "pack", hint: hintDriver, run: packs}}
	return slices.Concat(list, pack, inHalf(pack))
}

// stemTests are those of a convolution of an image, on which nothing is pending.
func stemTests(variant string, fwd, wgrad func(*bed, kernels.Conv, fusion)) []test {
	both := []test{
		{kernel: "conv fwd, stem", variant: variant, hint: hintDriver, run: func(b *bed) {
			c := stemShape
			c.Elem = b.elem
			fwd(b, c, fusion{})
		}},
		{kernel: "conv wgrad, stem", variant: variant, hint: hintDriver, run: func(b *bed) {
			c := stemShape
			c.Elem = b.elem
			for _, f := range append(plain, fused[0], fused[2]) {
				f.in = kernels.Pending{}
				wgrad(b, c, f)
			}
		}},
	}
	return append(both, inHalf(both)...)
}

// cutVariants are the ways to cut up the work of kernels over channels: few long workgroups for CPU drivers, many for GPUs.
var cutVariants = []string{"narrow", "wide"}

func depthwiseTests() []test {
	var list []test
	for _, variant := range cutVariants {
		list = append(list, fusedTests("depthwise fwd", variant, depthwiseShapes, func(b *bed, c kernels.Conv, f fusion) { b.depthwiseFwd(c, f, variant) })...)
		list = append(list, fusedTests("depthwise dgrad", variant, depthwiseShapes, func(b *bed, c kernels.Conv, f fusion) { b.depthwiseDgrad(c, f, variant) })...)
		list = append(list, fusedTests("depthwise wgrad", variant, depthwiseShapes, func(b *bed, c kernels.Conv, f fusion) { b.depthwiseWgrad(c, f, variant) })...)
		bwd := func(b *bed, c kernels.Conv, f fusion) { b.depthwiseBwd(c, f, variant) }
		both := []test{convTest("depthwise bwd", variant, hintFused, depthwiseShapes[:3], depthwiseFused, bwd)}
		list = append(list, slices.Concat(both, inHalf(both))...)
	}
	return list
}

func (b *bed) convFwd(c kernels.Conv, f fusion, variant string) {
	for _, infer := range []bool{false, true} { // statistics in training; bias, activation and skip in inference
		cfg := kernels.ConvFwdConfig{Conv: c, In: f.in, Stats: !infer, Bias: infer, Add: infer, Variant: variant}
		if infer {
			cfg.ActOut = kernels.SiLU
		}
		op, err := kernels.NewConvFwd(b.dev, cfg)
		if !b.made(err) {
			return
		}
		x, wantX := b.tensor(f.in, c.N, c.H*c.W, c.C)
		wt, wantW := b.activation(true, c.R*c.S*c.C*c.K, -1, 1)
		bias, wantBias := b.input(infer, c.K, -1, 1)
		add, wantAdd := b.activation(infer, c.N*c.P*c.Q*c.K, -1, 1)
		y, stats := b.activations(c.N*c.P*c.Q*c.K), b.outputBytes(op.StatsBytes())
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.ConvFwdArgs{X: x, WT: wt, Bias: bias, Add: add, Y: y.rng(), Stats: stats.rng()})
		})
		want := ref.Epilogue(ref.ConvFwd(c, ref.Value(f.in, wantX, c.N, c.H*c.W, c.C), wantW), wantBias, wantAdd, cfg.ActOut, c.K)
		b.compare("y", y.readActivations(len(want)), want)
		if stats != nil {
			b.compareStats(stats, op.Parts(), want, c.K)
		}
		b.release()
	}
}

func (b *bed) convDgrad(c kernels.Conv, f fusion, variant string) {
	op, err := kernels.NewConvDgrad(b.dev, kernels.ConvDgradConfig{Conv: c, DY: f.dy, Sink: f.sink, Variant: variant})
	if !b.made(err) {
		return
	}
	dy, wantDY := b.grad(f.dy, c.N, c.P*c.Q, c.K)
	w, wantW := b.input(true, c.K*c.R*c.S*c.C, -1, 1)
	sink := b.sink(f.sink, c.N, c.H*c.W, c.C, op.SumsBytes())
	b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.ConvDgradArgs{DY: dy, W: w, Sink: sink.SinkArgs}) })
	du := ref.ConvDgrad(c, ref.DY(f.dy, wantDY, c.N, c.P*c.Q, c.K), wantW)
	b.compareSink(f.sink, du, sink, c.N, c.H*c.W, c.C, op.Parts())
}

func (b *bed) convWgrad(c kernels.Conv, f fusion, variant string) {
	op, err := kernels.NewConvWgrad(b.dev, kernels.ConvWgradConfig{Conv: c, DY: f.dy, In: f.in, Variant: variant})
	if !b.made(err) {
		return
	}
	dy, wantDY := b.grad(f.dy, c.N, c.P*c.Q, c.K)
	x, wantX := b.tensor(f.in, c.N, c.H*c.W, c.C)
	dw, scratch := b.output(c.K*c.R*c.S*c.C), b.outputBytes(op.ScratchBytes())
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvWgradArgs{DY: dy, X: x, DW: dw.rng(), Scratch: scratch.rng()})
	})
	b.compare("dw", dw.read(), ref.ConvWgrad(c, ref.DY(f.dy, wantDY, c.N, c.P*c.Q, c.K), ref.Value(f.in, wantX, c.N, c.H*c.W, c.C)))
	b.release()
}

func (b *bed) convBwd(c kernels.Conv, f fusion, variant string) {
	hw := c.H * c.W
	op, err := kernels.NewConvBwd(b.dev, kernels.ConvBwdConfig{Conv: c, DY: f.dy, Sink: f.sink, Variant: variant})
	if !b.made(err) {
		return
	}
	grad, wantGrad := b.grad(f.dy, c.N, hw, c.K)
	w, wantW := b.input(true, c.K*c.C, -1, 1)
	gate, wantGate := b.input(f.sink.SE, c.N*c.C, 0, 1)
	sink := b.sink(f.sink, c.N, hw, c.C, op.SumsBytes())
	dw, scratch := b.output(c.K*c.C), b.outputBytes(op.ScratchBytes())
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.ConvBwdArgs{DY: grad, W: w, Gate: gate, Sink: sink.SinkArgs, DW: dw.rng(), Scratch: scratch.rng()})
	})
	dy := ref.DY(f.dy, wantGrad, c.N, hw, c.K)
	x := ref.Value(f.in, ref.Tensor{Raw: sink.want.Y, BN: sink.want.BN, Gate: wantGate}, c.N, hw, c.C)
	b.compareSink(f.sink, ref.ConvDgrad(c, dy, wantW), sink, c.N, hw, c.C, op.Parts())
	b.compare("dw", dw.read(), ref.ConvWgrad(c, dy, x))
}

func (b *bed) depthwiseFwd(c kernels.Conv, f fusion, variant string) {
	for _, infer := range []bool{false, true} {
		cfg := kernels.DepthwiseFwdConfig{Conv: c, In: f.in, Stats: !infer, Bias: infer, Variant: variant}
		if infer {
			cfg.ActOut = kernels.SiLU
		}
		op, err := kernels.NewDepthwiseFwd(b.dev, cfg)
		if !b.made(err) {
			return
		}
		x, wantX := b.tensor(f.in, c.N, c.H*c.W, c.C)
		w, wantW := b.input(true, c.R*c.S*c.C, -1, 1)
		bias, wantBias := b.input(infer, c.C, -1, 1)
		y, stats := b.activations(c.N*c.P*c.Q*c.C), b.outputBytes(op.StatsBytes())
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.DepthwiseFwdArgs{X: x, W: w, Bias: bias, Y: y.rng(), Stats: stats.rng()})
		})
		want := ref.Epilogue(ref.DepthwiseFwd(c, ref.Value(f.in, wantX, c.N, c.H*c.W, c.C), wantW), wantBias, nil, cfg.ActOut, c.C)
		b.compare("y", y.readActivations(len(want)), want)
		if stats != nil {
			b.compareStats(stats, op.Parts(), want, c.C)
		}
		b.release()
	}
}

func (b *bed) depthwiseDgrad(c kernels.Conv, f fusion, variant string) {
	op, err := kernels.NewDepthwiseDgrad(b.dev, kernels.DepthwiseDgradConfig{Conv: c, DY: f.dy, Sink: f.sink, Variant: variant})
	if !b.made(err) {
		return
	}
	dy, wantDY := b.grad(f.dy, c.N, c.P*c.Q, c.C)
	w, wantW := b.input(true, c.R*c.S*c.C, -1, 1)
	sink := b.sink(f.sink, c.N, c.H*c.W, c.C, op.SumsBytes())
	b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.DepthwiseDgradArgs{DY: dy, W: w, Sink: sink.SinkArgs}) })
	du := ref.DepthwiseDgrad(c, ref.DY(f.dy, wantDY, c.N, c.P*c.Q, c.C), wantW)
	b.compareSink(f.sink, du, sink, c.N, c.H*c.W, c.C, op.Parts())
}

func (b *bed) depthwiseWgrad(c kernels.Conv, f fusion, variant string) {
	op, err := kernels.NewDepthwiseWgrad(b.dev, kernels.DepthwiseWgradConfig{Conv: c, DY: f.dy, In: f.in, Variant: variant})
	if !b.made(err) {
		return
	}
	dy, wantDY := b.grad(f.dy, c.N, c.P*c.Q, c.C)
	x, wantX := b.tensor(f.in, c.N, c.H*c.W, c.C)
	dw, scratch := b.output(c.R*c.S*c.C), b.outputBytes(op.ScratchBytes())
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseWgradArgs{DY: dy, X: x, DW: dw.rng(), Scratch: scratch.rng()})
	})
	b.compare("dw", dw.read(), ref.DepthwiseWgrad(c, ref.DY(f.dy, wantDY, c.N, c.P*c.Q, c.C), ref.Value(f.in, wantX, c.N, c.H*c.W, c.C)))
}

func (b *bed) depthwiseBwd(c kernels.Conv, f fusion, variant string) {
	op, err := kernels.NewDepthwiseBwd(b.dev, kernels.DepthwiseBwdConfig{Conv: c, DY: f.dy, Sink: f.sink, Variant: variant})
	if !b.made(err) {
		return
	}
	grad, wantGrad := b.grad(f.dy, c.N, c.P*c.Q, c.C)
	w, wantW := b.input(true, c.R*c.S*c.C, -1, 1)
	sink := b.sink(f.sink, c.N, c.H*c.W, c.C, op.SumsBytes())
	dw, scratch := b.output(c.R*c.S*c.C), b.outputBytes(op.ScratchBytes())
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.DepthwiseBwdArgs{DY: grad, W: w, DW: dw.rng(), Scratch: scratch.rng(), Sink: sink.SinkArgs})
	})
	dy := ref.DY(f.dy, wantGrad, c.N, c.P*c.Q, c.C)
	x := ref.Value(kernels.Pending{BN: true, Act: f.sink.Act}, ref.Tensor{Raw: sink.want.Y, BN: sink.want.BN}, c.N, c.H*c.W, c.C)
	b.compareSink(f.sink, ref.DepthwiseDgrad(c, dy, wantW), sink, c.N, c.H*c.W, c.C, op.Parts())
	b.compare("dw", dw.read(), ref.DepthwiseWgrad(c, dy, x))
}

// packs transposes weights and folds batch norms into them.
func packs(b *bed) {
	for _, cfg := range []kernels.PackConfig{
		{K: 24, RSC: 27},
		{K: 40, RSC: 72, Fold: true, Eps: 1e-3},
		{K: 72, RSC: 25, Depthwise: true, Fold: true, Eps: 1e-3},
	} {
		if !cfg.Depthwise { // whose weights are float32
			cfg.Elem = b.elem
		}
		op, err := kernels.NewPack(b.dev, cfg)
		if !b.made(err) {
			return
		}
		w, want := b.input(true, cfg.K*cfg.RSC, -1, 1)
		gamma, wantGamma := b.input(cfg.Fold, cfg.K, -1, 1)
		beta, wantBeta := b.input(cfg.Fold, cfg.K, -1, 1)
		mean, wantMean := b.input(cfg.Fold, cfg.K, -1, 1)
		variance, wantVar := b.input(cfg.Fold, cfg.K, 0, 2)
		wt, bias := b.outputBytes(int64(cfg.K*cfg.RSC)*cfg.Elem.Bytes()), b.output(cfg.K)
		args := kernels.PackArgs{W: w, WT: wt.rng(), Gamma: gamma, Beta: beta, Mean: mean, Var: variance}
		if cfg.Fold {
			args.Bias = bias.rng()
		}
		b.run(func(rec *vk.Recorder) { op.Record(rec, args) })
		if !cfg.Depthwise {
			want = ref.Transpose(want, cfg.K, cfg.RSC)
		}
		if cfg.Fold {
			var wantBias []float64
			want, wantBias = ref.Fold(want, wantGamma, wantBeta, wantMean, wantVar, float64(cfg.Eps))
			b.compare("bias", bias.read(), wantBias)
		}
		got := wt.read
		if !cfg.Depthwise {
			got = func() []float64 { return wt.readActivations(len(want)) }
		}
		b.compare(fmt.Sprintf("wt of %+v", cfg), got(), want)
		b.release()
	}
}
