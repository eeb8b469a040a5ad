package train

import (
	"fmt"
	"math"
	"strings"
)

// Curve draws y over x as text of the given numbers of columns and rows, the labels of the axis included, in Braille
// dots: two by four a character. Points that are not finite are left out. It returns "" when fewer than two are left.
func Curve(title string, x, y []float64, columns, rows int) string {
	const label = 9
	var px, py []float64
	for i := range x {
		if sum := x[i] + y[i]; !math.IsNaN(sum) && !math.IsInf(sum, 0) {
			px, py = append(px, x[i]), append(py, y[i])
		}
	}
	columns, rows = max(columns-label, 8), max(rows-2, 2)
	if len(px) < 2 {
		return ""
	}
	x0, x1 := bounds(px)
	y0, y1 := bounds(py)
	cells := make([][]rune, rows)
	for r := range cells {
		cells[r] = make([]rune, columns)
	}
	w, h := 2*columns, 4*rows
	place := func(i int) (float64, float64) {
		return (px[i] - x0) / (x1 - x0) * float64(w-1), (y1 - py[i]) / (y1 - y0) * float64(h-1)
	}
	// The dots of a character, of bits 0 to 7: the left column's upper three, the right's, then the lowest two.
	bit := [4][2]rune{{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}}
	for i := 1; i < len(px); i++ {
		ax, ay := place(i - 1)
		bx, by := place(i)
		n := int(math.Ceil(max(math.Abs(bx-ax), math.Abs(by-ay), 1)))
		for j := range n + 1 {
			t := float64(j) / float64(n)
			cx, cy := int(ax+(bx-ax)*t+0.5), int(ay+(by-ay)*t+0.5)
			cells[cy/4][cx/2] |= bit[cy%4][cx%2]
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%*s %s\n", label-2, "", title)
	for r, row := range cells {
		mark := ""
		switch r {
		case 0:
			mark = fmt.Sprintf("%.4g", y1)
		case rows - 1:
			mark = fmt.Sprintf("%.4g", y0)
		}
		line := []rune(nil)
		for _, dots := range row {
			line = append(line, 0x2800+dots)
		}
		fmt.Fprintf(&b, "%*s │%s\n", label-2, mark, strings.TrimRight(string(line), "\u2800"))
	}
	first, last := fmt.Sprintf("%.4g", x0), fmt.Sprintf("%.4g", x1)
	fmt.Fprintf(&b, "%*s └%s%*s\n", label-2, "", first, columns-len(first), last)
	return b.String()
}

// bounds returns the least and largest value, apart by more than nothing.
func bounds(v []float64) (lo, hi float64) {
	lo, hi = v[0], v[0]
	for _, x := range v {
		lo, hi = min(lo, x), max(hi, x)
	}
	if lo == hi {
		lo, hi = lo-1, hi+1
	}
	return lo, hi
}
