package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Act is an activation function.
type Act uint32

// The activations of EfficientNetV2. SiLU(z) = z * sigmoid(z).
const (
	NoAct Act = 0
	SiLU  Act = 1
)

// Padding is a rule that places the zeros around an image.
type Padding int

const (
	// PadTorch pads k/2 on both sides, as torchvision and plain timm do.
	PadTorch Padding = iota
	// PadSame pads as TensorFlow's SAME does: total = max((ceil(n/s)-1)*s + k - n, 0), total/2 of it before.
	PadSame
)

// Conv is the shape of a convolution: x [N H W C], w [K R S C], y [N P Q K]. A depthwise convolution has K = C.
type Conv struct {
	N, H, W, C      int // input
	K, R, S         int // output channels, filter height and width
	Stride          int
	PadTop, PadLeft int
	P, Q            int  // output
	Elem            Elem // how x, y and their gradients are stored
}

// NewConv returns the shape of a k x k convolution; P = ceil(H/stride), Q = ceil(W/stride) under both paddings.
func NewConv(n, h, w, c, k, r, stride int, pad Padding) Conv {
	out := func(x int) int { return (x + stride - 1) / stride }
	before := func(x int) int {
		if pad == PadTorch {
			return r / 2
		}
		return max((out(x)-1)*stride+r-x, 0) / 2
	}
	return Conv{N: n, H: h, W: w, C: c, K: k, R: r, S: r, Stride: stride,
		PadTop: before(h), PadLeft: before(w), P: out(h), Q: out(w)}
}

// String names the shape as labels and errors do: "n8 56x56 24->96 3x3/2".
func (c Conv) String() string {
	s := fmt.Sprintf("n%d %dx%d %d->%d %dx%d/%d", c.N, c.H, c.W, c.C, c.K, c.R, c.S, c.Stride)
	if c.Elem != F32 {
		s += " " + c.Elem.String()
	}
	return s
}

// XBytes is the size of the input.
func (c Conv) XBytes() int64 {
	return c.Elem.Bytes() * int64(c.N) * int64(c.H) * int64(c.W) * int64(c.C)
}

// YBytes is the size of the output.
func (c Conv) YBytes() int64 {
	return c.Elem.Bytes() * int64(c.N) * int64(c.P) * int64(c.Q) * int64(c.K)
}

// WBytes is the size of the dense weights and of their gradient, float32.
func (c Conv) WBytes() int64 { return 4 * int64(c.K) * int64(c.R) * int64(c.S) * int64(c.C) }

// WTBytes is the size of the transposed weights that the forward pass reads, stored as activations are.
func (c Conv) WTBytes() int64 { return c.WBytes() / 4 * c.Elem.Bytes() }

// Pending is what a reader of a tensor still has to apply to its raw values while loading:
// z = scale*(y-mean)+beta if BN, u = act(z), value = u*gate[n,c] if Gate. Padded taps are 0 after all of it.
type Pending struct {
	BN   bool
	Act  Act
	Gate bool
}

// Tensor is a value of the graph: raw output y [N H W C] and the buffers of what is pending on it.
type Tensor struct {
	Raw  vk.Range
	BN   vk.Range // [6][C]: mean, scale, beta, rstd, b, c
	Gate vk.Range // [N][C]
}

// GradIn says how the gradient dy of a convolution's raw output y is built from its stored parts while loading:
//
//	dz = g                         (0 if NoG)
//	dz = dz*keep[n]                if Keep
//	dz = dz*gate[n,c] + e[n,c]     if Gate
//	dz = dz*act'(z)                if Act, z = scale*(y-mean)+beta
//	dy = scale*dz + b*(y-mean) + c if BN, else dz
type GradIn struct {
	BN, Keep, Gate, NoG bool
	Act                 Act
}

// Grad holds the buffers that GradIn names: G and Y [N P Q K], BN [6][K], Keep [N], Gate and E [N][K].
type Grad struct{ G, Y, BN, Keep, Gate, E vk.Range }

// Sink says what happens to du, the gradient of the value of a tensor with raw output y, where it is made:
//
//	du += add[...]                                   if Add
//	Act:           dz = keep*du*act'(z), dz is written, its sums are taken
//	Act, SumsOnly: the same sums, but du is written
//	neither:       dz = keep*du, du is written, sums of dz are taken if Sums
//	SE:            du (= q) is written; per (n,c) s0 = sum q*u, s1 = sum q*d, s3 = sum q*d*yhat, d = act'(z)
//
// The sums are S = sum dz and T = sum dz*yhat per channel, yhat = (y-mean)*rstd. keep is 1 unless Keep.
// Keep together with Act but without SumsOnly does not occur.
type Sink struct {
	Add, Keep, Sums, SumsOnly, SE bool
	Act                           Act
}

// SinkArgs holds the buffers that Sink names. DX, Add and Y are [N H W C]; Sums is [parts][2][C], with SE [N][parts][3][C].
type SinkArgs struct{ DX, Add, Y, BN, Keep, Sums vk.Range }

// ShapeError reports arguments that cannot form the operation.
type ShapeError struct{ Op, Got, Want string }

func (e *ShapeError) Error() string {
	return fmt.Sprintf("kernels: %s: got %s, want %s", e.Op, e.Got, e.Want)
}
