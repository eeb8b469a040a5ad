package ref

import (
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Pool returns the mean over an image of the value of x [N][C]; with grad, after it, s2 = sum of act'(z) and s4 = sum of
// act'(z)*yhat: [3][N][C].
func Pool(p kernels.Pending, x Tensor, grad bool, n, hw, c int) []float64 {
	v := Value(p, x, n, hw, c)
	z := Value(kernels.Pending{BN: p.BN}, x, n, hw, c)
	pool := make([]float64, 3*n*c)
	for i := range v {
		ch := i % c
		at := i/(hw*c)*c + ch
		pool[at] += v[i] / float64(hw)
		if grad {
			_, d := Act(p.Act, z[i])
			pool[n*c+at] += d
			pool[2*n*c+at] += d * (x.Raw[i] - x.BN[ch]) * x.BN[3*c+ch]
		}
	}
	if !grad {
		return pool[:n*c]
	}
	return pool
}

// SEWeights are the two layers of squeeze-and-excite: W1 [R][C], B1 [R], W2 [C][R], B2 [C].
type SEWeights struct{ W1, B1, W2, B2 []float64 }

// SEFwd returns hidden [N][R] = pool W1' + B1 and gate [N][C] = sigmoid(silu(hidden) W2' + B2) of pool [N][C].
func SEFwd(pool []float64, w SEWeights, n, c, r int) (hidden, gate []float64) {
	hidden, gate = make([]float64, n*r), make([]float64, n*c)
	for img := range n {
		for k := range r {
			h := w.B1[k]
			for ch := range c {
				h += pool[img*c+ch] * w.W1[k*c+ch]
			}
			hidden[img*r+k] = h
		}
		for ch := range c {
			z := w.B2[ch]
			for k := range r {
				a, _ := Act(kernels.SiLU, hidden[img*r+k])
				z += a * w.W2[ch*r+k]
			}
			gate[img*c+ch] = 1 / (1 + math.Exp(-z))
		}
	}
	return hidden, gate
}

// SEBwd returns the gradients of the two layers and e [N][C], the gradient that reaches every one of hw pixels through
// the pooling, of s [N][3][C] (row 0: s0, the gradient of the gate), gate, hidden and pool [N][C].
func SEBwd(s, gate, hidden, pool []float64, w SEWeights, n, c, r, hw int) (e []float64, dw SEWeights) {
	e = make([]float64, n*c)
	dw = SEWeights{make([]float64, r*c), make([]float64, r), make([]float64, c*r), make([]float64, c)}
	for img := range n {
		dh := make([]float64, r)
		for ch := range c {
			g := gate[img*c+ch]
			dz := s[img*3*c+ch] * g * (1 - g)
			dw.B2[ch] += dz
			for k := range r {
				a, _ := Act(kernels.SiLU, hidden[img*r+k])
				dw.W2[ch*r+k] += dz * a
				dh[k] += dz * w.W2[ch*r+k]
			}
		}
		for k := range r {
			_, d := Act(kernels.SiLU, hidden[img*r+k])
			dh[k] *= d
			dw.B1[k] += dh[k]
			for ch := range c {
				dw.W1[k*c+ch] += dh[k] * pool[img*c+ch]
				e[img*c+ch] += dh[k] * w.W1[k*c+ch] / float64(hw)
			}
		}
	}
	return e, dw
}
