package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ConvWgradConfig describes the gradient of a convolution with respect to its weights.
type ConvWgradConfig struct {
	Conv    Conv
	DY      GradIn
	In      Pending // on x
	Variant string  // as of ConvFwdConfig
}

// ConvWgradArgs are the buffers of ConvWgrad.
type ConvWgradArgs struct {
	DY      Grad
	X       Tensor   // [N H W C]
	DW      vk.Range // [K R S C]
	Scratch vk.Range // [splits][K R S C]
}

// ConvWgrad computes
//
//	dw[k,r,s,c] = sum over n,p,q of dy[n,p,q,k] * v[n, p*stride+r-padTop, q*stride+s-padLeft, c]
//
// with dy built on load (GradIn) and v the value of x (Pending), 0 in the padding. dw is overwritten; sums are float32.
// Splits of N*P*Q are summed into scratch and added in a fixed order, so the same device gives the same bits.
// It is immutable and safe for concurrent use; a Recorder is not.
// Method: implicit GEMM, gemmM = K, gemmN = R*S*C, gemmK = N*P*Q.
type ConvWgrad struct {
	cfg     ConvWgradConfig
	variant string
	tile    convTile
	chunk   int // images per call
	rows    int // pixels per split
	splits  int // of all calls
}

const convWgradOp = "conv wgrad"

// NewConvWgrad chooses a variant, its tiles and the splits. It returns a *ShapeError if cfg is no convolution that the
// kernel knows (C a multiple of 8 or 3, K a multiple of 8), and a *vk.UnsupportedError if the device lacks what the
// forced variant needs or one image, or the weights, exceed Limits.MaxRange.
func NewConvWgrad(dev *vk.Device, cfg ConvWgradConfig) (*ConvWgrad, error) {
	c := cfg.Conv
	if err := c.check(dev, convWgradOp); err != nil {
		return nil, err
	}
	if err := cfg.DY.check(convWgradOp); err != nil {
		return nil, err
	}
	x, y := c.imageBytes()
	chunk, err := imagesPerCall(dev, convWgradOp+" "+c.String(), c.N, x, y)
	if err != nil {
		return nil, err
	}
	o := &ConvWgrad{cfg: cfg, chunk: chunk}
	if o.variant, o.tile, err = cutConv(dev, convWgradOp, cfg.Variant, cfg.gemm()); err != nil {
		return nil, err
	}
	pixels := chunk * c.P * c.Q
	blocks := ceilDiv(c.K, o.tile.rows) * ceilDiv(c.R*c.S*c.C, o.tile.cols)
	// A split adds K*R*S*C to what is written and read again: at least 64 pixels each, no more than keep the device busy,
	// and where 64 workgroups do not, no more than an eighth of what x and dy take.
	eighth := (x + y) * int64(chunk) / (16 * c.WBytes())
	splits := max(min(o.tile.groups/blocks, pixels/64, max(64/blocks, int(eighth))), 1)
	calls := ceilDiv(c.N, chunk)
	if most := int(dev.Limits().MaxRange/c.WBytes()) / calls; most == 0 {
		return nil, &vk.UnsupportedError{What: convWgradOp + " " + c.String(), Needs: "a binding for the partial sums of every call"}
	} else {
		splits = min(splits, most)
	}
	o.rows = ceilDiv(pixels, splits)
	if o.variant == convUniform && !c.point() {
		o.rows = ceilDiv(o.rows, c.Q) * c.Q // it walks whole output rows
	}
	for n := 0; n < c.N; n += chunk {
		o.splits += o.chunkSplits(min(chunk, c.N-n))
	}
	return o, nil
}

// gemm is the convolution's GEMM.
func (c ConvWgradConfig) gemm() gemm {
	v := c.Conv
	return gemm{m: v.K, n: v.R * v.S * v.C, k: v.N * v.P * v.Q, plain: v.Elem == F32 && v.C%8 == 0 && c.DY == GradIn{} && c.In == Pending{},
		coop: v.coopElem(), split: true}
}

// point reports whether every output pixel meets one input pixel, its own.
func (c Conv) point() bool { return c.R == 1 && c.S == 1 && c.Stride == 1 }

// chunkSplits returns the splits of a call of n images.
func (o *ConvWgrad) chunkSplits(n int) int { return ceilDiv(n*o.cfg.Conv.P*o.cfg.Conv.Q, o.rows) }

// Variant is the chosen variant.
func (o *ConvWgrad) Variant() string { return o.variant }

// ScratchBytes is the size of Scratch; 0 if there is one split, which goes to DW.
func (o *ConvWgrad) ScratchBytes() int64 {
	return when(o.splits > 1, int64(o.splits)*o.cfg.Conv.WBytes())
}

// Record appends the gradient to rec. It fails rec with a *ShapeError if a range is too small.
func (o *ConvWgrad) Record(rec *vk.Recorder, a ConvWgradArgs) {
	c := o.cfg.Conv
	args := append(o.cfg.DY.arguments(&a.DY, c.YBytes(), c.N, c.K), pendingArguments(o.cfg.In, &a.X, c.N, c.C)...)
	args = append(args,
		argument{"x", &a.X.Raw, c.XBytes()},
		argument{"dw", &a.DW, c.WBytes()},
		argument{"scratch", &a.Scratch, o.ScratchBytes()})
	if !checkArguments(rec, convWgradOp, args...) {
		return
	}
	partial := a.Scratch
	if o.splits == 1 {
		partial = a.DW
	}
	xb, yb := c.imageBytes()
	split := 0
	for n := 0; n < c.N; n += o.chunk {
		images := min(o.chunk, c.N-n)
		splits := o.chunkSplits(images)
		// The variants have the same push block, but for a word that uniform adds, and the same bindings but for uniform:
		// conv_wgrad.glsl.
		params := shaders.ConvWgradSimpleParams{
			M: uint32(images * c.P * c.Q), N0: uint32(n),
			H: uint32(c.H), W: uint32(c.W), C: uint32(c.C), K: uint32(c.K), R: uint32(c.R), S: uint32(c.S),
			Stride: uint32(c.Stride), PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), P: uint32(c.P), Q: uint32(c.Q),
			Rows: uint32(o.rows), Split0: uint32(split),
		}
		bind := shaders.ConvWgradSimpleBindings{
			G: imageSlice(a.DY.G, yb, n, images), Y: imageSlice(a.DY.Y, yb, n, images), DyBN: a.DY.BN,
			DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E,
			X: imageSlice(a.X.Raw, xb, n, images), InBN: a.X.BN, InGate: a.X.Gate, Dw: partial,
		}
		call := vk.Call{
			Shader: o.shader(), Spec: o.spec(), Push: params.Bytes(), Bind: bind.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.R*c.S*c.C, o.tile.cols)), uint32(ceilDiv(c.K, o.tile.rows)), uint32(splits)},
			Label:  convWgradOp + " " + c.String(), FLOPs: c.flops(images), SubgroupSize: o.tile.coop.subgroup,
		}
		if o.variant == convUniform {
			call.Push = append(call.Push, 0, 0, 0, 0)
			call.Bind = shaders.ConvWgradUniformBindings{Dy: bind.G, X: bind.X, Zeros: zeros(rec, max(c.C, c.K)), Dw: bind.Dw}.Ranges()
		}
		rec.Dispatch(call)
		split += splits
	}
	if o.splits == 1 {
		return
	}
	wgradReduce(rec, convWgradOp+" "+c.String(), partial, a.DW, o.splits)
}

// wgradReduce records the second stage of a weight gradient: dw = sum of splits rows of partial, in their order.
func wgradReduce(rec *vk.Recorder, label string, partial, dw vk.Range, splits int) {
	count4 := int(dw.Size / 16)
	params := shaders.ConvWgradReduceParams{Count4: uint32(count4), Splits: uint32(splits)}
	rec.Dispatch(vk.Call{
		Shader: &shaders.ConvWgradReduce, Push: params.Bytes(),
		Bind:   shaders.ConvWgradReduceBindings{Partial: partial, Dw: dw}.Ranges(),
		Groups: flatGroups(count4, int(shaders.DefaultConvWgradReduceSpec().Local)),
		Label:  fmt.Sprintf("%s, %d splits", label, splits),
		FLOPs:  int64(splits-1) * int64(count4) * 4,
	})
}

// flatGroups returns a grid of workgroups of local invocations for n items, wider than a dimension allows if need be:
// item = (y*groups.x + x)*local + invocation.
func flatGroups(n, local int) [3]uint32 {
	groups := ceilDiv(n, local)
	y := ceilDiv(groups, 65535)
	return [3]uint32{uint32(ceilDiv(groups, y)), uint32(y), 1}
}

// shader returns the chosen variant for the element type.
func (o *ConvWgrad) shader() *vk.Shader {
	e := o.cfg.Conv.Elem
	switch {
	case o.variant == convUniform:
		return &shaders.ConvWgradUniform
	case o.variant == convCoopmat:
		return e.pick(nil, &shaders.ConvWgradCoopmatF16, &shaders.ConvWgradCoopmatBf16)
	case o.variant == convSimple:
		return e.pick(&shaders.ConvWgradSimple, &shaders.ConvWgradSimpleF16, &shaders.ConvWgradSimpleBf16)
	case o.cfg.Conv.C%8 != 0:
		return e.pick(&shaders.ConvWgradTiledStem, &shaders.ConvWgradTiledStemF16, &shaders.ConvWgradTiledStemBf16)
	}
	return e.pick(&shaders.ConvWgradTiled, &shaders.ConvWgradTiledF16, &shaders.ConvWgradTiledBf16)
}

// spec returns the specialization constants of the chosen variant.
func (o *ConvWgrad) spec() []uint32 {
	dy, c := o.cfg.DY, o.cfg.Conv
	switch o.variant {
	case convCoopmat:
		t := o.tile.coop
		return shaders.ConvWgradCoopmatSpec{
			Threads: t.threads(), SubgroupsM: t.gridM, SubgroupsN: t.gridN, TilesM: t.tilesM(), TilesN: t.tilesN(),
			MatM: t.matM, MatN: t.matN, MatK: t.matK, Point: c.point(),
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
		}.Words()
	case convUniform:
		return shaders.ConvWgradUniformSpec{TileM: o.tile.m, TileN: o.tile.n, Point: c.point()}.Words()
	case convTiled:
		return shaders.ConvWgradTiledSpec{
			ThreadsN: o.tile.lanes, ThreadsM: o.tile.m, TileM: o.tile.n, Point: c.point(),
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
		}.Words()
	}
	return shaders.ConvWgradSimpleSpec{
		Lanes: o.tile.lanes, TileK: o.tile.m, TileN: o.tile.n,
		Point: c.point(),
		DyBn:  dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
		InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
	}.Words()
}
