package kernels_test

import (
	"fmt"
	"math"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// flatCounts are the sizes of flat ranges: one vector, around a workgroup's share of an optimizer, around one's of the
// norm, and several.
var flatCounts = []int{4, 12, 1020, 1024, 1028, 16380, 16384, 16388, 70004}

// narrow opens dev again with bindings of 64 KiB, so that a flat range of more than 16384 floats is cut.
func narrow(t *testing.T, dev *vk.Device) *vk.Device {
	t.Helper()
	o := shadertest.Options()
	o.Device = strconv.Itoa(dev.Info().Index)
	o.Lower = &vk.Limits{MaxRange: 64 << 10, OffsetAlign: 256}
	d, err := vk.Open(o)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

// eachCount runs f for all flat counts, and for the largest one with ranges cut.
func eachCount(t *testing.T, f func(t *testing.T, dev *vk.Device, count int)) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, count := range flatCounts {
			t.Run(strconv.Itoa(count), func(t *testing.T) { f(t, dev, count) })
		}
		t.Run("cut", func(t *testing.T) { f(t, narrow(t, dev), flatCounts[len(flatCounts)-1]) })
	})
}

// gradients returns count numbers whose squares span many powers of ten, as gradients' do.
func gradients(seed uint64, count int) []float32 {
	g, scale := shadertest.Rand(seed, count), shadertest.RandIn(seed+1000, count, -12, 0)
	for i := range g {
		g[i] *= float32(math.Exp(float64(scale[i])))
	}
	return g
}

func TestGradNorm(t *testing.T) {
	eachCount(t, func(t *testing.T, dev *vk.Device, count int) {
		op, err := kernels.NewGradNorm(dev, kernels.GradNormConfig{Count: int64(count)})
		require.NoError(t, err)
		g := gradients(1, count)
		norm := ref.GradNorm(shadertest.Float64s(g), 4, 0)[0]
		for _, clip := range []float64{0, norm / 3, norm * 3} {
			f := newFixture(t, dev)
			in, scratch, out, scale := f.Input(g), f.OutputBytes(op.ScratchBytes()), f.Output(4), f.lossScale(kernels.LossScale{Factor: 4})
			step := f.step(kernels.StepScalars{ClipNorm: float32(clip)})
			f.Run(func(rec *vk.Recorder) {
				op.Record(rec, kernels.GradNormArgs{G: in.Range(), Scratch: scratch.Range(), Out: out.Range(), Step: step, LossScale: scale.Range()})
			})
			got, want := out.Float32s(), ref.GradNorm(shadertest.Float64s(g), 4, float64(float32(clip)))
			shadertest.Compare(t, "norm", got[:1], want[:1], shadertest.Tol{NMSE: 1e-13})
			shadertest.Compare(t, "clip factor", got[1:2], want[1:2], shadertest.Tol{NMSE: 1e-13})
			shadertest.Compare(t, "flag and scale", got[2:], want[2:], shadertest.Tol{})
		}
	})
}

// TestGradNormNotFinite plants one bad gradient at the first, the last and a middle place.
func TestGradNormNotFinite(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		const count = 16388
		op, err := kernels.NewGradNorm(dev, kernels.GradNormConfig{Count: count})
		require.NoError(t, err)
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30} { // 1e30 overflows when squared
			for _, at := range []int{0, 5000, count - 1} {
				t.Run(fmt.Sprintf("%g at %d", bad, at), func(t *testing.T) {
					f := newFixture(t, dev)
					g := gradients(1, count)
					g[at] = float32(bad)
					in, scratch, out, scale := f.Input(g), f.OutputBytes(op.ScratchBytes()), f.Output(4), f.lossScale(kernels.LossScale{Factor: 1})
					step := f.step(kernels.StepScalars{ClipNorm: 1})
					f.Run(func(rec *vk.Recorder) {
						op.Record(rec, kernels.GradNormArgs{G: in.Range(), Scratch: scratch.Range(), Out: out.Range(), Step: step, LossScale: scale.Range()})
					})
					assert.Equal(t, float32(1), out.Float32s()[2])
					assert.Equal(t, kernels.LossScale{Factor: 1, Skipped: 1}, kernels.DecodeLossScale(scale.Bytes()), "it is constant")
				})
			}
		}
	})
}

// lossScale is the loss scale's buffer.
func (f *fixture) lossScale(s kernels.LossScale) *shadertest.Buf {
	return f.InOutWords([]uint32{math.Float32bits(s.Factor), s.Good, s.Skipped, s.Interval})
}

// TestLossScale follows the loss scale over steps whose gradients overflow (x) or do not (.).
func TestLossScale(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		const count = 1028
		op, err := kernels.NewGradNorm(dev, kernels.GradNormConfig{Count: count})
		require.NoError(t, err)
		for _, c := range []struct {
			name, steps string
			first, last kernels.LossScale
		}{
			{"grows", "...", kernels.LossScale{Factor: 8, Interval: 3}, kernels.LossScale{Factor: 16, Interval: 3}},
			{"grows again", ".......", kernels.LossScale{Factor: 8, Interval: 3}, kernels.LossScale{Factor: 32, Good: 1, Interval: 3}},
			{"goes on counting", "..", kernels.LossScale{Factor: 8, Good: 1998, Interval: 2000}, kernels.LossScale{Factor: 16, Interval: 2000}},
			{"halves", "x", kernels.LossScale{Factor: 8, Good: 2, Skipped: 5, Interval: 3}, kernels.LossScale{Factor: 4, Skipped: 6, Interval: 3}},
			{"begins to count anew", "..x..", kernels.LossScale{Factor: 8, Interval: 3}, kernels.LossScale{Factor: 4, Good: 2, Skipped: 1, Interval: 3}},
			{"not below 1", "xxxx.", kernels.LossScale{Factor: 4, Interval: 3}, kernels.LossScale{Factor: 1, Good: 1, Skipped: 4, Interval: 3}},
			{"not above the largest", "..", kernels.LossScale{Factor: kernels.LargestLossScale / 2, Interval: 1}, kernels.LossScale{Factor: kernels.LargestLossScale, Interval: 1}},
			{"a shorter interval", ".", kernels.LossScale{Factor: 8, Good: 70, Interval: 3}, kernels.LossScale{Factor: 16, Interval: 3}},
			{"constant", "..x....", kernels.LossScale{Factor: 2}, kernels.LossScale{Factor: 2, Good: 4, Skipped: 1}},
			{"constant below 1", "x", kernels.LossScale{Factor: 0.25}, kernels.LossScale{Factor: 0.25, Skipped: 1}},
		} {
			t.Run(c.name, func(t *testing.T) {
				f := newFixture(t, dev)
				finite := gradients(1, count)
				overflow := append([]float32{}, finite...)
				overflow[count/2] = float32(math.Inf(1))
				good, bad := f.Input(finite), f.Input(overflow)
				scratch, step, scale := f.OutputBytes(op.ScratchBytes()), f.step(kernels.StepScalars{}), f.lossScale(c.first)
				want := ref.LossScale{Factor: float64(c.first.Factor), Good: int(c.first.Good), Skipped: int(c.first.Skipped), Interval: int(c.first.Interval)}
				norms := make([]*shadertest.Buf, len(c.steps))
				for i := range norms {
					norms[i] = f.Output(4)
				}
				f.Run(func(rec *vk.Recorder) {
					for i, s := range c.steps {
						g := good
						if s == 'x' {
							g = bad
						}
						op.Record(rec, kernels.GradNormArgs{G: g.Range(), Scratch: scratch.Range(), Out: norms[i].Range(), Step: step, LossScale: scale.Range()})
					}
				})
				for i, s := range c.steps {
					flag := float32(0)
					if s == 'x' {
						flag = 1
					}
					assert.Equal(t, []float32{1 / float32(want.Factor), flag, float32(want.Factor)}, norms[i].Float32s()[1:], "step %d", i)
					want.Next(s != 'x')
				}
				got := kernels.DecodeLossScale(scale.Bytes())
				assert.Equal(t, c.last, got)
				assert.Equal(t, want, ref.LossScale{Factor: float64(got.Factor), Good: int(got.Good), Skipped: int(got.Skipped), Interval: int(got.Interval)})
				assert.Equal(t, got, kernels.DecodeLossScale(got.Encode()))
			})
		}
	})
	assert.Equal(t, kernels.LossScale{Factor: 65536, Interval: 2000}, kernels.NewLossScale(kernels.F16))
	for _, e := range []kernels.Elem{kernels.F32, kernels.BF16} {
		assert.Equal(t, kernels.LossScale{Factor: 1}, kernels.NewLossScale(e))
	}
}

// recipe is a step of the published recipe with a learning rate and decays that show in a few steps.
var recipe = kernels.StepScalars{LR: 0.05, Momentum: 0.9, Rho: 0.9, Eps: 1e-3, WeightDecay: 0.02, EMADecay: 0.75}

// hyper are the same numbers for the twins.
func hyper(s kernels.StepScalars, decay int, nesterov bool) ref.Hyper {
	return ref.Hyper{LR: float64(s.LR), Momentum: float64(s.Momentum), Rho: float64(s.Rho), Eps: float64(s.Eps),
		EMADecay: float64(s.EMADecay), Decay: float64(s.WeightDecay), Decayed: decay, Nesterov: nesterov}
}

// optimizer is one of the two behind one signature. The slots are W, MS, Mom and EMA; SGD leaves MS alone.
type optimizer struct {
	name   string
	record func(rec *vk.Recorder, slots [4]vk.Range, g, norm, step vk.Range)
	twin   func(s ref.Slots, g []float64, clip float64)
}

// optimizers are all of them with all flags.
func optimizers(t *testing.T, dev *vk.Device, count int) []optimizer {
	var all []optimizer
	for _, decay := range []int{0, count / 8 * 4, count} {
		op, err := kernels.NewRMSProp(dev, kernels.RMSPropConfig{Count: int64(count), Decay: int64(decay)})
		require.NoError(t, err)
		all = append(all, optimizer{
			fmt.Sprintf("rmsprop decay=%d", decay),
			func(rec *vk.Recorder, s [4]vk.Range, g, norm, step vk.Range) {
				op.Record(rec, kernels.RMSPropArgs{W: s[0], MS: s[1], Mom: s[2], EMA: s[3], G: g, Norm: norm, Step: step})
			},
			func(s ref.Slots, g []float64, clip float64) { ref.RMSProp(s, g, clip, hyper(recipe, decay, false)) },
		})
		for _, nesterov := range []bool{false, true} {
			op, err := kernels.NewSGD(dev, kernels.SGDConfig{Count: int64(count), Decay: int64(decay), Nesterov: nesterov})
			require.NoError(t, err)
			all = append(all, optimizer{
				fmt.Sprintf("sgd decay=%d nesterov=%t", decay, nesterov),
				func(rec *vk.Recorder, s [4]vk.Range, g, norm, step vk.Range) {
					op.Record(rec, kernels.SGDArgs{W: s[0], Mom: s[2], EMA: s[3], G: g, Norm: norm, Step: step})
				},
				func(s ref.Slots, g []float64, clip float64) { ref.SGD(s, g, clip, hyper(recipe, decay, nesterov)) },
			})
		}
	}
	return all
}

// firstSlots are W, MS, Mom and EMA before the first step: the recipe starts MS at 1; here it varies, as Mom does.
func firstSlots(count int) [4][]float32 {
	return [4][]float32{shadertest.Rand(11, count), shadertest.RandIn(12, count, 0, 1), shadertest.RandIn(13, count, -0.1, 0.1), shadertest.Rand(14, count)}
}

// TestOptimizers does four steps, each with a gradient and a clip factor of its own, in one recording.
func TestOptimizers(t *testing.T) {
	eachCount(t, func(t *testing.T, dev *vk.Device, count int) {
		for _, o := range optimizers(t, dev, count) {
			t.Run(o.name, func(t *testing.T) {
				f := newFixture(t, dev)
				step := f.step(recipe)
				first := firstSlots(count)
				var bufs [4]*shadertest.Buf
				var slots [4]vk.Range
				for i, x := range first {
					bufs[i] = f.InOut(x)
					slots[i] = bufs[i].Range()
				}
				want := ref.Slots{W: shadertest.Float64s(first[0]), MS: shadertest.Float64s(first[1]),
					Mom: shadertest.Float64s(first[2]), EMA: shadertest.Float64s(first[3])}
				var g, norm [4]vk.Range
				for i := range g {
					x, clip := gradients(uint64(20+i), count), 1/float32(i+1)
					g[i], norm[i] = f.Input(x).Range(), f.Input([]float32{1, clip, 0, 0}).Range()
					o.twin(want, shadertest.Float64s(x), float64(clip))
				}
				f.Run(func(rec *vk.Recorder) {
					for i := range g {
						o.record(rec, slots, g[i], norm[i], step)
					}
				})
				for i, w := range [][]float64{want.W, want.MS, want.Mom, want.EMA} {
					shadertest.Compare(t, []string{"w", "ms", "mom", "ema"}[i], bufs[i].Float32s(), w, shadertest.Tol{NMSE: 1e-13})
				}
			})
		}
	})
}

// TestOptimizersSkip shows that a step whose gradients are not finite changes nothing, not in a bit.
func TestOptimizersSkip(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		const count = 1028
		first := firstSlots(count)
		nan := make([]float32, count)
		for i := range nan {
			nan[i] = float32(math.NaN())
		}
		for _, o := range optimizers(t, dev, count) {
			t.Run(o.name, func(t *testing.T) {
				f := newFixture(t, dev)
				var slots [4]vk.Range
				for i, x := range first {
					slots[i] = f.Input(x).Range() // an input must not change
				}
				g, norm, step := f.Input(nan).Range(), f.Input([]float32{nan[0], 1, 1, 0}).Range(), f.step(recipe)
				f.Run(func(rec *vk.Recorder) { o.record(rec, slots, g, norm, step) })
			})
		}
		t.Run("ema", func(t *testing.T) {
			op, err := kernels.NewEMA(dev, kernels.EMAConfig{Count: count})
			require.NoError(t, err)
			f := newFixture(t, dev)
			x, ema, norm, step := f.Input(nan), f.Input(first[3]), f.Input([]float32{0, 1, 1, 0}), f.step(recipe)
			f.Run(func(rec *vk.Recorder) {
				op.Record(rec, kernels.EMAArgs{X: x.Range(), EMA: ema.Range(), Norm: norm.Range(), Step: step})
			})
		})
	})
}

func TestEMA(t *testing.T) {
	eachCount(t, func(t *testing.T, dev *vk.Device, count int) {
		op, err := kernels.NewEMA(dev, kernels.EMAConfig{Count: int64(count)})
		require.NoError(t, err)
		f := newFixture(t, dev)
		x, wantX := f.random(true, count, -1, 1)
		first := shadertest.Rand(14, count)
		ema, norm, step := f.InOut(first), f.Input([]float32{0, 1, 0, 0}), f.step(recipe)
		f.Run(func(rec *vk.Recorder) {
			op.Record(rec, kernels.EMAArgs{X: x, EMA: ema.Range(), Norm: norm.Range(), Step: step})
		})
		want := shadertest.Float64s(first)
		ref.EMA(want, wantX, float64(recipe.EMADecay))
		shadertest.Compare(t, "ema", ema.Float32s(), want, shadertest.Tol{NMSE: 1e-13})
	})
}

func TestOptimErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	for _, count := range []int64{0, -4, 7} {
		for name, err := range map[string]error{
			"gradient norm": second(kernels.NewGradNorm(dev, kernels.GradNormConfig{Count: count})),
			"rmsprop":       second(kernels.NewRMSProp(dev, kernels.RMSPropConfig{Count: count})),
			"sgd":           second(kernels.NewSGD(dev, kernels.SGDConfig{Count: count})),
			"ema":           second(kernels.NewEMA(dev, kernels.EMAConfig{Count: count})),
		} {
			assert.EqualError(t, err, fmt.Sprintf("kernels: %s: got %d elements, want a multiple of 4 above 0", name, count))
		}
	}
}

func second[T any](_ T, err error) error { return err }
