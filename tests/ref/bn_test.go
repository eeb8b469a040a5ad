package ref_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/tests/ref"
)

// TestBNFinalize checks the running statistics against the definition: an unbiased variance, and a momentum that is the
// weight of the batch.
func TestBNFinalize(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const m, c = 7, 8
	y := normal(r, m*c)
	runMean, runVar := normal(r, c), normal(r, c)
	_, mean, variance := ref.BNFinalize(ref.Stats(y, c), normal(r, c), normal(r, c), runMean, runVar, m, 1e-3, 0.1)
	for ch := range c {
		var sum, squares float64
		for i := range m {
			sum += y[i*c+ch]
		}
		for i := range m {
			for j := range i {
				d := y[i*c+ch] - y[j*c+ch]
				squares += d * d
			}
		}
		assert.InDelta(t, 0.9*runMean[ch]+0.1*sum/m, mean[ch], 1e-12)
		assert.InDelta(t, 0.9*runVar[ch]+0.1*squares/(m*(m-1)), variance[ch], 1e-12) // the mean of (y_i-y_j)^2/2 over all pairs
	}
}
