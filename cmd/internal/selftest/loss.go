package selftest

import (
	"encoding/binary"
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/vk"
)

func lossTests() []test {
	return []test{
		{kernel: "dropout", hint: hintDriver, run: dropout},
		{kernel: "keep mask", hint: hintDriver, run: keepMask},
		{kernel: "targets, loss", hint: hintDriver, run: loss},
		{kernel: "bias grad", hint: hintDriver, run: biasGrad},
		{kernel: "metrics", hint: hintDriver, run: metrics},
		{kernel: "gradient norm", hint: hintDriver, run: gradNorm},
		{kernel: "rmsprop", hint: hintDriver, run: rmsprop},
		{kernel: "sgd", hint: hintDriver, run: sgd},
		{kernel: "ema", hint: hintDriver, run: ema},
	}
}

// scalars are a step of the published recipe with numbers that show after one step.
var scalars = kernels.StepScalars{Step: 7, SeedLo: 11, LR: 0.05, Momentum: 0.9, Rho: 0.9, Eps: 1e-3, WeightDecay: 0.02, EMADecay: 0.75,
	Dropout: 0.3, DropPath: 0.4, Smoothing: 0.1}

var philox = kernels.Philox{Seed: 11}

// lossScale is one that a step changes: without an overflow it doubles.
var lossScale = kernels.LossScale{Factor: 4, Good: 8, Skipped: 3, Interval: 9}

// scale makes a loss scale's buffer.
func (b *bed) scale(s kernels.LossScale) *buffer {
	return b.words([]uint32{math.Float32bits(s.Factor), s.Good, s.Skipped, s.Interval})
}

// step makes a step buffer.
func (b *bed) step(s kernels.StepScalars) vk.Range {
	var data [kernels.StepBytes]byte
	s.Encode(data[:])
	words := make([]uint32, len(data)/4)
	for i := range words {
		words[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	return b.words(words).rng()
}

func dropout(b *bed) {
	const n, c, stream, scale = 3, 1288, 1, 1.5
	op, err := kernels.NewDropout(b.dev, kernels.DropoutConfig{N: n, C: c, Stream: stream, Scale: scale})
	if !b.made(err) {
		return
	}
	x, wantX := b.input(true, n*c, -1, 1)
	y, step := b.output(n*c), b.step(scalars)
	b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.DropoutArgs{X: x, Y: y.rng(), Step: step}) })
	b.compare("y", y.read(), ref.Dropout(philox, scalars.Step, stream, float64(scalars.Dropout), scale, wantX))
}

func keepMask(b *bed) {
	const blocks, n = 40, 13
	op, err := kernels.NewKeepMask(b.dev, kernels.KeepMaskConfig{Blocks: blocks, N: n})
	if !b.made(err) {
		return
	}
	keep, step := b.output(blocks*n), b.step(scalars)
	b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.KeepMaskArgs{Step: step, Keep: keep.rng()}) })
	b.compare("keep", keep.read(), ref.KeepMask(philox, scalars.Step, float64(scalars.DropPath), blocks, n))
}

// loss makes targets of mixed labels and takes the loss of large logits against them.
func loss(b *bed) {
	for _, s := range [][2]int{{5, 10}, {3, 1000}} {
		n, classes := s[0], s[1]
		ld := (classes + 7) / 8 * 8
		targets, err := kernels.NewTargets(b.dev, kernels.TargetsConfig{N: n, Classes: classes, Ld: ld})
		if !b.made(err) {
			return
		}
		op, err := kernels.NewLoss(b.dev, kernels.LossConfig{N: n, Classes: classes, Ld: ld, Grad: true})
		if !b.made(err) {
			return
		}
		var labels []ref.Label
		var words []uint32
		for i := range n {
			l := ref.Label{A: uint32(i * 7 % classes), B: uint32((i*5 + 1) % classes), Lambda: 0.75, Weight: float64(min(i, 1))}
			labels = append(labels, l)
			words = append(words, l.A, l.B, math.Float32bits(float32(l.Lambda)), math.Float32bits(float32(l.Weight)))
		}
		in, step, scale := b.words(words), b.step(scalars), b.scale(lossScale)
		logits, wantLogits := b.input(true, n*ld, 900, 1000)
		soft, dLogits, out := b.output(n*ld), b.output(n*ld), b.output(4*n)
		b.run(func(rec *vk.Recorder) {
			targets.Record(rec, kernels.TargetsArgs{Labels: in.rng(), Step: step, Targets: soft.rng()})
			op.Record(rec, kernels.LossArgs{Logits: logits, Targets: soft.rng(), LossScale: scale.rng(), DLogits: dLogits.rng(), Out: out.rng()})
		})
		wantSoft := ref.Targets(labels, classes, ld, float64(scalars.Smoothing))
		wantOut, wantGrad := ref.Loss(wantLogits, wantSoft, classes, ld, float64(lossScale.Factor))
		b.compare("targets", soft.read(), wantSoft)
		b.compare("loss and hits", out.read(), wantOut)
		b.compare("dlogits", dLogits.read(), wantGrad)
		b.release()
	}
}

func biasGrad(b *bed) {
	const n, k = 13, 1000
	op, err := kernels.NewBiasGrad(b.dev, kernels.BiasGradConfig{N: n, K: k})
	if !b.made(err) {
		return
	}
	dy, wantDY := b.input(true, n*k, -1, 1)
	db := b.output(k)
	b.run(func(rec *vk.Recorder) { op.Record(rec, kernels.BiasGradArgs{DY: dy, DB: db.rng()}) })
	b.compare("db", db.read(), ref.BiasGrad(wantDY, k))
}

func metrics(b *bed) {
	const n = 131
	op, err := kernels.NewMetrics(b.dev, kernels.MetricsConfig{N: n})
	if !b.made(err) {
		return
	}
	rows, norm := b.uniform(4*n, 0, 3), []float64{1.5, 1, 0, 4}
	for i := range n {
		rows[4*i+1], rows[4*i+2], rows[4*i+3] = float64(i%2), 1, 0
	}
	in, normIn, scale, out := b.floats(rows), b.floats(norm), b.scale(lossScale), b.output(8)
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.MetricsArgs{Loss: in.rng(), Norm: normIn.rng(), LossScale: scale.rng(), Out: out.rng()})
	})
	b.compare("metrics", out.read(), ref.Metrics(rows, norm, int(lossScale.Skipped)))
}

// flatCount is a few workgroups of a flat range and a rest.
const flatCount = 70004

func gradNorm(b *bed) {
	for _, clip := range []float32{0, 1} {
		op, err := kernels.NewGradNorm(b.dev, kernels.GradNormConfig{Count: flatCount})
		if !b.made(err) {
			return
		}
		s := scalars
		s.ClipNorm = clip
		g, wantG := b.input(true, flatCount, -1, 1)
		scratch, out, step, scale := b.outputBytes(op.ScratchBytes()), b.output(4), b.step(s), b.scale(lossScale)
		b.run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.GradNormArgs{G: g, Scratch: scratch.rng(), Out: out.rng(), Step: step, LossScale: scale.rng()})
		})
		got, want := out.read(), ref.GradNorm(wantG, float64(lossScale.Factor), float64(clip))
		b.compare("norm", got[:1], want[:1]) // each by its own size: a clip factor is small beside a norm
		b.compare("clip factor", got[1:2], want[1:2])
		b.compare("flag and scale", got[2:], want[2:])
		next := scale.read()
		b.compare("next loss scale", next[:1], []float64{2 * float64(lossScale.Factor)})
		b.release()
	}
}

// hyper are the numbers of scalars for the twins.
func hyper(decay int, nesterov bool) ref.Hyper {
	return ref.Hyper{LR: float64(scalars.LR), Momentum: float64(scalars.Momentum), Rho: float64(scalars.Rho), Eps: float64(scalars.Eps),
		EMADecay: float64(scalars.EMADecay), Decay: float64(scalars.WeightDecay), Decayed: decay, Nesterov: nesterov}
}

// optimizer runs one step with a clip factor of a half and compares all slots.
func (b *bed) optimizer(record func(rec *vk.Recorder, w, ms, mom, ema, g, norm, step vk.Range), twin func(s ref.Slots, g []float64, clip float64)) {
	const clip = 0.5
	want := ref.Slots{W: b.uniform(flatCount, -1, 1), MS: b.uniform(flatCount, 0, 1), Mom: b.uniform(flatCount, -1, 1), EMA: b.uniform(flatCount, -1, 1)}
	w, ms, mom, ema := b.floats(want.W), b.floats(want.MS), b.floats(want.Mom), b.floats(want.EMA)
	g, wantG := b.input(true, flatCount, -4, 4)
	norm, step := b.floats([]float64{2, clip, 0, 0}), b.step(scalars)
	b.run(func(rec *vk.Recorder) { record(rec, w.rng(), ms.rng(), mom.rng(), ema.rng(), g, norm.rng(), step) })
	twin(want, wantG, clip)
	b.compare("w", w.read(), want.W)
	b.compare("ms", ms.read(), want.MS)
	b.compare("mom", mom.read(), want.Mom)
	b.compare("ema", ema.read(), want.EMA)
	b.release()
}

func rmsprop(b *bed) {
	for _, decay := range []int{0, flatCount / 8 * 4} {
		op, err := kernels.NewRMSProp(b.dev, kernels.RMSPropConfig{Count: flatCount, Decay: int64(decay)})
		if !b.made(err) {
			return
		}
		b.optimizer(func(rec *vk.Recorder, w, ms, mom, ema, g, norm, step vk.Range) {
			op.Record(rec, kernels.RMSPropArgs{W: w, G: g, MS: ms, Mom: mom, EMA: ema, Norm: norm, Step: step})
		}, func(s ref.Slots, g []float64, clip float64) { ref.RMSProp(s, g, clip, hyper(decay, false)) })
	}
}

func sgd(b *bed) {
	for _, nesterov := range []bool{false, true} {
		op, err := kernels.NewSGD(b.dev, kernels.SGDConfig{Count: flatCount, Decay: flatCount, Nesterov: nesterov})
		if !b.made(err) {
			return
		}
		b.optimizer(func(rec *vk.Recorder, w, _, mom, ema, g, norm, step vk.Range) {
			op.Record(rec, kernels.SGDArgs{W: w, G: g, Mom: mom, EMA: ema, Norm: norm, Step: step})
		}, func(s ref.Slots, g []float64, clip float64) { ref.SGD(s, g, clip, hyper(flatCount, nesterov)) })
	}
}

func ema(b *bed) {
	op, err := kernels.NewEMA(b.dev, kernels.EMAConfig{Count: flatCount})
	if !b.made(err) {
		return
	}
	x, wantX := b.input(true, flatCount, -1, 1)
	want := b.uniform(flatCount, -1, 1)
	average, norm, step := b.floats(want), b.floats([]float64{1, 1, 0, 0}), b.step(scalars)
	b.run(func(rec *vk.Recorder) {
		op.Record(rec, kernels.EMAArgs{X: x, EMA: average.rng(), Norm: norm.rng(), Step: step})
	})
	ref.EMA(want, wantX, float64(scalars.EMADecay))
	b.compare("ema", average.read(), want)
}
