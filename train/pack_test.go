package train_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/seed-8d806880/vkeffnet/train"
)

// TestShrink checks any region against averages taken one by one, and the bound on the result's size.
func TestShrink(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		px := train.Pixels{W: rapid.IntRange(1, 40).Draw(t, "W"), H: rapid.IntRange(1, 40).Draw(t, "H")}
		px.Pix = rapid.SliceOfN(rapid.Byte(), 4*px.W*px.H, 4*px.W*px.H).Draw(t, "pix")
		for i := 3; i < len(px.Pix); i += 4 {
			px.Pix[i] = 255
		}
		x, y := rapid.IntRange(0, px.W-1).Draw(t, "x"), rapid.IntRange(0, px.H-1).Draw(t, "y")
		w, h := rapid.IntRange(1, px.W-x).Draw(t, "w"), rapid.IntRange(1, px.H-y).Draw(t, "h")
		size := rapid.IntRange(1, 20).Draw(t, "size")
		pix, sw, sh := train.Shrink(px, x, y, w, h, size)
		fx, fy := max(w/size, 1), max(h/size, 1)
		assert.Equal(t, [2]int{(w + fx - 1) / fx, (h + fy - 1) / fy}, [2]int{sw, sh})
		assert.Less(t, max(sw, sh), 2*size)
		assert.True(t, sw >= min(size, w) && sh >= min(size, h))
		want := make([]byte, 0, len(pix))
		for oy := range sh {
			for ox := range sw {
				for c := range 4 {
					sum, n := 0, 0
					for sy := y + oy*fy; sy < min(y+(oy+1)*fy, y+h); sy++ {
						for sx := x + ox*fx; sx < min(x+(ox+1)*fx, x+w); sx++ {
							sum += int(px.Pix[4*(px.W*sy+sx)+c])
							n++
						}
					}
					want = append(want, byte((2*sum+n)/(2*n)))
				}
			}
		}
		assert.Equal(t, want, pix)
	})
}

func TestEvalRegion(t *testing.T) {
	for _, row := range []struct {
		crop       train.EvalCrop
		w, h, size int
		want       [4]int
	}{
		{train.CropSquash, 640, 480, 384, [4]int{0, 0, 640, 480}},
		{train.CropCentre, 640, 480, 224, [4]int{110, 30, 420, 420}}, // 480*224/256
		{train.CropCentre, 3, 100, 32, [4]int{0, 49, 2, 2}},
		{train.CropCentre, 1, 1, 1, [4]int{0, 0, 1, 1}},
	} {
		x, y, w, h := row.crop.Region(row.w, row.h, row.size)
		assert.Equal(t, row.want, [4]int{x, y, w, h})
	}
	assert.ErrorContains(t, train.EvalCrop("left").Check(), `"left", want "centre" or "squash"`)
}
