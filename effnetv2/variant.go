package effnetv2

import (
	"fmt"
	"slices"
	"strings"
)

// BlockKind says which of the two building blocks a stage repeats.
type BlockKind int

const (
	// Fused is Fused-MBConv: a k x k convolution that expands, then a 1x1 projection; with Expand 1 one k x k
	// convolution with activation.
	Fused BlockKind = iota
	// MB is MBConv: 1x1 expansion (absent with Expand 1), depthwise k x k, squeeze-and-excite, 1x1 projection.
	MB
)

// String returns the paper's name of the block.
func (k BlockKind) String() string {
	if k == Fused {
		return "FusedMBConv"
	}
	return "MBConv"
}

// Stage is one row of the architecture table: Repeats blocks, of which only the first has the stride and changes the width.
type Stage struct {
	Kind    BlockKind
	Repeats int
	Stride  int     // of the first block: 1 or 2
	Expand  int     // width of the expanded tensor over the block's input
	Out     int     // output channels
	Kernel  int     // 3 or 5
	SE      float64 // width of squeeze-and-excite over the block's *input*; 0: none
}

// Variant is one network as data. The rows S, M, ... are the published ones; a Variant of one's own works everywhere that
// a row does. Rows are shared values: copy Stages before changing it.
//
// Source: google/automl, efficientnetv2/effnetv2_configs.py; arXiv:2104.00298.
type Variant struct {
	Name       string // as the command takes it: "s"
	LongName   string // "efficientnetv2-s"
	Stem       int    // channels of the 3x3 stride-2 convolution on the image
	Stages     []Stage
	Head       int     // channels of the 1x1 convolution before pooling
	TrainSize  int     // side of the training images at the end of the published schedule
	EvalSize   int     // side of the evaluation images
	Dropout    float64 // probability of dropping a pooled feature before the classifier
	DropPath   float64 // stochastic depth: block i of N is dropped with probability DropPath*i/N (1 - the survival probability at the end)
	BNEps      float64 // added to the variance inside the root
	BNMomentum float64 // PyTorch's convention: running = (1-BNMomentum)*running + BNMomentum*batch; TensorFlow's 0.9 is 0.1 here
	Width      float64 // compound scaling from the base row that made this one; 1 for a base
	Depth      float64
	Top1       float64 // published ImageNet-1k top-1 in percent, trained on ImageNet-1k alone; 0: none published
}

// fused and mb are the only two kinds of rows that EfficientNetV2's tables have.
func fused(repeats, stride, expand, out int) Stage {
	return Stage{Kind: Fused, Repeats: repeats, Stride: stride, Expand: expand, Out: out, Kernel: 3}
}

func mb(repeats, stride, expand, out int) Stage {
	return Stage{Kind: MB, Repeats: repeats, Stride: stride, Expand: expand, Out: out, Kernel: 3, SE: 0.25}
}

// base fills in what all of EfficientNetV2 shares.
func base(v Variant) Variant {
	v.LongName = "efficientnetv2-" + v.Name
	v.Head, v.DropPath, v.BNEps, v.BNMomentum, v.Width, v.Depth = 1280, 0.2, 1e-3, 0.1, 1, 1
	return v
}

// The published networks.
var (
	// S is EfficientNetV2-S: 21.5 M parameters, 8.4 GMAC at 384x384.
	S = base(Variant{Name: "s", Stem: 24, TrainSize: 300, EvalSize: 384, Dropout: 0.2, Top1: 83.9, Stages: []Stage{
		fused(2, 1, 1, 24), fused(4, 2, 4, 48), fused(4, 2, 4, 64),
		mb(6, 2, 4, 128), mb(9, 1, 6, 160), mb(15, 2, 6, 256)}})
	// M is EfficientNetV2-M: 54.1 M parameters, 24.6 GMAC at 480x480.
	M = base(Variant{Name: "m", Stem: 24, TrainSize: 384, EvalSize: 480, Dropout: 0.3, Top1: 85.1, Stages: []Stage{
		fused(3, 1, 1, 24), fused(5, 2, 4, 48), fused(5, 2, 4, 80),
		mb(7, 2, 4, 160), mb(14, 1, 6, 176), mb(18, 2, 6, 304), mb(5, 1, 6, 512)}})
	// L is EfficientNetV2-L: 118.5 M parameters, 56.1 GMAC at 480x480.
	L = base(Variant{Name: "l", Stem: 32, TrainSize: 384, EvalSize: 480, Dropout: 0.4, Top1: 85.7, Stages: []Stage{
		fused(4, 1, 1, 32), fused(7, 2, 4, 64), fused(7, 2, 4, 96),
		mb(10, 2, 4, 192), mb(19, 1, 6, 224), mb(25, 2, 6, 384), mb(7, 1, 6, 640)}})
	// XL is EfficientNetV2-XL: 208.1 M parameters, 93.4 GMAC at 512x512. It was published only with ImageNet-21k pretraining.
	XL = base(Variant{Name: "xl", Stem: 32, TrainSize: 384, EvalSize: 512, Dropout: 0.4, Stages: []Stage{
		fused(4, 1, 1, 32), fused(8, 2, 4, 64), fused(8, 2, 4, 96),
		mb(16, 2, 4, 192), mb(24, 1, 6, 256), mb(32, 2, 6, 512), mb(8, 1, 6, 640)}})
	// B0 is the base of the small networks: 7.1 M parameters, 0.7 GMAC at 224x224.
	B0 = base(Variant{Name: "b0", Stem: 32, TrainSize: 192, EvalSize: 224, Dropout: 0.2, Top1: 78.7, Stages: []Stage{
		fused(1, 1, 1, 16), fused(2, 2, 4, 32), fused(2, 2, 4, 48),
		mb(3, 2, 4, 96), mb(5, 1, 6, 112), mb(8, 2, 6, 192)}})
	// B1, B2 and B3 are B0 scaled.
	B1 = row("b1", 79.8, Scale(B0, 1.0, 1.1, 192, 240, 0.2))
	B2 = row("b2", 80.5, Scale(B0, 1.1, 1.2, 208, 260, 0.3))
	B3 = row("b3", 82.1, Scale(B0, 1.2, 1.4, 240, 300, 0.3))
	// Nano is B0 scaled down until a training step takes milliseconds on a CPU: for tests, the demo and images of 28 to 64
	// pixels. It has every kind of block, SE and skips. It is not a published network.
	Nano = row("nano", 0, Scale(B0, 0.25, 1.0/3, 32, 32, 0.1))
)

// row names a scaled network.
func row(name string, top1 float64, v Variant) Variant {
	v.Name, v.LongName, v.Top1 = name, "efficientnetv2-"+name, top1
	return v
}

// All returns every row, from the smallest to the largest.
func All() []Variant { return []Variant{Nano, B0, B1, B2, B3, S, M, L, XL} }

// NameError reports a model name that no row has.
type NameError struct {
	Name    string
	Nearest string // the row whose name is the most similar
}

func (e *NameError) Error() string {
	var names []string
	for _, v := range All() {
		names = append(names, v.Name)
	}
	return fmt.Sprintf("effnetv2: no model is called %q, want one of %s", e.Name, strings.Join(names, ", "))
}

// Hint says what may have been meant.
func (e *NameError) Hint() string { return fmt.Sprintf("did you mean %q?", e.Nearest) }

// ByName returns the row of that name: the short one ("s"), or a long one ("efficientnetv2-s", "EfficientNetV2_S",
// "efficientnet_v2_s", "tf_efficientnetv2_s"), in any case. Otherwise the error is a *NameError.
func ByName(name string) (Variant, error) {
	short := strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(strings.TrimSpace(name)))
	short = strings.TrimPrefix(short, "tf-")
	for _, prefix := range []string{"efficientnetv2-", "efficientnet-v2-", "v2-"} {
		short = strings.TrimPrefix(short, prefix)
	}
	all := All()
	for _, v := range all {
		if v.Name == short {
			return v, nil
		}
	}
	best := slices.MinFunc(all, func(a, b Variant) int { return editDistance(a.Name, short) - editDistance(b.Name, short) })
	return Variant{}, &NameError{Name: name, Nearest: best.Name}
}

// Block is one block of the flattened network.
type Block struct {
	Kind      BlockKind
	Stage     int // from 0, as timm counts
	Index     int // in its stage, from 0
	In        int // channels
	Mid       int // channels of the expanded tensor, In*Expand
	Out       int
	Expand    int
	Kernel    int
	Stride    int
	SEReduced int  // hidden channels of squeeze-and-excite: max(1, int(In*SE)); 0: none
	Skip      bool // the input is added to the output: stride 1 and In = Out
	Pos, Of   int  // block Pos (from 0) of Of in the network, for stochastic depth
}

// Blocks returns the blocks in network order.
func (v Variant) Blocks() []Block {
	var blocks []Block
	in := v.Stem
	for s, st := range v.Stages {
		for i := range st.Repeats {
			b := Block{Kind: st.Kind, Stage: s, Index: i, In: in, Mid: in * st.Expand, Out: st.Out,
				Expand: st.Expand, Kernel: st.Kernel, Stride: 1, Pos: len(blocks)}
			if i == 0 {
				b.Stride = st.Stride
			}
			if st.SE > 0 {
				b.SEReduced = max(1, int(float64(in)*st.SE))
			}
			b.Skip = b.Stride == 1 && b.In == b.Out
			blocks = append(blocks, b)
			in = st.Out
		}
	}
	for i := range blocks {
		blocks[i].Of = len(blocks)
	}
	return blocks
}

// Prefix is the start of timm's names of the block's parameters: "blocks.3.0.".
func (b Block) Prefix() string { return fmt.Sprintf("blocks.%d.%d.", b.Stage, b.Index) }

// DropProb is the probability with which stochastic depth drops the block's branch for one image: rate*Pos/Of, and 0 for
// a block without a skip.
func (b Block) DropProb(rate float64) float64 {
	if !b.Skip {
		return 0
	}
	return rate * float64(b.Pos) / float64(b.Of)
}
