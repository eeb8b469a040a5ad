package effnetv2

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// Init returns the initial state of a network, by timm's names, in PyTorch's layouts:
//
//	convolutions, SE kernels   N(0, sqrt(2/(k*k*out)))
//	depthwise kernels          N(0, sqrt(2/(k*k)))
//	classifier                 U(-1/sqrt(classes), 1/sqrt(classes))
//	gammas, running variances  1
//	all else                   0
//
// Every tensor has a random stream of its own, made from the seed and its name, so a tensor's values do not depend on the
// rest of the network. Source: google/automl, efficientnetv2/effnetv2_model.py, conv_kernel_initializer and
// dense_kernel_initializer.
func Init(v Variant, classes int, seed uint64) map[string][]float32 {
	params := v.Params(classes)
	tensors := make([][]float32, len(params))
	var group errgroup.Group // one of no errors
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range params {
		group.Go(func() error {
			tensors[i] = initial(p, classes, seed)
			return nil
		})
	}
	_ = group.Wait()
	state := make(map[string][]float32, len(params))
	for i, p := range params {
		state[p.Timm] = tensors[i]
	}
	return state
}

func initial(p Param, classes int, seed uint64) []float32 {
	name := fnv.New64a()
	name.Write([]byte(p.Timm))
	rng := rand.New(rand.NewPCG(seed, name.Sum64()))
	x := make([]float32, p.Len())
	normal := func(std float64) {
		for i := range x {
			x[i] = float32(rng.NormFloat64() * std)
		}
	}
	switch p.Kind {
	case ConvWeight, SEWeight:
		normal(math.Sqrt(2 / float64(p.Shape[0]*p.Shape[2]*p.Shape[3])))
	case DepthwiseWeight:
		normal(math.Sqrt(2 / float64(p.Shape[2]*p.Shape[3])))
	case FCWeight:
		bound := 1 / math.Sqrt(float64(classes))
		for i := range x {
			x[i] = float32((2*rng.Float64() - 1) * bound)
		}
	case BNGamma, BNVar:
		for i := range x {
			x[i] = 1
		}
	case BNBeta, BNMean, BNCount, SEBias, FCBias:
	}
	return x
}
