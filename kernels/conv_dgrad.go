package kernels

import (
	"fmt"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ConvDgradConfig describes the gradient of a convolution with respect to its input.
type ConvDgradConfig struct {
	Conv    Conv
	DY      GradIn
	Sink    Sink
	Variant string // as of ConvFwdConfig
}

// ConvDgradArgs are the buffers of ConvDgrad.
type ConvDgradArgs struct {
	DY   Grad
	W    vk.Range // [K R S C]
	Sink SinkArgs
}

// ConvDgrad computes
//
//	du[n,h,w,c] = sum over k, r, s with p*stride+r-padTop = h, q*stride+s-padLeft = w of dy[n,p,q,k] * w[k,r,s,c]
//
// with dy built on load (GradIn) and hands du to the sink, which overwrites DX and the partial sums. Sums are float32.
// Input pixels are treated by class (h mod stride, w mod stride), so that only taps that meet an output are multiplied.
// It is immutable and safe for concurrent use; a Recorder is not.
// Method: implicit GEMM per class, gemmM = the class's pixels, gemmN = C, gemmK = K*taps.
type ConvDgrad struct {
	cfg     ConvDgradConfig
	variant string
	tile    convTile
	chunk   int // images per call
	tiles   int // row tiles per part
	parts   int // of all calls; with SE of one image
}

const convDgradOp = "conv dgrad"

// NewConvDgrad chooses a variant and its tiles. It returns a *ShapeError if cfg is no convolution that the kernel knows
// (C and K multiples of 8), and a *vk.UnsupportedError if the device lacks what the forced variant needs or one image
// exceeds Limits.MaxRange.
func NewConvDgrad(dev *vk.Device, cfg ConvDgradConfig) (*ConvDgrad, error) {
	c := cfg.Conv
	if err := c.check(dev, convDgradOp); err != nil {
		return nil, err
	}
	if c.C%8 != 0 {
		return nil, &ShapeError{Op: convDgradOp, Got: fmt.Sprintf("C=%d", c.C), Want: "a multiple of 8"}
	}
	if err := cfg.DY.check(convDgradOp); err != nil {
		return nil, err
	}
	if err := cfg.Sink.check(convDgradOp); err != nil {
		return nil, err
	}
	x, y := c.imageBytes()
	chunk, err := imagesPerCall(dev, convDgradOp+" "+c.String(), c.N, x, y)
	if err != nil {
		return nil, err
	}
	o := &ConvDgrad{cfg: cfg, chunk: chunk}
	rows := o.segmentRows(chunk)
	segments, least := 1, 1
	if cfg.Sink.SE {
		segments = chunk
	}
	g := cfg.gemm(rows)
	g.many = segments * c.Stride * c.Stride
	if o.variant, o.tile, err = cutConv(dev, convDgradOp, cfg.Variant, g); err != nil {
		return nil, err
	}
	if cfg.Sink.takesSums() {
		least = 48
	}
	others := ceilDiv(c.C, o.tile.cols) * c.Stride * c.Stride * segments
	o.tiles = tilesPerPart(dev, o.tile, rows, others, least)
	if cfg.Sink.SE {
		// Sums are per image, so a call binds those of its own images.
		o.parts = o.segmentParts(1) * c.Stride * c.Stride
		if o.chunk, err = imagesPerCall(dev, convDgradOp+" "+c.String(), c.N, x, y, o.segmentSums()); err != nil {
			return nil, err
		}
		// Segments and parts share a dimension of the grid.
		if most := int(dev.Limits().MaxGroups) / o.segmentParts(1); o.chunk > most {
			o.chunk = most - most%64 // 64 images are at least 256 bytes of any tensor
		}
		return o, nil
	}
	for n := 0; n < c.N; n += chunk {
		o.parts += o.segmentParts(min(chunk, c.N-n)) * c.Stride * c.Stride
	}
	return o, nil
}

// gemm is the GEMM of so many input pixels.
func (c ConvDgradConfig) gemm(pixels int) gemm {
	v := c.Conv
	return gemm{m: pixels, n: v.C, k: v.R * v.S * v.K / (v.Stride * v.Stride), plain: v.Elem == F32 && c.DY == GradIn{}, coop: v.coopElem()}
}

// segmentRows returns the pixels of the largest class in a segment of a call of n images.
func (o *ConvDgrad) segmentRows(n int) int {
	c := o.cfg.Conv
	if o.cfg.Sink.SE {
		n = 1
	}
	return n * ceilDiv(c.H, c.Stride) * ceilDiv(c.W, c.Stride)
}

// segmentParts returns the parts per segment and class in a call of n images.
func (o *ConvDgrad) segmentParts(n int) int { return ceilDiv(o.segmentRows(n), o.tile.rows*o.tiles) }

// segmentSums is the size of the sums of one segment's parts: of one image with SE, of all images else.
func (o *ConvDgrad) segmentSums() int64 {
	return 4 * int64(o.parts) * int64(o.cfg.Sink.rows()) * int64(o.cfg.Conv.C)
}

// Parts is the number of parts of Sums, with SE per image.
func (o *ConvDgrad) Parts() int { return o.parts }

// Variant is the chosen variant.
func (o *ConvDgrad) Variant() string { return o.variant }

// SumsBytes is the size of Sums; 0 if the sink takes none.
func (o *ConvDgrad) SumsBytes() int64 {
	if o.cfg.Sink.SE {
		return int64(o.cfg.Conv.N) * o.segmentSums()
	}
	return when(o.cfg.Sink.takesSums(), o.segmentSums())
}

// Record appends the gradient to rec. It fails rec with a *ShapeError if a range is too small.
func (o *ConvDgrad) Record(rec *vk.Recorder, a ConvDgradArgs) {
	c := o.cfg.Conv
	args := append(o.cfg.DY.arguments(&a.DY, c.YBytes(), c.N, c.K), argument{"w", &a.W, c.WBytes()})
	args = append(args, o.cfg.Sink.arguments(&a.Sink, c.XBytes(), c.N, c.C, o.SumsBytes())...)
	if !checkArguments(rec, convDgradOp, args...) {
		return
	}
	xb, yb := c.imageBytes()
	part := 0
	for n := 0; n < c.N; n += o.chunk {
		images := min(o.chunk, c.N-n)
		parts, segments, sums := o.segmentParts(images), 1, a.Sink.Sums
		if o.cfg.Sink.SE {
			segments, part = images, 0
			sums = imageSlice(sums, o.segmentSums(), n, images)
		}
		// The variants have the same push block, and the same bindings but for uniform: conv_dgrad.glsl.
		params := shaders.ConvDgradSimpleParams{
			Images: uint32(images), N0: uint32(n),
			H: uint32(c.H), W: uint32(c.W), C: uint32(c.C), K: uint32(c.K), R: uint32(c.R), S: uint32(c.S),
			Stride: uint32(c.Stride), PadTop: uint32(c.PadTop), PadLeft: uint32(c.PadLeft), P: uint32(c.P), Q: uint32(c.Q),
			Tiles: uint32(o.tiles), Parts: uint32(parts), Part0: uint32(part),
		}
		bind := shaders.ConvDgradSimpleBindings{
			G: imageSlice(a.DY.G, yb, n, images), Y: imageSlice(a.DY.Y, yb, n, images), DyBN: a.DY.BN,
			DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E, W: a.W,
			Dx: imageSlice(a.Sink.DX, xb, n, images), Add: imageSlice(a.Sink.Add, xb, n, images),
			X: imageSlice(a.Sink.Y, xb, n, images), SinkBN: a.Sink.BN, SinkKeep: a.Sink.Keep, Sums: sums,
		}
		call := vk.Call{
			Shader: o.shader(), Spec: o.spec(), Push: params.Bytes(), Bind: bind.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.C, o.tile.cols)), uint32(segments * parts), uint32(c.Stride * c.Stride)},
			Label:  convDgradOp + " " + c.String(), FLOPs: c.flops(images), SubgroupSize: o.tile.coop.subgroup,
		}
		if o.variant == convUniform {
			call.Bind = shaders.ConvDgradUniformBindings{Dy: bind.G, W: bind.W, Zeros: zeros(rec, c.K), Dx: bind.Dx, Add: bind.Add,
				X: bind.X, SinkBN: bind.SinkBN, SinkKeep: bind.SinkKeep, Sums: bind.Sums}.Ranges()
		}
		rec.Dispatch(call)
		part += segments * parts * c.Stride * c.Stride
	}
}

// shader returns the chosen variant for the element type.
func (o *ConvDgrad) shader() *vk.Shader {
	e := o.cfg.Conv.Elem
	switch o.variant {
	case convUniform:
		return &shaders.ConvDgradUniform
	case convCoopmat:
		return e.pick(nil, &shaders.ConvDgradCoopmatF16, &shaders.ConvDgradCoopmatBf16)
	case convSimple:
		return e.pick(&shaders.ConvDgradSimple, &shaders.ConvDgradSimpleF16, &shaders.ConvDgradSimpleBf16)
	}
	return e.pick(&shaders.ConvDgradTiled, &shaders.ConvDgradTiledF16, &shaders.ConvDgradTiledBf16)
}

// spec returns the specialization constants of the chosen variant.
func (o *ConvDgrad) spec() []uint32 {
	dy, sink := o.cfg.DY, o.cfg.Sink
	switch o.variant {
	case convCoopmat:
		t := o.tile.coop
		return shaders.ConvDgradCoopmatSpec{
			Threads: t.threads(), SubgroupsM: t.gridM, SubgroupsN: t.gridN, TilesM: t.tilesM(), TilesN: t.tilesN(),
			MatM: t.matM, MatN: t.matN, MatK: t.matK,
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			SinkAdd: sink.Add, SinkKeep: sink.Keep, SinkSums: sink.takesSums(), SinkSumsOnly: sink.SumsOnly, SinkSe: sink.SE,
			SinkAct: uint32(sink.Act),
		}.Words()
	case convUniform:
		return shaders.ConvDgradUniformSpec{
			TileM: o.tile.m, TileN: o.tile.n,
			SinkAdd: sink.Add, SinkKeep: sink.Keep, SinkSums: sink.takesSums(), SinkSumsOnly: sink.SumsOnly, SinkSe: sink.SE,
			SinkAct: uint32(sink.Act),
		}.Words()
	case convTiled:
		return shaders.ConvDgradTiledSpec{
			ThreadsN: o.tile.lanes, ThreadsM: o.tile.m, TileM: o.tile.n,
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			SinkAdd: sink.Add, SinkKeep: sink.Keep, SinkSums: sink.takesSums(), SinkSumsOnly: sink.SumsOnly, SinkSe: sink.SE,
			SinkAct: uint32(sink.Act),
		}.Words()
	}
	return shaders.ConvDgradSimpleSpec{
		Lanes: o.tile.lanes, TileM: o.tile.m, TileN: o.tile.n,
		DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
		SinkAdd: sink.Add, SinkKeep: sink.Keep, SinkSums: sink.takesSums(), SinkSumsOnly: sink.SumsOnly, SinkSe: sink.SE,
		SinkAct: uint32(sink.Act),
	}.Words()
}
