package kernels

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// ConvBwdConfig describes both gradients of a 1x1 convolution of stride 1 whose input is the value of a raw output x with a
// batch norm, an activation and, with Sink.SE, a gate pending.
type ConvBwdConfig struct {
	Conv Conv
	DY   GradIn // how dy is built from its parts
	Sink Sink   // what happens to du: Act with its sums, or SE; Add may be set
	// Variant is "simple" or "tiled", with or without a tile (bwdTile), or Apart, which NewConvBwd refuses; empty: the shipped
	// choice, see IsApart.
	Variant string
}

// Apart is the variant of ConvBwdConfig and DepthwiseBwdConfig in which dgrad and wgrad are two operations.
const Apart = "apart"

// IsApart tells whether the configuration's variant is Apart. The shipped choice is one kernel, which moves fewer bytes; it is
// two where they multiply faster: in float32 on CPU drivers, where arithmetic is what binds, and where dgrad and wgrad run
// on cooperative matrices and ConvBwd's shared memory does not fit.
func (c ConvBwdConfig) IsApart(dev *vk.Device) bool {
	switch {
	case c.Variant != "":
		return c.Variant == Apart
	case dev.IsCPU():
		return c.Conv.Elem == F32
	}
	return shippedChoices[deviceClass(dev)].conv == convCoopmat && len(provenMatrices(dev, c.Conv.coopElem())) > 0 &&
		len(bwdTiles(dev, convCoopmat, c.Conv, 1, 1)) == 0
}

// ConvBwdArgs are the buffers of ConvBwd.
type ConvBwdArgs struct {
	DY      Grad
	W       vk.Range // [K C]
	Gate    vk.Range // [N C], with Sink.SE
	Sink    SinkArgs // Y is x
	DW      vk.Range // [K C]
	Scratch vk.Range // [splits][K C]
}

// ConvBwd computes both gradients of a 1x1 convolution in one pass over dy and x,
//
//	du[m,c] = sum over k of dy[m,k] * w[k,c]
//	dw[k,c] = sum over m of dy[m,k] * v[m,c], v = act(z)*gate[n,c], z = scale*(x-mean)+beta
//
// for the pixels m of all images n, with dy built on load (GradIn); the gate is 1 without Sink.SE. It hands du to the sink,
// which overwrites DX and the partial sums, and overwrites dw. Sums are float32. What ConvDgrad and ConvWgrad would read
// twice, dy's parts and x, is read once: where they move 4 tensors of K and 3 of C channels, this moves 2 and 2.
// Splits of the pixels are summed into scratch and added in a fixed order, so the same device gives the same bits.
// It is immutable and safe for concurrent use; a Recorder is not.
// Method: two GEMMs over one tile of dy, gemmM = pixels and gemmK = K for du, gemmM = K and gemmK = pixels for dw; both
// gemmN = C. A workgroup owns a block of columns and all K, so that no partial sum of du leaves it.
type ConvBwd struct {
	cfg     ConvBwdConfig
	variant string
	tile    bwdTile
	segment int // pixels whose sums are taken together: of an image with SE, of all of a call else
	chunk   int // images per call
	tiles   int // row tiles per part
	parts   int // of all calls; with SE of one image
	runs    int // parts per split
	splits  int // of all calls
}

const convBwdOp = "conv bwd"

// convBwdMaxK is the most output channels of a ConvBwd: an invocation keeps a share of all K rows of dw in registers.
const convBwdMaxK = 256

// CanConvBwd tells whether the two gradients can be taken together: NewConvBwd takes such a convolution, sink and pending
// input.
func CanConvBwd(c Conv, in Pending, s Sink) bool {
	return c.R == 1 && c.S == 1 && c.Stride == 1 && c.C%8 == 0 && c.K <= convBwdMaxK &&
		in == Pending{BN: true, Act: s.Act, Gate: s.SE} && s.Act != NoAct && !s.SumsOnly && !s.Keep
}

// NewConvBwd chooses a variant and cuts the work. It returns a *ShapeError if cfg is not what CanConvBwd tells, and a
// *vk.UnsupportedError if the device lacks what the forced variant needs or one image, or the weights, exceed Limits.MaxRange.
func NewConvBwd(dev *vk.Device, cfg ConvBwdConfig) (*ConvBwd, error) {
	c, sink := cfg.Conv, cfg.Sink
	if err := c.check(dev, convBwdOp); err != nil {
		return nil, err
	}
	if err := cfg.DY.check(convBwdOp); err != nil {
		return nil, err
	}
	if !CanConvBwd(c, Pending{BN: true, Act: sink.Act, Gate: sink.SE}, sink) {
		return nil, &ShapeError{Op: convBwdOp, Got: fmt.Sprintf("%s into a sink %+v", c, sink),
			Want: fmt.Sprintf("1x1/1 with C a multiple of 8 and K at most %d, into a sink with an activation and its sums alone", convBwdMaxK)}
	}
	x, y := c.imageBytes()
	chunk, err := imagesPerCall(dev, convBwdOp+" "+c.String(), c.N, x, y)
	if err != nil {
		return nil, err
	}
	o := &ConvBwd{cfg: cfg, chunk: chunk, segment: chunk * c.H * c.W}
	if sink.SE {
		o.segment = c.H * c.W
	}
	if o.variant, o.tile, err = cutConvBwd(dev, cfg.Variant, c, chunk*c.H*c.W, o.segment); err != nil {
		return nil, err
	}

	// As ConvWgrad: a split adds K*C to what is written and read again: at least 64 pixels each, no more than keep the device
	// busy, and where 64 workgroups do not, no more than an eighth of what x and dy take.
	groups, blocks := shippedChoices[deviceClass(dev)].groups, ceilDiv(c.C, o.tile.cols)
	eighth := (x + y) * int64(chunk) / (16 * c.WBytes())
	splits := max(min(groups/blocks, chunk*c.H*c.W/64, max(64/blocks, int(eighth))), 1)
	rowTiles := ceilDiv(o.segment, o.tile.rows)
	o.tiles = ceilDiv(rowTiles, max(splits/o.segments(chunk), 1))
	if sink.SE {
		// Sums are per image, so a call binds those of its own images.
		o.parts = ceilDiv(rowTiles, o.tiles)
		if o.chunk, err = imagesPerCall(dev, convBwdOp+" "+c.String(), c.N, x, y, o.imageSums()); err != nil {
			return nil, err
		}
	}
	most := int(dev.Limits().MaxRange/c.WBytes()) / ceilDiv(c.N, o.chunk)
	if most == 0 {
		return nil, &vk.UnsupportedError{What: convBwdOp + " " + c.String(), Needs: "a binding for the partial sums of every call"}
	}
	o.runs = ceilDiv(o.chunkParts(o.chunk), min(splits, most))
	for n := 0; n < c.N; n += o.chunk {
		images := min(o.chunk, c.N-n)
		if !sink.SE {
			o.parts += o.chunkParts(images)
		}
		o.splits += o.chunkSplits(images)
	}
	return o, nil
}

// segments returns the segments of a call of n images.
func (o *ConvBwd) segments(n int) int {
	if o.cfg.Sink.SE {
		return n
	}
	return 1
}

// chunkParts returns the parts of all segments of a call of n images.
func (o *ConvBwd) chunkParts(n int) int {
	s := o.segments(n)
	return s * ceilDiv(n*o.cfg.Conv.H*o.cfg.Conv.W/s, o.tile.rows*o.tiles)
}

// chunkSplits returns the splits of a call of n images.
func (o *ConvBwd) chunkSplits(n int) int { return ceilDiv(o.chunkParts(n), o.runs) }

// imageSums is the size of the sums of all parts: of one image with SE.
func (o *ConvBwd) imageSums() int64 {
	return 4 * int64(o.parts) * int64(o.cfg.Sink.rows()*o.cfg.Conv.C)
}

// Parts is the number of parts of Sums, with SE per image.
func (o *ConvBwd) Parts() int { return o.parts }

// Variant is the chosen variant.
func (o *ConvBwd) Variant() string { return o.variant }

// SumsBytes is the size of Sums.
func (o *ConvBwd) SumsBytes() int64 { return int64(o.segments(o.cfg.Conv.N)) * o.imageSums() }

// ScratchBytes is the size of Scratch; 0 if there is one split, which goes to DW.
func (o *ConvBwd) ScratchBytes() int64 {
	return when(o.splits > 1, int64(o.splits)*o.cfg.Conv.WBytes())
}

// Record appends the gradients to rec. It fails rec with a *ShapeError if a range is too small.
func (o *ConvBwd) Record(rec *vk.Recorder, a ConvBwdArgs) {
	c, dy, sink := o.cfg.Conv, o.cfg.DY, o.cfg.Sink
	args := append(dy.arguments(&a.DY, c.YBytes(), c.N, c.K), sink.arguments(&a.Sink, c.XBytes(), c.N, c.C, o.SumsBytes())...)
	args = append(args,
		argument{"w", &a.W, c.WBytes()},
		argument{"gate", &a.Gate, when(sink.SE, 4*int64(c.N)*int64(c.C))},
		argument{"dw", &a.DW, c.WBytes()},
		argument{"scratch", &a.Scratch, o.ScratchBytes()})
	if !checkArguments(rec, convBwdOp, args...) {
		return
	}
	partial := a.Scratch
	if o.splits == 1 {
		partial = a.DW
	}
	label := convBwdOp + " " + c.String()
	xb, yb := c.imageBytes()
	part, split := 0, 0
	for n := 0; n < c.N; n += o.chunk {
		images := min(o.chunk, c.N-n)
		total, segments, sums := o.chunkParts(images), o.segments(images), a.Sink.Sums
		if sink.SE {
			part, sums = 0, imageSlice(sums, o.imageSums(), n, images)
		}
		// The variants have the same push block and bindings: conv_bwd.glsl.
		params := shaders.ConvBwdTiledParams{
			Hw: uint32(c.H * c.W), N0: uint32(n), C: uint32(c.C), Rows: uint32(images * c.H * c.W / segments),
			Tiles: uint32(o.tiles), Parts: uint32(total / segments), Part0: uint32(part), Total: uint32(total),
			Runs: uint32(o.runs), Split0: uint32(split),
		}
		bind := shaders.ConvBwdTiledBindings{
			G: imageSlice(a.DY.G, yb, n, images), Y: imageSlice(a.DY.Y, yb, n, images), DyBN: a.DY.BN,
			DyKeep: a.DY.Keep, DyGate: a.DY.Gate, DyE: a.DY.E, W: a.W,
			Dx: imageSlice(a.Sink.DX, xb, n, images), Add: imageSlice(a.Sink.Add, xb, n, images),
			X: imageSlice(a.Sink.Y, xb, n, images), SinkBN: a.Sink.BN, Sums: sums, Gate: a.Gate, Dw: partial,
		}
		splits := o.chunkSplits(images)
		rec.Dispatch(vk.Call{
			Shader: o.shader(), Spec: o.spec(), Push: params.Bytes(), Bind: bind.Ranges(),
			Groups: [3]uint32{uint32(ceilDiv(c.C, o.tile.cols)), uint32(splits), 1},
			Label:  label, FLOPs: 2 * c.flops(images), SubgroupSize: o.tile.coop.subgroup,
		})
		part += total
		split += splits
	}
	if o.splits > 1 {
		wgradReduce(rec, label, partial, a.DW, o.splits)
	}
}

// shader returns the chosen variant for the element type.
func (o *ConvBwd) shader() *vk.Shader {
	switch o.variant {
	case convCoopmat:
		return o.cfg.Conv.Elem.pick(nil, &shaders.ConvBwdCoopmatF16, &shaders.ConvBwdCoopmatBf16)
	case convSimple:
		return o.cfg.Conv.Elem.pick(&shaders.ConvBwdSimple, &shaders.ConvBwdSimpleF16, &shaders.ConvBwdSimpleBf16)
	}
	return o.cfg.Conv.Elem.pick(&shaders.ConvBwdTiled, &shaders.ConvBwdTiledF16, &shaders.ConvBwdTiledBf16)
}

// spec returns the specialization constants of the chosen variant.
func (o *ConvBwd) spec() []uint32 {
	t, k, dy, sink := o.tile, uint32(o.cfg.Conv.K), o.cfg.DY, o.cfg.Sink
	switch o.variant {
	case convCoopmat:
		t := t.coop
		return shaders.ConvBwdCoopmatSpec{
			Threads: t.threads(), Subgroups: t.subgroups, MatM: t.matM, MatN: t.matN, MatK: t.matK,
			TileRows: t.rows, TileCols: t.cols, K: k,
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			SinkAdd: sink.Add, SinkSums: true, SinkSe: sink.SE, SinkAct: uint32(sink.Act),
		}.Words()
	case convSimple:
		return shaders.ConvBwdSimpleSpec{
			Lanes: t.n, TileM: t.tileM, TileN: t.tileN, K: k,
			DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
			SinkAdd: sink.Add, SinkSums: true, SinkSe: sink.SE, SinkAct: uint32(sink.Act),
		}.Words()
	}
	return shaders.ConvBwdTiledSpec{
		ThreadsN: t.n, ThreadsM: t.m, TileM: t.tileM, SplitK: t.splitK, K: k,
		DyBn: dy.BN, DyKeep: dy.Keep, DyGate: dy.Gate, DyNog: dy.NoG, DyAct: uint32(dy.Act),
		SinkAdd: sink.Add, SinkSums: true, SinkSe: sink.SE, SinkAct: uint32(sink.Act),
	}.Words()
}

// bwdTile is how a variant of conv_bwd cuts its work: a workgroup owns cols columns and walks tiles of rows pixels. Behind a
// variant's name it is written as its specialization constants,
//
//	simple/LANESxTILE_MxTILE_N                     n lanes own tileN columns each of tileM pixels
//	tiled/THREADS_NxTHREADS_MxTILE_MxSPLIT_K       n x m invocations; one sums 4 columns of tileM pixels over a share of k
//	coopmat/MxNxK/ROWSxCOLS/SUBGROUPS              matrices of that shape (bwdCoop)
type bwdTile struct {
	n, m, tileM, tileN, splitK uint32
	coop                       bwdCoop
	rows, cols                 int
}

func simpleBwdTile(lanes, tileM, tileN uint32) bwdTile {
	return bwdTile{n: lanes, tileM: tileM, tileN: tileN, rows: int(tileM), cols: int(lanes * tileN)}
}

func tiledBwdTile(threadsN, threadsM, tileM, splitK uint32) bwdTile {
	return bwdTile{n: threadsN, m: threadsM, tileM: tileM, splitK: splitK, rows: int(threadsM / splitK * tileM), cols: int(4 * threadsN)}
}

// name is what cutConvBwd reads.
func (t bwdTile) name(variant string) string {
	if c := t.coop; c.subgroups > 0 {
		return fmt.Sprintf("%s/%dx%dx%d/%dx%d/%d", variant, c.matM, c.matN, c.matK, c.rows, c.cols, c.subgroups)
	}
	if t.m == 0 {
		return fmt.Sprintf("%s/%dx%dx%d", variant, t.n, t.tileM, t.tileN)
	}
	return fmt.Sprintf("%s/%dx%dx%dx%d", variant, t.n, t.m, t.tileM, t.splitK)
}

// shared is the size of the tile's shared memory for K output channels.
func (t bwdTile) shared(k int) int {
	if t.coop.subgroups > 0 {
		return t.coop.shared(k)
	}
	if t.m == 0 {
		return 4 * k * (t.rows + t.cols)
	}
	threads := int(t.n * t.m)
	return 16 * max(t.rows*(k/4+1)+threads*int(t.tileM), 3*threads)
}

// fits reports whether the variant's shader takes the tile and the device has room for it.
func (t bwdTile) fits(dev *vk.Device, k int) bool {
	l := dev.Limits()
	if t.shared(k) > int(l.SharedBytes) {
		return false
	}
	if t.coop.subgroups > 0 {
		return t.coop.fits(dev, k)
	}
	if t.m == 0 {
		return (t.n == 4 || t.n == 8) && t.n <= l.SubgroupMin && t.tileM > 0 && t.tileM%t.n == 0 && t.tileM <= 16 && t.tileN >= 1 && t.tileN <= 4
	}
	return t.n > 0 && t.tileM > 0 && t.tileM <= 8 && t.splitK > 0 && t.m%t.splitK == 0 && t.n*t.m <= l.Invocations && k/4 <= int(t.n*t.m)
}

// cutConvBwd resolves the name of a variant, with or without a tile, for a call of so many pixels in segments of so many.
func cutConvBwd(dev *vk.Device, name string, c Conv, pixels, segment int) (variant string, t bwdTile, err error) {
	k := c.K
	variant, tile, named := strings.Cut(name, "/")
	matrices := coopMatrices(dev, c.coopElem())
	switch {
	case name == "" && dev.IsCPU() && hasSimple(dev):
		variant = convSimple
	case name == "" && shippedChoices[deviceClass(dev)].conv == convCoopmat && len(provenMatrices(dev, c.coopElem())) > 0 &&
		len(bwdTiles(dev, convCoopmat, c, pixels, segment)) > 0:
		variant = convCoopmat
	case name == "":
		variant = convTiled
	case variant != convSimple && variant != convTiled && variant != convCoopmat:
		return "", t, &ShapeError{Op: convBwdOp, Got: fmt.Sprintf("variant %q", name), Want: "simple, tiled or coopmat"}
	case variant == convSimple && !hasSimple(dev):
		return "", t, &vk.UnsupportedError{What: convBwdOp + ", variant simple", Needs: "subgroup operations on 4 or more invocations"}
	case variant == convCoopmat && len(matrices) == 0:
		return "", t, &vk.UnsupportedError{What: convBwdOp + ", variant coopmat",
			Needs: "16-bit activations and cooperative matrices of them with float32 sums"}
	}
	if !named {
		if list := bwdTiles(dev, variant, c, pixels, segment); len(list) > 0 {
			return variant, list[0], nil
		}
		if variant == convCoopmat {
			return "", t, &vk.UnsupportedError{What: convBwdOp + ", variant coopmat", Needs: "larger workgroups and more shared memory"}
		}
		panic("kernels: internal error: no tile of conv bwd fits")
	}
	var n, m, tileM, last uint32
	switch variant {
	case convSimple:
		_, err = fmt.Sscanf(tile, "%dx%dx%d", &n, &tileM, &last)
		t = simpleBwdTile(n, tileM, last)
	case convTiled:
		if _, err = fmt.Sscanf(tile, "%dx%dx%dx%d", &n, &m, &tileM, &last); err == nil && last > 0 {
			t = tiledBwdTile(n, m, tileM, last)
		}
	case convCoopmat:
		var mat vk.CoopMat
		if _, err = fmt.Sscanf(tile, "%dx%dx%d/%dx%d/%d", &mat.M, &mat.N, &mat.K, &n, &m, &last); err == nil {
			t = coopBwdTile(dev, mat, n, m, last)
		}
	}
	if err != nil || !t.fits(dev, k) {
		return "", t, &vk.UnsupportedError{What: convBwdOp + ", variant " + name, Needs: "a tile that the kernel takes, subgroups and shared memory for it"}
	}
	return variant, t, nil
}

// bwdTiles lists the tiles of a variant that fit, the one to take first.
func bwdTiles(dev *vk.Device, variant string, c Conv, pixels, segment int) (list []bwdTile) {
	if variant == convCoopmat {
		return coopBwdTiles(dev, coopMatrices(dev, c.coopElem()), c.K, segment)
	}
	l, k := dev.Limits(), c.K
	if variant == convSimple {
		lanes, rows := uint32(4), uint32(16)
		if l.SubgroupMin >= 8 {
			lanes = 8
		}
		for rows > lanes && int(rows) >= 2*pixels {
			rows /= 2
		}
		for ; rows >= lanes; rows /= 2 {
			for n := uint32(3); n >= 1; n-- { // 3 take 0.8 to 0.9 times as long as 2, 4 seldom fit (lavapipe 25)
				if t := simpleBwdTile(lanes, rows, n); t.fits(dev, k) {
					list = append(list, t)
				}
			}
		}
		return list
	}
	threadsN, threadsM := uint32(16), uint32(16)
	if l.Invocations < 256 {
		threadsN = 8
	}
	// Sixteen rows give every invocation one for the sink; where memory is too small, eight.
	for _, try := range []struct {
		tileM uint32
		rows  int
	}{{4, 16}, {2, 16}, {4, 8}, {2, 8}} {
		var some []bwdTile
		for splitK := uint32(1); splitK <= threadsM/2; splitK *= 2 {
			t := tiledBwdTile(threadsN, threadsM, try.tileM, splitK)
			// 32 KiB: two workgroups share the 64 KiB of a compute unit.
			if t.rows >= try.rows && t.shared(k) <= 32<<10 && t.fits(dev, k) {
				some = append(some, t)
			}
		}
		// Rows beyond the segment are wasted, and the barriers of a tile cost about as much as two rows.
		cost := func(t bwdTile) int { return ceilDiv(segment, t.rows) * (t.rows + 2) }
		slices.SortStableFunc(some, func(a, b bwdTile) int { return cost(a) - cost(b) })
		list = append(list, some...)
	}
	return list
}
