package ref

import "github.com/seed-8d806880/vkeffnet/kernels"

// taps calls f for every tap that falls inside the image: output pixel o = (n*P+p)*Q+q, input pixel i = (n*H+h)*W+w,
// filter position rs = r*S+s.
func taps(c kernels.Conv, f func(o, i, rs int)) {
	for n := range c.N {
		for p := range c.P {
			for q := range c.Q {
				for r := range c.R {
					for s := range c.S {
						h, w := p*c.Stride+r-c.PadTop, q*c.Stride+s-c.PadLeft
						if h >= 0 && h < c.H && w >= 0 && w < c.W {
							f((n*c.P+p)*c.Q+q, (n*c.H+h)*c.W+w, r*c.S+s)
						}
					}
				}
			}
		}
	}
}

// ConvFwd returns y [N P Q K] of the values x [N H W C] and wt [R S C K].
func ConvFwd(c kernels.Conv, x, wt []float64) []float64 {
	y := make([]float64, c.N*c.P*c.Q*c.K)
	taps(c, func(o, i, rs int) {
		for ch := range c.C {
			for k := range c.K {
				y[o*c.K+k] += x[i*c.C+ch] * wt[(rs*c.C+ch)*c.K+k]
			}
		}
	})
	return y
}

// ConvDgrad returns dx [N H W C] of dy [N P Q K] and w [K R S C].
func ConvDgrad(c kernels.Conv, dy, w []float64) []float64 {
	dx := make([]float64, c.N*c.H*c.W*c.C)
	taps(c, func(o, i, rs int) {
		for k := range c.K {
			for ch := range c.C {
				dx[i*c.C+ch] += dy[o*c.K+k] * w[(k*c.R*c.S+rs)*c.C+ch]
			}
		}
	})
	return dx
}

// ConvWgrad returns dw [K R S C] of dy [N P Q K] and the values x [N H W C].
func ConvWgrad(c kernels.Conv, dy, x []float64) []float64 {
	dw := make([]float64, c.K*c.R*c.S*c.C)
	taps(c, func(o, i, rs int) {
		for k := range c.K {
			for ch := range c.C {
				dw[(k*c.R*c.S+rs)*c.C+ch] += dy[o*c.K+k] * x[i*c.C+ch]
			}
		}
	})
	return dw
}

// Epilogue returns act(y + bias[k]) + add; bias and add may be nil.
func Epilogue(y, bias, add []float64, act kernels.Act, k int) []float64 {
	out := make([]float64, len(y))
	for i, v := range y {
		if bias != nil {
			v += bias[i%k]
		}
		out[i], _ = Act(act, v)
		if add != nil {
			out[i] += add[i]
		}
	}
	return out
}
