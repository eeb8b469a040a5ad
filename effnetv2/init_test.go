package effnetv2_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/seed-8d806880/vkeffnet/effnetv2"
)

// TestInit holds mean and deviation of every tensor against its law, at four deviations of the estimates.
func TestInit(t *testing.T) {
	state := effnetv2.Init(effnetv2.B0, 100, 7)
	for _, p := range effnetv2.B0.Params(100) {
		x := state[p.Timm]
		if !assert.Len(t, x, p.Len(), p.Timm) {
			continue
		}
		var sum, squares, largest float64
		for _, v := range x {
			sum += float64(v)
			squares += float64(v) * float64(v)
			largest = max(largest, math.Abs(float64(v)))
		}
		n := float64(len(x))
		std := 0.0
		switch p.Kind {
		case effnetv2.ConvWeight, effnetv2.SEWeight:
			std = math.Sqrt(2 / float64(p.Shape[0]*p.Shape[2]*p.Shape[3]))
		case effnetv2.DepthwiseWeight:
			std = math.Sqrt(2.0 / 9)
		case effnetv2.FCWeight:
			std = 0.1 / math.Sqrt(3)
			assert.LessOrEqual(t, largest, 0.1)
		case effnetv2.BNGamma, effnetv2.BNVar:
			assert.Equal(t, n, sum, p.Timm)
			continue
		default:
			assert.Zero(t, largest, p.Timm)
			continue
		}
		assert.InDelta(t, 0, sum/n/std*math.Sqrt(n), 4, p.Timm)
		assert.InDelta(t, 1, math.Sqrt(squares/n)/std, 4/math.Sqrt(2*n), p.Timm)
	}
	assert.Equal(t, state, effnetv2.Init(effnetv2.B0, 100, 7), "one seed, one network")
	assert.NotEqual(t, state["conv_stem.weight"], effnetv2.Init(effnetv2.B0, 100, 8)["conv_stem.weight"])
	assert.Equal(t, state["conv_stem.weight"], effnetv2.Init(effnetv2.B0, 10, 7)["conv_stem.weight"], "streams are the tensors' own")
}

func TestDeviceLayouts(t *testing.T) {
	oihw := []float32{ // k=2, c=3, r=1, s=2: the value is kcrs in digits
		0000, 0001, 0100, 0101, 0200, 0201,
		1000, 1001, 1100, 1101, 1200, 1201}
	krsc := []float32{0000, 0100, 0200, 0001, 0101, 0201, 1000, 1100, 1200, 1001, 1101, 1201}
	shape := []int{2, 3, 1, 2}
	assert.Equal(t, krsc, effnetv2.ToDevice(effnetv2.ConvWeight, shape, oihw))
	assert.Equal(t, oihw, effnetv2.FromDevice(effnetv2.ConvWeight, shape, krsc))

	depthwise := []float32{0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23} // [3 1 2 2], the value is c, rs
	rsc := []float32{0, 10, 20, 1, 11, 21, 2, 12, 22, 3, 13, 23}
	shape = []int{3, 1, 2, 2}
	assert.Equal(t, rsc, effnetv2.ToDevice(effnetv2.DepthwiseWeight, shape, depthwise))
	assert.Equal(t, depthwise, effnetv2.FromDevice(effnetv2.DepthwiseWeight, shape, rsc))

	x := []float32{1, 2, 3, 4, 5, 6}
	assert.Equal(t, x, effnetv2.ToDevice(effnetv2.SEWeight, []int{2, 3, 1, 1}, x))
	assert.Equal(t, x, effnetv2.FromDevice(effnetv2.FCWeight, []int{2, 3}, x))
}
