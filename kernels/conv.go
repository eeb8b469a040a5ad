package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// check reports shapes that are no dense convolution of these kernels, and elements that the device cannot store.
func (c Conv) check(dev *vk.Device, op string) error {
	if err := c.Elem.Check(dev); err != nil {
		return fmt.Errorf("kernels: %s %s: %w", op, c, err)
	}
	switch {
	case min(c.N, c.H, c.W, c.C, c.K, c.R, c.S, c.Stride, c.P, c.Q) < 1:
		return &ShapeError{Op: op, Got: c.String(), Want: "every dimension at least 1"}
	case c.C%8 != 0 && c.C != 3:
		return &ShapeError{Op: op, Got: fmt.Sprintf("C=%d", c.C), Want: "a multiple of 8, or 3"}
	case c.K%8 != 0:
		return &ShapeError{Op: op, Got: fmt.Sprintf("K=%d", c.K), Want: "a multiple of 8"}
	case c.PadTop < 0 || c.PadTop >= c.R || c.PadLeft < 0 || c.PadLeft >= c.S:
		return &ShapeError{Op: op, Got: fmt.Sprintf("padding %d, %d of a %dx%d filter", c.PadTop, c.PadLeft, c.R, c.S), Want: "less than the filter"}
	}
	return nil
}

// flops counts what the convolution of n images needs, a multiply-add as two.
func (c Conv) flops(n int) int64 {
	return 2 * int64(n) * int64(c.P) * int64(c.Q) * int64(c.K) * int64(c.R) * int64(c.S) * int64(c.C)
}

// imageBytes are the bytes of one image in x and in y.
func (c Conv) imageBytes() (x, y int64) { return c.XBytes() / int64(c.N), c.YBytes() / int64(c.N) }

// ConvFwdConfig describes a forward convolution.
type ConvFwdConfig struct {
	Conv    Conv
	In      Pending // on x
	Stats   bool    // write partial statistics of y
	Bias    bool
	ActOut  Act // applied to acc + bias
	Add     bool
	Variant string // "simple", "tiled", or one with a tile, "tiled/16x8x8"; empty: the shipped choice
}

// ConvFwdArgs are the buffers of a forward convolution.
type ConvFwdArgs struct {
	X     Tensor   // [N H W C]
	WT    vk.Range // [R S C K]
	Bias  vk.Range // [K]
	Add   vk.Range // [N P Q K]
	Y     vk.Range // [N P Q K]
	Stats vk.Range // [parts][2][K] mean and M2, then [parts] counts
}

// ConvFwd computes
//
//	y[n,p,q,k] = act(sum over r,s,c of v[n, p*stride+r-padTop, q*stride+s-padLeft, c] * wt[r,s,c,k] + bias[k]) + add[n,p,q,k]
//
// where v is the value of x (Pending) and 0 in the padding. y is overwritten; sums are float32. With Stats it also
// writes, for each part of the rows of y, every channel's mean, its sum of squared deviations from it, and the count.
// It is immutable and safe for concurrent use; a Recorder is not.
// Method: implicit GEMM, gemmM = N*P*Q, gemmN = K, gemmK = R*S*C (Chetlur et al. 2014, arXiv:1410.0759).
type ConvFwd struct {
	cfg     ConvFwdConfig
	variant string
	tile    convTile
	chunk   int // images per call
	tiles   int // row tiles per part
	parts   int
}

const convFwdOp = "conv fwd"

// NewConvFwd chooses a variant and its tiles. It returns a *ShapeError if cfg is no convolution that the kernel knows
// (C a multiple of 8 or 3, K a multiple of 8), and a *vk.UnsupportedError if the device lacks what the forced variant
// needs or one image exceeds Limits.MaxRange.
func NewConvFwd(dev *vk.Device, cfg ConvFwdConfig) (*ConvFwd, error) {
	c := cfg.Conv
	if err := c.check(dev, convFwdOp); err != nil {
		return nil, err
	}
	x, y := c.imageBytes()
	chunk, err := imagesPerCall(dev, convFwdOp+" "+c.String(), c.N, x, y)
	if err != nil {
		return nil, err
	}
	o := &ConvFwd{cfg: cfg, chunk: chunk}
	if o.variant, o.tile, err = cutConv(dev, convFwdOp, cfg.Variant, cfg.gemm(chunk*c.P*c.Q)); err != nil {
		return nil, err
	}
	least := 1
	if cfg.Stats {
		least = 48
	}
	o.tiles = tilesPerPart(dev, o.tile, chunk*c.P*c.Q, ceilDiv(c.K, o.tile.cols), least)
	for n := 0; n < c.N; n += chunk {
		o.parts += o.chunkParts(min(chunk, c.N-n))
	}
	return o, nil
}

// gemm is the GEMM of so many output pixels.
func (c ConvFwdConfig) gemm(pixels int) gemm {
	v := c.Conv
	return gemm{m: pixels, n: v.K, k: v.R * v.S * v.C, plain: v.Elem == F32 && c.In == Pending{}, coop: v.coopElem()}
}

// chunkParts returns the parts of a call of n images.
func (o *ConvFwd) chunkParts(n int) int {
	return ceilDiv(n*o.cfg.Conv.P*o.cfg.Conv.Q, o.tile.rows*o.tiles)
}

// Parts is the number of parts of Stats.
func (o *ConvFwd) Parts() int { return o.parts }

// Variant is the chosen variant.
func (o *ConvFwd) Variant() string { return o.variant }

// StatsBytes is the size of Stats; 0 without them.
func (o *ConvFwd) StatsBytes() int64 {
	return when(o.cfg.Stats, 4*(int64(o.parts)*2*int64(o.cfg.Conv.K)+roundUp(int64(o.parts), 4)))
}

// Record appends the convolution to rec. It fails rec with a *ShapeError if a range is too small.
func (o *ConvFwd) Record(rec *vk.Recorder, a ConvFwdArgs) {
	c := o.cfg.Conv
	args := append(pendingArguments(o.cfg.In, &a.X, c.N, c.C),
		argument{"x", &a.X.Raw, c.XBytes()},
		argument{"wt", &a.WT, c.WTBytes()},
		argument{"bias", &a.Bias, when(o.cfg.Bias, 4*int64(c.K))},
		argument{"add", &a.Add, when(o.cfg.Add, c.YBytes())},
		argument{"y", &a.Y, c.YBytes()},
		argument{"stats", &a.Stats, o.StatsBytes()})
	if !checkArguments(rec, convFwdOp, args...) {
		return
	}
	xb, yb := c.imageBytes()
	part := 0
	for n := 0; n < c.N; n += o.chunk {
		images := min(o.chunk, c.N-n)
		parts := o.chunkParts(images)
		// The variants have the same push block, and the same bindings but for uniform: conv_fwd.glsl.
		params := shaders.ConvFwdSimpleParams{
			M: uint32(images * c.P * c.Q), N0: uint32(n),
			H: uint32(c.H), W: uint32(c.W), C: uint32(c.C), K: uint32(c.K), R: uint32(c.R), S: uint32(c.S),
			Stride: uint32(c.Stride), PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), P: uint32(c.P), Q: uint32(c.Q),
			Tiles: uint32(o.tiles), Part0: uint32(part), Parts: uint32(o.parts),
		}
		bind := shaders.ConvFwdSimpleBindings{
			X: imageSlice(a.X.Raw, xb, n, images), InBN: a.X.BN, InGate: a.X.Gate, Wt: a.WT, Bias: a.Bias,
			Add: imageSlice(a.Add, yb, n, images), Y: imageSlice(a.Y, yb, n, images), Stats: a.Stats,
		}
		call := vk.Call{
			Shader: o.shader(), Spec: o.spec(), Push: params.Bytes(), Bind: bind.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.K, o.tile.cols)), uint32(parts), 1},
			Label:  convFwdOp + " " + c.String(), FLOPs: c.flops(images), SubgroupSize: o.tile.coop.subgroup,
		}
		if o.variant == convUniform {
			call.Bind = shaders.ConvFwdUniformBindings{X: bind.X, Wt: bind.Wt, Zeros: zeros(rec, c.C), Bias: bind.Bias, Add: bind.Add,
				Y: bind.Y, Stats: bind.Stats}.Ranges()
		}
		rec.Dispatch(call)
		part += parts
	}
}

// shader returns the chosen variant for the element type.
func (o *ConvFwd) shader() *vk.Shader {
	e := o.cfg.Conv.Elem
	switch {
	case o.variant == convUniform:
		return &shaders.ConvFwdUniform
	case o.variant == convCoopmat:
		return e.pick(nil, &shaders.ConvFwdCoopmatF16, &shaders.ConvFwdCoopmatBf16)
	case o.variant == convSimple:
		return e.pick(&shaders.ConvFwdSimple, &shaders.ConvFwdSimpleF16, &shaders.ConvFwdSimpleBf16)
	case o.cfg.Conv.C%8 != 0:
		return e.pick(&shaders.ConvFwdTiledStem, &shaders.ConvFwdTiledStemF16, &shaders.ConvFwdTiledStemBf16)
	}
	return e.pick(&shaders.ConvFwdTiled, &shaders.ConvFwdTiledF16, &shaders.ConvFwdTiledBf16)
}

// spec returns the specialization constants of the chosen variant.
func (o *ConvFwd) spec() []uint32 {
	switch o.variant {
	case convCoopmat:
		t := o.tile.coop
		return shaders.ConvFwdCoopmatSpec{
			Threads: t.threads(), SubgroupsM: t.gridM, SubgroupsN: t.gridN, TilesM: t.tilesM(), TilesN: t.tilesN(),
			MatM: t.matM, MatN: t.matN, MatK: t.matK,
			Stats: o.cfg.Stats, Bias: o.cfg.Bias, Add: o.cfg.Add, ActOut: uint32(o.cfg.ActOut),
			InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
		}.Words()
	case convUniform:
		return shaders.ConvFwdUniformSpec{TileM: o.tile.m, TileN: o.tile.n, Stem: o.cfg.Conv.C%8 != 0,
			Stats: o.cfg.Stats, Bias: o.cfg.Bias, Add: o.cfg.Add, ActOut: uint32(o.cfg.ActOut)}.Words()
	case convTiled:
		return shaders.ConvFwdTiledSpec{
			ThreadsN: o.tile.lanes, ThreadsM: o.tile.m, TileM: o.tile.n,
			Stats: o.cfg.Stats, Bias: o.cfg.Bias, Add: o.cfg.Add, ActOut: uint32(o.cfg.ActOut),
			InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
		}.Words()
	}
	return shaders.ConvFwdSimpleSpec{
		Lanes: o.tile.lanes, TileM: o.tile.m, TileN: o.tile.n, Flat: o.cfg.Conv.C%8 != 0,
		Stats: o.cfg.Stats, Bias: o.cfg.Bias, Add: o.cfg.Add, ActOut: uint32(o.cfg.ActOut),
		InBn: o.cfg.In.BN, InAct: uint32(o.cfg.In.Act), InGate: o.cfg.In.Gate,
	}.Words()
}
