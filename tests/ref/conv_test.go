package ref_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
)

func normal(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// batchNorm returns z = gamma*(y-mean)*rstd + beta with batch statistics, and the rows 0 to 3 of a bn buffer.
func batchNorm(y, gamma, beta []float64) (z, bn []float64) {
	c := len(gamma)
	m := float64(len(y) / c)
	s := ref.Stats(y, c)
	bn = make([]float64, 6*c)
	for ch := range c {
		rstd := 1 / math.Sqrt(s[c+ch]/m+1e-3)
		bn[ch], bn[c+ch], bn[2*c+ch], bn[3*c+ch] = s[ch], gamma[ch]*rstd, beta[ch], rstd
	}
	z = ref.Value(kernels.Pending{BN: true}, ref.Tensor{Raw: y, BN: bn}, 1, len(y)/c, c)
	return z, bn
}

// finish writes rows 4 and 5 of bn from the sums S and T.
func finish(bn, sums []float64, c int, m float64) {
	for ch := range c {
		scale, rstd := bn[c+ch], bn[3*c+ch]
		bn[4*c+ch], bn[5*c+ch] = -scale*rstd*sums[c+ch]/m, -scale*sums[ch]/m
	}
}

// TestGradients puts a convolution in the middle of a graph: x -> conv a -> BN, SiLU, gate -> conv b -> BN, keep ->
// a weighted sum of squares, and holds every gradient that the twins of dgrad and wgrad build, through GradIn and
// Sink, against central differences of that loss.
func TestGradients(t *testing.T) {
	for _, c := range []struct {
		name string
		b    kernels.Conv
	}{
		{"1x1", kernels.NewConv(2, 3, 2, 8, 8, 1, 1, kernels.PadTorch)},
		{"3x3", kernels.NewConv(2, 3, 4, 8, 8, 3, 1, kernels.PadTorch)},
		{"3x3/2", kernels.NewConv(2, 5, 4, 8, 8, 3, 2, kernels.PadSame)},
		{"1x1/2", kernels.NewConv(2, 3, 3, 8, 8, 1, 2, kernels.PadTorch)},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			b := c.b
			a := kernels.NewConv(b.N, b.H, b.W, 3, b.C, 3, 1, kernels.PadTorch)
			hw, pq := b.H*b.W, b.P*b.Q
			x := normal(r, a.N*a.H*a.W*a.C)
			wa, wb := normal(r, a.K*a.R*a.S*a.C), normal(r, b.K*b.R*b.S*b.C)
			gammaA, betaA := normal(r, b.C), normal(r, b.C)
			gammaB, betaB := normal(r, b.K), normal(r, b.K)
			gate, keep := normal(r, b.N*b.C), []float64{0, 1.25}
			target := normal(r, b.N*pq*b.K)

			in := kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}
			var ya, yb, bnA, bnB, value, g []float64
			loss := func() float64 {
				ya = ref.ConvFwd(a, x, ref.Transpose(wa, a.K, a.R*a.S*a.C))
				_, bnA = batchNorm(ya, gammaA, betaA)
				value = ref.Value(in, ref.Tensor{Raw: ya, BN: bnA, Gate: gate}, b.N, hw, b.C)
				yb = ref.ConvFwd(b, value, ref.Transpose(wb, b.K, b.R*b.S*b.C))
				var z []float64
				z, bnB = batchNorm(yb, gammaB, betaB)
				g = make([]float64, len(z))
				var l float64
				for i, v := range z {
					v *= keep[i/(pq*b.K)]
					l += (v - target[i]) * (v - target[i]) / 2
					g[i] = v - target[i]
				}
				return l
			}
			loss()

			// Backward. The loss's gradient goes through drop path and BN of b, then b, then gate, SiLU and BN of a.
			_, sumsB := ref.Sink(kernels.Sink{Keep: true, Sums: true}, g, ref.SinkArgs{Y: yb, BN: bnB, Keep: keep}, b.N, pq, b.K)
			finish(bnB, sumsB, b.K, float64(b.N*pq))
			dyB := ref.DY(kernels.GradIn{BN: true, Keep: true}, ref.Grad{G: g, Y: yb, BN: bnB, Keep: keep}, b.N, pq, b.K)
			dwb := ref.ConvWgrad(b, dyB, value)
			q, se := ref.Sink(kernels.Sink{SE: true, Act: kernels.SiLU}, ref.ConvDgrad(b, dyB, wb), ref.SinkArgs{Y: ya, BN: bnA}, b.N, hw, b.C)
			sumsA := make([]float64, 2*b.C)
			dgate := make([]float64, b.N*b.C)
			for i := range b.N {
				for ch := range b.C {
					dgate[i*b.C+ch] = se[(i*3)*b.C+ch]
					sumsA[ch] += gate[i*b.C+ch] * se[(i*3+1)*b.C+ch]
					sumsA[b.C+ch] += gate[i*b.C+ch] * se[(i*3+2)*b.C+ch]
				}
			}
			finish(bnA, sumsA, b.C, float64(b.N*hw))
			dyA := ref.DY(kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU},
				ref.Grad{G: q, Y: ya, BN: bnA, Gate: gate, E: make([]float64, b.N*b.C)}, b.N, hw, b.C)
			dwa := ref.ConvWgrad(a, dyA, x)
			dx := ref.ConvDgrad(a, dyA, wa)

			for _, v := range []struct {
				name     string
				at, grad []float64
			}{
				{"x", x, dx}, {"wa", wa, dwa}, {"wb", wb, dwb}, {"gate", gate, dgate},
				{"gammaA", gammaA, sumsA[b.C:]}, {"betaA", betaA, sumsA[:b.C]},
				{"gammaB", gammaB, sumsB[b.K:]}, {"betaB", betaB, sumsB[:b.K]},
			} {
				for range 12 {
					i := r.IntN(len(v.at))
					const h = 1e-5
					old := v.at[i]
					v.at[i] = old + h
					up := loss()
					v.at[i] = old - h
					down := loss()
					v.at[i] = old
					assert.InDelta(t, (up-down)/(2*h), v.grad[i], 1e-6*(1+math.Abs(v.grad[i])), "%s[%d]", v.name, i)
				}
			}
		})
	}
}

// TestSinkMatchesGradIn checks the two ways of disposing of an activation's gradient against each other: written as dz,
// or written as du and built again on load.
func TestSinkMatchesGradIn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const n, hw, c = 2, 3, 8
	y, du, bn := normal(r, n*hw*c), normal(r, n*hw*c), normal(r, 6*c)
	args := ref.SinkArgs{Y: y, BN: bn}
	dz, sums := ref.Sink(kernels.Sink{Act: kernels.SiLU}, du, args, n, hw, c)
	kept, sumsOnly := ref.Sink(kernels.Sink{Act: kernels.SiLU, SumsOnly: true}, du, args, n, hw, c)
	assert.Equal(t, du, kept)
	assert.Equal(t, sums, sumsOnly)
	assert.Equal(t,
		ref.DY(kernels.GradIn{BN: true}, ref.Grad{G: dz, Y: y, BN: bn}, n, hw, c),
		ref.DY(kernels.GradIn{BN: true, Act: kernels.SiLU}, ref.Grad{G: du, Y: y, BN: bn}, n, hw, c))
}

// TestMergeStats splits rows unevenly, an empty part included, and merges them again.
func TestMergeStats(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const c = 3
	y := normal(r, 11*c)
	stats := []float64{}
	counts := []float64{}
	for _, cut := range [][2]int{{0, 4}, {4, 4}, {4, 5}, {5, 11}} {
		part := make([]float64, 2*c)
		if cut[0] < cut[1] {
			part = ref.Stats(y[cut[0]*c:cut[1]*c], c)
		}
		stats = append(stats, part...)
		counts = append(counts, float64(cut[1]-cut[0]))
	}
	assert.InDeltaSlice(t, ref.Stats(y, c), ref.MergeStats(append(stats, counts...), len(counts), c), 1e-12)
}
