package kernels_test

import (
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

// partialStats cuts rows y [rows][C] into parts of uneven length, the second one empty if there are three or more, and
// returns their statistics as a forward kernel writes them.
func partialStats(y []float64, parts, c int) []float32 {
	rows := len(y) / c
	stats := make([]float32, parts*2*c+(parts+3)/4*4)
	at := 0
	for p := range parts {
		n := (rows - at) / (parts - p)
		if p == 1 && parts > 2 {
			n = 0
		} else if p%2 == 0 && p < parts-1 {
			n = max(n/2, 1)
		}
		if n > 0 {
			copy(stats[p*2*c:], float32s(ref.Stats(y[at*c:(at+n)*c], c)))
		}
		stats[parts*2*c+p] = float32(n)
		at += n
	}
	return stats
}

func eachVariant(t *testing.T, name string, f func(t *testing.T, variant string)) {
	for _, variant := range variants {
		t.Run(name+"/"+variant, func(t *testing.T) { f(t, variant) })
	}
}

func TestBNFinalize(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range []struct {
			c, parts, rows int
			mean           float32
		}{
			{8, 1, 1, 0}, {8, 1, 7, 0}, {24, 3, 11, 0}, {40, 67, 200, 1}, {136, 5, 31, -1}, {8, 3001, 7001, 0.5}, {16, 257, 4099, 1000},
		} {
			eachVariant(t, fmt.Sprintf("C=%d parts=%d rows=%d mean=%g", s.c, s.parts, s.rows, s.mean), func(t *testing.T, variant string) {
				const eps, momentum = 1e-3, 0.1
				op, err := kernels.NewBNFinalize(dev, kernels.BNFinalizeConfig{C: s.c, Parts: s.parts, M: s.rows, Eps: eps, Momentum: momentum, Variant: variant})
				require.NoError(t, err)
				f := newFixture(t, dev)
				y := shadertest.Float64s(shadertest.RandIn(1, s.rows*s.c, s.mean-1.7, s.mean+1.7)) // standard deviation 1
				stats := f.Input(partialStats(y, s.parts, s.c))
				gamma, wantGamma := f.random(true, s.c, -1, 1)
				beta, wantBeta := f.random(true, s.c, -1, 1)
				mean, variance := shadertest.Rand(98, s.c), shadertest.RandIn(99, s.c, 0, 2)
				runMean, runVar := f.InOut(mean), f.InOut(variance)
				rest := shadertest.Rand(97, 6*s.c) // rows 4 and 5 belong to the backward pass
				bn := f.InOut(rest)
				f.Run(func(rec *vk.Recorder) {
					op.Record(rec, kernels.BNFinalizeArgs{Stats: stats.Range(), Gamma: gamma, Beta: beta, RunMean: runMean.Range(),
						RunVar: runVar.Range(), BN: bn.Range()})
				})
				want, wantMean, wantVar := ref.BNFinalize(ref.Stats(y, s.c), wantGamma, wantBeta,
					shadertest.Float64s(mean), shadertest.Float64s(variance), s.rows, float64(float32(eps)), float64(float32(momentum)))
				got := bn.Float32s()
				for row, name := range []string{"mean", "scale", "beta", "rstd"} {
					shadertest.Compare(t, name, got[row*s.c:][:s.c], want[row*s.c:][:s.c], shadertest.Tol{NMSE: 1e-12, Elem: 5e-6})
				}
				assert.Equal(t, rest[4*s.c:], got[4*s.c:], "rows 4 and 5")
				shadertest.Compare(t, "running mean", runMean.Float32s(), wantMean, shadertest.Tol{NMSE: 1e-12, Elem: 5e-6})
				shadertest.Compare(t, "running variance", runVar.Float32s(), wantVar, shadertest.Tol{NMSE: 1e-11, Elem: 5e-6})
			})
		}
	})
}

// TestBNFinalizeOverflow: channels whose activations overflowed keep their running statistics, and the others do not.
func TestBNFinalizeOverflow(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		const c, parts, rows, eps, momentum = 24, 3, 30, 1e-3, 0.1
		eachVariant(t, "C=24", func(t *testing.T, variant string) {
			op, err := kernels.NewBNFinalize(dev, kernels.BNFinalizeConfig{C: c, Parts: parts, M: rows, Eps: eps, Momentum: momentum, Variant: variant})
			require.NoError(t, err)
			f := newFixture(t, dev)
			y := shadertest.Float64s(shadertest.Rand(1, rows*c))
			want := ref.Stats(y, c)
			partial := partialStats(y, parts, c)
			for ch, bad := range map[int]float64{0: math.Inf(1), 5: math.Inf(-1), 6: math.NaN(), 23: math.NaN()} {
				partial[ch], want[ch] = float32(bad), bad // the mean of the first part
				if ch == 6 {
					partial[ch], partial[c+ch], want[ch], want[c+ch] = 0, float32(bad), 0, bad // M2
				}
			}
			stats := f.Input(partial)
			gamma, wantGamma := f.random(true, c, -1, 1)
			beta, wantBeta := f.random(true, c, -1, 1)
			mean, variance := shadertest.Rand(98, c), shadertest.RandIn(99, c, 0, 2)
			runMean, runVar, bn := f.InOut(mean), f.InOut(variance), f.Output(6*c)
			f.Run(func(rec *vk.Recorder) {
				op.Record(rec, kernels.BNFinalizeArgs{Stats: stats.Range(), Gamma: gamma, Beta: beta, RunMean: runMean.Range(),
					RunVar: runVar.Range(), BN: bn.Range()})
			})
			_, wantMean, wantVar := ref.BNFinalize(want, wantGamma, wantBeta, shadertest.Float64s(mean), shadertest.Float64s(variance),
				rows, float64(float32(eps)), float64(float32(momentum)))
			for _, ch := range []int{0, 5, 6, 23} {
				assert.Equal(t, []float32{mean[ch], variance[ch]}, []float32{runMean.Float32s()[ch], runVar.Float32s()[ch]}, "channel %d", ch)
			}
			shadertest.Compare(t, "running mean", runMean.Float32s(), wantMean, shadertest.Tol{NMSE: 1e-12, Elem: 5e-6})
			shadertest.Compare(t, "running variance", runVar.Float32s(), wantVar, shadertest.Tol{NMSE: 1e-11, Elem: 5e-6})
		})
	})
}

func TestBNBackward(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][3]int{{8, 1, 1}, {24, 3, 50}, {136, 67, 1000}, {8, 3001, 9000}} {
			eachVariant(t, fmt.Sprint(s), func(t *testing.T, variant string) {
				c, parts, m := s[0], s[1], s[2]
				op, err := kernels.NewBNBackward(dev, kernels.BNBackwardConfig{C: c, Parts: parts, M: m, Variant: variant})
				require.NoError(t, err)
				f := newFixture(t, dev)
				sums, wantSums := f.random(true, parts*2*c, -1, 1)
				rows := shadertest.Rand(97, 6*c)
				bn, dGamma, dBeta := f.InOut(rows), f.Output(c), f.Output(c)
				f.Run(func(rec *vk.Recorder) {
					op.Record(rec, kernels.BNBackwardArgs{Sums: sums, BN: bn.Range(), DGamma: dGamma.Range(), DBeta: dBeta.Range()})
				})
				want := shadertest.Float64s(rows)
				wantGamma, wantBeta := ref.BNBackward(want, ref.MergeSums(wantSums, 1, parts, 2*c), m)
				compareBNBackward(t, bn, dGamma, dBeta, want, wantGamma, wantBeta)
			})
		}
	})
}

func compareBNBackward(t *testing.T, bn, dGamma, dBeta *shadertest.Buf, want, wantGamma, wantBeta []float64) {
	t.Helper()
	tol := shadertest.Tol{NMSE: 1e-11}
	c := len(wantGamma)
	shadertest.Compare(t, "rows 0 to 3 of bn", bn.Float32s()[:4*c], want[:4*c], shadertest.Tol{})
	shadertest.Compare(t, "row b of bn", bn.Float32s()[4*c:5*c], want[4*c:5*c], tol)
	shadertest.Compare(t, "row c of bn", bn.Float32s()[5*c:], want[5*c:], tol)
	shadertest.Compare(t, "dgamma", dGamma.Float32s(), wantGamma, tol)
	shadertest.Compare(t, "dbeta", dBeta.Float32s(), wantBeta, tol)
}

func TestBNBackwardSE(t *testing.T) {
	shadertest.ForEachDevice(t, func(t *testing.T, dev *vk.Device) {
		for _, s := range [][2]int{{1, 8}, {3, 24}, {67, 136}, {300, 8}} {
			for _, noG := range []bool{false, true} {
				eachVariant(t, fmt.Sprint(s, " NoG=", noG), func(t *testing.T, variant string) {
					n, c := s[0], s[1]
					op, err := kernels.NewBNBackwardSE(dev, kernels.BNBackwardSEConfig{N: n, C: c, M: 5 * n, NoG: noG, Variant: variant})
					require.NoError(t, err)
					f := newFixture(t, dev)
					sums, wantS := f.random(!noG, n*3*c, -1, 1)
					gate, wantGate := f.random(!noG, n*c, 0, 1)
					e, wantE := f.random(true, n*c, -1, 1)
					pool, wantPool := f.random(true, 3*n*c, -1, 1)
					rows := shadertest.Rand(97, 6*c)
					bn, dGamma, dBeta := f.InOut(rows), f.Output(c), f.Output(c)
					f.Run(func(rec *vk.Recorder) {
						op.Record(rec, kernels.BNBackwardSEArgs{S: sums, Gate: gate, E: e, Pool: pool, BN: bn.Range(),
							DGamma: dGamma.Range(), DBeta: dBeta.Range()})
					})
					want := shadertest.Float64s(rows)
					wantGamma, wantBeta := ref.BNBackwardSE(want, wantS, wantGate, wantE, wantPool, n, 5*n)
					compareBNBackward(t, bn, dGamma, dBeta, want, wantGamma, wantBeta)
				})
			}
		}
	})
}
