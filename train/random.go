package train

import (
	"math"

	"github.com/seed-8d806880/vkeffnet/kernels"
)

// Streams of the host's Philox counters; those below 2^31 belong to the device.
const (
	streamOrder   = 0x8000_0000 + iota // epoch order: counter (epoch, stream, block)
	streamSplit                        // held-out images: counter (class, stream, block)
	streamAugment                      // one image's augmentation: counter (step, stream, image, block)
)

// source yields uniform numbers of one Philox stream: block b of four words has the counter (step, stream, index, b).
// It has no state beyond its position, so that a resumed run draws what the first one would have drawn.
type source struct {
	philox       kernels.Philox
	step, stream uint32
	index, block uint32
	words        [4]uint32
	used         int
}

func newSource(seed uint64, step, stream, index uint32) *source {
	return &source{philox: kernels.Philox{Seed: seed}, step: step, stream: stream, index: index, used: 4}
}

func (s *source) uint32() uint32 {
	if s.used == 4 {
		s.words = s.philox.Draw(s.step, s.stream, uint64(s.block)<<32|uint64(s.index))
		s.block++
		s.used = 0
	}
	s.used++
	return s.words[s.used-1]
}

// uniform returns a number in [0, 1) with 24 random bits, as the shaders do.
func (s *source) uniform() float64 { return float64(s.uint32()>>8) * 0x1p-24 }

// open returns a number in (0, 1), for logarithms.
func (s *source) open() float64 { return (float64(s.uint32()>>8) + 0.5) * 0x1p-24 }

// intn returns a number in [0, n), each equally likely (Lemire, arXiv:1805.10941, section 4).
func (s *source) intn(n int) int {
	bound := uint32(n)
	for {
		m := uint64(s.uint32()) * uint64(bound)
		if low := uint32(m); low >= -bound%bound {
			return int(m >> 32)
		}
	}
}

// between returns a number in [lo, hi).
func (s *source) between(lo, hi float64) float64 { return lo + (hi-lo)*s.uniform() }

// logGamma returns the logarithm of a draw from Gamma(a, 1), a > 0 (Marsaglia and Tsang 2000: A simple method for
// generating gamma variables). A draw for a < 1 is one for a+1 times U^(1/a), which underflows unless it is kept
// as a logarithm.
func (s *source) logGamma(a float64) float64 {
	boost := 0.0
	if a < 1 {
		boost = math.Log(s.open()) / a
		a++
	}
	d := a - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := math.Sqrt(-2*math.Log(s.open())) * math.Cos(2*math.Pi*s.uniform())
		v := 1 + c*x
		if v <= 0 {
			continue
		}
		v *= v * v
		if math.Log(s.open()) < x*x/2+d-d*v+d*math.Log(v) {
			return math.Log(d*v) + boost
		}
	}
}

// beta returns a draw from Beta(a, a), a > 0.
func (s *source) beta(a float64) float64 {
	x, y := s.logGamma(a), s.logGamma(a)
	return 1 / (1 + math.Exp(y-x))
}

// permutation returns 0..n-1 in the order that the stream gives (Fisher-Yates).
func permutation(seed uint64, stream, step uint32, n int) []int {
	p := make([]int, n)
	for i := range p {
		p[i] = i
	}
	s := newSource(seed, step, stream, 0)
	for i := n - 1; i > 0; i-- {
		j := s.intn(i + 1)
		p[i], p[j] = p[j], p[i]
	}
	return p
}
