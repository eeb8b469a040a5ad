package ref

import "math"

// BNFinalize returns rows 0 to 3 of a bn buffer [6][C] (mean, scale, beta, rstd; rows 4 and 5 are 0) of the mean and M2 of m
// rows (stats [2][C]), and the running statistics after the step, which do not take in what is not finite.
func BNFinalize(stats, gamma, beta, runMean, runVar []float64, m int, eps, momentum float64) (bn, newMean, newVar []float64) {
	c := len(gamma)
	bn, newMean, newVar = make([]float64, 6*c), make([]float64, c), make([]float64, c)
	for ch := range c {
		mean, m2 := stats[ch], stats[c+ch]
		rstd := 1 / math.Sqrt(m2/float64(m)+eps)
		bn[ch], bn[c+ch], bn[2*c+ch], bn[3*c+ch] = mean, gamma[ch]*rstd, beta[ch], rstd
		if total := mean + m2; math.IsNaN(total) || math.IsInf(total, 0) {
			newMean[ch], newVar[ch] = runMean[ch], runVar[ch]
			continue
		}
		newMean[ch] = (1-momentum)*runMean[ch] + momentum*mean
		newVar[ch] = (1-momentum)*runVar[ch] + momentum*m2/math.Max(float64(m-1), 1)
	}
	return bn, newMean, newVar
}

// BNBackward writes rows 4 and 5 of bn, which stand for the gradient that reaches y through the mean and the variance, of
// the sums S and T over m rows (sums [2][C]). It returns the gradients of gamma and beta.
func BNBackward(bn, sums []float64, m int) (dGamma, dBeta []float64) {
	c := len(bn) / 6
	dGamma, dBeta = make([]float64, c), make([]float64, c)
	for ch := range c {
		scale, rstd, s, t := bn[c+ch], bn[3*c+ch], sums[ch], sums[c+ch]
		bn[4*c+ch] = -scale * rstd * t / float64(m)
		bn[5*c+ch] = -scale * s / float64(m)
		dGamma[ch], dBeta[ch] = t, s
	}
	return dGamma, dBeta
}

// BNBackwardSE is BNBackward of a tensor whose value is pooled and gated: s [N][3][C] (s0, s1, s3), gate and e [N][C], pool
// [3][N][C] (mean, s2, s4). s and gate are nil if the tensor is only pooled.
func BNBackwardSE(bn, s, gate, e, pool []float64, n, m int) (dGamma, dBeta []float64) {
	c := len(bn) / 6
	sums := make([]float64, 2*c)
	for img := range n {
		for ch := range c {
			at := img*c + ch
			sums[ch] += e[at] * pool[n*c+at]
			sums[c+ch] += e[at] * pool[2*n*c+at]
			if gate != nil {
				sums[ch] += gate[at] * s[(img*3+1)*c+ch]
				sums[c+ch] += gate[at] * s[(img*3+2)*c+ch]
			}
		}
	}
	return BNBackward(bn, sums, m)
}
