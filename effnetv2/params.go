package effnetv2

import "fmt"

// ParamKind says what an entry of the state is; it decides layout, initial value, weight decay and who updates it.
type ParamKind int

// The kinds of entries, with the shape that PyTorch gives them.
const (
	ConvWeight      ParamKind = iota // dense convolution, [K C R S]
	DepthwiseWeight                  // depthwise convolution, [C 1 R S]
	BNGamma                          // scale of a batch norm, [C]
	BNBeta                           // shift of a batch norm, [C]
	BNMean                           // running mean, [C]
	BNVar                            // running variance, unbiased, [C]
	BNCount                          // number of batches seen, a scalar int64
	SEWeight                         // 1x1 convolution of squeeze-and-excite, [out in 1 1]
	SEBias                           // its bias, [out]
	FCWeight                         // classifier, [classes Head]
	FCBias                           // its bias, [classes]
)

// Param is one entry of a network's state.
type Param struct {
	Timm        string // full name in pytorch-image-models: "blocks.3.0.conv_pw.weight"
	Torchvision string // full name in torchvision: "features.4.0.block.0.0.weight"
	Kind        ParamKind
	Shape       []int // PyTorch's, convolutions OIHW; empty for a scalar
	Decay       bool  // weight decay applies: kernels of convolutions, SE and classifier; never biases, gammas, betas
	Trainable   bool  // has a gradient; false for running statistics and their counter
}

// Len is the number of elements.
func (p Param) Len() int {
	n := 1
	for _, d := range p.Shape {
		n *= d
	}
	return n
}

// Params returns every entry of the network's state in network order, which is also the order of torchvision's state_dict.
func (v Variant) Params(classes int) []Param {
	var l paramList
	l.conv("conv_stem", "features.0.0", ConvWeight, v.Stem, 3, 3)
	l.bn("bn1", "features.0.1", v.Stem)
	for _, b := range v.Blocks() {
		l.block(b)
	}
	last := v.Stem
	if n := len(v.Stages); n > 0 {
		last = v.Stages[n-1].Out
	}
	head := fmt.Sprintf("features.%d", len(v.Stages)+1)
	l.conv("conv_head", head+".0", ConvWeight, v.Head, last, 1)
	l.bn("bn2", head+".1", v.Head)
	l.add("classifier.weight", "classifier.1.weight", FCWeight, classes, v.Head)
	l.add("classifier.bias", "classifier.1.bias", FCBias, classes)
	return l
}

// ParamCount returns the number of trainable parameters, and the number with the running means and variances.
func (v Variant) ParamCount(classes int) (trainable, withStats int64) {
	for _, p := range v.Params(classes) {
		if p.Trainable {
			trainable += int64(p.Len())
		}
		if p.Kind != BNCount {
			withStats += int64(p.Len())
		}
	}
	return trainable, withStats
}

type paramList []Param

func (l *paramList) add(timm, torchvision string, kind ParamKind, shape ...int) {
	p := Param{Timm: timm, Torchvision: torchvision, Kind: kind, Shape: shape}
	switch kind {
	case ConvWeight, DepthwiseWeight, SEWeight, FCWeight:
		p.Decay, p.Trainable = true, true
	case BNGamma, BNBeta, SEBias, FCBias:
		p.Trainable = true
	case BNMean, BNVar, BNCount:
	}
	*l = append(*l, p)
}

// conv adds the weight of an in -> out convolution with a k x k kernel; a depthwise one has in = 1.
func (l *paramList) conv(timm, torchvision string, kind ParamKind, out, in, k int) {
	l.add(timm+".weight", torchvision+".weight", kind, out, in, k, k)
}

func (l *paramList) bn(timm, torchvision string, c int) {
	l.add(timm+".weight", torchvision+".weight", BNGamma, c)
	l.add(timm+".bias", torchvision+".bias", BNBeta, c)
	l.add(timm+".running_mean", torchvision+".running_mean", BNMean, c)
	l.add(timm+".running_var", torchvision+".running_var", BNVar, c)
	l.add(timm+".num_batches_tracked", torchvision+".num_batches_tracked", BNCount)
}

// block adds a block's entries. torchvision numbers the members of a block as they come; timm names them by their role,
// where the batch norms count up and the role of the last 1x1 convolution depends on whether an expansion precedes it.
func (l *paramList) block(b Block) {
	timm := b.Prefix()
	tv := fmt.Sprintf("features.%d.%d.block.", b.Stage+1, b.Index)
	member := 0
	convBN := func(name string, kind ParamKind, out, in, k int) {
		l.conv(timm+name, fmt.Sprintf("%s%d.0", tv, member), kind, out, in, k)
		member++
		l.bn(fmt.Sprintf("%sbn%d", timm, member), fmt.Sprintf("%s%d.1", tv, member-1), out)
	}
	if b.Kind == Fused {
		if b.Expand == 1 {
			convBN("conv", ConvWeight, b.Out, b.In, b.Kernel)
			return
		}
		convBN("conv_exp", ConvWeight, b.Mid, b.In, b.Kernel)
		convBN("conv_pwl", ConvWeight, b.Out, b.Mid, 1)
		return
	}
	project := "conv_pw"
	if b.Expand != 1 {
		convBN("conv_pw", ConvWeight, b.Mid, b.In, 1)
		project = "conv_pwl"
	}
	convBN("conv_dw", DepthwiseWeight, b.Mid, 1, b.Kernel)
	bns := member
	if b.SEReduced > 0 {
		se := fmt.Sprintf("%s%d.", tv, member)
		l.conv(timm+"se.conv_reduce", se+"fc1", SEWeight, b.SEReduced, b.Mid, 1)
		l.add(timm+"se.conv_reduce.bias", se+"fc1.bias", SEBias, b.SEReduced)
		l.conv(timm+"se.conv_expand", se+"fc2", SEWeight, b.Mid, b.SEReduced, 1)
		l.add(timm+"se.conv_expand.bias", se+"fc2.bias", SEBias, b.Mid)
		member++
	}
	l.conv(timm+project, fmt.Sprintf("%s%d.0", tv, member), ConvWeight, b.Out, b.Mid, 1)
	l.bn(fmt.Sprintf("%sbn%d", timm, bns+1), fmt.Sprintf("%s%d.1", tv, member), b.Out)
}

// ToDevice reorders a tensor from PyTorch's layout to the device's: convolutions OIHW -> KRSC, depthwise [C 1 R S] ->
// [R S C]; the 1x1 convolutions of SE [out in 1 1] -> [out in] and everything else keep their order. It returns a new slice.
func ToDevice(kind ParamKind, shape []int, oihw []float32) []float32 {
	return permute(kind, shape, oihw, func(dst, src []float32, d, s int) { dst[d] = src[s] })
}

// FromDevice is the inverse of ToDevice; shape is PyTorch's.
func FromDevice(kind ParamKind, shape []int, device []float32) []float32 {
	return permute(kind, shape, device, func(dst, src []float32, d, s int) { dst[s] = src[d] })
}

// permute calls move with every element's index in the device's layout and in PyTorch's.
func permute(kind ParamKind, shape []int, x []float32, move func(dst, src []float32, device, oihw int)) []float32 {
	y := make([]float32, len(x))
	if kind != ConvWeight && kind != DepthwiseWeight {
		copy(y, x)
		return y
	}
	k, c, rs := shape[0], shape[1], shape[2]*shape[3]
	if kind == DepthwiseWeight { // [C 1 R S] has the same memory as [1 C R S], and [1 R S C] the same as [R S C]
		k, c = 1, shape[0]
	}
	for i := range k {
		for j := range c {
			for t := range rs {
				move(y, x, (i*rs+t)*c+j, (i*c+j)*rs+t)
			}
		}
	}
	return y
}
