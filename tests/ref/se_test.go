package ref_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
)

// norm is a batch norm with its running statistics left out.
type norm struct{ gamma, beta []float64 }

func newNorm(r *rand.Rand, c int) norm { return norm{normal(r, c), normal(r, c)} }

func (b norm) finalize(y []float64) []float64 {
	c := len(b.gamma)
	zero := make([]float64, c)
	bn, _, _ := ref.BNFinalize(ref.Stats(y, c), b.gamma, b.beta, zero, zero, len(y)/c, 1e-3, 0.1)
	return bn
}

// leaf is a tensor that the loss depends on and the gradient that is held against central differences.
type leaf struct {
	name     string
	at, grad []float64
}

// checkLeaves compares some elements of every gradient with central differences of loss.
func checkLeaves(t *testing.T, r *rand.Rand, loss func() float64, leaves []leaf) {
	t.Helper()
	for _, v := range leaves {
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
}

// TestMBConv holds every twin that an MBConv block uses against central differences of a loss behind it, each in the
// middle of the graph: y1 -> BN, SiLU -> depthwise -> BN, SiLU, squeeze-and-excite -> 1x1 -> BN, drop path, + skip.
func TestMBConv(t *testing.T) {
	for _, shape := range [][5]int{{3, 1, 4, 3, 2}, {3, 2, 5, 4, 1}, {5, 1, 3, 2, 3}, {5, 2, 4, 5, 2}} {
		k, stride, h, w, hidden := shape[0], shape[1], shape[2], shape[3], shape[4]
		t.Run(fmt.Sprintf("%dx%d/%d %dx%d R=%d", k, k, stride, h, w, hidden), func(t *testing.T) {
			r := rand.New(rand.NewPCG(7, 8))
			const n, c, out = 2, 8, 8
			dw := kernels.NewConv(n, h, w, c, c, k, stride, kernels.PadSame)
			project := kernels.NewConv(n, dw.P, dw.Q, c, out, 1, 1, kernels.PadTorch)
			hw, pq := h*w, dw.P*dw.Q
			y1, wDepth, wProject := normal(r, n*hw*c), normal(r, k*k*c), normal(r, out*c)
			norm1, norm2, norm3 := newNorm(r, c), newNorm(r, c), newNorm(r, out)
			se := ref.SEWeights{W1: normal(r, hidden*c), B1: normal(r, hidden), W2: normal(r, c*hidden), B2: normal(r, c)}
			keep, skip, target := []float64{0, 1.25}, normal(r, n*pq*out), normal(r, n*pq*out)

			silu := kernels.Pending{BN: true, Act: kernels.SiLU}
			gated := kernels.Pending{BN: true, Act: kernels.SiLU, Gate: true}
			var bn1, bn2, bn3, u1, y2, u2, y3, pool, hid, gate, g []float64
			loss := func() float64 {
				bn1 = norm1.finalize(y1)
				u1 = ref.Value(silu, ref.Tensor{Raw: y1, BN: bn1}, n, hw, c)
				y2 = ref.DepthwiseFwd(dw, u1, wDepth)
				bn2 = norm2.finalize(y2)
				pool = ref.Pool(silu, ref.Tensor{Raw: y2, BN: bn2}, true, n, pq, c)
				hid, gate = ref.SEFwd(pool[:n*c], se, n, c, hidden)
				u2 = ref.Value(gated, ref.Tensor{Raw: y2, BN: bn2, Gate: gate}, n, pq, c)
				y3 = ref.ConvFwd(project, u2, ref.Transpose(wProject, out, c))
				bn3 = norm3.finalize(y3)
				z := ref.Apply(kernels.Pending{BN: true}, ref.Tensor{Raw: y3, BN: bn3}, keep, skip, n, pq, out)
				g = make([]float64, len(z))
				var l float64
				for i, v := range z {
					g[i] = v - target[i]
					l += g[i] * g[i] / 2
				}
				return l
			}
			loss()

			// g is the gradient of the block's output, of the skip connection too.
			_, sums3 := ref.Sink(kernels.Sink{Keep: true, Sums: true}, g, ref.SinkArgs{Y: y3, BN: bn3, Keep: keep}, n, pq, out)
			dGamma3, dBeta3 := ref.BNBackward(bn3, sums3, n*pq)
			dy3 := ref.DY(kernels.GradIn{BN: true, Keep: true}, ref.Grad{G: g, Y: y3, BN: bn3, Keep: keep}, n, pq, out)
			dwProject := ref.ConvWgrad(project, dy3, u2)
			q, s := ref.Sink(kernels.Sink{SE: true, Act: kernels.SiLU}, ref.ConvDgrad(project, dy3, wProject),
				ref.SinkArgs{Y: y2, BN: bn2}, n, pq, c)
			e, dse := ref.SEBwd(s, gate, hid, pool[:n*c], se, n, c, hidden, pq)
			dGamma2, dBeta2 := ref.BNBackwardSE(bn2, s, gate, e, pool, n, n*pq)
			dy2 := ref.DY(kernels.GradIn{BN: true, Gate: true, Act: kernels.SiLU},
				ref.Grad{G: q, Y: y2, BN: bn2, Gate: gate, E: e}, n, pq, c)
			dwDepth := ref.DepthwiseWgrad(dw, dy2, u1)
			dz1, sums1 := ref.Sink(kernels.Sink{Act: kernels.SiLU}, ref.DepthwiseDgrad(dw, dy2, wDepth), ref.SinkArgs{Y: y1, BN: bn1}, n, hw, c)
			dGamma1, dBeta1 := ref.BNBackward(bn1, sums1, n*hw)
			dy1 := ref.DY(kernels.GradIn{BN: true}, ref.Grad{G: dz1, Y: y1, BN: bn1}, n, hw, c)

			checkLeaves(t, r, loss, []leaf{
				{"y1", y1, dy1}, {"depthwise w", wDepth, dwDepth}, {"projection w", wProject, dwProject}, {"skip", skip, g},
				{"gamma1", norm1.gamma, dGamma1}, {"beta1", norm1.beta, dBeta1},
				{"gamma2", norm2.gamma, dGamma2}, {"beta2", norm2.beta, dBeta2},
				{"gamma3", norm3.gamma, dGamma3}, {"beta3", norm3.beta, dBeta3},
				{"se w1", se.W1, dse.W1}, {"se b1", se.B1, dse.B1}, {"se w2", se.W2, dse.W2}, {"se b2", se.B2, dse.B2},
			})
		})
	}
}

// TestHead does the same for a tensor that is only pooled: y -> BN, SiLU -> mean over the image -> a quadratic loss.
func TestHead(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const n, hw, c = 3, 5, 8
	y, b, target := normal(r, n*hw*c), newNorm(r, c), normal(r, n*c)
	silu := kernels.Pending{BN: true, Act: kernels.SiLU}
	var bn, pool, e []float64
	loss := func() float64 {
		bn = b.finalize(y)
		pool = ref.Pool(silu, ref.Tensor{Raw: y, BN: bn}, true, n, hw, c)
		e = make([]float64, n*c)
		var l float64
		for i := range e {
			d := pool[i] - target[i]
			l += d * d / 2
			e[i] = d / hw
		}
		return l
	}
	loss()
	dGamma, dBeta := ref.BNBackwardSE(bn, nil, nil, e, pool, n, n*hw)
	dy := ref.DY(kernels.GradIn{BN: true, Gate: true, NoG: true, Act: kernels.SiLU}, ref.Grad{Y: y, BN: bn, E: e}, n, hw, c)
	checkLeaves(t, r, loss, []leaf{{"y", y, dy}, {"gamma", b.gamma, dGamma}, {"beta", b.beta, dBeta}})
}
