package kernels_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
	"github.com/seed-8d806880/vkeffnet/tests/shadertest"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// labels returns n labels that differ in everything: hard ones, mixed ones, mixed with the same class, and weight 0.
func labels(n, classes int) []ref.Label {
	l := make([]ref.Label, n)
	for i := range l {
		l[i] = ref.Label{A: uint32(i * 7 % classes), B: uint32(i * 5 % classes), Lambda: float64(float32(1) - float32(i%4)*0.15), Weight: 1}
		if i%5 == 3 {
			l[i].Weight = 0
		}
	}
	return l
}

func TestTargets(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][3]int{{1, 2, 8}, {5, 10, 16}, {3, 1000, 1000}, {11, 17, 40}} {
			for _, smoothing := range []float32{0, 0.1} {
				t.Run(fmt.Sprintf("n%d %d of %d smoothing=%g", s[0], s[1], s[2], smoothing), func(t *testing.T) {
					n, classes, ld := s[0], s[1], s[2]
					op, err := kernels.NewTargets(dev, kernels.TargetsConfig{N: n, Classes: classes, Ld: ld})
					require.NoError(t, err)
					f := newFixture(t, dev)
					var table []byte
					for _, l := range labels(n, classes) {
						for _, word := range []uint32{l.A, l.B, math.Float32bits(float32(l.Lambda)), math.Float32bits(float32(l.Weight))} {
							table = binary.LittleEndian.AppendUint32(table, word)
						}
					}
					in, step, out := f.InputBytes(table), f.step(kernels.StepScalars{Smoothing: smoothing}), f.Output(n*ld)
					f.Run(func(rec *vk.Recorder) {
						op.Record(rec, kernels.TargetsArgs{Labels: in.Range(), Step: step, Targets: out.Range()})
					})
					want := ref.Targets(labels(n, classes), classes, ld, float64(smoothing))
					shadertest.Compare(t, "targets", out.Float32s(), want, shadertest.Tol{NMSE: 1e-13, Shape: []int{n, ld}})
				})
			}
		}
	})
}

func TestLoss(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range []struct {
			n, classes, ld int
			offset, spread float32
		}{
			{1, 2, 8, 0, 1}, {3, 10, 16, 0, 3}, {5, 63, 64, 0, 1}, {2, 64, 64, 0, 1}, {2, 65, 72, 0, 1}, {4, 1000, 1000, 0, 10},
			{2, 1001, 1024, -1e4, 90}, {3, 10, 16, 1e4, 100}, {7, 5, 8, 0, 0},
		} {
			for _, grad := range []bool{true, false} {
				t.Run(fmt.Sprintf("n%d %d of %d %g+-%g grad=%t", s.n, s.classes, s.ld, s.offset, s.spread, grad), func(t *testing.T) {
					op, err := kernels.NewLoss(dev, kernels.LossConfig{N: s.n, Classes: s.classes, Ld: s.ld, Grad: grad})
					require.NoError(t, err)
					f := newFixture(t, dev)
					z := shadertest.RandIn(5, s.n*s.ld, s.offset-s.spread, s.offset+s.spread)
					want := ref.Targets(labels(s.n, s.classes), s.classes, s.ld, 0.1)
					targets := float32s(want)
					for i := range z {
						if i%s.ld >= s.classes { // padding, to be ignored
							z[i], targets[i] = float32(math.NaN()), float32(math.Inf(1))
						}
					}
					logits, soft := f.Input(z), f.Input(targets)
					out, dLogits := f.Output(4*s.n), f.OutputBytes(when(grad, 4*int64(s.n*s.ld)))
					var scale vk.Range
					if grad {
						scale = f.lossScale(kernels.LossScale{Factor: 128}).Range()
					}
					f.Run(func(rec *vk.Recorder) {
						op.Record(rec, kernels.LossArgs{Logits: logits.Range(), Targets: soft.Range(), LossScale: scale,
							DLogits: dLogits.Range(), Out: out.Range()})
					})
					wantOut, wantGrad := ref.Loss(shadertest.Float64s(z), shadertest.Float64s(targets), s.classes, s.ld, 128)
					compareLoss(t, out.Float32s(), wantOut)
					if grad {
						shadertest.Compare(t, "dlogits", dLogits.Float32s(), wantGrad, shadertest.Tol{NMSE: 1e-11, Shape: []int{s.n, s.ld}})
					}
				})
			}
		}
	})
}

// compareLoss holds the loss within rounding and the hits exactly.
func compareLoss(t *testing.T, got []float32, want []float64) {
	t.Helper()
	for i := 0; i < len(got); i += 4 {
		shadertest.Compare(t, fmt.Sprintf("loss %d", i/4), got[i:i+1], want[i:i+1], shadertest.Tol{NMSE: 1e-11})
		shadertest.Compare(t, fmt.Sprintf("hits %d", i/4), got[i+1:i+4], want[i+1:i+4], shadertest.Tol{})
	}
}

func when(flag bool, size int64) int64 {
	if flag {
		return size
	}
	return 0
}

// TestLossTies spells out what a hit is when logits are equal.
func TestLossTies(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		const classes, ld = 70, 72 // more than the lanes of a workgroup
		for _, c := range []struct {
			name       string
			label      int
			logit      float32         // of the label
			others     map[int]float32 // the rest is 0
			top1, top5 float32
		}{
			{"alone ahead", 69, 1, nil, 1, 1},
			{"equal, first", 3, 1, map[int]float32{4: 1, 68: 1}, 1, 1},
			{"equal, second", 4, 1, map[int]float32{3: 1}, 0, 1},
			{"all equal, fifth", 4, 0, nil, 0, 1},
			{"all equal, sixth", 5, 0, nil, 0, 0},
			{"four ahead", 60, 1, map[int]float32{0: 2, 7: 2, 64: 2, 69: 2}, 0, 1},
			{"three ahead, two equal before", 60, 1, map[int]float32{0: 1, 7: 1, 64: 2, 65: 2, 69: 2}, 0, 0},
			{"last, all others ahead", 69, -1, nil, 0, 0},
		} {
			t.Run(c.name, func(t *testing.T) {
				op, err := kernels.NewLoss(dev, kernels.LossConfig{N: 1, Classes: classes, Ld: ld})
				require.NoError(t, err)
				f := newFixture(t, dev)
				z, targets := make([]float32, ld), make([]float32, ld)
				for j, v := range c.others {
					z[j] = v
				}
				z[c.label], targets[c.label] = c.logit, 1
				logits, soft, out := f.Input(z), f.Input(targets), f.Output(4)
				f.Run(func(rec *vk.Recorder) {
					op.Record(rec, kernels.LossArgs{Logits: logits.Range(), Targets: soft.Range(), Out: out.Range()})
				})
				assert.Equal(t, []float32{c.top1, c.top5, 0}, out.Float32s()[1:])
				want, _ := ref.Loss(shadertest.Float64s(z), shadertest.Float64s(targets), classes, ld, 1)
				compareLoss(t, out.Float32s(), want)
			})
		}
	})
}

func TestMetrics(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		inf, nan := float32(math.Inf(1)), float32(math.NaN())
		for _, c := range []struct {
			n          int
			last, flag float32 // loss of the last image; flag of the gradient norm
			bad        float32
		}{{1, 2, 0, 0}, {7, 2, 0, 0}, {64, 2, 0, 0}, {200, 2, 0, 0}, {5, 2, 1, 1}, {65, nan, 0, 1}, {3, inf, 0, 1}, {3, -inf, 1, 1}} {
			t.Run(fmt.Sprintf("n%d last=%g flag=%g", c.n, c.last, c.flag), func(t *testing.T) {
				op, err := kernels.NewMetrics(dev, kernels.MetricsConfig{N: c.n})
				require.NoError(t, err)
				f := newFixture(t, dev)
				rows := shadertest.RandIn(4, 4*c.n, 0, 5)
				for i := range c.n {
					rows[4*i+1], rows[4*i+2], rows[4*i+3] = float32(i%2), float32(i%3/2), 0
				}
				rows[4*(c.n-1)] = c.last
				norm := []float32{3.5, 1, c.flag, 64}
				scale := f.InputWords([]uint32{math.Float32bits(32), 0, 77, 1})
				loss, normIn, out := f.Input(rows), f.Input(norm), f.Output(8)
				f.Run(func(rec *vk.Recorder) {
					op.Record(rec, kernels.MetricsArgs{Loss: loss.Range(), Norm: normIn.Range(), LossScale: scale.Range(), Out: out.Range()})
				})
				want := ref.Metrics(shadertest.Float64s(rows), shadertest.Float64s(norm), 77)
				got := out.Float32s()
				shadertest.Compare(t, "mean loss", got[:1], want[:1], shadertest.Tol{NMSE: 1e-12})
				shadertest.Compare(t, "the rest", got[1:], want[1:], shadertest.Tol{})
				assert.Equal(t, c.bad, got[4])
			})
		}
	})
}

func TestBiasGrad(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][2]int{{1, 1}, {1, 8}, {7, 10}, {3, 1000}, {130, 67}} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				op, err := kernels.NewBiasGrad(dev, kernels.BiasGradConfig{N: s[0], K: s[1]})
				require.NoError(t, err)
				f := newFixture(t, dev)
				dy, want := f.random(true, s[0]*s[1], -1, 1)
				db := f.Output(s[1])
				f.Run(func(rec *vk.Recorder) { op.Record(rec, kernels.BiasGradArgs{DY: dy, DB: db.Range()}) })
				shadertest.Compare(t, "db", db.Float32s(), ref.BiasGrad(want, s[1]), shadertest.Tol{NMSE: 1e-12})
			})
		}
	})
}

func TestLossErrors(t *testing.T) {
	dev := shadertest.Devices(t)[0]
	const want = "want at least 1 image, 2 classes, and a multiple of 8 columns"
	for _, c := range [][3]int{{0, 10, 16}, {1, 1, 8}, {1, 10, 8}, {1, 10, 12}} {
		got := fmt.Sprintf("got %d images, %d classes in %d columns, %s", c[0], c[1], c[2], want)
		_, err := kernels.NewLoss(dev, kernels.LossConfig{N: c[0], Classes: c[1], Ld: c[2]})
		assert.EqualError(t, err, "kernels: loss: "+got)
		_, err = kernels.NewTargets(dev, kernels.TargetsConfig{N: c[0], Classes: c[1], Ld: c[2]})
		assert.EqualError(t, err, "kernels: targets: "+got)
	}
	_, err := kernels.NewBiasGrad(dev, kernels.BiasGradConfig{N: 0, K: 8})
	assert.EqualError(t, err, "kernels: bias grad: got [0 8], want at least [1 1]")
	_, err = kernels.NewMetrics(dev, kernels.MetricsConfig{})
	assert.EqualError(t, err, "kernels: metrics: got 0 images, want at least 1")
}
