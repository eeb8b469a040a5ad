package train

import (
	"fmt"
	"math"
)

// EvalCrop says which part of an image evaluation looks at.
type EvalCrop string

// The evaluation crops. The reference code chooses Centre below an evaluation size of 320 and Squash from there on.
const (
	CropCentre EvalCrop = "centre" // the centred square of side min(w, h) * size/(size+32)
	CropSquash EvalCrop = "squash" // the whole image, whatever its aspect ratio
)

// Check returns an error for an unknown crop.
func (c EvalCrop) Check() error {
	if c != CropCentre && c != CropSquash {
		return fmt.Errorf("train: evaluation crop is %q, want %q or %q", c, CropCentre, CropSquash)
	}
	return nil
}

// region returns the part of a w x h image that is resized to size x size.
func (c EvalCrop) region(w, h, size int) rect {
	if c == CropSquash {
		return rect{0, 0, w, h}
	}
	side := max(int(float64(min(w, h))*float64(size)/float64(size+32)+0.5), 1)
	return rect{(w - side) / 2, (h - side) / 2, side, side}
}

// boxFactor is by how much a region of n pixels is shrunk on the host before it is resized to size on the device:
// the largest whole number that leaves at least size pixels. So a photograph of any size costs fewer than 2*size x
// 2*size pixels of upload and device memory, the device's bilinear resize is by less than a factor of two, and the
// average over the box is the antialiasing that such a resize lacks; sources of less than twice the size pass
// unchanged. Each axis has its own factor.
func boxFactor(n, size int) int { return max(n/size, 1) }

// scaled is the length of n pixels after shrinking: not whole where the factor does not divide n.
func scaled(n, size int) float32 { return float32(float64(n) / float64(boxFactor(n, size))) }

// BatchBytes is the room that a batch of images of a training or evaluation size can take in a Loader's buffer.
func BatchBytes(d Dataset, batch, size int) int64 {
	w, h := maxSize(d)
	side := func(n int) int64 {
		if n == 0 || n >= 2*size {
			return int64(2*size - 1) // ceil(n/floor(n/size)) is never more
		}
		return int64(n)
	}
	return 4 * int64(batch) * side(w) * side(h)
}

// shrink copies a region of px and averages it over boxes of boxFactor pixels, rounding to nearest; boxes at the
// right and bottom edge that the region does not fill are averages of what they have. The result lies in memory where that
// suffices.
func shrink(memory []byte, px Pixels, r rect, size int) (pix []byte, w, h int) {
	fx, fy := boxFactor(r.w, size), boxFactor(r.h, size)
	w, h = (r.w+fx-1)/fx, (r.h+fy-1)/fy
	pix = resize(memory, 4*w*h)
	if fx == 1 && fy == 1 {
		for y := range h {
			copy(pix[4*w*y:4*w*(y+1)], px.Pix[4*(px.W*(r.y+y)+r.x):])
		}
		return pix, w, h
	}
	for y := range h {
		y0, y1 := r.y+y*fy, r.y+min((y+1)*fy, r.h)
		for x := range w {
			x0, x1 := r.x+x*fx, r.x+min((x+1)*fx, r.w)
			var sum [3]int
			for yy := y0; yy < y1; yy++ {
				for row := px.Pix[4*(px.W*yy+x0) : 4*(px.W*yy+x1)]; len(row) > 0; row = row[4:] {
					sum[0] += int(row[0])
					sum[1] += int(row[1])
					sum[2] += int(row[2])
				}
			}
			n := (y1 - y0) * (x1 - x0)
			out := pix[4*(w*y+x):]
			for c, v := range sum {
				out[c] = byte((v + n/2) / n)
			}
			out[3] = math.MaxUint8
		}
	}
	return pix, w, h
}
