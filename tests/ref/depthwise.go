package ref

import "github.com/seed-8d806880/vkeffnet/kernels"

// DepthwiseFwd returns y [N P Q C] of the values x [N H W C] and w [R S C].
func DepthwiseFwd(c kernels.Conv, x, w []float64) []float64 {
	y := make([]float64, c.N*c.P*c.Q*c.C)
	taps(c, func(o, i, rs int) {
		for ch := range c.C {
			y[o*c.C+ch] += x[i*c.C+ch] * w[rs*c.C+ch]
		}
	})
	return y
}

// DepthwiseDgrad returns dx [N H W C] of dy [N P Q C] and w [R S C].
func DepthwiseDgrad(c kernels.Conv, dy, w []float64) []float64 {
	dx := make([]float64, c.N*c.H*c.W*c.C)
	taps(c, func(o, i, rs int) {
		for ch := range c.C {
			dx[i*c.C+ch] += dy[o*c.C+ch] * w[rs*c.C+ch]
		}
	})
	return dx
}

// DepthwiseWgrad returns dw [R S C] of dy [N P Q C] and the values x [N H W C].
func DepthwiseWgrad(c kernels.Conv, dy, x []float64) []float64 {
	dw := make([]float64, c.R*c.S*c.C)
	taps(c, func(o, i, rs int) {
		for ch := range c.C {
			dw[rs*c.C+ch] += dy[o*c.C+ch] * x[i*c.C+ch]
		}
	})
	return dw
}
