package ref

import "math"

// Transpose returns wt [RSC][K] of w [K][RSC].
func Transpose(w []float64, k, rsc int) []float64 {
	wt := make([]float64, len(w))
	for i := range k {
		for j := range rsc {
			wt[j*k+i] = w[i*rsc+j]
		}
	}
	return wt
}

// Fold returns wt [RSC][K] times the batch norm's factor per k, and the bias [K] that remains.
func Fold(wt, gamma, beta, mean, variance []float64, eps float64) (folded, bias []float64) {
	k := len(gamma)
	folded, bias = make([]float64, len(wt)), make([]float64, k)
	for i, w := range wt {
		folded[i] = w * gamma[i%k] / math.Sqrt(variance[i%k]+eps)
	}
	for i := range k {
		bias[i] = beta[i] - mean[i]*gamma[i]/math.Sqrt(variance[i]+eps)
	}
	return folded, bias
}
