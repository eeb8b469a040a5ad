package effnetv2

import (
	"math"
	"slices"
)

// Scale applies compound scaling: every width (stem, stage outputs, head) becomes roundWidth(c*width), every stage repeats
// ceil(repeats*depth) blocks, and the image sizes and the dropout rate are replaced. Expansion, kernels and strides stay.
// The result has no name and no published accuracy.
//
// Source: google/automl, efficientnetv2/effnetv2_model.py, round_filters and round_repeats; arXiv:1905.11946.
func Scale(base Variant, width, depth float64, trainSize, evalSize int, dropout float64) Variant {
	v := base
	v.Name, v.LongName, v.Top1 = "", "", 0
	v.Width, v.Depth = base.Width*width, base.Depth*depth
	v.TrainSize, v.EvalSize, v.Dropout = trainSize, evalSize, dropout
	v.Stem, v.Head = roundWidth(base.Stem, width), roundWidth(base.Head, width)
	v.Stages = slices.Clone(base.Stages)
	for i := range v.Stages {
		v.Stages[i].Out = roundWidth(base.Stages[i].Out, width)
		v.Stages[i].Repeats = int(math.Ceil(float64(base.Stages[i].Repeats) * depth))
	}
	return v
}

// roundWidth rounds c*width to the nearest multiple of 8, at least 8. Unlike MobileNet's and torchvision's rule it may fall
// more than 10 % below c*width: automl has no such guard, and B3's first stage (16, not 24) depends on that.
func roundWidth(c int, width float64) int {
	return max(8, int(float64(c)*width+4)/8*8)
}
