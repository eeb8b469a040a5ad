package golden

import (
	"fmt"
	"math"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// fnv1a starts the stream of one tensor.
func fnv1a(seed uint64, name string) uint64 {
	state := uint64(0xcbf29ce484222325)
	for _, b := range []byte(fmt.Sprintf("%d/%s", seed, name)) {
		state = (state ^ uint64(b)) * 0x100000001b3
	}
	return state
}

// splitmix64 is element i of the stream: 64 pseudo-random bits (Steele, Lea and Flood, 2014).
func splitmix64(state uint64, i int) uint64 {
	z := state + uint64(i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// uniform returns n float32 values in [low, high). The conversions of products keep compilers from fusing them into the
// addition, which would round differently from numpy.
func uniform(seed uint64, name string, n int, low, high float64) []float32 {
	state := fnv1a(seed, name)
	x := make([]float32, n)
	for i := range x {
		u := float64(splitmix64(state, i)>>40) * 0x1p-24
		x[i] = float32(low + float64((high-low)*u))
	}
	return x
}

// initial is values() of tests/golden/make_golden.py.
func initial(seed uint64, p effnetv2.Param) []float32 {
	var low, high float64
	switch p.Kind {
	case effnetv2.ConvWeight, effnetv2.DepthwiseWeight, effnetv2.SEWeight, effnetv2.FCWeight:
		high = math.Sqrt(3 / float64(p.Len()/p.Shape[0]))
		low = -high
	case effnetv2.BNGamma:
		low, high = 0.5, 1.5
	case effnetv2.BNBeta:
		low, high = -0.3, 0.3
	case effnetv2.BNMean:
		low, high = -0.2, 0.2
	case effnetv2.BNVar:
		low, high = 0.5, 2.0
	case effnetv2.SEBias:
		low, high = -0.5, 0.5
	case effnetv2.FCBias:
		low, high = -0.1, 0.1
	case effnetv2.BNCount:
	}
	return uniform(seed, p.Torchvision, p.Len(), low, high)
}
