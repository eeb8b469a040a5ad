package kernels

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Variants of the dense convolutions. A name may go on with a tile: see convTile.
const (
	convSimple  = "simple"  // register tiles and subgroup shuffles: CPU drivers
	convUniform = "uniform" // register tiles, operands from uniform addresses: CPU drivers that have scalar registers
	convTiled   = "tiled"   // shared-memory tiles: any GPU
	convCoopmat = "coopmat" // cooperative matrices: 16-bit activations, C a multiple of 8
)

// convTile is how a variant cuts the output of a GEMM: workgroups of rows x cols outputs.
//
// Written behind a variant's name it is "simple/LANESxTILE_MxTILE_N", "uniform/8xTILE_MxTILE_N" or
// "tiled/THREADS_NxTHREADS_MxTILE_M", the specialization constants, and optionally "@groups": "simple/8x16x2",
// "tiled/16x8x8@256". For coopmat see coopTile.
type convTile struct {
	lanes, m, n uint32
	coop        coopTile // of coopmat, which uses none of the three
	rows, cols  int
	groups      int // workgroups to aim at
}

// newConvTile returns the tile with these three specialization constants.
func newConvTile(variant string, a, b, c uint32, groups int) convTile {
	t := convTile{lanes: a, m: b, n: c, rows: int(b), cols: int(a * c), groups: groups}
	if variant == convTiled {
		t.rows, t.cols = int(b*c), int(4*a)
	}
	return t
}

// name is what parseConv reads.
func (t convTile) name(variant string) string {
	if variant == convCoopmat {
		return fmt.Sprintf("%s/%s@%d", variant, t.coop, t.groups)
	}
	return fmt.Sprintf("%s/%dx%dx%d@%d", variant, t.lanes, t.m, t.n, t.groups)
}

// fits reports whether the variant's shaders take the tile and the device has room for it. The conditions are those of
// the headers of conv_*.comp; all three passes take what fits.
func (t convTile) fits(dev *vk.Device, variant string) bool {
	l := dev.Limits()
	switch variant {
	case convCoopmat:
		return t.coop.fits(dev)
	case convSimple:
		return (t.lanes == 4 || t.lanes == 8) && t.lanes <= l.SubgroupMin && t.m > 0 && t.m%t.lanes == 0 && t.m <= 16 && t.n >= 1 && t.n <= 4
	case convUniform:
		return t.lanes == 8 && t.m > 0 && t.m%4 == 0 && t.n >= 1 && t.m*t.n <= 32
	default:
		threads, rows := t.lanes*t.m, uint32(t.rows)
		if t.lanes == 0 || t.m == 0 || t.n == 0 || t.n > 8 || t.n%4 != 0 || threads > l.Invocations || threads%4 != 0 || threads%(rows/4) != 0 {
			return false
		}
		return 16*max(5*rows+16*t.lanes, 3*threads) <= l.SharedBytes // conv_rows.glsl; conv_wgrad_tiled needs less
	}
}

// within reports whether the GEMM has the rows of a tile of the uniform variant, or the tile is the lowest there is:
// conv_wgrad_uniform has no rows beyond gemmM, which is never below 8 there.
func (t convTile) within(g gemm) bool { return t.rows <= max(g.m, 4) }

// hasSimple reports whether the device can run the simple variant.
func hasSimple(dev *vk.Device) bool { return dev.Has("subgroup") && dev.Limits().SubgroupMin >= 4 }

// hasUniform reports whether the device can run the uniform variant.
func hasUniform(dev *vk.Device) bool {
	l := dev.Limits()
	return dev.Has("subgroup") && l.SubgroupMin == 8 && l.SubgroupMax == 8 && dev.Has("bufferDeviceAddress") && dev.Has("shaderInt64")
}

// WantsPlain reports whether dense convolutions of such elements run fastest on the device when there is nothing to apply on
// load: when Pending and GradIn are zero, and what would be in them has been written by Apply and ApplyGrad.
func WantsPlain(dev *vk.Device, e Elem) bool {
	return e == F32 && shippedChoices[deviceClass(dev)].conv == convUniform && hasUniform(dev)
}

// gemm is what a convolution is to the variants: rows x columns of sums of k products, and whether its operands are plain,
// float32 without anything to apply on load, as the uniform variant wants them.
type gemm struct {
	m, n, k int
	plain   bool
	coop    Elem // what cooperative matrices would hold; F32: they cannot
	many    int  // so many such GEMMs run together; 0: one
	split   bool // workgroups share what is summed, so that there are always enough of them
}

// cutConv resolves the name of a variant, with or without a tile, for a GEMM. The empty name means the shipped variant, a
// name without a tile its shipped tile.
func cutConv(dev *vk.Device, op, name string, g gemm) (variant string, t convTile, err error) {
	class := shippedChoices[deviceClass(dev)]
	variant, tile, named := strings.Cut(name, "/")
	switch {
	case name == "" && class.conv == convUniform && hasUniform(dev) && g.plain:
		variant = convUniform
	case name == "" && (class.conv == convUniform || class.conv == convSimple) && hasSimple(dev):
		variant = convSimple
	case name == "" && class.conv == convCoopmat && len(provenMatrices(dev, g.coop)) > 0:
		variant = convCoopmat
	case name == "":
		variant = convTiled
	case variant != convSimple && variant != convUniform && variant != convTiled && variant != convCoopmat:
		return "", t, &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name), Want: "simple, uniform, tiled or coopmat"}
	case variant == convCoopmat && len(coopMatrices(dev, g.coop)) == 0:
		return "", t, &vk.UnsupportedError{What: op + ", variant coopmat",
			Needs: "16-bit activations, C a multiple of 8, and cooperative matrices of them with float32 sums"}
	case variant == convUniform && !hasUniform(dev):
		return "", t, &vk.UnsupportedError{What: op + ", variant uniform", Needs: "subgroups of 8, bufferDeviceAddress and shaderInt64"}
	case variant == convUniform && !g.plain:
		return "", t, &ShapeError{Op: op, Got: "variant uniform", Want: "f32, channels that are multiples of 8, and nothing to apply on load"}
	case variant == convSimple && !hasSimple(dev):
		return "", t, &vk.UnsupportedError{What: op + ", variant simple", Needs: "subgroup operations on 4 or more invocations"}
	}
	switch {
	case !named && variant == convCoopmat:
		if t, ok := cutCoop(dev, coopMatrices(dev, g.coop), class.groups, g); ok {
			return variant, t, nil
		}
		return "", t, &vk.UnsupportedError{What: op + ", variant coopmat", Needs: "larger workgroups and more shared memory"}
	case !named:
		return variant, class.cut(dev, variant, g), nil
	}
	t, ok := parseTile(dev, variant, tile, class.groups)
	switch {
	case !ok:
		return "", t, &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name),
			Want: "a tile such as simple/8x16x2, tiled/16x8x8@256 or coopmat/16x16x16/64x64/2x2"}
	case !t.fits(dev, variant) || variant == convUniform && !t.within(g) || variant == convCoopmat && !t.coop.listed(coopMatrices(dev, g.coop)):
		return "", t, &vk.UnsupportedError{What: op + ", variant " + name, Needs: "a tile that the kernel takes, subgroups and shared memory for it"}
	}
	return variant, t, nil
}

// parseTile reads what stands behind a variant's name.
func parseTile(dev *vk.Device, variant, text string, groups int) (convTile, bool) {
	if variant == convCoopmat {
		return parseCoop(dev, text, groups)
	}
	var a, b, c uint32
	format := "%dx%dx%d"
	into := []any{&a, &b, &c}
	if strings.Contains(text, "@") {
		format, into = format+"@%d", append(into, &groups)
	}
	_, err := fmt.Sscanf(text, format, into...)
	t := newConvTile(variant, a, b, c, groups)
	return t, err == nil && groups > 0 && strings.HasPrefix(t.name(variant), variant+"/"+text)
}

// cut chooses the class's tile of a variant.
func (s shippedChoice) cut(dev *vk.Device, variant string, g gemm) convTile {
	if variant != convTiled {
		return s.ranked(dev, variant, g)[0]
	}
	for _, line := range s.tiles {
		t, ok := parseTile(dev, variant, line.tile, s.groups)
		tiles := ceilDiv(g.m, max(t.rows, 1)) * ceilDiv(g.n, max(t.cols, 1))
		if ok && t.fits(dev, variant) && (line.gemmN == 0 || g.n <= line.gemmN) && (line.gemmM == 0 || g.m <= line.gemmM) && tiles >= line.least {
			return t
		}
	}
	panic("kernels: internal error: no shipped tile fits")
}

// ranked are the tiles of a CPU driver's variant, the one first that should be fastest: by their rates, where rows and columns
// beyond the GEMM's are wasted.
func (s shippedChoice) ranked(dev *vk.Device, variant string, g gemm) []convTile {
	type ranked struct {
		convTile
		rate float64
	}
	var all []ranked
	add := func(t convTile, rows int, rate float64) {
		cols := ceilDiv(g.n, t.cols) * t.cols
		all = append(all, ranked{t, rate * float64(g.m*g.n) / float64(rows*cols)})
	}
	if variant == convUniform {
		for _, u := range uniformTiles {
			rate := u.long
			if g.k <= 64 {
				rate = u.short
			}
			if t := newConvTile(variant, 8, u.m, u.n, s.groups); t.within(g) {
				add(t, ceilDiv(g.m, t.rows)*t.rows, rate)
			}
		}
	} else {
		lanes, m := uint32(4), uint32(16)
		if dev.Limits().SubgroupMin >= 8 {
			lanes = 8
		}
		if g.m <= 8 {
			m = 8
		}
		for i, rate := range s.rates {
			add(newConvTile(variant, lanes, m, uint32(i+1), s.groups), g.m, rate)
		}
	}
	slices.SortStableFunc(all, func(a, b ranked) int { return cmp.Compare(b.rate, a.rate) })
	tiles := make([]convTile, len(all))
	for i, r := range all {
		tiles[i] = r.convTile
	}
	return tiles
}

// convCandidates are the variants and tiles that a Tuner may choose from for a GEMM, the shipped one first. Those of
// equal tuning keys must be equal. On CPU drivers they are few: compiling one takes longer than timing it.
func convCandidates(dev *vk.Device, g gemm) []string {
	variant, first, err := cutConv(dev, "", "", g)
	if err != nil {
		return nil
	}
	names := []string{first.name(variant)}
	class := shippedChoices[deviceClass(dev)]
	switch variant {
	case convCoopmat:
		return append(coopCandidates(dev, first.groups, g), class.cut(dev, convTiled, g).name(convTiled))
	case convUniform, convSimple:
		if more := class.ranked(dev, variant, g)[1:]; len(more) > 0 {
			names = append(names, more[0].name(variant))
		}
		if variant == convUniform {
			names = append(names, class.cut(dev, convSimple, g).name(convSimple))
		}
	case convTiled:
		tiles := [][3]uint32{{16, 8, 8}, {16, 16, 8}, {8, 16, 8}, {16, 8, 4}, {8, 16, 4}, {4, 32, 4}}
		if dev.IsCPU() {
			tiles = tiles[:1]
		}
		for _, a := range tiles {
			t := newConvTile(variant, a[0], a[1], a[2], first.groups)
			// More than half of the columns wasted: another tile does the same in less.
			if wasted := ceilDiv(g.n, t.cols)*t.cols - g.n; t.fits(dev, variant) && 2*wasted <= t.cols && t != first {
				names = append(names, t.name(variant))
			}
		}
		if !dev.IsCPU() {
			names = append(names, newConvTile(variant, first.lanes, first.m, first.n, 4*first.groups).name(variant))
		}
	}
	return names
}

// tilesPerPart returns how many row tiles one workgroup walks when rows are cut into tiles of t and there are `others`
// workgroups per tile. least is the number of rows below which partial sums would not be small beside the output.
func tilesPerPart(dev *vk.Device, t convTile, rows, others, least int) int {
	tiles := ceilDiv(rows, t.rows)
	per := max(ceilDiv(min(least, rows), t.rows), tiles*others/t.groups, 1)
	return max(per, ceilDiv(tiles, int(dev.Limits().MaxGroups)))
}

// zeros are at least n floats of the device that nothing writes. It fails rec where the device has no room for them.
func zeros(rec *vk.Recorder, n int) vk.Range {
	r, err := rec.Device().Zeros(4 * int64(n))
	if err != nil {
		rec.Fail(err)
	}
	return r
}
