package ref

import "github.com/seed-8d806880/vkeffnet/kernels"

// uniform is the number in [0, 1) of one word of a Philox counter.
func uniform(p kernels.Philox, step, stream uint32, index uint64, word int) float64 {
	return float64(kernels.Uniform(p.Draw(step, stream, index)[word]))
}

// Dropout returns x*scale/(1-rate) where an element's uniform number is at least rate, else 0. Element i has word i%4 of
// counter (step, stream, i/4).
func Dropout(p kernels.Philox, step, stream uint32, rate, scale float64, x []float64) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		if uniform(p, step, stream, uint64(i/4), i%4) >= rate {
			y[i] = v * scale / (1 - rate)
		}
	}
	return y
}

// KeepMask returns the factors of stochastic depth [blocks][n]: block b of an image is dropped with probability
// rate = dropPath*b/blocks, else scaled by 1/(1-rate). Factor i has word 0 of counter (step, 2, i).
func KeepMask(p kernels.Philox, step uint32, dropPath float64, blocks, n int) []float64 {
	keep := make([]float64, blocks*n)
	for i := range keep {
		rate := dropPath * float64(i/n) / float64(blocks)
		if uniform(p, step, 2, uint64(i), 0) >= rate {
			keep[i] = 1 / (1 - rate)
		}
	}
	return keep
}
