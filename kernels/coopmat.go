package kernels

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-8d806880/vkeffnet/shaders"
	"github.com/seed-8d806880/vkeffnet/vk"
)

// coopTile is how the coopmat variants cut a GEMM: workgroups of rows x cols outputs, gridM x gridN subgroups, matrices of
// matM x matN x matK. include/coopmat.glsl derives the same sizes. Written behind "coopmat/" it is
// "16x16x16/64x64/2x2", optionally with "@groups".
type coopTile struct {
	matM, matN, matK uint32
	rows, cols       uint32
	gridM, gridN     uint32
	subgroup         uint32 // invocations that hold a matrix
}

func (t coopTile) String() string {
	return fmt.Sprintf("%dx%dx%d/%dx%d/%dx%d", t.matM, t.matN, t.matK, t.rows, t.cols, t.gridM, t.gridN)
}

// matrixSubgroup is the size of the subgroup that holds matrices of m x n sums: the smallest that the device has, except that
// Intel's of 8 rows and 16 columns are those of subgroups of 16, whatever smaller ones there are.
func matrixSubgroup(dev *vk.Device, m, n uint32) uint32 {
	l := dev.Limits()
	if m == 8 && n == 16 {
		return min(max(16, l.SubgroupMin), l.SubgroupMax)
	}
	return l.SubgroupMin
}

// newCoopTile returns the tile as a convTile.
func newCoopTile(dev *vk.Device, t coopTile, groups int) convTile {
	t.subgroup = matrixSubgroup(dev, t.matM, t.matN)
	return convTile{coop: t, rows: int(t.rows), cols: int(t.cols), groups: groups}
}

// parseCoop reads what stands behind "coopmat/".
func parseCoop(dev *vk.Device, text string, groups int) (convTile, bool) {
	var t coopTile
	format := "%dx%dx%d/%dx%d/%dx%d"
	into := []any{&t.matM, &t.matN, &t.matK, &t.rows, &t.cols, &t.gridM, &t.gridN}
	if strings.Contains(text, "@") {
		format, into = format+"@%d", append(into, &groups)
	}
	_, err := fmt.Sscanf(text, format, into...)
	c := newCoopTile(dev, t, groups)
	return c, err == nil && groups > 0 && strings.HasPrefix(c.name(convCoopmat), convCoopmat+"/"+text)
}

// listed reports whether the tile's matrices are among all.
func (t coopTile) listed(all []vk.CoopMat) bool {
	return slices.ContainsFunc(all, func(m vk.CoopMat) bool { return m.M == t.matM && m.N == t.matN && m.K == t.matK })
}

func (t coopTile) threads() uint32 { return t.gridM * t.gridN * t.subgroup }
func (t coopTile) tilesM() uint32  { return t.rows / (t.gridM * t.matM) }
func (t coopTile) tilesN() uint32  { return t.cols / (t.gridN * t.matN) }

// coopSlice is SLICE of coopmat.glsl.
const coopSlice = 32

// fits reports whether the shaders of all three passes take the tile and the device has room for it.
func (t coopTile) fits(dev *vk.Device) bool {
	l, threads := dev.Limits(), t.threads()
	switch {
	case min(threads, t.matM, t.matN, t.matK) == 0 || threads > l.Invocations:
		return false
	case t.matM%8 != 0 || t.matN%8 != 0 || t.matK%8 != 0 || coopSlice%t.matK != 0:
		return false
	case t.tilesM() == 0 || t.rows%(t.gridM*t.matM) != 0 || t.tilesN() == 0 || t.cols%(t.gridN*t.matN) != 0:
		return false
	case t.tilesM()*t.tilesN() > 16: // registers, and the code is unrolled
		return false
	case threads%coopSlice != 0 || threads < 2*max(t.rows, t.cols) || t.rows%16 != 0 || t.cols%16 != 0:
		return false
	}
	slice := (t.rows + t.cols) * (coopSlice/8 + 1)
	band := t.gridM * t.matM * (t.cols/4 + 1)
	return 16*max(slice, band, 3*threads) <= l.SharedBytes
}

// coopElem is the type of the matrices that could hold what the convolution multiplies; F32: there are none.
func (c Conv) coopElem() Elem {
	if c.C%8 != 0 {
		return F32
	}
	return c.Elem
}

// coopMatrices are the shapes of matrices of e that the device lists and the coopmat variants take, the largest first.
func coopMatrices(dev *vk.Device, e Elem) []vk.CoopMat {
	if e == F32 {
		return nil
	}
	for _, need := range e.pick(nil, &shaders.ConvFwdCoopmatF16, &shaders.ConvFwdCoopmatBf16).Needs {
		if !dev.Has(need) {
			return nil
		}
	}
	list := slices.DeleteFunc(dev.Info().CoopMat, func(m vk.CoopMat) bool {
		return m.A != e.String() || m.B != e.String() || m.C != "f32" || m.D != "f32" || m.Scope != "subgroup" || m.M%8 != 0 || m.N%8 != 0 || m.K%8 != 0 || coopSlice%m.K != 0
	})
	slices.SortStableFunc(list, func(a, b vk.CoopMat) int { return cmp.Compare(b.M*b.N*b.K, a.M*a.N*a.K) })
	return list
}

// coopCuts are the tiles that are tried, by rows, columns and invocations: so many that none loads more than 32 values of an
// operand's slice, since more do not fit its registers, together with the matrices.
var coopCuts = [][3]uint32{{128, 128, 256}, {128, 64, 256}, {64, 64, 128}, {128, 32, 256}, {64, 32, 128}, {32, 64, 128}, {64, 16, 128},
	{32, 32, 128}, {32, 32, 64}, {16, 16, 32}}

// coopTiles are the tiles of one shape of matrices that fit the device, the one that should be fastest first: of least
// waves of workgroups, times what a workgroup's slice costs. That is the multiplications of rows x cols, and its loads,
// which are of rows + cols and weigh as much as the multiplications of 128 x 128 do.
func coopTiles(dev *vk.Device, m vk.CoopMat, groups int, g gemm) (tiles []convTile) {
	for _, cut := range coopCuts {
		// The grid of subgroups whose parts are nearest to squares: they load least from shared memory.
		var best convTile
		for gridM := uint32(1); gridM*m.M <= cut[0]; gridM *= 2 {
			t := newCoopTile(dev, coopTile{matM: m.M, matN: m.N, matK: m.K, rows: cut[0], cols: cut[1], gridM: gridM, gridN: 1}, groups)
			t.coop.gridN = max(cut[2]/t.coop.threads(), 1)
			edges := func(c coopTile) uint32 { return c.rows/c.gridM + c.cols/c.gridN }
			if t.fits(dev, convCoopmat) && t.coop.threads() == cut[2] && (best.rows == 0 || edges(t.coop) < edges(best.coop)) {
				best = t
			}
		}
		// A CPU driver takes a third of a second to compile a product of matrices.
		if best.rows > 0 && !(dev.IsCPU() && best.coop.tilesM()*best.coop.tilesN() > 1) {
			tiles = append(tiles, best)
		}
	}
	cost := func(t convTile) int {
		n := ceilDiv(g.m, t.rows) * ceilDiv(g.n, t.cols) * max(g.many, 1)
		if !g.split {
			n = ceilDiv(n, groups) // waves
		}
		return n * (t.rows*t.cols + 64*(t.rows+t.cols))
	}
	slices.SortStableFunc(tiles, func(a, b convTile) int { return cmp.Compare(cost(a), cost(b)) })
	return tiles
}

// cutCoop chooses the tile of a GEMM; matrices are in order of preference.
func cutCoop(dev *vk.Device, matrices []vk.CoopMat, groups int, g gemm) (convTile, bool) {
	for _, m := range matrices {
		if tiles := coopTiles(dev, m, groups, g); len(tiles) > 0 {
			return tiles[0], true
		}
	}
	return convTile{}, false
}

// coopCandidates are the tiles that a Tuner may choose from: the best few of every shape of matrices.
func coopCandidates(dev *vk.Device, groups int, g gemm) (names []string) {
	for i, m := range provenMatrices(dev, g.coop) {
		tiles := coopTiles(dev, m, groups, g)
		for _, t := range tiles[:min(len(tiles), max(4-2*i, 0))] {
			names = append(names, t.name(convCoopmat))
		}
	}
	return names
}

// provenMatrices are the coopMatrices with which the device's driver was seen to convolve right: drivers list what they
// cannot do. Each is tried once in the life of dev, on a small convolution; a wrong one is logged as a warning.
func provenMatrices(dev *vk.Device, e Elem) []vk.CoopMat {
	return slices.DeleteFunc(coopMatrices(dev, e), func(m vk.CoopMat) bool {
		return dev.Once(fmt.Sprintf("kernels: self-check of matrices %v", m), func() error {
			err := checkMatrices(dev, e, m)
			if err != nil {
				dev.Log().Warn("cooperative matrices are not used: the driver gets them wrong", "shape", fmt.Sprintf("%dx%dx%d", m.M, m.N, m.K),
					"type", m.A, "error", err)
			}
			return err
		}) != nil
	})
}

// checkMatrices compares the passes of a convolution by matrices of this shape with those by the tiled variant. A device
// that only compiles has nothing to compare. It is a variable for tests.
var checkMatrices = func(dev *vk.Device, e Elem, m vk.CoopMat) error {
	if dev.Info().MemoryBytes == 0 {
		return nil
	}
	conv := NewConv(2, 9, 7, 40, 24, 3, 2, PadSame)
	conv.Elem = e
	t, ok := cutCoop(dev, []vk.CoopMat{m}, 1, gemm{m: conv.N * conv.P * conv.Q, n: conv.K, coop: e})
	if !ok {
		return fmt.Errorf("no tile of matrices of %dx%dx%d fits the device", m.M, m.N, m.K)
	}
	for _, op := range []Tunable{
		ConvFwdConfig{Conv: conv, In: Pending{BN: true, Act: SiLU}, Stats: true},
		ConvDgradConfig{Conv: conv, DY: GradIn{BN: true}, Sink: Sink{Act: SiLU}},
		ConvWgradConfig{Conv: conv, DY: GradIn{BN: true}, In: Pending{BN: true, Act: SiLU}},
	} {
		if err := compareVariants(dev, op, convTiled, t.name(convCoopmat)); err != nil {
			return fmt.Errorf("%s: %w", op.op(), err)
		}
	}
	return nil
}

// compareVariants returns an error if two variants of an operation give different results.
func compareVariants(dev *vk.Device, c Tunable, reference, variant string) error {
	b := newTrialBuffers(dev, c.shape().Elem)
	defer b.release()
	want, err := trialResults(context.Background(), dev, b, c.with(c.shape(), reference))
	if err != nil {
		return err
	}
	got, err := trialResults(context.Background(), dev, b, c.with(c.shape(), variant))
	if err != nil {
		return err
	}
	return compareResults(got, want, variant, c.shape().Elem)
}
