package kernels

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// Variants of the dense convolutions. A name may go on with a tile: see convTile.
const (
	convSimple = "simple" // register tiles and subgroup shuffles: CPU drivers
	convTiled  = "tiled"  // shared-memory tiles: any GPU
)

// convTile is how a variant cuts the output of a GEMM: workgroups of rows x cols outputs.
//
// Written behind a variant's name it is "simple/LANESxTILE_MxTILE_N" or "tiled/THREADS_NxTHREADS_MxTILE_M", the
// specialization constants, and optionally "@groups": "simple/8x16x2", "tiled/16x8x8@256".
type convTile struct {
	lanes, m, n uint32
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
	return fmt.Sprintf("%s/%dx%dx%d@%d", variant, t.lanes, t.m, t.n, t.groups)
}

// fits reports whether the variant's shaders take the tile and the device has room for it. The conditions are those of
// the headers of conv_*.comp; all three passes take what fits.
func (t convTile) fits(dev *vk.Device, variant string) bool {
	l := dev.Limits()
	switch variant {
	case convSimple:
		return (t.lanes == 4 || t.lanes == 8) && t.lanes <= l.SubgroupMin && t.m > 0 && t.m%t.lanes == 0 && t.m <= 16 && t.n >= 1 && t.n <= 4
	default:
		threads, rows := t.lanes*t.m, uint32(t.rows)
		if t.lanes == 0 || t.m == 0 || t.n == 0 || t.n > 8 || t.n%4 != 0 || threads > l.Invocations || threads%4 != 0 || threads%(rows/4) != 0 {
			return false
		}
		return 16*max(5*rows+16*t.lanes, 3*threads) <= l.SharedBytes // conv_rows.glsl; conv_wgrad_tiled needs less
	}
}

// hasSimple reports whether the device can run the simple variant.
func hasSimple(dev *vk.Device) bool { return dev.Has("subgroup") && dev.Limits().SubgroupMin >= 4 }

// cutConv resolves the name of a variant, with or without a tile, for a GEMM of gemmM rows and gemmN columns. The
// empty name means the shipped variant, a name without a tile its shipped tile.
func cutConv(dev *vk.Device, op, name string, gemmM, gemmN int) (variant string, t convTile, err error) {
	class := shippedChoices[deviceClass(dev)]
	variant, tile, named := strings.Cut(name, "/")
	switch {
	case name == "" && class.conv == convSimple && hasSimple(dev):
		variant = convSimple
	case name == "":
		variant = convTiled
	case variant != convSimple && variant != convTiled:
		return "", t, &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name), Want: "simple or tiled"}
	case variant == convSimple && !hasSimple(dev):
		return "", t, &vk.UnsupportedError{What: op + ", variant simple", Needs: "subgroup operations on 4 or more invocations"}
	}
	if !named {
		return variant, class.cut(dev, variant, gemmM, gemmN), nil
	}
	t, ok := parseTile(variant, tile, class.groups)
	switch {
	case !ok:
		return "", t, &ShapeError{Op: op, Got: fmt.Sprintf("variant %q", name), Want: "a tile such as simple/8x16x2 or tiled/16x8x8@256"}
	case !t.fits(dev, variant):
		return "", t, &vk.UnsupportedError{What: op + ", variant " + name, Needs: "a tile that the kernel takes, subgroups and shared memory for it"}
	}
	return variant, t, nil
}

// parseTile reads what stands behind a variant's name.
func parseTile(variant, text string, groups int) (convTile, bool) {
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
func (s shippedChoice) cut(dev *vk.Device, variant string, gemmM, gemmN int) convTile {
	if variant == convTiled {
		for _, line := range s.tiles {
			t, ok := parseTile(variant, line.tile, s.groups)
			tiles := ceilDiv(gemmM, max(t.rows, 1)) * ceilDiv(gemmN, max(t.cols, 1))
			if ok && t.fits(dev, variant) && (line.gemmN == 0 || gemmN <= line.gemmN) && (line.gemmM == 0 || gemmM <= line.gemmM) && tiles >= line.least {
				return t
			}
		}
		panic("kernels: internal error: no shipped tile fits")
	}
	lanes, m := uint32(4), uint32(16)
	if dev.Limits().SubgroupMin >= 8 {
		lanes = 8
	}
	if gemmM <= 8 {
		m = 8
	}
	var t convTile
	best := 0.0
	for i, rate := range s.rates {
		n := newConvTile(variant, lanes, m, uint32(i+1), s.groups)
		// Columns beyond gemmN are wasted.
		if r := rate * float64(gemmN) / float64(ceilDiv(gemmN, n.cols)*n.cols); r > best {
			best, t = r, n
		}
	}
	return t
}

// convCandidates are the variants and tiles that a Tuner may choose from for a GEMM, the shipped one first. Those of
// equal tuning keys must be equal.
func convCandidates(dev *vk.Device, gemmM, gemmN int) []string {
	variant, first, err := cutConv(dev, "", "", gemmM, gemmN)
	if err != nil {
		return nil
	}
	names := []string{first.name(variant)}
	add := func(a, b, c uint32, groups int) {
		t := newConvTile(variant, a, b, c, groups)
		// More than half of the columns wasted: another tile does the same in less.
		if wasted := ceilDiv(gemmN, t.cols)*t.cols - gemmN; t.fits(dev, variant) && 2*wasted <= t.cols && !slices.Contains(names, t.name(variant)) {
			names = append(names, t.name(variant))
		}
	}
	if variant == convSimple {
		for n := uint32(2); n <= 4; n++ { // 1 has won nothing (BenchmarkConv)
			add(first.lanes, first.m, n, first.groups)
		}
		add(first.lanes, 24-first.m, first.n, first.groups) // 8 and 16 rows
		return names
	}
	for _, tile := range [][3]uint32{{16, 8, 8}, {16, 16, 8}, {8, 16, 8}, {16, 8, 4}, {8, 16, 4}, {4, 32, 4}} {
		add(tile[0], tile[1], tile[2], first.groups)
	}
	if !dev.IsCPU() {
		add(first.lanes, first.m, first.n, 4*first.groups)
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
