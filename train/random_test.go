package train_test

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

func TestPermutation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 300).Draw(t, "n")
		seed, step := rapid.Uint64().Draw(t, "seed"), rapid.Uint32().Draw(t, "step")
		p := train.Permutation(seed, 5, step, n)
		assert.Equal(t, p, train.Permutation(seed, 5, step, n))
		slices.Sort(p)
		for i, v := range p {
			assert.Equal(t, i, v)
		}
	})
	assert.NotEqual(t, train.Permutation(1, 5, 0, 100), train.Permutation(1, 5, 1, 100))
	assert.NotEqual(t, train.Permutation(1, 5, 0, 100), train.Permutation(2, 5, 0, 100))
}

// TestUniformIntegers holds the counts of 7 values against chi-squared with 6 degrees of freedom; 22.5 is its 99.9 %
// point.
func TestUniformIntegers(t *testing.T) {
	s := train.NewSource(3, 1, 2, 0)
	const draws = 70000
	var count [7]int
	for range draws {
		count[s.Intn(7)]++
	}
	chi := 0.0
	for _, c := range count {
		d := float64(c) - draws/7
		chi += d * d / (draws / 7)
	}
	assert.Less(t, chi, 22.5)
}

// TestBeta compares mean and variance with 1/2 and 1/(4(2a+1)); five standard errors are allowed.
func TestBeta(t *testing.T) {
	for _, a := range []float64{0.001, 0.067, 0.2, 0.5, 1, 2, 30} {
		s := train.NewSource(11, 0, 7, 0)
		const draws = 20000
		var sum, squares float64
		for range draws {
			x := s.Beta(a)
			if !(x >= 0 && x <= 1) {
				t.Fatalf("Beta(%g, %g) gave %g", a, a, x)
			}
			sum += x
			squares += (x - 0.5) * (x - 0.5)
		}
		variance := 1 / (4 * (2*a + 1))
		assert.InDelta(t, 0.5, sum/draws, 5*math.Sqrt(variance/draws), "mean of Beta(%g)", a)
		// The variance of the square is at most a quarter of the variance, since |x-1/2| <= 1/2.
		assert.InDelta(t, variance, squares/draws, 5*math.Sqrt(variance/4/draws), "variance of Beta(%g)", a)
	}
}
