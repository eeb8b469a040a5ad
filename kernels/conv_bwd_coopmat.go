package kernels

import (
	"slices"

	"github.com/seed-8d806880/vkeffnet/vk"
)

// bwdCoop is how the coopmat variant of conv_bwd cuts its work: matrices of matM x matN x matK, tiles of rows pixels, cols
// columns, and subgroups of so many invocations. conv_bwd_coopmat.comp computes the same sizes.
type bwdCoop struct {
	matM, matN, matK    uint32
	rows, cols          uint32
	subgroups, subgroup uint32
}

func coopBwdTile(dev *vk.Device, m vk.CoopMat, rows, cols, subgroups uint32) bwdTile {
	return bwdTile{rows: int(rows), cols: int(cols), coop: bwdCoop{matM: m.M, matN: m.N, matK: m.K, rows: rows, cols: cols,
		subgroups: subgroups, subgroup: matrixSubgroup(dev, m.M, m.N)}}
}

func (t bwdCoop) threads() uint32 { return t.subgroups * t.subgroup }

// padded is k rounded up to whole matrices, which have it as rows (dw) and as columns (du).
func (t bwdCoop) padded(k int) uint32 {
	return uint32(roundUp(int64(k), int64(max(t.matM, t.matK))))
}

// shared is the size of the tile's shared memory for k output channels: dy, w, and in turn du, v, sums and dw.
func (t bwdCoop) shared(k int) int {
	kp := t.padded(k)
	out := max(t.rows*(t.cols/4+1), 3*t.threads(), t.subgroups*t.matM*t.matN/4)
	return 16 * int(t.rows*(kp/8+1)+kp*(t.cols/8+1)+out)
}

// fits reports whether the shader takes the tile; its shared memory has been looked at.
func (t bwdCoop) fits(dev *vk.Device, k int) bool {
	threads, kp := t.threads(), t.padded(k)
	switch {
	case min(t.matM, t.matN, t.matK, t.rows, t.cols) == 0 || t.matM%8 != 0 || t.matN%8 != 0 || t.matK%8 != 0:
		return false
	case t.rows%t.matM != 0 || t.rows%t.matK != 0 || t.cols%t.matN != 0:
		return false
	}
	// dw stays in registers: so many floats for every invocation.
	return threads <= dev.Limits().Invocations && threads%(t.cols/8) == 0 && kp/8 <= threads && kp*t.cols <= 64*threads
}

// bwdCuts are the rows, columns and subgroups that are tried, the best first.
var bwdCuts = [][3]uint32{{64, 64, 8}, {32, 64, 8}, {64, 64, 4}, {32, 64, 4}, {64, 32, 8}, {64, 32, 4}, {32, 32, 8}, {32, 32, 4},
	{16, 32, 4}, {16, 16, 8}, {16, 16, 4}, {16, 16, 2}}

// coopBwdTiles lists the tiles that fit for k output channels and segments of so many pixels, the one to take first.
func coopBwdTiles(dev *vk.Device, matrices []vk.CoopMat, k, segment int) (list []bwdTile) {
	for _, m := range matrices {
		var some []bwdTile
		for _, cut := range bwdCuts {
			// 48 KiB: what there is on NVIDIA; with more, one workgroup would have a compute unit of AMD for itself.
			if t := coopBwdTile(dev, m, cut[0], cut[1], cut[2]); t.shared(k) <= 48<<10 && t.fits(dev, k) {
				some = append(some, t)
			}
		}
		// Rows beyond the segment are wasted, and loading w and the barriers of a tile cost about as much as eight rows.
		cost := func(t bwdTile) int { return ceilDiv(segment, t.rows) * (t.rows + 8) * (64 + t.cols) / t.cols }
		slices.SortStableFunc(some, func(a, b bwdTile) int { return cost(a) - cost(b) })
		list = append(list, some...)
	}
	return list
}
