package ref_test

import (
	"math/rand/v2"
	"testing"

	"github.com/seed-8d806880/vkeffnet/kernels"
	"github.com/seed-8d806880/vkeffnet/tests/ref"
)

// TestClassifier holds the twins of dropout, bias and loss against central differences with each in the middle of a
// graph: x -> 1x1 -> dropout -> 1x1 and bias -> cross-entropy with mixed labels.
func TestClassifier(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const n, in, hidden, classes, ld, lossScale = 3, 8, 16, 7, 8, 8
	philox := kernels.Philox{Seed: 9}
	a := kernels.NewConv(n, 1, 1, in, hidden, 1, 1, kernels.PadTorch)
	b := kernels.NewConv(n, 1, 1, hidden, ld, 1, 1, kernels.PadTorch)
	x, wa, wb, bias := normal(r, n*in), normal(r, hidden*in), normal(r, ld*hidden), normal(r, ld)
	targets := ref.Targets([]ref.Label{{A: 1, B: 2, Lambda: 0.7, Weight: 1}, {A: 6, B: 6, Lambda: 1, Weight: 1}, {A: 0, B: 3, Lambda: 0.5}},
		classes, ld, 0.1)
	drop := func(x []float64) []float64 { return ref.Dropout(philox, 4, 1, 0.3, 1.5, x) }
	var dropped, dLogits []float64
	loss := func() float64 {
		dropped = drop(ref.ConvFwd(a, x, ref.Transpose(wa, hidden, in)))
		logits := ref.ConvFwd(b, dropped, ref.Transpose(wb, ld, hidden))
		for i := range logits {
			logits[i] += bias[i%ld]
		}
		var out []float64
		out, dLogits = ref.Loss(logits, targets, classes, ld, lossScale)
		var sum float64
		for i := range n {
			sum += out[4*i] * lossScale / n
		}
		return sum
	}
	loss()
	dHidden := drop(ref.ConvDgrad(b, dLogits, wb))
	checkLeaves(t, r, loss, []leaf{
		{"x", x, ref.ConvDgrad(a, dHidden, wa)}, {"wa", wa, ref.ConvWgrad(a, dHidden, x)},
		{"wb", wb, ref.ConvWgrad(b, dLogits, dropped)}, {"bias", bias, ref.BiasGrad(dLogits, ld)},
	})
}
